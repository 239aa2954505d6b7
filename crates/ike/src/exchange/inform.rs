//! INFORMATIONAL (RFC 7296 section 1.4): deletion, liveness, pushed configuration, both as initiator and responder.

use ike_wire::{
    ConfigAttribute, ConfigType, Configuration, Delete, ExchangeType, Header, NotifyType, Payload, ProtocolId,
};

use super::body::Body;
use crate::child::{Child, ChildPhase};
use crate::config::Path;
use crate::core::{Cross, Ctx};
use crate::event::{ChildId, DownReason, Note, Role};
use crate::failure::{Exchange, Failure};
use crate::sa::{Phase, Shell, State, Task, Up, Want};

impl Up {
    /// The peer's request. An answer there always is, and nearly always an empty one.
    pub(crate) fn answer_inform(
        mut self: Box<Self>,
        body: Body<'_>,
        header: Header,
        path: Path,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) -> State {
        let lost = body.has(NotifyType::AUTHENTICATION_FAILED);
        if lost || body.deletes().any(|delete| delete.protocol == ProtocolId::IKE) {
            shell.answer(&mut self.channel, &header, path, &[], ctx);
            return self.ended_by_peer(lost, shell, ctx);
        }
        let mut answer = Vec::new();
        for delete in body.deletes().filter(|delete| delete.protocol == ProtocolId::ESP) {
            let spis = self.deleted_by_peer(delete, ctx);
            if !spis.is_empty() {
                answer.push(Payload::Delete(Delete::esp(spis)));
            }
        }
        if let Some(configuration) = body.configuration() {
            answer.extend(self.answer_configuration(configuration, ctx));
        }
        self.note_unknown(body, ctx);
        shell.answer(&mut self.channel, &header, path, &answer, ctx);
        self.proceed(shell, ctx);
        State::Up(self)
    }

    /// RFC 7296 section 1.4.1; with AUTHENTICATION_FAILED the peer tells that our proof did not convince it
    /// (section 2.21.2).
    fn ended_by_peer(mut self: Box<Self>, lost: bool, shell: &mut Shell, ctx: &mut Ctx<'_>) -> State {
        if let Some(rekey) = self.peer_rekey.take() {
            // RFC 7296 section 2.25.2: the peer has the successor it asked for, and ends this one.
            self.adopt(rekey.new, Role::Responder, shell, ctx);
            ctx.core.crosses.push_back(Cross::Linger { ike: shell.id });
            return State::Up(self);
        }
        let reason = if lost { DownReason::PeerLost } else { DownReason::PeerDeleted };
        if lost {
            let expected = Some(self.remote_id.clone());
            ctx.failed(self.conn, Failure::AuthenticationFailed { by_peer: true, claimed: None, expected });
        }
        self.close(shell, reason, ctx);
        shell.linger(ctx);
        State::Lingering(Box::new(self.channel))
    }

    /// RFC 7296 section 1.4.1: the peer names the SPIs of packets to it; the answer names those of packets to us, but
    /// not of CHILD SAs that we are deleting ourselves.
    fn deleted_by_peer(&mut self, delete: &Delete, ctx: &mut Ctx<'_>) -> Vec<u32> {
        let mut spis = Vec::new();
        for spi in &delete.spis {
            let Some((id, child)) = self.children.iter().find(|(_, child)| child.spi_out == *spi) else {
                self.note_gone(*spi);
                continue;
            };
            let (id, spi_in, phase, linger) = (*id, child.spi_in, child.phase, child.linger);
            let reason = match phase {
                ChildPhase::Installed | ChildPhase::Rekeying if self.is_redundant(id) => {
                    DownReason::Redundant
                }
                ChildPhase::Installed | ChildPhase::Rekeying => DownReason::PeerDeleted,
                ChildPhase::Replaced => DownReason::Rekeyed,
                ChildPhase::Closing(reason) => reason,
            };
            let ours_in_flight = matches!(&self.task, Some(Task::DeleteChild(child)) if *child == id);
            if !ours_in_flight {
                spis.push(spi_in);
            }
            self.remove_child(id, reason, linger, ctx);
        }
        spis
    }

    /// One of the CHILD SAs a collision made, with another that goes on.
    fn is_redundant(&self, id: ChildId) -> bool {
        let Some(one) = self.children.get(&id).filter(|child| child.soft.is_some()) else { return false };
        let goes_on =
            |other: &Child| other.id != id && other.is_installed() && other.resource == one.resource;
        self.children.values().any(goes_on)
    }

    /// RFC 7296 section 3.15: CFG_SET is acknowledged with the attributes at zero length; nothing of it is used.
    fn answer_configuration(&self, pushed: &Configuration, ctx: &mut Ctx<'_>) -> Option<Payload> {
        let kind = match pushed.kind {
            ConfigType::CFG_SET => ConfigType::CFG_ACK,
            ConfigType::CFG_REQUEST => ConfigType::CFG_REPLY,
            _ => return None,
        };
        ctx.note(Note::ConfigurationPushed { conn: self.conn, attributes: pushed.attributes.len() });
        let empty = |one: &ConfigAttribute| ConfigAttribute { kind: one.kind, value: Vec::new() };
        let attributes = match kind {
            ConfigType::CFG_ACK => pushed.attributes.iter().map(empty).collect(),
            _ => Vec::new(),
        };
        Some(Payload::Configuration(Configuration { kind, attributes }))
    }

    fn note_unknown(&self, body: Body<'_>, ctx: &mut Ctx<'_>) {
        for notify in body.notifies().filter(|notify| notify.kind.name().is_none()).take(4) {
            let data = notify.data.iter().take(16).copied().collect();
            ctx.note(Note::UnknownNotify { conn: self.conn, kind: notify.kind.0, data });
        }
    }

    /// Sends our Delete of a CHILD SA.
    pub(crate) fn start_delete_child(&mut self, child: ChildId, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let Some(spi_in) = self.children.get(&child).map(|child| child.spi_in) else { return };
        self.send_inform(&[Payload::Delete(Delete::esp(vec![spi_in]))], shell, ctx);
        self.task = Some(Task::DeleteChild(child));
    }

    /// Sends our Delete of the IKE SA.
    pub(crate) fn start_delete_ike(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        self.send_inform(&[Payload::Delete(Delete::ike())], shell, ctx);
        self.task = Some(Task::DeleteIke);
    }

    /// RFC 7296 section 2.4: an empty request, to see whether the peer answers.
    pub(crate) fn start_liveness(&mut self, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        self.send_inform(&[], shell, ctx);
        self.task = Some(Task::Liveness);
    }

    fn send_inform(&mut self, payloads: &[Payload], shell: &mut Shell, ctx: &mut Ctx<'_>) {
        let exchange = (ExchangeType::INFORMATIONAL, Exchange::Informational);
        let patience = self.config.dpd.timeout;
        shell.request(&mut self.channel, exchange, payloads, patience, ctx);
    }

    /// The peer confirmed our Delete of a CHILD SA.
    pub(crate) fn child_deleted(&mut self, child: ChildId, ctx: &mut Ctx<'_>) {
        let Some(known) = self.children.get(&child) else { return };
        let (linger, reason) = match known.phase {
            ChildPhase::Closing(reason) => (known.linger, reason),
            ChildPhase::Installed | ChildPhase::Rekeying | ChildPhase::Replaced => {
                (known.linger, DownReason::Commanded)
            }
        };
        self.remove_child(child, reason, linger, ctx);
    }

    /// Ends the IKE SA: events at once, then our Delete, and no patience with anything else.
    pub(crate) fn delete_ike(&mut self, reason: DownReason, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        if self.phase == Phase::Deleting {
            return;
        }
        self.tell_down(reason, ctx);
        self.tell_ike_down(shell.id, reason, ctx);
        self.phase = Phase::Deleting;
        self.wants.clear();
        self.put_off.clear();
        self.drop_task(shell, ctx);
        self.refuse_served(shell, ctx);
        shell.timers.stop_all();
        self.want(Want::DeleteIke, shell, ctx);
    }
}
