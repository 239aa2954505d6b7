//! Joining packets of one flow into super-packets, by reference: payloads stay where they were received,
//! only the first packet's headers are copied and rebuilt.
//!
//! What is joined can be cut again into the same packets: the same fields that the kernel's GRO compares
//! must be equal, and checksums are verified first, since the kernel trusts a super-packet. Everything else
//! passes through as it is, and first ends the flow it belongs to, so order within a flow holds.

mod flow;

use std::collections::BTreeMap;

use crate::TunnelId;
use crate::inner::Inner;
use crate::offload::virtio;
use flow::{Candidate, Flow, HEADER_ROOM};

/// Flows under way at once; one more ends the oldest.
const FLOWS: usize = 32;

/// Packets of one super-packet. (One vector to write takes 1024 pieces; older kernels cut UDP into no more
/// than 64.)
pub const MAX_PIECES: usize = 64;

/// Octets of one super-packet: the IPv4 total length field.
const MAX_TOTAL: usize = 65_535;

/// No next piece.
const END: u32 = u32::MAX;

/// Where a packet, or its payload, lies: in which message, from where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The message's number in its batch.
    pub message: u32,
    /// First octet.
    pub start: u32,
    /// Octet after the last.
    pub end: u32,
}

/// What to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// TCP segments.
    pub tcp: bool,
    /// UDP datagrams (Linux 6.2 and later take them on a TUN).
    pub udp: bool,
}

/// One write to a TUN device: `header`, then the pieces in their order.
#[derive(Clone, Debug)]
pub struct Write {
    /// Whose device.
    pub tunnel: TunnelId,
    header: [u8; HEADER_ROOM],
    header_len: usize,
    first: u32,
}

impl Write {
    /// Virtio header and, for a super-packet, rebuilt IP and transport header.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.header_len).unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
struct Piece {
    place: Place,
    next: u32,
}

/// Joins the packets of one batch. Feed [`push`](Self::push), then [`finish`](Self::finish), then read
/// [`writes`](Self::writes) and [`pieces`](Self::pieces), then [`clear`](Self::clear).
pub struct Coalescer {
    joining: Joining,
    /// Of the devices that take less.
    less: BTreeMap<TunnelId, Joining>,
    flows: Vec<Flow>,
    pieces: Vec<Piece>,
    writes: Vec<Write>,
}

impl Coalescer {
    /// One that joins what `joining` says.
    #[must_use]
    pub fn new(joining: Joining) -> Self {
        Self {
            joining,
            less: BTreeMap::new(),
            flows: Vec::with_capacity(FLOWS),
            pieces: Vec::with_capacity(1024),
            writes: Vec::with_capacity(1024),
        }
    }

    /// Changes what is joined, for all devices.
    pub fn set_joining(&mut self, joining: Joining) {
        self.joining = joining;
        self.less.clear();
    }

    /// Changes what is joined for one tunnel's device, as when the kernel refused a super-packet, until
    /// [`set_joining`](Self::set_joining).
    pub fn join_less(&mut self, tunnel: TunnelId, joining: Joining) {
        self.less.insert(tunnel, joining);
    }

    /// Adds a packet, which lies at `place`, to be written to the device of `tunnel`.
    pub fn push(&mut self, tunnel: TunnelId, packet: &[u8], inner: &Inner, place: Place) {
        match &Candidate::new(packet, inner, self.joining_of(tunnel)) {
            None => {
                self.end_related(tunnel, packet, inner);
                self.write_alone(tunnel, place);
            }
            Some(candidate) => self.join(tunnel, packet, candidate, place),
        }
    }

    /// Ends all flows.
    pub fn finish(&mut self) {
        while !self.flows.is_empty() {
            self.end(0);
        }
    }

    /// What to write, in order.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The pieces of a write, in order.
    pub fn pieces(&self, write: &Write) -> impl Iterator<Item = Place> + '_ {
        let mut next = write.first;
        std::iter::from_fn(move || {
            let piece = self.pieces.get(next as usize)?;
            next = piece.next;
            Some(piece.place)
        })
    }

    /// Forgets the batch.
    pub fn clear(&mut self) {
        self.flows.clear();
        self.pieces.clear();
        self.writes.clear();
    }

    fn joining_of(&self, tunnel: TunnelId) -> Joining {
        self.less.get(&tunnel).copied().unwrap_or(self.joining)
    }

    fn join(&mut self, tunnel: TunnelId, packet: &[u8], candidate: &Candidate, place: Place) {
        let Some(index) = self.flows.iter().position(|flow| flow.is_of(tunnel, packet, candidate)) else {
            self.open(tunnel, packet, candidate, place);
            return;
        };
        if self.flows.get(index).is_some_and(|flow| flow.is_followed_by(packet, candidate)) {
            self.append(index, candidate, place);
        } else {
            self.end(index);
            self.open(tunnel, packet, candidate, place);
        }
    }

    /// Starts a flow with its first packet.
    fn open(&mut self, tunnel: TunnelId, packet: &[u8], candidate: &Candidate, place: Place) {
        if self.flows.len() == FLOWS {
            self.end(0);
        }
        let piece = self.pieces.len() as u32;
        match Flow::open(tunnel, packet, candidate, place, piece) {
            Some(flow) => {
                self.add_piece(candidate.payload_place(place));
                self.flows.push(flow);
            }
            None => self.write_alone(tunnel, place),
        }
    }

    /// Adds a following packet to a flow.
    fn append(&mut self, index: usize, candidate: &Candidate, place: Place) {
        let piece = self.add_piece(candidate.payload_place(place));
        let Some(flow) = self.flows.get_mut(index) else { return };
        let (before, full) = flow.append(candidate, piece);
        if let Some(before) = self.pieces.get_mut(before as usize) {
            before.next = piece;
        }
        if full {
            self.end(index);
        }
    }

    /// Ends the flows a packet that is not joined belongs to; a fragment without ports might belong to any
    /// between its addresses.
    fn end_related(&mut self, tunnel: TunnelId, packet: &[u8], inner: &Inner) {
        let mut index = 0;
        while let Some(flow) = self.flows.get(index) {
            if flow.is_related(tunnel, packet, inner) {
                self.end(index);
            } else {
                index += 1;
            }
        }
    }

    /// Ends one flow: what it gathered becomes a write.
    fn end(&mut self, index: usize) {
        if index >= self.flows.len() {
            return;
        }
        let flow = self.flows.remove(index);
        match flow.alone() {
            Some((tunnel, place)) => self.write_alone(tunnel, place),
            None => self.writes.push(flow.into_write()),
        }
    }

    fn write_alone(&mut self, tunnel: TunnelId, place: Place) {
        let first = self.add_piece(place);
        // A header of zeros: the kernel verifies the packet's checksum itself.
        self.writes.push(Write { tunnel, header: [0; HEADER_ROOM], header_len: virtio::LEN, first });
    }

    fn add_piece(&mut self, place: Place) -> u32 {
        // A batch has far fewer than 2^32 packets.
        let index = self.pieces.len() as u32;
        self.pieces.push(Piece { place, next: END });
        index
    }
}
