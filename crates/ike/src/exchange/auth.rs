//! IKE_AUTH as initiator (RFC 7296 section 1.2): identities, proofs, and the first CHILD SA.

use std::sync::Arc;
use std::time::Duration;

use crypto::Secret;
use ike_wire::{ExchangeType, Identification, NotifyType, Payload};

use super::body::{Body, bare, refused};
use crate::auth::Signed;
use crate::child::{Agreed, ChildOffer};
use crate::config::{ConnId, Connection};
use crate::core::{Cross, Ctx};
use crate::counters::Counter;
use crate::event::{DownReason, Nat, Role};
use crate::exchange::init::Reply;
use crate::failure::{Exchange, Failure, Misbehaviour};
use crate::identity::Identity;
use crate::keys::{DeriveKey, FreshKeys};
use crate::negotiate::Pfs;
use crate::proposal::IkeSuite;
use crate::resource::Resource;
use crate::sa::{Channel, Opened, Shell, State, Up, UpParts};

/// Our IKE_AUTH under way.
pub(crate) struct Authenticating {
    pub(crate) conn: ConnId,
    pub(crate) config: Arc<Connection>,
    pub(crate) channel: Channel,
    derive: DeriveKey,
    /// SK_pr, to check the responder's proof.
    pr: Secret,
    pub(crate) suite: IkeSuite,
    pub(crate) nat: Nat,
    pub(crate) vendors: Vec<String>,
    /// The responder's IKE_SA_INIT, which its proof covers.
    response: Vec<u8>,
    ni: Vec<u8>,
    nr: Vec<u8>,
    pub(crate) local_id: Identity,
    pub(crate) offer: ChildOffer,
    /// Given up by now. The peer may have taken our proof already: its answer is waited for, to end what it made.
    pub(crate) leaving: Option<DownReason>,
}

/// Who we say we are on this path.
pub(crate) fn our_identity(config: &Connection, shell: &Shell) -> Identity {
    config.local_id.clone().unwrap_or_else(|| Identity::from_address(shell.path.local.ip()))
}

/// Who the peer must prove to be on this path.
pub(crate) fn peer_identity(config: &Connection, shell: &Shell) -> Identity {
    config.remote_id.clone().unwrap_or_else(|| Identity::from_address(shell.path.remote.ip()))
}

/// Must the peer on this path prove to be this one?
pub(crate) fn is_peer(config: &Connection, shell: &Shell, claimed: &Identity) -> bool {
    match &config.remote_id {
        Some(id) => id.matches(claimed),
        None => Identity::from_address(shell.path.remote.ip()).matches(claimed),
    }
}

/// What IKE_SA_INIT hands on.
pub(crate) struct Dial {
    pub(crate) conn: ConnId,
    pub(crate) config: Arc<Connection>,
    /// No other IKE SA stands between the same two identities.
    pub(crate) alone: bool,
    pub(crate) ni: Vec<u8>,
}

/// Sends the request.
pub(crate) fn start(
    shell: &mut Shell,
    dial: Dial,
    reply: Reply,
    keys: FreshKeys,
    ctx: &mut Ctx<'_>,
) -> State {
    let Dial { conn, config, alone, ni } = dial;
    let local_id = our_identity(&config, shell);
    let id: Identification = local_id.to_wire();
    let signed =
        Signed { prf: reply.suite.prf, message: &reply.request, nonce: &reply.nr, sk_p: &keys.pi, id: &id };
    let auth = signed.prove(&config.psk_local);
    let offer = ChildOffer::first(conn, &config, Resource::ANY, ctx);
    let mut payloads = vec![Payload::IdInitiator(id)];
    if alone {
        payloads.push(bare(NotifyType::INITIAL_CONTACT));
    }
    if let Some(remote_id) = &config.remote_id {
        payloads.push(Payload::IdResponder(remote_id.to_wire()));
    }
    payloads.push(Payload::Authentication(auth));
    payloads.extend(offer.payloads(false));
    // RFC 9611 section 3: said in the exchange that makes the first CHILD SA.
    payloads.extend((config.resource_sas.get() > 1).then(|| Resource::ANY.notify()));
    let mut channel = Channel::new(keys.crypt, reply.fragments);
    let exchange = (ExchangeType::IKE_AUTH, Exchange::IkeAuth);
    shell.request(&mut channel, exchange, &payloads, config.dpd.timeout, ctx);
    State::Authenticating(Box::new(Authenticating {
        conn,
        config,
        channel,
        derive: keys.derive,
        pr: keys.pr,
        suite: reply.suite,
        nat: reply.nat,
        vendors: reply.vendors,
        response: reply.response,
        ni,
        nr: reply.nr,
        local_id,
        offer,
        leaving: None,
    }))
}

impl Authenticating {
    pub(crate) fn handle(self: Box<Self>, shell: &mut Shell, message: Opened, ctx: &mut Ctx<'_>) -> State {
        if !message.header.flags.response || message.header.exchange != ExchangeType::IKE_AUTH {
            ctx.count(Counter::Unexpected);
            return State::Authenticating(self);
        }
        shell.window.finish();
        let Ok(payloads) = &message.payloads else {
            ctx.count(Counter::BadBody);
            return self.fail(Failure::Misbehaved(Misbehaviour::Malformed), ctx);
        };
        let body = Body(payloads);
        let (Some(id), Some(auth)) = (body.id_r(), body.auth()) else {
            let failure = match body.error() {
                Some(notify) if notify.kind == NotifyType::AUTHENTICATION_FAILED => {
                    ctx.count(Counter::AuthenticationFailed);
                    let expected = Some(peer_identity(&self.config, shell));
                    Failure::AuthenticationFailed { by_peer: true, claimed: None, expected }
                }
                Some(notify) => refused(notify, Exchange::IkeAuth),
                None => Failure::Misbehaved(Misbehaviour::MissingPayload),
            };
            return self.fail(failure, ctx);
        };
        let claimed = Identity::from_wire(id);
        let expected = peer_identity(&self.config, shell);
        let signed =
            Signed { prf: self.suite.prf, message: &self.response, nonce: &self.ni, sk_p: &self.pr, id };
        let proof = signed.verify(&self.config.psk_remote, auth);
        match (proof.filter(|_| claimed.matches(&expected)), self.leaving) {
            (Some(proof), None) => self.establish(shell, body, claimed, &proof, ctx),
            (Some(proof), Some(reason)) => self.leave(shell, claimed, &proof, reason, ctx),
            (None, _) => self.refuse(shell, claimed, expected, ctx),
        }
    }

    /// The owner gave this dial up.
    pub(crate) fn give_up(&mut self, reason: DownReason, shell: &mut Shell, ctx: &Ctx<'_>) {
        self.leaving = Some(reason);
        shell.window.give_up_by(ctx.now + FAREWELL);
    }

    /// Up at the peer and given up here: nobody hears of it but the peer, with a DELETE.
    fn leave(
        self: Box<Self>,
        shell: &mut Shell,
        remote_id: Identity,
        proof: &crate::auth::Authenticated,
        reason: DownReason,
        ctx: &mut Ctx<'_>,
    ) -> State {
        let Self { conn, config, channel, derive, suite, nat, vendors, local_id, offer, .. } = *self;
        ctx.core.free_esp_spi(offer.spi_in);
        let parts = UpParts { conn, config, channel, derive, suite, nat, local_id, remote_id, vendors };
        let mut up = Box::new(Up::new(parts, proof, shell, ctx));
        up.told = true;
        up.delete_ike(reason, shell, ctx);
        State::Up(up)
    }

    /// RFC 7296 section 2.21.2: the responder thinks it is up, so it is told in an exchange of its own.
    fn refuse(
        mut self: Box<Self>,
        shell: &mut Shell,
        claimed: Identity,
        expected: Identity,
        ctx: &mut Ctx<'_>,
    ) -> State {
        ctx.count(Counter::AuthenticationFailed);
        let exchange = (ExchangeType::INFORMATIONAL, Exchange::Informational);
        let payloads = [bare(NotifyType::AUTHENTICATION_FAILED)];
        shell.request(&mut self.channel, exchange, &payloads, FAREWELL, ctx);
        ctx.core.free_esp_spi(self.offer.spi_in);
        if self.leaving.is_none() {
            let (claimed, expected) = (Some(claimed), Some(expected));
            ctx.failed(self.conn, Failure::AuthenticationFailed { by_peer: false, claimed, expected });
        }
        State::Farewell(Box::new(self.channel))
    }

    fn establish(
        self: Box<Self>,
        shell: &mut Shell,
        body: Body<'_>,
        remote_id: Identity,
        proof: &crate::auth::Authenticated,
        ctx: &mut Ctx<'_>,
    ) -> State {
        let Self { conn, config, channel, derive, suite, nat, vendors, ni, nr, local_id, offer, .. } = *self;
        let parts = UpParts { conn, config, channel, derive, suite, nat, local_id, remote_id, vendors };
        let mut up = Box::new(Up::new(parts, proof, shell, ctx));
        up.announce(shell, ctx);
        ctx.core.crosses.push_back(Cross::Established { ike: shell.id, conn, initial_contact: false });
        let concluded = offer.conclude(body, Pfs::Auth, Exchange::IkeAuth).and_then(|answer| {
            let keys = up.derive.child(answer.suite, None, (&ni, &nr), Role::Initiator);
            keys.map(|keys| (answer, keys)).ok_or(Failure::Abandoned)
        });
        match concluded {
            Ok((answer, keys)) => {
                let spi_in = offer.spi_in;
                let agreed = Agreed {
                    spi_in,
                    answer,
                    keys,
                    role: Role::Initiator,
                    replaces: None,
                    resource: Resource::ANY,
                };
                up.install(agreed, shell, ctx);
                up.proceed(shell, ctx);
            }
            Err(failure) => {
                ctx.core.free_esp_spi(offer.spi_in);
                let broken = matches!(failure, Failure::Misbehaved(_) | Failure::Abandoned);
                ctx.failed(conn, failure);
                if broken {
                    // The responder holds a CHILD SA that we cannot accept.
                    up.delete_ike(DownReason::Misbehaved, shell, ctx);
                }
            }
        }
        State::Up(up)
    }

    /// It came to nothing.
    pub(crate) fn fail(self: Box<Self>, failure: Failure, ctx: &mut Ctx<'_>) -> State {
        ctx.core.free_esp_spi(self.offer.spi_in);
        if self.leaving.is_none() {
            ctx.failed(self.conn, failure);
        }
        State::Closed
    }
}

/// How long a last word to a peer we do not trust is repeated.
const FAREWELL: Duration = Duration::from_secs(10);
