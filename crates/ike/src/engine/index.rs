//! Where each IKE SA stands, noted after each of its steps, so that nobody has to look at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use crate::config::ConnId;
use crate::event::{ChildId, IkeId};
use crate::sa::{IkeSa, Up};

/// Found by what they are asked for.
#[derive(Default)]
pub(crate) struct Index {
    entries: BTreeMap<IkeId, Entry>,
    conns: BTreeMap<ConnId, BTreeSet<IkeId>>,
    due: BTreeSet<(Instant, IkeId)>,
    /// By the SPI of packets to us.
    children: BTreeMap<u32, IkeId>,
    /// IKE SAs we answer, by remote address and the initiator's SPI: tells repeats of IKE_SA_INIT.
    inits: BTreeMap<(IpAddr, u64), IkeId>,
    /// Connections that lost an IKE SA since that was last asked.
    bereft: BTreeSet<ConnId>,
}

/// What was last noted of one.
#[derive(Default)]
struct Entry {
    conn: Option<ConnId>,
    due: Option<Instant>,
    spis: Vec<u32>,
    fallback: Option<ChildId>,
    init: Option<(IpAddr, u64)>,
}

impl Index {
    /// Notes where it stands now.
    pub(super) fn note(&mut self, sa: &IkeSa) {
        let ike = sa.id();
        let entry = self.entries.entry(ike).or_default();
        let (conn, due) = (sa.conn(), sa.next_timeout());
        if entry.conn != conn {
            leave(&mut self.conns, &mut self.bereft, entry.conn, ike);
            if let Some(conn) = conn {
                self.conns.entry(conn).or_default().insert(ike);
            }
            entry.conn = conn;
        }
        if entry.due != due {
            entry.due.iter().for_each(|at| _ = self.due.remove(&(*at, ike)));
            self.due.extend(due.map(|at| (at, ike)));
            entry.due = due;
        }
        let spis = || sa.up().into_iter().flat_map(|up| up.children.values().map(|child| child.spi_in));
        if !entry.spis.iter().copied().eq(spis()) {
            forget_spis(&mut self.children, &entry.spis, ike);
            entry.spis = spis().collect();
            self.children.extend(entry.spis.iter().map(|spi| (*spi, ike)));
        }
        entry.fallback = sa.up().and_then(Up::fallback).map(|child| child.id);
    }

    /// It answers this IKE_SA_INIT.
    pub(super) fn note_init(&mut self, ike: IkeId, init: (IpAddr, u64)) {
        self.entries.entry(ike).or_default().init = Some(init);
        self.inits.insert(init, ike);
    }

    pub(super) fn forget(&mut self, ike: IkeId) {
        let Some(entry) = self.entries.remove(&ike) else { return };
        leave(&mut self.conns, &mut self.bereft, entry.conn, ike);
        entry.due.iter().for_each(|at| _ = self.due.remove(&(*at, ike)));
        forget_spis(&mut self.children, &entry.spis, ike);
        if let Some(init) = entry.init {
            self.inits.remove(&init);
        }
    }

    /// The connection's, oldest first.
    pub(super) fn of(&self, conn: ConnId) -> impl Iterator<Item = IkeId> + '_ {
        self.conns.get(&conn).into_iter().flatten().copied()
    }

    /// The one that answers this IKE_SA_INIT.
    pub(super) fn answering(&self, init: (IpAddr, u64)) -> Option<IkeId> {
        self.inits.get(&init).copied()
    }

    /// The one whose CHILD SA packets with this SPI come in on.
    pub(super) fn with_child(&self, spi_in: u32) -> Option<IkeId> {
        self.children.get(&spi_in).copied()
    }

    /// When the first of them is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Those that are due, oldest first.
    pub(super) fn due(&self, now: Instant) -> BTreeSet<IkeId> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, ike)| *ike).collect()
    }

    /// A connection that lost an IKE SA, whatever became of it, since this was last asked.
    pub(super) fn pop_bereft(&mut self) -> Option<ConnId> {
        self.bereft.pop_first()
    }

    /// The newest CHILD SA in use of the connection. A peer that authenticates anew before it lets its old IKE SA go makes
    /// one that takes over from it.
    pub(crate) fn newest_child(&self, conn: ConnId) -> Option<ChildId> {
        self.of(conn).filter_map(|ike| self.entries.get(&ike)?.fallback).max()
    }
}

fn leave(
    conns: &mut BTreeMap<ConnId, BTreeSet<IkeId>>,
    bereft: &mut BTreeSet<ConnId>,
    conn: Option<ConnId>,
    ike: IkeId,
) {
    let Some(conn) = conn else { return };
    bereft.insert(conn);
    if let Some(all) = conns.get_mut(&conn) {
        all.remove(&ike);
        if all.is_empty() {
            conns.remove(&conn);
        }
    }
}

/// A successor that inherited them may have noted them already.
fn forget_spis(children: &mut BTreeMap<u32, IkeId>, spis: &[u32], ike: IkeId) {
    for spi in spis {
        if children.get(spi) == Some(&ike) {
            children.remove(spi);
        }
    }
}
