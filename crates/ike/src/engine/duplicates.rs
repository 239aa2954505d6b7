//! One peer at a time: what becomes of a connection's other IKE SAs when one has authenticated.

use std::time::Instant;

use super::Engine;
use crate::config::ConnId;
use crate::event::{DownReason, IkeId, Role};
use crate::sa::{IkeSa, Phase};

impl Engine {
    /// RFC 7296 section 2.4: with INITIAL_CONTACT the peer says that it has no other, so they go without a word;
    /// without it the peer may be authenticating anew before it lets the old one go, and deletes that itself, or we do: one
    /// goes like that at a time, so that a peer that comes again and again has two, not as many as it likes. When both
    /// ends dialled at the same time, both IKE SAs are good, and the one whose initiator's SPI is lower stays: both ends
    /// know both SPIs and choose alike.
    pub(super) fn end_duplicates(&mut self, ike: IkeId, conn: ConnId, initial_contact: bool, now: Instant) {
        for other in self.of(conn) {
            if other == ike {
                continue;
            }
            let Some((sa, old)) = self.sas.get(&ike).zip(self.sas.get(&other)) else { continue };
            if old.is_initiating() {
                // The peer has not accepted anything of it yet.
                self.with(other, now, |sa, ctx| sa.terminate(DownReason::Replaced, ctx));
                continue;
            }
            let Some(up) = old.up().filter(|up| up.phase != Phase::Deleting) else { continue };
            if crossing(sa, old) {
                let loser = if sa.shell.spi_i.0 < old.shell.spi_i.0 { other } else { ike };
                self.end_crossed(loser, now);
            } else if initial_contact {
                self.with(other, now, |sa, ctx| sa.drop_silently(DownReason::PeerRestarted, ctx));
            } else if sa.shell.role == Role::Responder && up.superseded.is_none() {
                self.with(other, now, |sa, ctx| sa.supersede(DownReason::Replaced, ctx));
            } else {
                self.with(other, now, |sa, ctx| sa.terminate(DownReason::Replaced, ctx));
            }
        }
    }

    /// Who made it deletes it; should the peer not, we do.
    fn end_crossed(&mut self, loser: IkeId, now: Instant) {
        self.with(loser, now, |sa, ctx| match sa.shell.role {
            Role::Initiator => sa.terminate(DownReason::Redundant, ctx),
            Role::Responder => sa.supersede(DownReason::Redundant, ctx),
        });
    }
}

/// Each was begun by another side, before the other was up.
fn crossing(a: &IkeSa, b: &IkeSa) -> bool {
    let before = |a: &IkeSa, b: &IkeSa| b.shell.established.is_some_and(|up| a.shell.begun < up);
    a.shell.role != b.shell.role && before(a, b) && before(b, a)
}
