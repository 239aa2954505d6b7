//! What views may ask.

use super::Engine;
use crate::config::{ConnId, Connection};
use crate::sa::IkeSa;
use crate::status::{ChildStatus, IkeStatus};

impl Engine {
    /// The connection's IKE SAs that are up or being made, oldest first.
    #[must_use]
    pub fn ike_status(&self, conn: ConnId) -> Vec<IkeStatus> {
        self.sas_of(conn).filter_map(IkeSa::status).collect()
    }

    /// The connection's CHILD SAs, oldest first.
    #[must_use]
    pub fn child_status(&self, conn: ConnId) -> Vec<ChildStatus> {
        let mut list: Vec<_> = self.sas_of(conn).flat_map(IkeSa::child_status).collect();
        list.sort_by_key(|status| status.child);
        list
    }

    /// The connection as the engine holds it.
    #[must_use]
    pub fn connection(&self, conn: ConnId) -> Option<&Connection> {
        self.connections.get(&conn).map(AsRef::as_ref)
    }

    /// IKE SAs being answered that have not authenticated.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.rooms.len()
    }

    /// At most so many are, whatever anybody sends: [`Limits::half_open`](crate::Limits::half_open), and one for each
    /// connection whose peer may be anywhere; and for each address that connections name, two for each of these and
    /// [`Limits::half_open_per_address`](crate::Limits::half_open_per_address).
    #[must_use]
    pub fn half_open_bound(&self) -> usize {
        super::rooms::bound(&self.connections, &self.core.limits)
    }

    /// A connection that lost an IKE SA, whatever became of that one, since this was last asked. For the owner that waits
    /// for what it dialled: not every end of a dial is an [`Event`](crate::Event), one by command is none.
    pub fn poll_bereft(&mut self) -> Option<ConnId> {
        self.index.pop_bereft()
    }

    fn sas_of(&self, conn: ConnId) -> impl Iterator<Item = &IkeSa> {
        self.index.of(conn).filter_map(|ike| self.sas.get(&ike))
    }

    /// All IKE SAs held, those kept only to repeat a last answer included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.sas.len()
    }
}

#[cfg(test)]
impl Engine {
    /// Sends a request of a test's own making on the connection's IKE SA in use.
    pub(crate) fn inject(
        &mut self,
        conn: ConnId,
        exchange: ike_wire::ExchangeType,
        payloads: &[ike_wire::Payload],
        now: std::time::Instant,
    ) {
        let ike =
            self.of(conn).into_iter().find(|ike| self.sas.get(ike).is_some_and(IkeSa::is_current)).unwrap();
        self.with(ike, now, |sa, ctx| {
            let crate::sa::State::Up(up) = &mut sa.state else { panic!("not up") };
            let patience = std::time::Duration::from_secs(10);
            let kind = (exchange, crate::Exchange::Informational);
            sa.shell.request(&mut up.channel, kind, payloads, patience, ctx);
            up.task = Some(crate::sa::Task::Liveness);
        });
    }

    /// Lets the connection's IKE SA in use ask for further CHILD SAs now, whatever pause it was to make.
    pub(crate) fn ask_for_resources(&mut self, conn: ConnId, now: std::time::Instant) {
        self.each_current(conn, now, |sa, ctx| {
            let crate::sa::State::Up(up) = &mut sa.state else { return };
            if let Some(pool) = &mut up.pool {
                pool.not_before = ctx.now;
            }
            up.want(crate::sa::Want::AddChild, &mut sa.shell, ctx);
        });
    }

    /// SPIs for packets to us that are in use.
    pub(crate) fn esp_spis(&self) -> usize {
        self.core.esp_spis_in_use()
    }

    /// What a datagram to this engine says, nothing being changed by looking.
    pub(crate) fn look(&self, datagram: &[u8]) -> Vec<ike_wire::Payload> {
        let outer = ike_wire::parse_outer(datagram).unwrap();
        let Some(protected) = outer.protected else { return outer.payloads };
        let body = self
            .sas
            .values()
            .filter_map(IkeSa::up)
            .find_map(|up| up.channel.crypt.open(&outer, datagram))
            .expect("no IKE SA opens it");
        ike_wire::parse_chain(protected.first, &body).unwrap()
    }
}
