//! CREATE_CHILD_SA for the IKE SA itself as responder (RFC 7296 sections 1.3.2 and 2.25.2).

use crypto::Group;
use ike_wire::{Header, IkeSpi, KeGroup, KeyExchange, NotifyType, Payload};

use super::body::Body;
use super::rekey_ike::{RETRY, Successor};
use super::serve::Refusal;
use crate::config::Path;
use crate::core::{Cross, Ctx};
use crate::event::{IkeId, Role};
use crate::failure::{Exchange, Failure, NoProposal};
use crate::keys::Ingredients;
use crate::negotiate::{IkeChoice, choose_ike, describe};
use crate::sa::{IkeSa, PeerRekey, Shell, State, Task, Up, Want};
use crate::work::{Work, WorkId, WorkOutcome};

/// The peer's rekeying of the IKE SA, its shared secret being made.
pub(crate) struct ServingIke {
    pub(crate) work: WorkId,
    pub(super) header: Header,
    pub(super) path: Path,
    choice: IkeChoice,
    new: IkeId,
    spi_i: IkeSpi,
    spi_r: IkeSpi,
    ni: Vec<u8>,
    nr: Vec<u8>,
}

impl Up {
    /// The peer's CREATE_CHILD_SA for the IKE SA itself.
    pub(super) fn begin_ike(
        &mut self,
        body: Body<'_>,
        header: Header,
        path: Path,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Box<Refusal>> {
        if self.must_wait() {
            return Err(Refusal::temporary(ctx));
        }
        let (Some(sa), Some(ni), Some(ke)) = (body.sa(), body.nonce(), body.ke()) else {
            return Err(Refusal::bare(NotifyType::INVALID_SYNTAX, None));
        };
        let spi_r = IkeSpi(ctx.core.ike_spi());
        let group = Group::from_iana(ke.group.0);
        let Some(choice) = choose_ike(sa, &self.config.ike_proposals, group, &spi_r.to_bytes()) else {
            let ours = self.config.ike_proposals.iter().map(ToString::to_string).collect();
            let lists =
                NoProposal { exchange: Exchange::RekeyIke, by_peer: false, ours, theirs: describe(sa) };
            let failure = Failure::NoProposal(Box::new(lists));
            return Err(Refusal::bare(NotifyType::NO_PROPOSAL_CHOSEN, Some(failure)));
        };
        let Some(spi_i) = IkeSpi::from_bytes(&choice.spi).filter(|spi| !spi.is_zero()) else {
            return Err(Refusal::bare(NotifyType::INVALID_SYNTAX, None));
        };
        let chosen = choice.suite.group;
        if ke.group.0 != chosen.iana() {
            return Err(Refusal::other_group(chosen));
        }
        let (new, nr) = (ctx.core.ike_id(), ctx.core.nonce());
        self.meet(new, ni.min(&nr), shell, ctx);
        let (seed, peer) = (ctx.core.secret_seed(), ke.data.clone());
        let work = ctx.core.work(shell.id, Work::Respond { group: chosen, seed, peer });
        let ni = ni.clone();
        self.serving_ike =
            Some(Box::new(ServingIke { work, header, path, choice, new, spi_i, spi_r, ni, nr }));
        Ok(())
    }

    /// RFC 7296 section 2.25.2: while a CHILD SA is being made, rekeyed or closed by us, or the IKE SA is being closed.
    /// (Rekeying it ourselves is no hindrance: that is a collision.)
    fn must_wait(&self) -> bool {
        let busy = matches!(self.task, Some(Task::Child(_) | Task::DeleteChild(_) | Task::DeleteIke));
        let serving = self.serving_child.is_some() || self.serving_ike.is_some();
        busy || serving || !self.owns_children() || self.peer_rekey.is_some()
    }

    /// The peer is at the same as we. If our request is out, the nonces will decide; if not, the peer's goes first, and
    /// ours is done later should that come to nothing (a successor does not inherit it).
    fn meet(&mut self, new: IkeId, low: &[u8], shell: &mut Shell, ctx: &mut Ctx<'_>) {
        match self.task.take() {
            Some(Task::Ike(task)) if task.is_sent() => {
                self.peer_rekey = Some(PeerRekey { new, low: low.to_vec() });
                self.task = Some(Task::Ike(task));
            }
            Some(Task::Ike(_)) => self.later(Want::RekeyIke, RETRY, shell, ctx),
            None => {}
            other @ Some(Task::Child(_) | Task::DeleteChild(_) | Task::DeleteIke | Task::Liveness) => {
                self.task = other;
            }
        }
    }

    /// The shared secret is there, or could not be made.
    pub(crate) fn served_ike(
        &mut self,
        serving: ServingIke,
        outcome: WorkOutcome,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        let ServingIke { header, path, choice, new: id, spi_i, spi_r, ni, nr, .. } = serving;
        let made = match &outcome {
            WorkOutcome::Responded { public, shared } => {
                let with = Ingredients { ni: &ni, nr: &nr, spi_i, spi_r };
                let of = Successor { id, role: Role::Responder, suite: choice.suite, shared, with };
                self.make_successor(of, shell, ctx).map(|made| (made, public.clone()))
            }
            WorkOutcome::BadPublicValue
            | WorkOutcome::Pair(_)
            | WorkOutcome::Shared(_)
            | WorkOutcome::Refused => None,
        };
        let Some(((new_shell, new), public)) = made else {
            self.peer_rekey = None;
            let refusal = Refusal::uncomputed(&outcome, ctx);
            self.answer_refusal(*refusal, header, path, shell, ctx);
            return self.resume_ike(shell, ctx);
        };
        let payloads = [
            Payload::SecurityAssociation(choice.answer),
            Payload::Nonce(nr),
            Payload::KeyExchange(KeyExchange { group: KeGroup(choice.suite.group.iana()), data: public }),
        ];
        shell.answer(&mut self.channel, &header, path, &payloads, ctx);
        ctx.core.crosses.push_back(Cross::Spawn(Box::new(IkeSa::new(new_shell, State::Up(Box::new(new))))));
        match (&self.task, self.peer_rekey.take()) {
            (Some(Task::Ike(_)), Some(peer)) => {
                self.peer_rekey = Some(peer);
                self.resume_ike(shell, ctx);
            }
            (_, Some(_) | None) => self.adopt(id, Role::Responder, shell, ctx),
        }
    }
}
