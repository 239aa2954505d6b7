//! What a step must know of the other IKE SAs, told to its own before it is taken.

use super::Engine;
use crate::event::IkeId;
use crate::exchange::auth::{is_peer, our_identity, peer_identity};
use crate::sa::{IkeSa, Phase, State};

impl Engine {
    /// A dial that is to authenticate next must know whether INITIAL_CONTACT would be true. RFC 7296 section 2.4: it
    /// "asserts that this IKE SA is the only IKE SA currently active between the authenticated identities", and the peer
    /// drops all others without a word. So not where another connection has the same two identities, nor while the
    /// peer is dialling too: the two cross, and what it drops may be the one both keep.
    pub(super) fn tell_whether_alone(&mut self, ike: IkeId) {
        let Some(sa) = self.sas.get(&ike) else { return };
        let State::Initiating(dial) = &sa.state else { return };
        if !dial.is_agreeing() {
            return;
        }
        let (ours, theirs) = (our_identity(&dial.config, &sa.shell), peer_identity(&dial.config, &sa.shell));
        let (conn, remote) = (dial.conn, sa.shell.path.remote.ip());
        let crosses = |other: &IkeSa| {
            let path = other.shell.path;
            let admits = || self.connections.get(&conn).is_some_and(|c| c.admits(path.local.ip(), remote));
            path.remote.ip() == remote && admits()
        };
        let stands_beside = |other: &IkeSa| match &other.state {
            State::Up(up) => up.phase == Phase::Current && up.local_id == ours && up.remote_id == theirs,
            State::Authenticating(state) => {
                state.local_id == ours && is_peer(&state.config, &other.shell, &theirs)
            }
            State::HalfOpen(_) | State::Answering(_) => crosses(other),
            State::Initiating(_) | State::Farewell(_) | State::Lingering(_) | State::Closed => false,
        };
        let alone = !self.sas.values().any(|other| other.id() != ike && stands_beside(other));
        if let Some(State::Initiating(dial)) = self.sas.get_mut(&ike).map(|sa| &mut sa.state) {
            dial.alone = alone;
        }
    }
}
