//! The program on the device: ESP from a peer for an address of ours goes to the socket of its queue, all else its usual
//! way.
//!
//! Written as instructions, since nothing here has a compiler for them: some hundred, without loops.

use std::collections::BTreeMap;

use crate::sys::bpf::instruction;

/// Octets of a key of the map of addresses: source and destination, sixteen each (IPv4 in the first four), the
/// destination's link address, the Ethernet type.
pub(super) const KEY: usize = 40;
/// That an Ethernet frame carries IPv4.
pub(super) const IPV4: u16 = 0x0800;
/// That an Ethernet frame carries IPv6.
pub(super) const IPV6: u16 = 0x86dd;
/// IP protocol number of ESP (RFC 4303 section 2).
pub(super) const ESP: u8 = 50;

/// `XDP_PASS`: on to the kernel's stack.
const PASS: i32 = 2;
/// `XDP_DROP`.
const DROP: i32 = 1;
// Helpers by their numbers.
const LOOK_UP: i32 = 1;
const REDIRECT: i32 = 23;
const REDIRECT_MAP: i32 = 51;
const ADJUST_TAIL: i32 = 65;
const STORE_BYTES: i32 = 190;

/// Octets of a slot that a packet to be sent lies in: its length in a word of eight, and the frame.
pub(super) const SLOT: usize = 2048;
/// Octets before the frame in a slot.
pub(super) const SLOT_HEAD: usize = 8;
/// Octets of a frame before the program has filled it.
pub(super) const BLANK: usize = 64;
/// Octets of the shortest frame that is sent.
pub(super) const SHORTEST: usize = 34;
/// The loopback interface's number, by which frames of the kernel's own making seem to come. The program is on another device.
const LOOPBACK: i32 = 1;

/// What the sending half of the program asks.
#[derive(Clone, Copy)]
pub(super) struct SendMaps {
    /// The number of the next slot, alone in its map.
    pub(super) cursor: i32,
    /// The slots.
    pub(super) slots: i32,
    /// The device's number.
    pub(super) device: i32,
}

// Registers: 1 to 5 arguments and scratch, 6 to 8 kept through calls, 10 the stack.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;
const R6: u8 = 6;
const R7: u8 = 7;
const R8: u8 = 8;
const STACK: u8 = 10;

/// Where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    V4,
    LookUp,
    Pass,
    Send,
    Drop,
}

/// Widths of loads and stores, as the instruction set numbers them.
#[derive(Clone, Copy)]
enum Width {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Double = 0x18,
}

/// Instructions so far.
#[derive(Default)]
struct Assembler {
    code: Vec<[u8; 8]>,
    jumps: Vec<(usize, Label)>,
    labels: BTreeMap<Label, usize>,
}

impl Assembler {
    fn one(&mut self, operation: u8, to: u8, from: u8, offset: i16, value: i32) {
        self.code.push(instruction(operation, to, from, offset, value));
    }

    fn copy(&mut self, to: u8, from: u8) {
        self.one(0xbf, to, from, 0, 0);
    }

    fn set(&mut self, to: u8, value: i32) {
        self.one(0xb7, to, 0, 0, value);
    }

    fn add(&mut self, to: u8, value: i32) {
        self.one(0x07, to, 0, 0, value);
    }

    fn and(&mut self, to: u8, value: i32) {
        self.one(0x57, to, 0, 0, value);
    }

    fn load(&mut self, width: Width, to: u8, from: u8, offset: i16) {
        self.one(0x61 | width as u8, to, from, offset, 0);
    }

    fn store(&mut self, width: Width, to: u8, offset: i16, from: u8) {
        self.one(0x63 | width as u8, to, from, offset, 0);
    }

    /// Both instructions of a map's address.
    fn map(&mut self, to: u8, map: i32) {
        const FROM_DESCRIPTOR: u8 = 1;
        self.one(0x18, to, FROM_DESCRIPTOR, 0, map);
        self.one(0, 0, 0, 0, 0);
    }

    /// Both instructions of the address of a map's first value.
    fn value_of(&mut self, to: u8, map: i32) {
        const VALUE: u8 = 2;
        self.one(0x18, to, VALUE, 0, map);
        self.one(0, 0, 0, 0, 0);
    }

    fn call(&mut self, function: i32) {
        self.one(0x85, 0, 0, 0, function);
    }

    fn exit(&mut self) {
        self.one(0x95, 0, 0, 0, 0);
    }

    fn jump(&mut self, operation: u8, left: u8, right: u8, value: i32, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.one(operation, left, right, 0, value);
    }

    fn if_equal(&mut self, left: u8, value: i32, to: Label) {
        self.jump(0x15, left, 0, value, to);
    }

    fn unless_equal(&mut self, left: u8, value: i32, to: Label) {
        self.jump(0x55, left, 0, value, to);
    }

    /// On to `Pass` unless the packet (from R2 to R3) has so many octets.
    fn demand(&mut self, octets: i32) {
        self.copy(R4, R2);
        self.add(R4, octets);
        self.jump(0x2d, R4, R3, 0, Label::Pass);
    }

    /// On to `Pass` if the packet (from R2 to R3) has more octets than so many.
    fn allow(&mut self, octets: i32) {
        self.copy(R4, R2);
        self.add(R4, octets);
        self.jump(0x2d, R3, R4, 0, Label::Pass);
    }

    fn label(&mut self, label: Label) {
        self.labels.insert(label, self.code.len());
    }

    /// The instructions, jumps in place.
    fn finish(mut self) -> Vec<u8> {
        for (at, label) in self.jumps {
            // Every label is set: the one program below is whole, and a test loads it.
            let to = self.labels.get(&label).copied().unwrap_or(at + 1);
            let distance = (to as i64 - at as i64 - 1) as i16;
            if let Some(instruction) = self.code.get_mut(at) {
                instruction[2..4].copy_from_slice(&distance.to_ne_bytes());
            }
        }
        self.code.concat()
    }
}

/// A value of two octets on the wire, as a load brings it.
fn wire(value: u16) -> i32 {
    i32::from(value.to_be())
}

/// The whole program, over a map of addresses (see [`KEY`]) and one of sockets.
///
/// It passes on what has a VLAN tag, IP options or extension headers, is a fragment, is not between two of the
/// addresses at the link address, has more than `longest` octets, or comes by a queue without a socket. With `send` it
/// sends as well: run on purpose over frames of the kernel's making, it fills each from the next slot.
pub(super) fn assemble(addresses: i32, sockets: i32, longest: u32, send: Option<SendMaps>) -> Vec<u8> {
    let mut a = Assembler::default();
    a.copy(R6, R1);
    if send.is_some() {
        a.load(Width::Word, R5, R1, 12);
        a.if_equal(R5, LOOPBACK, Label::Send);
    }
    receive(&mut a, addresses, sockets, longest);
    a.label(Label::Pass);
    a.set(R0, PASS);
    a.exit();
    if let Some(maps) = send {
        fill_and_send(&mut a, maps);
    }
    a.finish()
}

/// What comes by the device.
fn receive(a: &mut Assembler, addresses: i32, sockets: i32, longest: u32) {
    a.load(Width::Word, R2, R1, 0);
    a.load(Width::Word, R3, R1, 4);
    a.demand(14 + 20);
    a.allow(longest.cast_signed());
    // The key, on the stack: link address and type from the head of the frame.
    a.set(R5, 0);
    for place in [-40, -32, -24, -16] {
        a.store(Width::Double, STACK, place, R5);
    }
    a.load(Width::Word, R5, R2, 0);
    a.store(Width::Word, STACK, -8, R5);
    a.load(Width::Half, R5, R2, 4);
    a.store(Width::Half, STACK, -4, R5);
    a.load(Width::Half, R5, R2, 12);
    a.store(Width::Half, STACK, -2, R5);
    a.if_equal(R5, wire(IPV4), Label::V4);
    a.unless_equal(R5, wire(IPV6), Label::Pass);
    // IPv6: version, next header, source, destination.
    a.demand(14 + 40);
    a.load(Width::Byte, R5, R2, 14);
    a.and(R5, 0xf0);
    a.unless_equal(R5, 0x60, Label::Pass);
    a.load(Width::Byte, R5, R2, 14 + 6);
    a.unless_equal(R5, i32::from(ESP), Label::Pass);
    for (at, place) in [(8, -40), (16, -32), (24, -24), (32, -16)] {
        a.load(Width::Double, R5, R2, 14 + at);
        a.store(Width::Double, STACK, place, R5);
    }
    a.jump(0x05, 0, 0, 0, Label::LookUp);
    // IPv4: no options, no fragment, protocol, source, destination.
    a.label(Label::V4);
    a.load(Width::Byte, R5, R2, 14);
    a.unless_equal(R5, 0x45, Label::Pass);
    a.load(Width::Half, R5, R2, 14 + 6);
    a.and(R5, wire(0x3fff));
    a.unless_equal(R5, 0, Label::Pass);
    a.load(Width::Byte, R5, R2, 14 + 9);
    a.unless_equal(R5, i32::from(ESP), Label::Pass);
    for (at, place) in [(12, -40), (16, -24)] {
        a.load(Width::Word, R5, R2, 14 + at);
        a.store(Width::Word, STACK, place, R5);
    }
    a.label(Label::LookUp);
    a.map(R1, addresses);
    a.copy(R2, STACK);
    a.add(R2, -(KEY as i32));
    a.call(LOOK_UP);
    a.if_equal(R0, 0, Label::Pass);
    // A queue without a socket: what the third argument says.
    a.map(R1, sockets);
    a.load(Width::Word, R2, R6, 16);
    a.set(R3, PASS);
    a.call(REDIRECT_MAP);
    a.exit();
}

/// A frame of the kernel's own making takes what lies in the next slot, and leaves by the device.
fn fill_and_send(a: &mut Assembler, maps: SendMaps) {
    a.label(Label::Send);
    a.value_of(R7, maps.cursor);
    a.load(Width::Word, R5, R7, 0);
    a.store(Width::Word, STACK, -8, R5);
    a.add(R5, 1);
    a.store(Width::Word, R7, 0, R5);
    a.map(R1, maps.slots);
    a.copy(R2, STACK);
    a.add(R2, -8);
    a.call(LOOK_UP);
    a.if_equal(R0, 0, Label::Drop);
    a.copy(R7, R0);
    a.load(Width::Word, R8, R7, 0);
    // A length that fits: the kernel's checker wants to see it, too.
    a.jump(0xa5, R8, 0, SHORTEST as i32, Label::Drop);
    a.jump(0x25, R8, 0, (SLOT - SLOT_HEAD) as i32, Label::Drop);
    a.copy(R1, R6);
    a.copy(R2, R8);
    a.add(R2, -(BLANK as i32));
    a.call(ADJUST_TAIL);
    a.unless_equal(R0, 0, Label::Drop);
    a.copy(R1, R6);
    a.set(R2, 0);
    a.copy(R3, R7);
    a.add(R3, SLOT_HEAD as i32);
    a.copy(R4, R8);
    a.call(STORE_BYTES);
    a.unless_equal(R0, 0, Label::Drop);
    a.set(R1, maps.device);
    a.set(R2, 0);
    a.call(REDIRECT);
    a.exit();
    a.label(Label::Drop);
    a.set(R0, DROP);
    a.exit();
}
