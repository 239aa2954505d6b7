//! CREATE_CHILD_SA as responder (RFC 7296 section 1.3): which of the two it is, begun or refused, and refused after all
//! when the IKE SA ends while its answer is being computed.

use crypto::Group;
use ike_wire::{Header, Notify, NotifyType, Payload, ProtocolId};

use super::body::{Body, bare};
use crate::config::Path;
use crate::core::Ctx;
use crate::counters::Counter;
use crate::failure::Failure;
use crate::sa::{Shell, Up};
use crate::work::WorkOutcome;

/// A request that is not granted: what the peer is told, and what the owner of the connection is.
pub(crate) struct Refusal {
    pub(crate) notify: Payload,
    pub(crate) failure: Option<Failure>,
}

impl Refusal {
    pub(super) fn with(notify: Payload, failure: Option<Failure>) -> Box<Self> {
        Box::new(Self { notify, failure })
    }

    pub(crate) fn bare(kind: NotifyType, failure: Option<Failure>) -> Box<Self> {
        Self::with(bare(kind), failure)
    }

    /// RFC 7296 section 2.25: to be tried again "at a later time".
    pub(crate) fn temporary(ctx: &mut Ctx<'_>) -> Box<Self> {
        ctx.count(Counter::TemporaryFailure);
        Self::bare(NotifyType::TEMPORARY_FAILURE, None)
    }

    /// The key exchange of a peer's request came to nothing: by its public value, or for want of time, in which case "at a
    /// later time" it may not.
    pub(super) fn uncomputed(outcome: &WorkOutcome, ctx: &mut Ctx<'_>) -> Box<Self> {
        if matches!(outcome, WorkOutcome::Refused) {
            return Self::temporary(ctx);
        }
        ctx.count(Counter::BadBody);
        Self::bare(NotifyType::INVALID_SYNTAX, None)
    }

    /// RFC 7296 section 1.3: another group than the one the peer began with.
    pub(super) fn other_group(group: Group) -> Box<Self> {
        let notify = Notify::new(NotifyType::INVALID_KE_PAYLOAD, group.iana().to_be_bytes().to_vec());
        Self::with(Payload::Notify(notify), None)
    }
}

impl Up {
    /// The peer's CREATE_CHILD_SA.
    pub(crate) fn serve(
        &mut self,
        body: Body<'_>,
        header: Header,
        path: Path,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        let begun = if asks_for_ike(body) {
            self.begin_ike(body, header, path, shell, ctx)
        } else {
            self.begin_child(body, header, path, shell, ctx)
        };
        if let Err(refusal) = begun {
            self.answer_refusal(*refusal, header, path, shell, ctx);
        }
    }

    /// Tells both sides of a refusal.
    pub(super) fn answer_refusal(
        &mut self,
        refusal: Refusal,
        header: Header,
        path: Path,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        if let Some(failure) = refusal.failure {
            ctx.failed(self.conn, failure);
        }
        shell.answer(&mut self.channel, &header, path, &[refusal.notify], ctx);
    }

    /// The IKE SA ends: what the peer asked for, and is being computed, is refused now. What its computation brings
    /// nobody waits for any more.
    pub(super) fn refuse_served(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let child = self.serving_child.as_ref().map(|serving| (serving.header, serving.path));
        let ike = self.serving_ike.as_ref().map(|serving| (serving.header, serving.path));
        self.forget_served(ctx);
        if let Some((header, path)) = child.or(ike) {
            self.answer_refusal(*Refusal::temporary(ctx), header, path, shell, ctx);
        }
    }

    /// The same without a word: nobody is left to hear it.
    pub(crate) fn forget_served(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(serving) = self.serving_child.take() {
            ctx.core.free_esp_spi(serving.spi_in);
        }
        self.serving_ike = None;
        self.peer_rekey = None;
    }
}

/// An SA payload whose proposals are for IKE asks to rekey the IKE SA (RFC 7296 section 1.3.2).
fn asks_for_ike(body: Body<'_>) -> bool {
    body.sa().is_some_and(|sa| sa.proposals.iter().any(|one| one.protocol == ProtocolId::IKE))
}
