//! What scenarios ask a gateway.

use std::time::Duration;

use control::view::{BgpReceived, BgpSummaryRow, ChildSa, IkeSa, TunnelStatus};
use control::{Answer, Request};
use gateway::RequestId;

use super::site::Heard;
use super::world::World;

impl World {
    /// The answer to a request.
    pub(crate) fn ask(&mut self, site: usize, request: Request) -> Answer {
        let here = &mut self.sites[site];
        let id = RequestId(here.next_request);
        here.next_request += 1;
        self.tell(site, Heard::Request(id, request));
        self.sites[site].answers.remove(&id).expect("an answer at once")
    }

    /// A request that must not be refused.
    pub(crate) fn command(&mut self, site: usize, request: Request) -> Vec<String> {
        match self.ask(site, request) {
            Answer::Done(lines) => lines,
            other => panic!("{}: {other:?}", self.sites[site].name),
        }
    }

    pub(crate) fn tunnel(&mut self, site: usize, name: &str) -> TunnelStatus {
        let Answer::Status(status) = self.ask(site, Request::Status) else { panic!("no status") };
        let found = status.tunnels.into_iter().find(|tunnel| tunnel.name == name);
        found.unwrap_or_else(|| panic!("no tunnel {name}"))
    }

    pub(crate) fn is_up(&mut self, site: usize, name: &str) -> bool {
        self.sites[site].gateway.is_some() && self.tunnel(site, name).state == "up"
    }

    /// CHILD SAs that IKE knows of.
    pub(crate) fn children(&mut self, site: usize) -> Vec<ChildSa> {
        let Answer::Ipsec(all) = self.ask(site, Request::Ipsec) else { panic!("no page") };
        all
    }

    pub(crate) fn ike_sas(&mut self, site: usize) -> Vec<IkeSa> {
        let Answer::Ike(page) = self.ask(site, Request::Ike) else { panic!("no page") };
        page.sas
    }

    /// What a neighbour announced, with our verdict.
    pub(crate) fn received(&mut self, site: usize, neighbor: &str) -> Vec<BgpReceived> {
        let request = Request::BgpReceived { neighbor: neighbor.to_owned() };
        let Answer::BgpRoutes(page) = self.ask(site, request) else { panic!("no page") };
        page.routes
    }

    /// The line of a neighbour in the summary.
    pub(crate) fn session(&mut self, site: usize, neighbor: &str) -> BgpSummaryRow {
        let Answer::BgpSummary(page) = self.ask(site, Request::BgpSummary) else { panic!("no page") };
        page.peers.into_iter().find(|row| row.name == neighbor).expect("the neighbour")
    }

    pub(crate) fn rekey(&mut self, site: usize, tunnel: &str, ike: bool, child: bool) {
        self.command(site, Request::Rekey { tunnel: tunnel.to_owned(), ike, child });
    }

    /// Waits until a tunnel is up at both ends; how long it took.
    pub(crate) fn both_up(&mut self, limit: Duration, ends: [(usize, &str); 2]) -> Duration {
        self.run_until("the tunnel is up at both ends", limit, |world| {
            ends.iter().all(|(site, name)| world.is_up(*site, name))
        })
    }
}
