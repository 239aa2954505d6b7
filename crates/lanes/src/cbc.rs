//! AES in cipher block chaining over several streams (NIST SP 800-38A §6.2).

use core::fmt;

use zeroize::Zeroize;

use crate::level::{Kind, Level};
#[cfg(target_arch = "x86_64")]
use crate::x86::aes;

/// Octets of a block.
pub(crate) const BLOCK: usize = 16;

/// Blocks of the longest expanded key, that of AES-256.
pub(crate) const ROUND_KEYS: usize = 15;

/// Streams enciphered side by side at most.
pub(crate) const STREAMS: usize = 32;

/// An expanded AES key for CBC.
///
/// A stream is its initialisation vector and behind it the text, in one slice of whole blocks; octets
/// beyond the last whole block are left alone, as is a stream of less than two blocks.
pub struct Cbc {
    level: Level,
    /// Made where it stays, so that no copy is left behind on a stack.
    keys: Box<Schedule>,
}

/// Round keys in the order they are used, both ways; those past `rounds` are zero.
pub(crate) struct Schedule {
    /// 10, 12 or 14.
    pub(crate) rounds: usize,
    pub(crate) encrypt: [[u8; BLOCK]; ROUND_KEYS],
    pub(crate) decrypt: [[u8; BLOCK]; ROUND_KEYS],
}

impl Schedule {
    /// The key expanded, where it stays; `None` unless it has 16, 24 or 32 octets.
    pub(crate) fn expand(level: Level, key: &[u8]) -> Option<Box<Self>> {
        let rounds = match key.len() {
            16 => 10,
            24 => 12,
            32 => 14,
            _ => return None,
        };
        let (encrypt, decrypt) = ([[0; BLOCK]; ROUND_KEYS], [[0; BLOCK]; ROUND_KEYS]);
        let mut keys = Box::new(Self { rounds, encrypt, decrypt });
        match level.kind {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: every level has AES.
            Kind::Avx512 | Kind::Avx2 => unsafe { aes::expand(key, &mut keys) },
        }
        Some(keys)
    }
}

/// Where a stream under way stands: its last finished block, and what follows.
struct Slot<'a> {
    rest: &'a mut [u8],
}

impl Cbc {
    /// The key expanded; `None` unless it has 16, 24 or 32 octets.
    #[must_use]
    pub fn new(level: Level, key: &[u8]) -> Option<Self> {
        let keys = Schedule::expand(level, key)?;
        Some(Self { level, keys })
    }

    /// Enciphers streams in place, each behind its own initialisation vector. Their lengths may differ;
    /// many of equal length are fastest.
    pub fn encrypt(&self, streams: &mut [&mut [u8]]) {
        let (alike, others) = streams.split_at_mut(alike(streams, self.streams()));
        for set in alike.chunks_mut(self.streams()) {
            let blocks = set.first().map_or(0, |stream| blocks(stream));
            // SAFETY: all are of one length, as was counted.
            unsafe { self.encrypt_some(set.iter_mut().map(|stream| stream.as_mut_ptr()), blocks) };
        }
        if !others.is_empty() {
            self.encrypt_any(others);
        }
    }

    /// The same for streams of any lengths: as one ends, the next one takes its place.
    fn encrypt_any(&self, streams: &mut [&mut [u8]]) {
        let mut waiting = streams.iter_mut();
        let mut slots: [Slot<'_>; STREAMS] = core::array::from_fn(|_| Slot { rest: &mut [] });
        let mut live = 0;
        loop {
            live = keep_unfinished(&mut slots, live);
            while let Some(free) = slots.get_mut(live..self.streams()).and_then(<[_]>::first_mut)
                && let Some(stream) = waiting.next()
            {
                *free = Slot { rest: stream };
                live += usize::from(free.blocks() > 0);
            }
            let Some(used) = slots.get_mut(..live) else { return };
            let Some(blocks) = used.iter().map(Slot::blocks).min() else { return };
            // SAFETY: none has fewer.
            unsafe { self.encrypt_some(used.iter_mut().map(|slot| slot.rest.as_mut_ptr()), blocks) };
            used.iter_mut().for_each(|slot| slot.advance(blocks));
        }
    }

    /// Deciphers one stream in place, behind its initialisation vector, which stays.
    pub fn decrypt(&self, stream: &mut [u8]) {
        let blocks = blocks(stream);
        match self.level.kind {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level says that the instructions are there; the stream has so many blocks behind
            // its first.
            Kind::Avx512 => unsafe { aes::decrypt_512(&self.keys, stream.as_mut_ptr(), blocks) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx2 => unsafe { aes::decrypt_128(&self.keys, stream.as_mut_ptr(), blocks) },
        }
    }

    /// Streams this level keeps in flight.
    fn streams(&self) -> usize {
        match self.level.kind {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => 32,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => 8,
        }
    }

    /// Enciphers the next blocks of streams, each chained to the block where it stands.
    ///
    /// # Safety
    /// There are [`streams`](Self::streams) at most, which do not overlap, and behind the block where each stands it has
    /// `blocks` more.
    unsafe fn encrypt_some(&self, streams: impl ExactSizeIterator<Item = *mut u8>, blocks: usize) {
        let count = streams.len();
        let mut streams = streams.peekable();
        let Some(first) = streams.peek().filter(|_| blocks > 0) else { return };
        // Lanes without a stream repeat the first one: they read and write what it does.
        let mut places = [*first; STREAMS];
        places.iter_mut().zip(streams).for_each(|(place, stream)| *place = stream);
        match self.level.kind {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level says that the instructions are there; the rest is the caller's promise.
            Kind::Avx512 => unsafe { aes::encrypt_512(&self.keys, &places, count, blocks) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx2 => unsafe { aes::encrypt_128(&self.keys, &places, count, blocks) },
        }
    }
}

/// How many of the first streams are of one length: whole sets, and all when no others follow.
fn alike(streams: &[&mut [u8]], set: usize) -> usize {
    let Some(first) = streams.first().map(|stream| stream.len()) else { return 0 };
    let count = streams.iter().take_while(|stream| stream.len() == first).count();
    if count == streams.len() { count } else { count - count % set }
}

/// Whole blocks behind a stream's first.
fn blocks(stream: &[u8]) -> usize {
    (stream.len() / BLOCK).saturating_sub(1)
}

impl Slot<'_> {
    /// Blocks still to be enciphered.
    fn blocks(&self) -> usize {
        blocks(self.rest)
    }

    fn advance(&mut self, blocks: usize) {
        let rest = core::mem::take(&mut self.rest);
        self.rest = rest.get_mut(blocks * BLOCK..).unwrap_or_default();
    }
}

/// Moves the slots with work to the front of the first `live`; gives how many there are.
fn keep_unfinished(slots: &mut [Slot<'_>], live: usize) -> usize {
    let mut kept = 0;
    for at in 0..live {
        if slots.get(at).is_some_and(|slot| slot.blocks() > 0) {
            slots.swap(kept, at);
            kept += 1;
        }
    }
    kept
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.encrypt.zeroize();
        self.decrypt.zeroize();
    }
}

impl fmt::Debug for Cbc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cbc({:?}, {} rounds)", self.level, self.keys.rounds)
    }
}
