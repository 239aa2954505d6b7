//! A CHILD SA as the peer asks for it: in IKE_AUTH, new, or as the successor of another (RFC 7296 sections 1.3.1 and
//! 1.3.3).

use crypto::{Group, Secret};
use ike_wire::{Header, KeGroup, KeyExchange, Notify, NotifyType, Payload, ProtocolId};
use inet::Selector;

use super::body::Body;
use super::serve::Refusal;
use crate::child::{Agreed, Child, ChildAnswer, ChildPhase};
use crate::config::{Connection, Path};
use crate::core::Ctx;
use crate::event::{ChildId, Note, Role};
use crate::failure::{Exchange, Failure, NoProposal};
use crate::negotiate::{EspChoice, Pfs, answer_esp, choose_esp, describe};
use crate::resource::{self, Resource};
use crate::sa::{Phase, Shell, Task, Up, Want};
use crate::selectors::{is_subset, narrow, ts_from_wire, ts_to_wire};
use crate::work::{Work, WorkId, WorkOutcome};

/// An offer that can be accepted.
pub(crate) struct Considered {
    pub(crate) choice: EspChoice,
    local_ts: Vec<Selector>,
    remote_ts: Vec<Selector>,
    peer_resource: Option<Vec<u8>>,
}

/// What goes back, and what it settles.
pub(crate) struct Answer {
    pub(crate) payloads: Vec<Payload>,
    pub(crate) agreed: ChildAnswer,
}

/// A peer's CREATE_CHILD_SA whose shared secret is being made.
pub(crate) struct ServingChild {
    pub(crate) work: WorkId,
    pub(super) header: Header,
    pub(super) path: Path,
    considered: Considered,
    replaces: Option<ChildId>,
    resource: Resource,
    ni: Vec<u8>,
    nr: Vec<u8>,
    pub(super) spi_in: u32,
}

/// Suite and selectors from the peer's offer. We are the responder of the exchange: TSr is our side.
pub(crate) fn consider(
    config: &Connection,
    body: Body<'_>,
    pfs: Pfs,
    exchange: Exchange,
) -> Result<Considered, Box<Refusal>> {
    let (Some(sa), Some(ts_i), Some(ts_r)) = (body.sa(), body.ts_i(), body.ts_r()) else {
        return Err(Refusal::bare(NotifyType::INVALID_SYNTAX, None));
    };
    let Some(choice) = choose_esp(sa, &config.esp_proposals, pfs) else {
        let ours = config.esp_proposals.iter().map(ToString::to_string).collect();
        let lists = NoProposal { exchange, by_peer: false, ours, theirs: describe(sa) };
        return Err(Refusal::bare(
            NotifyType::NO_PROPOSAL_CHOSEN,
            Some(Failure::NoProposal(Box::new(lists))),
        ));
    };
    let (offered_remote, offered_local) = (ts_from_wire(ts_i), ts_from_wire(ts_r));
    let remote_ts = narrow(&offered_remote, &config.remote_ts);
    let local_ts = narrow(&offered_local, &config.local_ts);
    if local_ts.is_empty() || remote_ts.is_empty() {
        let (local, remote) = (config.local_ts.clone(), config.remote_ts.clone());
        let offered = Some((offered_local, offered_remote));
        let failure = Failure::TsUnacceptable { by_peer: false, local, remote, offered };
        return Err(Refusal::bare(NotifyType::TS_UNACCEPTABLE, Some(failure)));
    }
    Ok(Considered { choice, local_ts, remote_ts, peer_resource: resource::info(body) })
}

impl Considered {
    /// SA, Nr, KEr, TSi, TSr; nonce and public value only outside IKE_AUTH.
    pub(crate) fn answer(self, spi_in: u32, nr: Option<&[u8]>, public: Option<(Group, Vec<u8>)>) -> Answer {
        let mut payloads = vec![Payload::SecurityAssociation(answer_esp(&self.choice, spi_in))];
        payloads.extend(nr.map(|nr| Payload::Nonce(nr.to_vec())));
        payloads.extend(
            public.map(|(group, data)| {
                Payload::KeyExchange(KeyExchange { group: KeGroup(group.iana()), data })
            }),
        );
        payloads.push(Payload::TsInitiator(ts_to_wire(&self.remote_ts)));
        payloads.push(Payload::TsResponder(ts_to_wire(&self.local_ts)));
        let (local_ts, remote_ts) = (self.local_ts, self.remote_ts);
        let agreed = ChildAnswer {
            suite: self.choice.suite,
            spi_out: self.choice.spi,
            local_ts,
            remote_ts,
            peer_resource: self.peer_resource,
        };
        Answer { payloads, agreed }
    }
}

impl Up {
    /// The peer's CREATE_CHILD_SA for a CHILD SA.
    pub(super) fn begin_child(
        &mut self,
        body: Body<'_>,
        header: Header,
        path: Path,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Box<Refusal>> {
        let rekeyed = body.notify(NotifyType::REKEY_SA);
        let replaces = rekeyed.map(|notify| self.rekeyable(notify, ctx)).transpose()?;
        self.may_create(ctx)?;
        let resource = match replaces.and_then(|old| self.children.get(&old)) {
            Some(old) => old.resource,
            None => self.asked_resource(body, ctx)?,
        };
        let Some(ni) = body.nonce() else { return Err(Refusal::bare(NotifyType::INVALID_SYNTAX, None)) };
        let ke = body.ke().and_then(|ke| Group::from_iana(ke.group.0));
        let pfs = Pfs::Create { ke, none_accepted: self.config.accept_rekey_without_pfs };
        let exchange = if replaces.is_some() { Exchange::RekeyChild } else { Exchange::CreateChild };
        let considered = consider(&self.config, body, pfs, exchange)?;
        if replaces.is_none() && !resource.is_any() {
            self.is_like_the_first(&considered)?;
        }
        let group = considered.choice.suite.group;
        let public = match (group, body.ke()) {
            (None, _) => None,
            (Some(group), Some(ke)) if ke.group.0 == group.iana() => Some((group, ke.data.clone())),
            // RFC 7296 section 1.3.1: the wrong group, or none although one was chosen.
            (Some(group), _) => return Err(Refusal::other_group(group)),
        };
        if considered.choice.without_pfs {
            ctx.note(Note::RekeyWithoutPfs { conn: self.conn });
        }
        let (nr, spi_in) = (ctx.core.nonce(), ctx.core.esp_spi(self.conn, resource));
        self.note_collision(replaces, resource, (ni, &nr), spi_in, shell, ctx);
        let work = WorkId(0);
        let serving =
            ServingChild { work, header, path, considered, replaces, resource, ni: ni.clone(), nr, spi_in };
        match public {
            None => self.finish_child(serving, None, shell, ctx),
            Some((group, peer)) => {
                let seed = ctx.core.secret_seed();
                let work = ctx.core.work(shell.id, Work::Respond { group, seed, peer });
                self.serving_child = Some(Box::new(ServingChild { work, ..serving }));
            }
        }
        Ok(())
    }

    /// The CHILD SA that REKEY_SA names by the peer's inbound SPI.
    fn rekeyable(&self, notify: &Notify, ctx: &mut Ctx<'_>) -> Result<ChildId, Box<Refusal>> {
        let spi = notify.child_spi().unwrap_or(0);
        let Some(child) = self.children.values().find(|child| child.spi_out == spi) else {
            // It may be what the peer made for our own request, whose answer has not come.
            if matches!(self.task, Some(Task::Child(_))) {
                return Err(Refusal::temporary(ctx));
            }
            // RFC 7296 section 2.25: with the SPI that was not found.
            let notify = Notify::about(ProtocolId::ESP, spi, NotifyType::CHILD_SA_NOT_FOUND);
            return Err(Refusal::with(Payload::Notify(notify), None));
        };
        // RFC 7296 section 2.25.1: one we are closing cannot be rekeyed.
        match child.phase {
            ChildPhase::Installed | ChildPhase::Rekeying => Ok(child.id),
            ChildPhase::Replaced | ChildPhase::Closing(_) => Err(Refusal::temporary(ctx)),
        }
    }

    /// RFC 9611 section 3: those for one resource have the properties that were negotiated for the first.
    fn is_like_the_first(&self, considered: &Considered) -> Result<(), Box<Refusal>> {
        let Some(first) = self.fallback() else { return Ok(()) };
        let same = |a: &[Selector], b: &[Selector]| is_subset(a, b) && is_subset(b, a);
        if !same(&considered.local_ts, &first.local_ts) || !same(&considered.remote_ts, &first.remote_ts) {
            return Err(Refusal::bare(NotifyType::TS_UNACCEPTABLE, None));
        }
        let suite = considered.choice.suite;
        if (suite.suite, suite.esn) != (first.suite.suite, first.suite.esn) {
            return Err(Refusal::bare(NotifyType::NO_PROPOSAL_CHOSEN, None));
        }
        Ok(())
    }

    /// RFC 7296 section 2.25.2: not while the IKE SA itself is being rekeyed or closed.
    fn may_create(&self, ctx: &mut Ctx<'_>) -> Result<(), Box<Refusal>> {
        if self.phase != Phase::Current
            || matches!(self.task, Some(Task::Ike(_)))
            || self.peer_rekey.is_some()
        {
            return Err(Refusal::temporary(ctx));
        }
        // RFC 9611 section 6: while all of them are rekeyed there are old ones and new.
        let further = 2 * (usize::from(self.config.resource_sas.get()) - 1);
        if self.children.len() >= ctx.core.limits.children + further {
            return Err(Refusal::bare(NotifyType::NO_ADDITIONAL_SAS, Some(Failure::TooMany)));
        }
        Ok(())
    }

    /// The shared secret of the peer's request is there, or could not be made.
    pub(crate) fn served_child(
        &mut self,
        serving: ServingChild,
        outcome: WorkOutcome,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        match outcome {
            WorkOutcome::Responded { public, shared } => {
                self.finish_child(serving, Some((public, shared)), shell, ctx);
            }
            WorkOutcome::BadPublicValue
            | WorkOutcome::Pair(_)
            | WorkOutcome::Shared(_)
            | WorkOutcome::Refused => {
                ctx.core.free_esp_spi(serving.spi_in);
                self.forget_collision(serving.spi_in);
                let refusal = Refusal::uncomputed(&outcome, ctx);
                self.answer_refusal(*refusal, serving.header, serving.path, shell, ctx);
            }
        }
        self.resume_child(shell, ctx);
    }

    /// A peer that asks for what it has has lost it: those with the same selectors go, unless both ends were making
    /// one at the same time, which the nonces settle.
    fn outdate(&mut self, new: ChildId, ctx: &Ctx<'_>) {
        let first = |one: &Child| one.resource.is_any();
        let making = matches!(&self.task, Some(Task::Child(task)) if task.resource.is_any());
        let Some(made) = self.children.get(&new).filter(|one| first(one) && !making) else { return };
        let same =
            |one: &Child| first(one) && one.local_ts == made.local_ts && one.remote_ts == made.remote_ts;
        let others = self.children.values().filter(|one| one.id != new && one.is_installed() && same(one));
        for old in others.map(|one| one.id).collect::<Vec<_>>() {
            self.replaced_by_peer(old, ctx);
        }
    }

    fn finish_child(
        &mut self,
        serving: ServingChild,
        exchanged: Option<(Vec<u8>, Secret)>,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) {
        let ServingChild { header, path, considered, replaces, resource, ni, nr, spi_in, .. } = serving;
        let suite = considered.choice.suite;
        let (public, shared) = exchanged.unzip();
        let Some(keys) = self.derive.child(suite, shared.as_ref(), (&ni, &nr), Role::Responder) else {
            ctx.core.free_esp_spi(spi_in);
            self.forget_collision(spi_in);
            return self.answer_refusal(*Refusal::temporary(ctx), header, path, shell, ctx);
        };
        let mut answer = considered.answer(spi_in, Some(&nr), suite.group.zip(public));
        let spoke = answer.agreed.peer_resource.is_some() && self.config.resource_sas.get() > 1;
        answer.payloads.extend(spoke.then(|| resource.notify()));
        // The peer may have deleted the old one while we computed.
        let replaces = replaces.filter(|old| self.children.contains_key(old));
        let agreed =
            Agreed { spi_in, answer: answer.agreed, keys, role: Role::Responder, replaces, resource };
        let child = self.install(agreed, shell, ctx);
        self.resolve_collision(spi_in, child);
        match replaces {
            Some(old) => self.replaced_by_peer(old, ctx),
            None => {
                self.want_no_more(Want::CreateChild);
                self.outdate(child, ctx);
            }
        }
        shell.answer(&mut self.channel, &header, path, &answer.payloads, ctx);
    }
}
