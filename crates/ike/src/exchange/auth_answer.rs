//! IKE_AUTH as responder (RFC 7296 section 1.2): which connection the peer belongs to, and whether it proves it.

use std::sync::Arc;

use crypto::Secret;
use ike_wire::{ExchangeType, Identification, NotifyType, Payload};

use super::body::{Body, bare};
use super::child_answer::{self, Answer};
use crate::auth::{Authenticated, Signed};
use crate::child::Agreed;
use crate::config::{ConnId, Connection};
use crate::cookie::Forms;
use crate::core::{Cross, Ctx};
use crate::counters::Counter;
use crate::engine::Door;
use crate::event::{Nat, Note, Role};
use crate::exchange::auth::{is_peer, our_identity, peer_identity};
use crate::failure::{Exchange, Failure, Misbehaviour};
use crate::identity::Identity;
use crate::keys::DeriveKey;
use crate::negotiate::Pfs;
use crate::proposal::{IkeProposal, IkeSuite};
use crate::resource::Resource;
use crate::sa::{Channel, Opened, Shell, State, Up, UpParts};

/// IKE_SA_INIT is answered.
pub(crate) struct HalfOpen {
    /// The connections it may be for.
    pub(crate) door: Arc<Door>,
    pub(crate) suite: IkeSuite,
    pub(crate) channel: Channel,
    pub(crate) derive: DeriveKey,
    pub(crate) pi: Secret,
    pub(crate) pr: Secret,
    /// The initiator's IKE_SA_INIT, one form of which its proof covers.
    pub(crate) request: Forms,
    /// Ours, which our proof covers.
    pub(crate) response: Vec<u8>,
    pub(crate) ni: Vec<u8>,
    pub(crate) nr: Vec<u8>,
    pub(crate) nat: Nat,
    pub(crate) vendors: Vec<String>,
}

/// The connection a peer proved to belong to.
struct Match {
    conn: ConnId,
    config: Arc<Connection>,
    proof: Authenticated,
}

impl HalfOpen {
    pub(crate) fn handle(
        mut self: Box<Self>,
        shell: &mut Shell,
        message: Opened,
        ctx: &mut Ctx<'_>,
    ) -> State {
        if message.header.flags.response || message.header.exchange != ExchangeType::IKE_AUTH {
            ctx.count(Counter::Unexpected);
            return State::HalfOpen(self);
        }
        // RFC 7296 section 2.23: the initiator may have moved to port 4500; answers follow it.
        shell.path = message.path;
        shell.window.accept();
        let payloads = match &message.payloads {
            Ok(payloads) => payloads,
            Err(error) => {
                ctx.count(Counter::BadBody);
                let notify = Payload::Notify(error.notify());
                shell.answer(&mut self.channel, &message.header, message.path, &[notify], ctx);
                return self.linger(shell, ctx);
            }
        };
        let body = Body(payloads);
        let (Some(id), Some(auth)) = (body.id_i(), body.auth()) else {
            return self.refuse(
                shell,
                &message,
                None,
                Failure::Misbehaved(Misbehaviour::MissingPayload),
                ctx,
            );
        };
        let claimed = Identity::from_wire(id);
        let admitted = self.admitted(shell, &claimed, body.id_r(), ctx);
        let matched = admitted.iter().find_map(|(conn, config)| {
            let signed =
                |message| Signed { prf: self.suite.prf, message, nonce: &self.nr, sk_p: &self.pi, id };
            let mut forms = self.request.iter();
            let proof = forms.find_map(|form| signed(form).verify(&config.psk_remote, auth))?;
            Some(Match { conn: *conn, config: Arc::clone(config), proof })
        });
        match matched {
            Some(matched) => self.establish(shell, &message, body, claimed, matched, ctx),
            None => {
                let expected = self.expected(shell, ctx);
                let claimed = Some(claimed);
                let failure =
                    Failure::AuthenticationFailed { by_peer: false, claimed: claimed.clone(), expected };
                self.refuse(shell, &message, claimed, failure, ctx)
            }
        }
    }

    /// The candidates whose identities and suites fit.
    fn admitted(
        &self,
        shell: &Shell,
        claimed: &Identity,
        wanted: Option<&Identification>,
        ctx: &Ctx<'_>,
    ) -> Vec<(ConnId, Arc<Connection>)> {
        let wanted = wanted.map(Identity::from_wire);
        let suite = IkeProposal::only(&self.suite);
        let allows = |config: &Connection| {
            config.ike_proposals.iter().any(|one| {
                suite.encr.iter().all(|word| one.encr.contains(word))
                    && suite.integ.iter().all(|word| one.integ.contains(word))
                    && suite.prf.iter().all(|word| one.prf.contains(word))
                    && suite.groups.iter().all(|word| one.groups.contains(word))
            })
        };
        let candidates = &self.door.candidates;
        candidates
            .iter()
            .filter_map(|conn| Some((*conn, ctx.connection(*conn)?)))
            .filter(|(_, config)| is_peer(config, shell, claimed) && allows(config))
            .filter(|(_, config)| wanted.as_ref().is_none_or(|id| our_identity(config, shell).matches(id)))
            .collect()
    }

    /// The identity we would have accepted, where only one connection is concerned.
    fn expected(&self, shell: &Shell, ctx: &Ctx<'_>) -> Option<Identity> {
        let [only] = self.door.candidates.as_slice() else { return None };
        ctx.connection(*only).map(|config| peer_identity(&config, shell))
    }

    /// RFC 7296 section 2.21.2: AUTHENTICATION_FAILED, and no more than that.
    fn refuse(
        mut self: Box<Self>,
        shell: &mut Shell,
        message: &Opened,
        claimed: Option<Identity>,
        failure: Failure,
        ctx: &mut Ctx<'_>,
    ) -> State {
        ctx.count(Counter::AuthenticationFailed);
        let answer = [bare(NotifyType::AUTHENTICATION_FAILED)];
        shell.answer(&mut self.channel, &message.header, message.path, &answer, ctx);
        if let [only] = self.door.candidates.as_slice() {
            ctx.failed(*only, failure.clone());
        }
        ctx.core.note_stranger(Note::Refused { remote: message.path.remote, claimed, failure }, ctx.now);
        self.linger(shell, ctx)
    }

    fn linger(self: Box<Self>, shell: &mut Shell, ctx: &Ctx<'_>) -> State {
        shell.linger(ctx);
        State::Lingering(Box::new(self.channel))
    }

    fn establish(
        self: Box<Self>,
        shell: &mut Shell,
        message: &Opened,
        body: Body<'_>,
        remote_id: Identity,
        matched: Match,
        ctx: &mut Ctx<'_>,
    ) -> State {
        let Self { suite, channel, derive, pr, response, ni, nr, nat, vendors, .. } = *self;
        let Match { conn, config, proof } = matched;
        let local_id = our_identity(&config, shell);
        let id = local_id.to_wire();
        let signed = Signed { prf: suite.prf, message: &response, nonce: &ni, sk_p: &pr, id: &id };
        let auth = signed.prove(&config.psk_local);
        let mut payloads = vec![Payload::IdResponder(id.clone()), Payload::Authentication(auth)];
        let parts = UpParts {
            conn,
            config: Arc::clone(&config),
            channel,
            derive,
            suite,
            nat,
            local_id,
            remote_id,
            vendors,
        };
        let mut up = Box::new(Up::new(parts, &proof, shell, ctx));
        up.announce(shell, ctx);
        let initial_contact = body.has(NotifyType::INITIAL_CONTACT);
        ctx.core.crosses.push_back(Cross::Established { ike: shell.id, conn, initial_contact });
        // The one it makes takes over from the one there is, unless it remembers nothing of that.
        let replaces = ctx.index.newest_child(conn).filter(|_| !initial_contact);
        match child_answer::consider(&config, body, Pfs::Auth, Exchange::IkeAuth) {
            Ok(considered) => {
                match up.derive.child(considered.choice.suite, None, (&ni, &nr), Role::Responder) {
                    Some(keys) => {
                        let spi_in = ctx.core.esp_spi(conn, Resource::ANY);
                        let Answer { payloads: answer, agreed } = considered.answer(spi_in, None, None);
                        payloads.extend(answer);
                        let spoke = agreed.peer_resource.is_some() && config.resource_sas.get() > 1;
                        payloads.extend(spoke.then(|| Resource::ANY.notify()));
                        let agreed = Agreed {
                            spi_in,
                            answer: agreed,
                            keys,
                            role: Role::Responder,
                            replaces,
                            resource: Resource::ANY,
                        };
                        up.install(agreed, shell, ctx);
                    }
                    None => payloads.push(bare(NotifyType::TEMPORARY_FAILURE)),
                }
            }
            // RFC 7296 section 1.2: the IKE SA stays although its first CHILD SA failed.
            Err(refusal) => {
                payloads.push(refusal.notify);
                if let Some(failure) = refusal.failure {
                    ctx.failed(conn, failure);
                }
            }
        }
        shell.answer(&mut up.channel, &message.header, message.path, &payloads, ctx);
        up.proceed(shell, ctx);
        State::Up(up)
    }
}
