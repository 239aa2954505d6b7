//! IKE_SA_INIT as initiator (RFC 7296 section 1.2): with it the groups and cookies a responder may ask for first.

use std::sync::Arc;

use crypto::{Group, KeyPair, Secret};
use ike_wire::{ExchangeType, IkeSpi, KeGroup, KeyExchange, Notify, NotifyType, Payload, encode};

use super::body::{Body, bare, refused, wanted_group};
use super::doubt::{Doubt, PROOF, STEP};
use crate::config::{ConnId, Connection, Path};
use crate::core::{Cross, Ctx};
use crate::counters::Counter;
use crate::event::{Nat, Role};
use crate::exchange::auth;
use crate::failure::{Exchange, Failure, Misbehaviour, NoProposal};
use crate::keys::{Ingredients, SkeySeed};
use crate::natd;
use crate::negotiate::{check_ike, offer_ike};
use crate::proposal::IkeSuite;
use crate::sa::{IkeSa, Opened, Shell, State};
use crate::work::{Work, WorkId, WorkOutcome};

/// Our IKE_SA_INIT under way.
pub(crate) struct Initiating {
    pub(crate) conn: ConnId,
    pub(crate) config: Arc<Connection>,
    /// No other IKE SA stands between the same two identities.
    pub(crate) alone: bool,
    group: Group,
    ni: Vec<u8>,
    cookie: Option<Vec<u8>>,
    /// Requests sent anew because the responder asked for a cookie or another group.
    retries: u8,
    /// Answers that requests before the present one may still bring: each time one was sent earns one.
    owed: u32,
    /// Acceptances that an earlier form of the present request may have brought.
    doubt: Doubt,
    /// Dials before this one that ended in doubt.
    before: u8,
    fake_nat: [u8; 20],
    stage: InitStage,
}

enum InitStage {
    /// For its turn among the dials to the same address.
    Waiting,
    Generating(WorkId),
    Sent {
        pair: Box<KeyPair>,
        request: Vec<u8>,
    },
    Agreeing(WorkId, Box<Reply>),
}

/// A good answer.
pub(crate) struct Reply {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) suite: IkeSuite,
    pub(crate) nr: Vec<u8>,
    pub(crate) nat: Nat,
    pub(crate) fragments: bool,
    pub(crate) vendors: Vec<String>,
}

fn first_group(config: &Connection) -> Option<Group> {
    config.ike_proposals.iter().flat_map(|one| &one.groups).next().copied()
}

/// Cookies and group demands one dial puts up with.
const MAX_RETRIES: u8 = 6;
/// Dials begun anew because of doubt; the one after them takes the answer it has.
const MAX_ANEW: u8 = 2;

impl Initiating {
    /// A dial, which [begins](Self::begin) when its turn comes. `None` when the connection names no group at all.
    pub(crate) fn start(
        conn: ConnId,
        config: Arc<Connection>,
        path: Path,
        ctx: &mut Ctx<'_>,
    ) -> Option<IkeSa> {
        Self::start_after(0, conn, config, path, ctx)
    }

    /// The same after so many that ended in doubt.
    fn start_after(
        before: u8,
        conn: ConnId,
        config: Arc<Connection>,
        path: Path,
        ctx: &mut Ctx<'_>,
    ) -> Option<IkeSa> {
        let group = first_group(&config)?;
        let (id, spi) = (ctx.core.ike_id(), IkeSpi(ctx.core.ike_spi()));
        let shell = Shell::new(id, Role::Initiator, (spi, IkeSpi::ZERO), path, ctx.now);
        let state = Self {
            conn,
            config,
            alone: false,
            group,
            ni: ctx.core.nonce(),
            cookie: None,
            retries: 0,
            owed: 0,
            doubt: Doubt::default(),
            before,
            fake_nat: ctx.core.random(),
            stage: InitStage::Waiting,
        };
        Some(IkeSa::new(shell, State::Initiating(Box::new(state))))
    }

    /// Its turn has come; the connection may have changed since it was asked for.
    pub(crate) fn begin(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        if !matches!(self.stage, InitStage::Waiting) {
            return;
        }
        if let Some((config, group)) = ctx.connection(self.conn).and_then(|c| first_group(&c).map(|g| (c, g)))
        {
            (self.config, self.group) = (config, group);
        }
        shell.begun = ctx.now;
        self.generate(shell, ctx);
    }

    fn generate(&mut self, shell: &Shell, ctx: &mut Ctx<'_>) {
        let (group, seed) = (self.group, ctx.core.secret_seed());
        self.stage = InitStage::Generating(ctx.core.work(shell.id, Work::Generate { group, seed }));
    }

    /// Is what comes next the proof, for which it must be known whether it stands [alone](Self::alone)?
    pub(crate) fn is_agreeing(&self) -> bool {
        matches!(self.stage, InitStage::Agreeing(..))
    }

    pub(crate) fn handle_work(
        mut self: Box<Self>,
        shell: &mut Shell,
        done: WorkId,
        outcome: WorkOutcome,
        ctx: &mut Ctx<'_>,
    ) -> State {
        match (std::mem::replace(&mut self.stage, InitStage::Generating(done)), outcome) {
            (InitStage::Generating(work), WorkOutcome::Pair(pair)) if work == done => {
                self.send(shell, pair, ctx)
            }
            (InitStage::Agreeing(work, reply), WorkOutcome::Shared(shared)) if work == done => {
                self.authenticate(shell, *reply, &shared, ctx)
            }
            (InitStage::Agreeing(work, _), WorkOutcome::BadPublicValue) if work == done => {
                let group = self.group;
                self.fail(Failure::BadPublicValue(group), ctx)
            }
            (InitStage::Generating(work) | InitStage::Agreeing(work, _), WorkOutcome::Refused)
                if work == done =>
            {
                self.fail(Failure::Overloaded, ctx)
            }
            (stage, _) => {
                self.stage = stage;
                State::Initiating(self)
            }
        }
    }

    fn send(mut self: Box<Self>, shell: &mut Shell, pair: Box<KeyPair>, ctx: &mut Ctx<'_>) -> State {
        let mut payloads = Vec::new();
        // RFC 7296 section 2.6: the cookie "MUST be the first payload".
        if let Some(cookie) = &self.cookie {
            payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE, cookie.clone())));
        }
        payloads.push(Payload::SecurityAssociation(offer_ike(&self.config.ike_proposals, &[])));
        payloads.push(Payload::KeyExchange(KeyExchange {
            group: KeGroup(self.group.iana()),
            data: pair.public().to_vec(),
        }));
        payloads.push(Payload::Nonce(self.ni.clone()));
        let spis = (shell.spi_i, IkeSpi::ZERO);
        payloads.extend(natd::notifies(self.config.encapsulation, spis, shell.path, self.fake_nat));
        payloads.push(bare(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED));
        let Ok(request) = encode(&shell.request_header(ExchangeType::IKE_SA_INIT), &payloads) else {
            return self.fail(Failure::Abandoned, ctx);
        };
        let packets = vec![Arc::from(request.as_slice())];
        shell.send(&packets, shell.path, ctx);
        let (random, patience) = (ctx.core.random_u32(), self.config.dpd.timeout);
        shell.window.sent_request(packets, Exchange::IkeSaInit, patience, random, ctx.now);
        self.stage = InitStage::Sent { pair, request };
        State::Initiating(self)
    }

    pub(crate) fn handle(
        mut self: Box<Self>,
        shell: &mut Shell,
        message: Opened,
        ctx: &mut Ctx<'_>,
    ) -> State {
        let Ok(payloads) = &message.payloads else { return State::Initiating(self) };
        let body = Body(payloads);
        if !matches!(self.stage, InitStage::Sent { .. }) {
            return State::Initiating(self);
        }
        if body.sa().is_some() {
            self.doubt.hold(message);
            return self.weigh(shell, ctx);
        }
        let cookie = body.notify(NotifyType::COOKIE);
        if self.is_of_an_earlier_request() {
            if cookie.is_some() {
                self.doubt.one_refused();
            }
            return self.weigh(shell, ctx);
        }
        if let Some(cookie) = cookie {
            return self.retry_with_cookie(shell, &cookie.data, ctx);
        }
        match body.error() {
            Some(notify) => self.refused(shell, notify, ctx),
            None => self.fail(Failure::Misbehaved(Misbehaviour::MissingPayload), ctx),
        }
    }

    /// Goes on with an acceptance that answers the present request for certain; one in doubt has to prove itself.
    fn weigh(mut self: Box<Self>, shell: &mut Shell, ctx: &mut Ctx<'_>) -> State {
        if let Some(message) = self.doubt.settled() {
            return self.accept(shell, &message, ctx);
        }
        if self.doubt.is_open() && self.doubt.may_probe() {
            ctx.count(Counter::Doubted);
            shell.window.prove(STEP, PROOF, ctx.now);
            shell.repeat_request(ctx);
        }
        State::Initiating(self)
    }

    /// The request's whole time is over. With an answer that could not prove itself the dial begins anew: with another
    /// SPI its first request has no other beside it.
    pub(crate) fn give_up(
        mut self: Box<Self>,
        failure: Failure,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) -> State {
        if !self.doubt.is_open() {
            return self.fail(failure, ctx);
        }
        if self.before >= MAX_ANEW
            && let Some(message) = self.doubt.first()
        {
            return self.accept(shell, &message, ctx);
        }
        let config = ctx.connection(self.conn);
        let anew = config.and_then(|now| Self::start_after(self.before + 1, self.conn, now, shell.path, ctx));
        if let Some(sa) = anew {
            ctx.core.crosses.push_back(Cross::Spawn(Box::new(sa)));
        }
        State::Closed
    }

    /// A request sent several times brings several answers; those after the first say nothing of what was sent since.
    ///
    /// Obeying a second COOKIE would put two requests with different cookies under way. A responder may accept both,
    /// as two IKE SAs, and the AUTH of whichever is answered first would cover the other's octets (section 2.15).
    fn is_of_an_earlier_request(&mut self) -> bool {
        let owed = self.owed > 0;
        self.owed = self.owed.saturating_sub(1);
        owed
    }

    /// The present request is void, and one of its answers is here.
    fn start_over(&mut self, shell: &mut Shell) {
        self.retries += 1;
        self.owed = self.owed.saturating_add(shell.window.sent().saturating_sub(1));
        shell.window.restart();
    }

    /// RFC 7296 section 2.6: the same request again with the cookie first, "all other payloads unchanged".
    fn retry_with_cookie(mut self: Box<Self>, shell: &mut Shell, cookie: &[u8], ctx: &mut Ctx<'_>) -> State {
        // A cookie has 1 to 64 octets (section 2.6).
        if !(1..=64).contains(&cookie.len()) || self.retries >= MAX_RETRIES {
            return self.fail(Failure::Misbehaved(Misbehaviour::EndlessRetry), ctx);
        }
        self.doubt.add_earlier(shell.window.sent().saturating_sub(1));
        self.start_over(shell);
        self.cookie = Some(cookie.to_vec());
        match std::mem::replace(&mut self.stage, InitStage::Generating(WorkId(0))) {
            InitStage::Sent { pair, .. } => self.send(shell, pair, ctx),
            InitStage::Waiting | InitStage::Generating(_) | InitStage::Agreeing(..) => {
                State::Initiating(self)
            }
        }
    }

    fn refused(self: Box<Self>, shell: &mut Shell, notify: &Notify, ctx: &mut Ctx<'_>) -> State {
        let failure = match notify.kind {
            NotifyType::INVALID_KE_PAYLOAD => return self.retry_with_group(shell, notify, ctx),
            NotifyType::NO_PROPOSAL_CHOSEN => Failure::NoProposal(Box::new(NoProposal {
                exchange: Exchange::IkeSaInit,
                by_peer: true,
                ours: self.config.ike_proposals.iter().map(ToString::to_string).collect(),
                theirs: Vec::new(),
            })),
            NotifyType::INVALID_MAJOR_VERSION => Failure::WrongVersion { theirs: 1 },
            _ => refused(notify, Exchange::IkeSaInit),
        };
        self.fail(failure, ctx)
    }

    /// RFC 7296 section 1.2: the initiator retries with the group the responder named, if it offered that.
    fn retry_with_group(mut self: Box<Self>, shell: &mut Shell, notify: &Notify, ctx: &mut Ctx<'_>) -> State {
        let ours: Vec<Group> = self.config.ike_proposals.iter().flat_map(|one| one.groups.clone()).collect();
        let wanted = wanted_group(notify).unwrap_or(0);
        let group = Group::from_iana(wanted).filter(|group| ours.contains(group) && *group != self.group);
        let Some(group) = group else { return self.fail(Failure::InvalidKe { wanted, ours }, ctx) };
        if self.retries >= MAX_RETRIES {
            return self.fail(Failure::Misbehaved(Misbehaviour::EndlessRetry), ctx);
        }
        self.start_over(shell);
        self.doubt.clear();
        self.group = group;
        self.generate(shell, ctx);
        State::Initiating(self)
    }

    fn accept(mut self: Box<Self>, shell: &mut Shell, message: &Opened, ctx: &mut Ctx<'_>) -> State {
        let Ok(payloads) = &message.payloads else { return State::Initiating(self) };
        let body = Body(payloads);
        let (Some(sa), Some(ke), Some(nr)) = (body.sa(), body.ke(), body.nonce()) else {
            return self.fail(Failure::Misbehaved(Misbehaviour::MissingPayload), ctx);
        };
        let spi_r = message.header.responder_spi;
        let chosen = check_ike(sa, &self.config.ike_proposals);
        let Some((suite, _)) =
            chosen.filter(|(suite, _)| suite.group == self.group && ke.group.0 == self.group.iana())
        else {
            return self.fail(Failure::Misbehaved(Misbehaviour::SuiteNotOffered), ctx);
        };
        if spi_r.is_zero() {
            return self.fail(Failure::Misbehaved(Misbehaviour::BadField), ctx);
        }
        let InitStage::Sent { pair, request } =
            std::mem::replace(&mut self.stage, InitStage::Generating(WorkId(0)))
        else {
            return State::Initiating(self);
        };
        shell.window.finish();
        shell.spi_r = spi_r;
        let nat = natd::detect(self.config.encapsulation, (shell.spi_i, spi_r), shell.path, body.0);
        let reply = Reply {
            request,
            response: message.raw.clone(),
            suite,
            nr: nr.clone(),
            nat,
            fragments: body.has(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
            vendors: body.vendors(),
        };
        let work = ctx.core.work(shell.id, Work::Agree { pair, peer: ke.data.clone() });
        self.stage = InitStage::Agreeing(work, Box::new(reply));
        State::Initiating(self)
    }

    fn authenticate(self, shell: &mut Shell, reply: Reply, shared: &Secret, ctx: &mut Ctx<'_>) -> State {
        let with = Ingredients { ni: &self.ni, nr: &reply.nr, spi_i: shell.spi_i, spi_r: shell.spi_r };
        let seed = SkeySeed::first(reply.suite, shared, &with);
        let Ok(keys) = seed.expand(Role::Initiator, &with, ctx.core.random()) else {
            return self.fail(Failure::Abandoned, ctx);
        };
        // RFC 7296 section 2.23: with a translator found, all goes to port 4500 from here on.
        if reply.nat.found() {
            shell.path = shell.path.floated();
        }
        let dial = auth::Dial { conn: self.conn, config: self.config, alone: self.alone, ni: self.ni };
        auth::start(shell, dial, reply, keys, ctx)
    }

    fn fail(&self, failure: Failure, ctx: &mut Ctx<'_>) -> State {
        ctx.failed(self.conn, failure);
        State::Closed
    }
}
