//! What a segment that comes in does to a connection.

use std::net::SocketAddrV4;
use std::time::Instant;

use gateway::{ConnectError, Listener, TunnelId};

use super::{Conn, Ends, State, Tcp, TcpEvent};
use crate::sim::packet::Segment;

impl Tcp {
    /// A segment came in through `device`.
    pub(crate) fn receive(
        &mut self,
        device: Option<TunnelId>,
        (local, remote): (SocketAddrV4, SocketAddrV4),
        segment: &Segment,
        isn: u32,
        now: Instant,
    ) {
        let ends = Ends { device, local, remote };
        let Some(conn) = self.conns.get(&ends) else {
            self.unknown(ends, segment, isn, now);
            return;
        };
        if segment.rst {
            self.reset(&ends, segment);
            return;
        }
        match conn.state {
            State::SynSent => self.answered(&ends, segment, now),
            State::SynReceived | State::Established => self.go_on(&ends, segment, now),
        }
    }

    fn unknown(&mut self, ends: Ends, segment: &Segment, isn: u32, now: Instant) {
        let heard = |listener: &&Listener| {
            listener.device.as_ref().map(|(tunnel, _)| *tunnel) == ends.device
                && (listener.address == *ends.local.ip() || listener.address.is_unspecified())
                && ends.local.port() == Listener::PORT
        };
        if segment.rst {
            return;
        }
        if segment.syn && segment.ack.is_none() && self.listeners.iter().any(|l| heard(&l)) {
            let rcv = segment.seq.wrapping_add(1);
            self.conns.insert(ends, Conn::new(None, State::SynReceived, isn, rcv, now));
            self.emit(ends, Segment { seq: isn, ack: Some(rcv), syn: true, ..Segment::default() });
            return;
        }
        let length =
            u32::try_from(segment.data.len()).unwrap() + u32::from(segment.syn) + u32::from(segment.fin);
        let ack = Some(segment.seq.wrapping_add(length));
        self.emit(ends, Segment { seq: segment.ack.unwrap_or(0), ack, rst: true, ..Segment::default() });
    }

    /// RFC 5961: only a reset that fits exactly is believed.
    fn reset(&mut self, ends: &Ends, segment: &Segment) {
        let Some(conn) = self.conns.get(ends) else { return };
        let fits = match conn.state {
            State::SynSent => segment.ack == Some(conn.una.wrapping_add(1)),
            State::SynReceived | State::Established => segment.seq == conn.rcv,
        };
        if fits {
            self.lose(ends, ConnectError::Refused);
        }
    }

    /// SYN and ACK to our SYN.
    fn answered(&mut self, ends: &Ends, segment: &Segment, now: Instant) {
        let Some(conn) = self.conns.get_mut(ends) else { return };
        if !segment.syn || segment.ack != Some(conn.una.wrapping_add(1)) {
            return;
        }
        conn.una = conn.una.wrapping_add(1);
        conn.rcv = segment.seq.wrapping_add(1);
        conn.settle();
        conn.state = State::Established;
        if let Some(id) = conn.id {
            let (local, remote) = (ends.local.into(), ends.remote.into());
            self.events.push_back(TcpEvent::Connected { conn: id, local, remote });
        }
        self.acknowledge(ends);
        self.pump(ends, now);
    }

    fn go_on(&mut self, ends: &Ends, segment: &Segment, now: Instant) {
        let Some(conn) = self.conns.get_mut(ends) else { return };
        if segment.syn {
            // Our answer to it, or our acknowledgement of its answer, was lost.
            let (una, rcv) = (conn.una, conn.rcv);
            if conn.state == State::SynReceived {
                self.emit(*ends, Segment { seq: una, ack: Some(rcv), syn: true, ..Segment::default() });
            } else {
                self.acknowledge(ends);
            }
            return;
        }
        if conn.state == State::SynReceived {
            if segment.ack != Some(conn.una.wrapping_add(1)) {
                return;
            }
            conn.una = conn.una.wrapping_add(1);
            conn.settle();
            conn.state = State::Established;
            self.events.push_back(TcpEvent::Accepted { key: *ends, tunnel: ends.device });
        }
        if self.take_ack(ends, segment) {
            return;
        }
        self.take_data(ends, segment);
        self.tell_written(ends);
        self.pump(ends, now);
    }

    /// Drops what the peer has; true when that was our FIN, and all is over.
    fn take_ack(&mut self, ends: &Ends, segment: &Segment) -> bool {
        let (Some(conn), Some(ack)) = (self.conns.get_mut(ends), segment.ack) else { return false };
        let acked = usize::try_from(ack.wrapping_sub(conn.una)).unwrap();
        if acked == 0 || acked > conn.buffer.len() + 1 {
            return false;
        }
        let fin = acked > conn.buffer.len();
        if fin && !conn.done {
            return false;
        }
        let data = acked.min(conn.buffer.len());
        conn.buffer.drain(..data);
        conn.flying = conn.flying.saturating_sub(data);
        conn.una = ack;
        conn.settle();
        if fin {
            self.conns.remove(ends);
        }
        fin
    }

    fn take_data(&mut self, ends: &Ends, segment: &Segment) {
        let Some(conn) = self.conns.get_mut(ends) else { return };
        if segment.data.is_empty() && !segment.fin {
            return;
        }
        if segment.seq == conn.rcv {
            conn.rcv = conn.rcv.wrapping_add(u32::try_from(segment.data.len()).unwrap());
            match conn.id {
                _ if segment.data.is_empty() => {}
                Some(conn) => self.events.push_back(TcpEvent::Received { conn, bytes: segment.data.clone() }),
                None if !conn.done => conn.early.extend(&segment.data),
                None => {}
            }
            if segment.fin {
                conn.rcv = conn.rcv.wrapping_add(1);
                conn.ended = true;
                conn.done = true;
                if let Some(id) = conn.id.take() {
                    self.events.push_back(TcpEvent::Closed { conn: id });
                }
            }
        }
        self.acknowledge(ends);
    }
}
