//! A turn of AES-GCM: up to eight registers of counters enciphered side by side, while the products of what
//! waits for the hash are made. Where a processor has units of its own for each, both together take little longer
//! than the longer one, as long as their instructions stand among each other.

use core::arch::x86_64::*;

use crate::cbc::BLOCK;
use crate::gcm::Key;
use crate::x86::ghash::{Powers, Product, add, add_pair, backwards};
use crate::x86::order::{hold, read_again};

/// Registers side by side: latency times throughput of an AES round.
pub(super) const WIDE: usize = 8;
/// Octets of a register.
pub(super) const REGISTER: usize = 64;

/// A packet under way.
pub(super) struct Turn<'k> {
    pub(super) key: &'k Key,
    /// Registers still to be worked through.
    pub(super) registers: usize,
    /// Lanes of the packet's first register that stand before everything.
    pub(super) unused: usize,
    /// Where the next register's octets lie; some of the first may lie before the text, and are not touched.
    pub(super) at: *mut u8,
    /// Counters of the next register, reversed so that each is the lowest word of its lane.
    pub(super) counter: __m512i,
    /// What the hash takes besides text: in the next turn's first register, and in the packet's last.
    pub(super) front: __m512i,
    pub(super) back: __m512i,
    /// A bit for each octet of text in the next turn's first register, and in the packet's last.
    pub(super) first: u64,
    pub(super) last: u64,
    /// The last turn's first register as it left it; where it is not text, this is the key stream.
    pub(super) begun: __m512i,
}

/// The rounds but for the last, and among them the products of what waits for the hash, two registers every few
/// rounds. Written out: the compiler would make a loop of it, which cannot have registers by number.
macro_rules! rounds {
    ($r:ident, $state:ident, $key:expr, $waiting:ident, $count:ident, $powers:ident, $sum:ident, $($at:literal)*) => { $(
        if $at < $r {
            let key = load(&$key.rounds[$at]);
            for one in &mut $state {
                *one = _mm512_aesenc_epi128(*one, key);
            }
            const { assert!(WIDE == 8) };
            let each = ($r - 1) / 4;
            let pair = ($at - 1) / each * 2;
            if ($at - 1) % each == 0 && pair + 1 < $count {
                // SAFETY: a power for each lane of the segment, of which these are next.
                unsafe { add_pair([$waiting(pair), $waiting(pair + 1)], $powers.of(pair), $sum) };
            } else if ($at - 1) % each == 0 && pair < $count {
                // SAFETY: as above.
                unsafe { add($waiting(pair), $powers.of(pair), $sum) };
            }
            hold(&mut $state);
            hold(&mut $sum.0);
        }
    )* };
}

impl Turn<'_> {
    /// Registers of the next turn: of the first as many as leave eight for each of the others.
    #[inline]
    pub(super) fn width(&self) -> usize {
        (self.registers - 1) % WIDE + 1
    }

    /// The register of powers, of as many as the hash has, that the first of eight meets; with what is to come.
    #[inline]
    pub(super) fn first_power(&self, all: usize) -> usize {
        all - WIDE * ((self.registers - 1) / WIDE % (all / WIDE) + 1)
    }

    /// What masks the tag, after the first turn.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn tag_mask(&self) -> __m128i {
        _mm512_castsi512_si128(_mm512_maskz_compress_epi64(3 << (2 * self.unused), self.begun))
    }

    /// Works through `W` registers, and adds to the sum the products of `powers` with eight that wait (`SEAL`), else
    /// with its own. Gives what then waits, at the end of eight.
    ///
    /// # Safety
    /// Of so many registers from `at` on, those octets may be read and written that have a bit in `first`, if they
    /// are in the first register, and in `last`, if they are in the packet's last. There are eight registers of
    /// powers.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmulqdq,sse4.1,ssse3")]
    pub(super) unsafe fn work<const R: usize, const W: usize, const SEAL: bool>(
        &mut self,
        before: [__m512i; WIDE],
        powers: Powers,
        sum: &mut Product,
    ) -> [__m512i; WIDE] {
        let (key, place, first, front) = (read_again(self.key), self.at, self.first, self.front);
        let ends = self.registers == W;
        let last = if ends { self.last } else { u64::MAX };
        let back = if ends { self.back } else { _mm512_setzero_si512() };
        let mask = |n| text_mask::<W>(first, last, n);
        // SAFETY: the caller's promise; an octet without a bit is not read.
        let text = |n| unsafe { _mm512_maskz_loadu_epi8(mask(n), place.wrapping_add(REGISTER * n).cast()) };
        let hashed = |n: usize, text: __m512i| {
            let text =
                if SEAL && (n == 0 || n == W - 1) { _mm512_maskz_mov_epi8(mask(n), text) } else { text };
            let text = if n == 0 { _mm512_xor_si512(reverse_each(text), front) } else { reverse_each(text) };
            if n == W - 1 { _mm512_xor_si512(text, back) } else { text }
        };
        let waiting = |n: usize| if SEAL { before[n] } else { hashed(n, text(n)) };
        let (count, powers) = if SEAL { (WIDE, powers) } else { (W, powers.of(WIDE - W)) };
        let mut state = [load(&key.rounds[0]); W];
        for one in &mut state {
            *one = _mm512_xor_si512(*one, reverse_each(self.counter));
            self.counter = _mm512_add_epi32(self.counter, by_lane([4, 4, 4, 4]));
        }
        rounds!(R, state, key, waiting, count, powers, sum, 1 2 3 4 5 6 7 8 9 10 11 12 13);
        let last_key = load(&key.rounds[R]);
        let mut waits = [_mm512_setzero_si512(); WIDE];
        for n in 0..W {
            state[n] = _mm512_aesenclast_epi128(state[n], _mm512_xor_si512(last_key, text(n)));
            // SAFETY: the caller's promise; an octet without a bit is not written.
            unsafe { _mm512_mask_storeu_epi8(place.wrapping_add(REGISTER * n).cast(), mask(n), state[n]) };
            if SEAL {
                waits[WIDE - W + n] = hashed(n, state[n]);
            }
        }
        self.begun = state[0];
        self.registers -= W;
        self.at = place.wrapping_add(REGISTER * W);
        (self.first, self.front) = (u64::MAX, _mm512_setzero_si512());
        waits
    }
}

/// Octets of a turn's `n`th register that are text.
#[inline]
fn text_mask<const W: usize>(first: u64, last: u64, n: usize) -> u64 {
    let first = if n == 0 { first } else { u64::MAX };
    if n == W - 1 { first & last } else { first }
}

/// A number for the lowest word of each 128-bit lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn by_lane([a, b, c, d]: [i32; 4]) -> __m512i {
    _mm512_set_epi32(0, 0, 0, d, 0, 0, 0, c, 0, 0, 0, b, 0, 0, 0, a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn reverse_each(blocks: __m512i) -> __m512i {
    _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(backwards()))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[u8; 4 * BLOCK]) -> __m512i {
    // SAFETY: the reference is to 64 octets.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}
