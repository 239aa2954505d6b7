//! BGP's connections: a small TCP.
//!
//! Segments are real packets that travel through the tunnels and are lost with them. What is here: the handshake,
//! cumulative acknowledgement, a fixed window, go-back-N with a doubling timer, FIN and RST. What is not: congestion
//! control, out-of-order queues, TIME-WAIT. A socket is bound to its tunnel's device, as the shell's are, so its
//! packets go into that tunnel or nowhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use gateway::{ConnId, ConnectError, Listener, TunnelId};

use super::packet::{Segment, tcp};

mod segments;

/// Octets of data in a segment.
const MSS: usize = 1000;
/// Octets under way at most.
const WINDOW: usize = 8 * MSS;
/// Octets the socket takes before they are acknowledged.
const SEND_BUFFER: usize = 64 * 1024;
const FIRST_RTO: Duration = Duration::from_millis(400);
const LONGEST_RTO: Duration = Duration::from_secs(60);
/// Linux: 6 SYN retransmissions, 15 of data.
const SYN_TRIES: u32 = 6;
const TRIES: u32 = 15;

/// What the gateway hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TcpEvent {
    Connected {
        conn: ConnId,
        local: SocketAddr,
        remote: SocketAddr,
    },
    Failed {
        conn: ConnId,
        error: ConnectError,
    },
    /// It has no number yet: [`Tcp::adopt`] gives it one.
    Accepted {
        key: Ends,
        tunnel: Option<TunnelId>,
    },
    Received {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    Written {
        conn: ConnId,
        count: usize,
    },
    Closed {
        conn: ConnId,
    },
}

/// The two ends of a connection and the device it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ends {
    pub(crate) device: Option<TunnelId>,
    pub(crate) local: SocketAddrV4,
    pub(crate) remote: SocketAddrV4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SynSent,
    SynReceived,
    Established,
}

#[derive(Debug)]
struct Conn {
    id: Option<ConnId>,
    state: State,
    /// The first octet not yet acknowledged.
    una: u32,
    /// Octets from `una` on.
    buffer: VecDeque<u8>,
    /// How many of them are under way.
    flying: usize,
    /// Octets written that the buffer has told the gateway nothing of.
    owed: usize,
    rcv: u32,
    /// Came before the application took the connection.
    early: Vec<u8>,
    /// The peer is done.
    ended: bool,
    /// The application is done: FIN follows the last octet.
    done: bool,
    fin_flying: bool,
    rto: Duration,
    deadline: Option<Instant>,
    tries: u32,
}

/// All connections of one host.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    conns: BTreeMap<Ends, Conn>,
    listeners: BTreeSet<Listener>,
    /// Packets to send, and through which tunnel.
    pub(crate) out: VecDeque<(Option<TunnelId>, Vec<u8>)>,
    pub(crate) events: VecDeque<TcpEvent>,
    next_port: u16,
}

impl Tcp {
    /// A stack whose ports begin somewhere, as after a boot.
    pub(crate) fn new(first_port: u16) -> Self {
        Self { next_port: 32_768 + first_port % 20_000, ..Self::default() }
    }

    pub(crate) fn listen(&mut self, listener: Listener) {
        self.listeners.insert(listener);
    }

    pub(crate) fn unlisten(&mut self, listener: &Listener) {
        self.listeners.remove(listener);
    }

    /// Dials; `isn` is where its numbers begin.
    pub(crate) fn connect(
        &mut self,
        id: ConnId,
        device: Option<TunnelId>,
        local: std::net::Ipv4Addr,
        remote: SocketAddrV4,
        isn: u32,
        now: Instant,
    ) {
        self.next_port = self.next_port.wrapping_add(1).max(32_768);
        let ends = Ends { device, local: SocketAddrV4::new(local, self.next_port), remote };
        let conn = Conn::new(Some(id), State::SynSent, isn, 0, now);
        self.emit(ends, Segment { seq: isn, syn: true, ..Segment::default() });
        self.conns.insert(ends, conn);
    }

    /// Numbers an accepted connection.
    pub(crate) fn adopt(&mut self, ends: &Ends, id: ConnId) {
        let Some(conn) = self.conns.get_mut(ends) else { return };
        conn.id = Some(id);
        let bytes = std::mem::take(&mut conn.early);
        if !bytes.is_empty() {
            self.events.push_back(TcpEvent::Received { conn: id, bytes });
        }
        if conn.ended {
            conn.id = None;
            self.events.push_back(TcpEvent::Closed { conn: id });
        }
    }

    pub(crate) fn write(&mut self, id: ConnId, bytes: &[u8], now: Instant) {
        let Some(ends) = self.ends_of(id) else { return };
        let Some(conn) = self.conns.get_mut(&ends) else { return };
        conn.buffer.extend(bytes);
        conn.owed += bytes.len();
        self.tell_written(&ends);
        self.pump(&ends, now);
    }

    /// The application lets go of it: what is written still goes out, then FIN.
    pub(crate) fn close(&mut self, id: ConnId, now: Instant) {
        let Some(ends) = self.ends_of(id) else { return };
        let Some(conn) = self.conns.get_mut(&ends) else { return };
        conn.id = None;
        conn.done = true;
        if conn.state == State::SynSent {
            self.conns.remove(&ends);
            return;
        }
        self.pump(&ends, now);
    }

    /// How many there are, for the bounds.
    pub(crate) fn len(&self) -> usize {
        self.conns.len()
    }

    /// When [`Self::timeout`] is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.conns.values().filter_map(|conn| conn.deadline).min()
    }

    /// Sends again what nobody acknowledged.
    pub(crate) fn timeout(&mut self, now: Instant) {
        let due = |conn: &Conn| conn.deadline.is_some_and(|at| at <= now);
        let due: Vec<Ends> = self.conns.iter().filter(|(_, conn)| due(conn)).map(|(ends, _)| *ends).collect();
        for ends in due {
            self.again(&ends, now);
        }
    }

    /// A connection is gone; one that was only being made fails with `error`.
    fn lose(&mut self, ends: &Ends, error: ConnectError) {
        let Some(Conn { id: Some(conn), state, .. }) = self.conns.remove(ends) else { return };
        self.events.push_back(match state {
            State::SynSent => TcpEvent::Failed { conn, error },
            _ => TcpEvent::Closed { conn },
        });
    }

    fn again(&mut self, ends: &Ends, now: Instant) {
        let Some(conn) = self.conns.get_mut(ends) else { return };
        conn.tries += 1;
        let most = if conn.state == State::Established { TRIES } else { SYN_TRIES };
        if conn.tries > most {
            return self.lose(ends, ConnectError::TimedOut);
        }
        conn.rto = (conn.rto * 2).min(LONGEST_RTO);
        conn.deadline = Some(now + conn.rto);
        conn.flying = 0;
        conn.fin_flying = false;
        let (una, rcv) = (conn.una, conn.rcv);
        match conn.state {
            State::SynSent => self.emit(*ends, Segment { seq: una, syn: true, ..Segment::default() }),
            State::SynReceived => {
                self.emit(*ends, Segment { seq: una, ack: Some(rcv), syn: true, ..Segment::default() });
            }
            State::Established => self.pump(ends, now),
        }
    }

    /// The gateway hears of octets once the socket's buffer has taken them.
    fn tell_written(&mut self, ends: &Ends) {
        let Some(conn) = self.conns.get_mut(ends) else { return };
        let waiting = conn.buffer.len().saturating_sub(SEND_BUFFER);
        let count = conn.owed.saturating_sub(waiting);
        if count > 0
            && let Some(id) = conn.id
        {
            conn.owed -= count;
            self.events.push_back(TcpEvent::Written { conn: id, count });
        }
    }

    /// Sends what the window allows.
    fn pump(&mut self, ends: &Ends, now: Instant) {
        let Some(conn) = self.conns.get_mut(ends) else { return };
        if conn.state != State::Established {
            return;
        }
        let mut segments = Vec::new();
        while conn.flying < conn.buffer.len() && conn.flying < WINDOW {
            let end = (conn.flying + MSS).min(conn.buffer.len());
            let data: Vec<u8> = conn.buffer.range(conn.flying..end).copied().collect();
            let seq = conn.una.wrapping_add(u32::try_from(conn.flying).unwrap());
            conn.flying = end;
            segments.push(Segment { seq, ack: Some(conn.rcv), data, ..Segment::default() });
        }
        if conn.done && !conn.fin_flying && conn.flying == conn.buffer.len() {
            conn.fin_flying = true;
            let seq = conn.una.wrapping_add(u32::try_from(conn.flying).unwrap());
            segments.push(Segment { seq, ack: Some(conn.rcv), fin: true, ..Segment::default() });
        }
        let outstanding = conn.flying > 0 || conn.fin_flying;
        if outstanding && conn.deadline.is_none() {
            conn.deadline = Some(now + conn.rto);
        }
        for segment in segments {
            self.emit(*ends, segment);
        }
    }

    fn acknowledge(&mut self, ends: &Ends) {
        let Some(conn) = self.conns.get(ends) else { return };
        let seq = conn.una.wrapping_add(u32::try_from(conn.flying).unwrap());
        let ack = Some(conn.rcv);
        self.emit(*ends, Segment { seq, ack, ..Segment::default() });
    }

    fn emit(&mut self, ends: Ends, segment: Segment) {
        self.out.push_back((ends.device, tcp(ends.local, ends.remote, &segment)));
    }

    fn ends_of(&self, id: ConnId) -> Option<Ends> {
        self.conns.iter().find(|(_, conn)| conn.id == Some(id)).map(|(ends, _)| *ends)
    }
}

impl Conn {
    fn new(id: Option<ConnId>, state: State, una: u32, rcv: u32, now: Instant) -> Self {
        Self {
            id,
            state,
            una,
            buffer: VecDeque::new(),
            flying: 0,
            owed: 0,
            rcv,
            early: Vec::new(),
            ended: false,
            done: false,
            fin_flying: false,
            rto: FIRST_RTO,
            deadline: Some(now + FIRST_RTO),
            tries: 0,
        }
    }

    /// Something new was acknowledged.
    fn settle(&mut self) {
        self.rto = FIRST_RTO;
        self.tries = 0;
        self.deadline = None;
    }
}
