//! Control messages (`struct cmsghdr`): an encoder and an iterator, both over plain bytes.
//!
//! The layout is the kernel's: a `size_t` length that counts the header, two `int`s, then the data, and
//! the next message at the next multiple of `size_t`.

use super::address::array;

const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 8;

/// Room for control data: packet info (IPv6: 20 octets), traffic class and segment size, each with its
/// header, fit in 88 octets; an error report with an IPv6 offender takes 16 + 44 and comes beside those.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl Control {
    pub(crate) const ROOM: usize = 192;
    pub(crate) const EMPTY: Self = Self { bytes: [0; Self::ROOM], len: 0 };

    /// Append one message. The few messages this crate sends always fit; one that does not is left out.
    pub(crate) fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let end = self.len + HEADER + data.len();
        let next = end.next_multiple_of(WORD);
        let Some(slot) = self.bytes.get_mut(self.len..next) else {
            debug_assert!(false, "control data beyond its room");
            return;
        };
        slot.fill(0);
        slot[..WORD].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        slot[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        slot[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        slot[HEADER..HEADER + data.len()].copy_from_slice(data);
        self.len = next;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// All the room, for the kernel to fill.
    pub(crate) fn as_mut_room(&mut self) -> &mut [u8; Self::ROOM] {
        &mut self.bytes
    }

    /// The messages among the first `filled` octets.
    pub(crate) fn iter(&self, filled: usize) -> Iter<'_> {
        Iter { rest: &self.bytes[..filled.min(Self::ROOM)] }
    }
}

/// One control message.
pub(crate) struct Item<'a> {
    pub(crate) level: i32,
    pub(crate) kind: i32,
    pub(crate) data: &'a [u8],
}

impl Item<'_> {
    /// The data as a native `int`.
    pub(crate) fn int(&self) -> Option<i32> {
        array(self.data, 0).map(i32::from_ne_bytes)
    }

    /// The data as one octet: `IP_TOS` comes as an octet, `IPV6_TCLASS` as an int.
    pub(crate) fn octet(&self) -> Option<u8> {
        if self.data.len() >= 4 { self.int().map(|v| v as u8) } else { self.data.first().copied() }
    }
}

/// Walks control data; a length that lies ends the walk.
pub(crate) struct Iter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let len = usize::from_ne_bytes(array(self.rest, 0)?);
        let level = i32::from_ne_bytes(array(self.rest, WORD)?);
        let kind = i32::from_ne_bytes(array(self.rest, WORD + 4)?);
        let data = self.rest.get(HEADER..len)?;
        self.rest = self.rest.get(len.checked_next_multiple_of(WORD)?..).unwrap_or(&[]);
        Some(Item { level, kind, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_in_order_and_a_cut_ends_the_walk() {
        let mut control = Control::EMPTY;
        control.push(1, 2, &[9]);
        control.push(3, 4, &77_i32.to_ne_bytes());
        let filled = control.as_bytes().len();
        let seen: Vec<_> = control.iter(filled).map(|i| (i.level, i.kind, i.data.len())).collect();
        assert_eq!(seen, [(1, 2, 1), (3, 4, 4)]);
        assert_eq!(control.iter(filled).nth(1).and_then(|i| i.int()), Some(77));
        for cut in 0..filled - 4 {
            assert!(control.iter(cut).count() < 2, "cut at {cut}");
        }
    }

    #[test]
    fn a_lying_length_is_harmless() {
        for lie in [0, 1, HEADER - 1, usize::MAX, usize::MAX - 7, 4096] {
            let mut control = Control::EMPTY;
            control.push(1, 2, &[1, 2, 3, 4]);
            control.as_mut_room()[..WORD].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(control.iter(Control::ROOM).count(), 0, "{lie}");
        }
    }
}
