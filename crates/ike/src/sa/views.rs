//! What views may see of an IKE SA.

use super::{IkeSa, Phase, State, Up};
use crate::resource::Resources;
use crate::status::{ChildStatus, IkeState, IkeStatus};
use crate::timer::Timer;

impl IkeSa {
    pub(crate) fn child_status(&self) -> Vec<ChildStatus> {
        self.up()
            .map(|up| up.children.values().map(|child| child.status(self.id())).collect())
            .unwrap_or_default()
    }

    /// `None` for one that is over, or that we answer and that has not authenticated.
    pub(crate) fn status(&self) -> Option<IkeStatus> {
        let (state, suite, nat, ids, vendors, fragmentation) = match &self.state {
            State::Initiating(_) => (IkeState::Init, None, None, None, &[][..], false),
            State::Authenticating(state) => (
                IkeState::Auth,
                Some(state.suite),
                Some(state.nat),
                None,
                &state.vendors[..],
                state.channel.fragments,
            ),
            // A successor not taken into use: that is no news for anybody.
            State::Up(up) if up.inherits_from.is_some() => return None,
            State::Up(up) => {
                let ids = Some((up.local_id.clone(), up.remote_id.clone()));
                let state = match up.phase {
                    Phase::Current => IkeState::Established,
                    Phase::Rekeyed => IkeState::Rekeyed,
                    Phase::Deleting => IkeState::Deleting,
                };
                (state, Some(up.suite), Some(up.nat), ids, &up.vendors[..], up.channel.fragments)
            }
            State::Answering(_)
            | State::HalfOpen(_)
            | State::Farewell(_)
            | State::Lingering(_)
            | State::Closed => return None,
        };
        let (local_id, remote_id) = ids.unzip();
        let shell = &self.shell;
        Some(IkeStatus {
            ike: shell.id,
            state,
            role: shell.role,
            spi_i: shell.spi_i.0,
            spi_r: shell.spi_r.0,
            path: shell.path,
            nat: nat.unwrap_or_default(),
            local_id,
            remote_id,
            suite,
            since: shell.established.unwrap_or(shell.begun),
            rekey_at: shell.timers.at(Timer::Rekey),
            expires_at: shell.timers.at(Timer::Expire),
            sent: shell.window.sent(),
            message_ids: (shell.window.next_request(), shell.window.expected()),
            last_heard: self.up().map(|up| up.last_heard),
            fragmentation,
            vendors: vendors.to_vec(),
            resources: self.up().map_or(Resources::One, Up::resources),
        })
    }
}
