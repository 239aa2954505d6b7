//! A CHILD SA as IKE sees it, and the offer it comes from.

use std::time::{Duration, Instant};

use ike_wire::{NotifyType, Payload};
use inet::Selector;

use crate::config::{ConnId, Connection};
use crate::core::Ctx;
use crate::event::{ChildId, ChildKeys, DownReason, IkeId, Role};
use crate::exchange::body::{Body, refused};
use crate::failure::{Exchange, Failure, Misbehaviour, NoProposal, SelectorsTooNarrow};
use crate::negotiate::{Pfs, check_esp, offer_esp};
use crate::proposal::{EspProposal, EspSuite};
use crate::resource::{self, Resource};
use crate::selectors::{is_subset, ts_from_wire, ts_to_wire};
use crate::status::{ChildState, ChildStatus};

/// One CHILD SA.
pub(crate) struct Child {
    pub(crate) id: ChildId,
    pub(crate) spi_in: u32,
    pub(crate) spi_out: u32,
    pub(crate) suite: EspSuite,
    pub(crate) encap: bool,
    pub(crate) local_ts: Vec<Selector>,
    pub(crate) remote_ts: Vec<Selector>,
    pub(crate) since: Instant,
    /// When to rekey it; `None` once that was begun.
    pub(crate) soft: Option<Instant>,
    pub(crate) hard: Instant,
    pub(crate) linger: Duration,
    pub(crate) phase: ChildPhase,
    /// Its `ChildDown` was told.
    pub(crate) told: bool,
    /// The one it took over from.
    pub(crate) replaces: Option<ChildId>,
    /// Which of those with the same selectors (RFC 9611); its successors keep the number.
    pub(crate) resource: Resource,
    /// What the peer calls it, for people to read.
    pub(crate) peer_resource: Vec<u8>,
}

/// Where a CHILD SA stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildPhase {
    /// In use.
    Installed,
    /// In use, our rekeying is under way.
    Rekeying,
    /// Its successor is in use; the peer, which made that, deletes this one.
    Replaced,
    /// We delete it.
    Closing(DownReason),
}

/// What the peer's answer to an offer of ours, or ours to one of the peer's, settled.
#[derive(Clone)]
pub(crate) struct ChildAnswer {
    pub(crate) suite: EspSuite,
    pub(crate) spi_out: u32,
    pub(crate) local_ts: Vec<Selector>,
    pub(crate) remote_ts: Vec<Selector>,
    /// The peer's SA_RESOURCE_INFO, if it sent one.
    pub(crate) peer_resource: Option<Vec<u8>>,
}

/// All of a new CHILD SA.
pub(crate) struct Agreed {
    pub(crate) spi_in: u32,
    pub(crate) answer: ChildAnswer,
    pub(crate) keys: ChildKeys,
    pub(crate) role: Role,
    pub(crate) replaces: Option<ChildId>,
    pub(crate) resource: Resource,
}

/// What we offer for a CHILD SA.
pub(crate) struct ChildOffer {
    pub(crate) spi_in: u32,
    pub(crate) proposals: Vec<EspProposal>,
    pub(crate) local_ts: Vec<Selector>,
    pub(crate) remote_ts: Vec<Selector>,
}

impl ChildOffer {
    /// All the connection allows.
    pub(crate) fn first(conn: ConnId, config: &Connection, resource: Resource, ctx: &mut Ctx<'_>) -> Self {
        Self {
            spi_in: ctx.core.esp_spi(conn, resource),
            proposals: config.esp_proposals.clone(),
            local_ts: config.local_ts.clone(),
            remote_ts: config.remote_ts.clone(),
        }
    }

    /// SA.
    pub(crate) fn sa(&self, with_groups: bool) -> Payload {
        Payload::SecurityAssociation(offer_esp(&self.proposals, self.spi_in, with_groups))
    }

    /// TSi and TSr.
    pub(crate) fn ts(&self) -> [Payload; 2] {
        [Payload::TsInitiator(ts_to_wire(&self.local_ts)), Payload::TsResponder(ts_to_wire(&self.remote_ts))]
    }

    /// SA, TSi, TSr.
    pub(crate) fn payloads(&self, with_groups: bool) -> Vec<Payload> {
        let [ts_i, ts_r] = self.ts();
        vec![self.sa(with_groups), ts_i, ts_r]
    }

    /// The peer's answer, if it is one to this offer.
    pub(crate) fn conclude(
        &self,
        body: Body<'_>,
        pfs: Pfs,
        exchange: Exchange,
    ) -> Result<ChildAnswer, Failure> {
        let missing = Failure::Misbehaved(Misbehaviour::MissingPayload);
        let Some(sa) = body.sa() else { return Err(self.refusal(body, exchange).unwrap_or(missing)) };
        let (Some(ts_i), Some(ts_r)) = (body.ts_i(), body.ts_r()) else {
            return Err(self.refusal(body, exchange).unwrap_or(missing));
        };
        let not_offered = Failure::Misbehaved(Misbehaviour::SuiteNotOffered);
        let (suite, spi_out) = check_esp(sa, &self.proposals, pfs).ok_or(not_offered)?;
        let (local_ts, remote_ts) = (ts_from_wire(ts_i), ts_from_wire(ts_r));
        // RFC 7296 section 2.9: the responder may narrow, never widen.
        if !is_subset(&local_ts, &self.local_ts) || !is_subset(&remote_ts, &self.remote_ts) {
            return Err(Failure::Misbehaved(Misbehaviour::SelectorsNotOffered));
        }
        Ok(ChildAnswer { suite, spi_out, local_ts, remote_ts, peer_resource: resource::info(body) })
    }

    fn refusal(&self, body: Body<'_>, exchange: Exchange) -> Option<Failure> {
        let notify = body.error()?;
        Some(match notify.kind {
            NotifyType::NO_PROPOSAL_CHOSEN => Failure::NoProposal(Box::new(NoProposal {
                exchange,
                by_peer: true,
                ours: self.proposals.iter().map(ToString::to_string).collect(),
                theirs: Vec::new(),
            })),
            NotifyType::TS_UNACCEPTABLE => Failure::TsUnacceptable {
                by_peer: true,
                local: self.local_ts.clone(),
                remote: self.remote_ts.clone(),
                offered: None,
            },
            _ => refused(notify, exchange),
        })
    }
}

impl Child {
    /// May it still be rekeyed?
    pub(crate) fn is_installed(&self) -> bool {
        matches!(self.phase, ChildPhase::Installed | ChildPhase::Rekeying)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match self.phase {
            ChildPhase::Installed | ChildPhase::Rekeying => self.soft.into_iter().chain([self.hard]).min(),
            ChildPhase::Replaced => Some(self.hard),
            ChildPhase::Closing(_) => None,
        }
    }

    pub(crate) fn status(&self, ike: IkeId) -> ChildStatus {
        ChildStatus {
            child: self.id,
            ike,
            state: match self.phase {
                ChildPhase::Installed => ChildState::Installed,
                ChildPhase::Rekeying => ChildState::Rekeying,
                ChildPhase::Replaced => ChildState::Rekeyed,
                ChildPhase::Closing(_) => ChildState::Deleting,
            },
            spi_in: self.spi_in,
            spi_out: self.spi_out,
            suite: self.suite,
            encap: self.encap,
            resource: self.resource,
            peer_resource: self.peer_resource.clone(),
            local_ts: self.local_ts.clone(),
            remote_ts: self.remote_ts.clone(),
            since: self.since,
            rekey_at: self.soft,
            expires_at: self.hard,
        }
    }
}

/// The first address pair the connection needs that the selectors do not carry.
pub(crate) fn too_narrow(config: &Connection, answer: &ChildAnswer) -> Option<SelectorsTooNarrow> {
    // BGP is TCP from and to any port.
    let carries = |list: &[Selector], address| list.iter().any(|one| one.contains(address, TCP, None));
    let missing = config
        .must_cover
        .iter()
        .find(|(local, remote)| !carries(&answer.local_ts, *local) || !carries(&answer.remote_ts, *remote));
    missing.map(|(local, remote)| SelectorsTooNarrow {
        local: *local,
        remote: *remote,
        local_ts: answer.local_ts.clone(),
        remote_ts: answer.remote_ts.clone(),
    })
}

const TCP: u8 = 6;
