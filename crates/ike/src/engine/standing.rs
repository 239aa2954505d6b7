//! What a step must know of the other IKE SAs, told to its own before it is taken.

use super::Engine;
use crate::config::ConnId;
use crate::event::IkeId;
use crate::exchange::auth::{our_identity, peer_identity};
use crate::sa::{IkeSa, Phase, State, Up};

impl Engine {
    /// A dial that is to authenticate next must know whether INITIAL_CONTACT would be true. RFC 7296 section 2.4: it
    /// "asserts that this IKE SA is the only IKE SA currently active between the authenticated identities", and the peer
    /// drops all others without a word. So not where another connection has the same two identities, nor while the
    /// peer is dialling too: the two cross, and what it drops may be the one both keep.
    pub(super) fn tell_whether_alone(&mut self, ike: IkeId) {
        let Some(sa) = self.sas.get(&ike) else { return };
        let State::Initiating(dial) = &sa.state else { return };
        let ids = (our_identity(&dial.config, &sa.shell), peer_identity(&dial.config, &sa.shell));
        let (conn, remote) = (dial.conn, sa.shell.path.remote.ip());
        let crosses = |candidates: &[ConnId], other: &IkeSa| {
            candidates.contains(&conn) && other.shell.path.remote.ip() == remote
        };
        let stands_beside = |other: &IkeSa| match &other.state {
            State::Up(up) => up.phase == Phase::Current && up.local_id == ids.0 && up.remote_id == ids.1,
            State::Authenticating(state) => {
                state.local_id == ids.0 && peer_identity(&state.config, &other.shell) == ids.1
            }
            State::HalfOpen(state) => crosses(&state.candidates, other),
            State::Answering(state) => crosses(&state.candidates, other),
            State::Initiating(_) | State::Farewell(_) | State::Lingering(_) | State::Closed => false,
        };
        let alone = !self.sas.values().any(|other| other.id() != ike && stands_beside(other));
        if let Some(State::Initiating(dial)) = self.sas.get_mut(&ike).map(|sa| &mut sa.state) {
            dial.alone = alone;
        }
    }

    /// A peer that is to authenticate next may have a CHILD SA of each connection it can be of: the one it makes takes
    /// over from that, as when it authenticates anew before it lets the old IKE SA go.
    pub(super) fn tell_what_stands(&mut self, ike: IkeId) {
        let Some(State::HalfOpen(half)) = self.sas.get(&ike).map(|sa| &sa.state) else { return };
        let newest = |conn| {
            let ups = self.sas.values().filter_map(IkeSa::up).filter(|up| up.conn == conn);
            ups.filter_map(Up::fallback).map(|child| child.id).max()
        };
        let standing = half.candidates.iter().filter_map(|conn| Some((*conn, newest(*conn)?))).collect();
        if let Some(State::HalfOpen(half)) = self.sas.get_mut(&ike).map(|sa| &mut sa.state) {
            half.standing = standing;
        }
    }
}
