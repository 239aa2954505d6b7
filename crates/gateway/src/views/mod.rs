//! Answers for the control socket, built where the data lives.

mod bgp;
mod bgp_routes;
mod clock;
mod ipsec;
mod status;

use std::time::Instant;

use control::{Answer, Request};

use crate::gateway::Gateway;

impl Gateway {
    /// The answer to a request that only looks; the log is the shell's.
    pub(crate) fn view(&self, what: &Request, now: Instant) -> Result<Answer, String> {
        Ok(match what {
            Request::Status => Answer::Status(self.status_view(now)),
            Request::Ike => Answer::Ike(self.ike_view(now)),
            Request::Ipsec => Answer::Ipsec(self.ipsec_view(now)),
            Request::Interfaces => Answer::Interfaces(self.interfaces_view()),
            Request::Routes => Answer::Routes(self.routes_view()),
            Request::Bgp => Answer::Bgp(self.bgp_table_view(now)),
            Request::BgpSummary => Answer::BgpSummary(self.bgp_summary_view(now)),
            Request::BgpNeighbors { neighbor } => {
                Answer::BgpNeighbors(self.bgp_neighbors_view(neighbor.as_deref(), now)?)
            }
            Request::BgpReceived { neighbor } => {
                Answer::BgpRoutes(self.bgp_received_view(neighbor, false, now)?)
            }
            Request::BgpAccepted { neighbor } => {
                Answer::BgpRoutes(self.bgp_received_view(neighbor, true, now)?)
            }
            Request::BgpAdvertised { neighbor } => {
                Answer::BgpRoutes(self.bgp_advertised_view(neighbor, now)?)
            }
            Request::BgpPrefix { prefix } => Answer::Bgp(self.bgp_prefix_view(prefix, now)?),
            Request::Log { .. }
            | Request::Up { .. }
            | Request::Down { .. }
            | Request::Rekey { .. }
            | Request::ClearIke { .. }
            | Request::ClearIpsec { .. }
            | Request::ClearBgp { .. }
            | Request::Reload
            | Request::Capture { .. } => return Err("the gateway has no such page".to_owned()),
        })
    }
}

/// Whole seconds from `then` to `now`.
pub(super) fn ago(then: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(then).as_secs()
}
