//! Counter mode and GHASH in 512-bit registers, up to eight of them side by side.
//!
//! A packet is laid out in lanes of 128 bits, and the lanes in registers so that the last lane is full:
//!
//! ```text
//! | unused, 0 to 3 lanes | additional data | text … | lengths |
//! ```
//!
//! The last lane of a register then always meets the same powers of the hash key, so the table of powers is read
//! in whole lines; and the lane before the text has the counter that masks the tag (SP 800-38D §7.1), which so
//! costs nothing of its own. Products are summed over the whole of a segment of [`SEGMENT`] registers, 1,504
//! octets of text, and reduced once: a packet of the usual length has one reduction.

use core::arch::x86_64::*;

use crate::cbc::{BLOCK, Schedule};
use crate::gcm::{Key, POWERS};
use crate::x86::ghash::{POLYNOMIAL, backwards, bytes, encrypt_block, multiply, reduce, reverse, vector};

/// Registers whose products are summed before one reduction.
const SEGMENT: usize = POWERS / 4;
/// Registers side by side: latency times throughput of an AES round.
const WIDE: usize = 8;
/// Octets of a register.
const REGISTER: usize = 64;

/// Products not yet reduced, in each 128-bit lane: the low and the high halves', and that of the halves' sums
/// (Karatsuba).
#[derive(Clone, Copy)]
struct Product {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

/// A packet under way.
struct Pass<'a> {
    key: &'a Key,
    /// Counters of the next register, reversed so that each is the lowest word of its lane.
    counter: __m512i,
    sum: Product,
    /// What the last eight registers give the hash, when they were sealed: they are hashed a turn later, when
    /// they need not be waited for.
    before: [__m512i; WIDE],
    /// What the hash takes besides text: in the segment's first register, and in its last.
    front: __m512i,
    back: __m512i,
    /// Key stream of the segment's first register.
    stream: __m512i,
    /// Where the next register's octets lie; some of the first may lie before the text, and are not touched.
    at: *mut u8,
    /// Powers that the next register meets, in [`Key::powers`].
    power: usize,
    /// A bit for each octet of text in the segment's first register, and in its last.
    first: u64,
    last: u64,
}

/// The round keys in all lanes, and the powers of the hash key, which is the enciphered zero block.
///
/// # Safety
/// The processor has AES and PCLMULQDQ.
#[target_feature(enable = "aes,pclmulqdq,sse4.1,ssse3")]
pub(crate) unsafe fn prepare(keys: &Schedule, wide: &mut Key) {
    for (round, key) in wide.rounds.iter_mut().zip(&keys.encrypt) {
        round.as_chunks_mut().0.fill(*key);
    }
    let key = u128::from_be_bytes(bytes(encrypt_block(keys, _mm_setzero_si128())));
    // Times x. Without a branch, as the carry is a secret.
    let key = (key << 1) ^ (POLYNOMIAL & 0_u128.wrapping_sub(key >> 127));
    let key = vector(key.to_le_bytes());
    let mut power = key;
    for slot in wide.powers.iter_mut().rev() {
        *slot = bytes(power);
        power = multiply(power, key);
    }
}

/// Enciphers (`SEAL`) or deciphers `text` in place under a key of `R` rounds; the tag.
///
/// # Safety
/// The processor has PCLMULQDQ, VAES, VPCLMULQDQ and AVX-512 F, BW, VL.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmulqdq,sse4.1,ssse3")]
pub(crate) unsafe fn work<const R: usize, const SEAL: bool>(
    key: &Key,
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
) -> [u8; BLOCK] {
    let lanes = text.len().div_ceil(BLOCK) + 2;
    let mut left = lanes.div_ceil(4);
    let unused = 4 * left - lanes;
    let lead = BLOCK * (unused + 1);
    // Of the last register's four lanes the text has three at most.
    let end = (1 << (lead + text.len() - REGISTER * (left - 1))) - 1;
    let lengths = lengths(aad.len(), text.len());
    let mut count = (left - 1) % SEGMENT + 1;
    let mut pass = Pass {
        key,
        counter: first_counters(nonce, unused),
        sum: NONE,
        before: [_mm512_setzero_si512(); WIDE],
        front: _mm512_maskz_broadcast_i32x4(0xf << (4 * unused), hash_aad(key, aad)),
        back: _mm512_setzero_si512(),
        stream: _mm512_setzero_si512(),
        at: text.as_mut_ptr().wrapping_sub(lead),
        power: 4 * (SEGMENT - count),
        first: u64::MAX.checked_shl(lead as u32).unwrap_or(0),
        last: u64::MAX,
    };
    let mut mask = None;
    loop {
        left -= count;
        if left == 0 {
            (pass.back, pass.last) = (lengths, end);
        }
        // SAFETY: the masks leave out what is before the text in its first register, and in its last what is
        // behind; all registers between are text.
        unsafe { pass.segment::<R, SEAL>(count) };
        mask = mask.or(Some(pass.stream));
        let hash = reduce_lanes(pass.sum);
        if left == 0 {
            let mask = _mm512_maskz_compress_epi64(3 << (2 * unused), mask.unwrap_or(pass.stream));
            return bytes(_mm_xor_si128(reverse(hash), _mm512_castsi512_si128(mask)));
        }
        (pass.front, pass.sum) = (_mm512_zextsi128_si512(hash), NONE);
        (pass.first, pass.power) = (u64::MAX, 0);
        count = SEGMENT;
    }
}

const NONE: Product = {
    // SAFETY: any bits are a register's.
    let zero = unsafe { core::mem::zeroed() };
    Product { low: zero, middle: zero, high: zero }
};

/// Calls [`Pass::chunk`] for one to eight registers.
macro_rules! by_width {
    ($pass:ident, $count:expr, $head:literal) => {
        match $count {
            1 => $pass.chunk::<R, 1, SEAL, $head, true>(),
            2 => $pass.chunk::<R, 2, SEAL, $head, true>(),
            3 => $pass.chunk::<R, 3, SEAL, $head, true>(),
            4 => $pass.chunk::<R, 4, SEAL, $head, true>(),
            5 => $pass.chunk::<R, 5, SEAL, $head, true>(),
            6 => $pass.chunk::<R, 6, SEAL, $head, true>(),
            7 => $pass.chunk::<R, 7, SEAL, $head, true>(),
            _ => $pass.chunk::<R, WIDE, SEAL, $head, true>(),
        }
    };
}

/// The rounds but for the last, and among them the products of what waits for the hash, two registers every few
/// rounds, so that both are done at the same time. Written out: the compiler would make a loop of it, which
/// cannot have registers by number.
macro_rules! rounds {
    ($r:ident, $state:ident, $key:expr, $waiting:ident, $count:ident, $power:ident, $sum:ident, $($at:literal)*) => { $(
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
                unsafe { add_pair([$waiting[pair], $waiting[pair + 1]], &mut $power, &mut $sum) };
            } else if ($at - 1) % each == 0 && pair < $count {
                // SAFETY: as above.
                unsafe { add($waiting[pair], &mut $power, &mut $sum) };
            }
        }
    )* };
}

impl Pass<'_> {
    /// Works through one to [`SEGMENT`] registers, and leaves their products in the sum.
    ///
    /// # Safety
    /// Of so many registers from `at` on, those octets may be written that have a bit in `first`, if they are
    /// in the first register, and in `last`, if they are in the last.
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmulqdq,sse4.1,ssse3")]
    unsafe fn segment<const R: usize, const SEAL: bool>(&mut self, mut count: usize) {
        // SAFETY: the caller's promise; together the chunks are so many registers.
        unsafe {
            if count <= WIDE {
                return by_width!(self, count, true);
            }
            self.chunk::<R, WIDE, SEAL, true, false>();
            count -= WIDE;
            while count > WIDE {
                self.chunk::<R, WIDE, SEAL, false, false>();
                count -= WIDE;
            }
            by_width!(self, count, false);
        }
    }

    /// Works through `W` registers, the segment's first (`HEAD`) or last (`LAST`) among them. A function of its
    /// own for each form, so that none has more than the processor's registers to care for; and whole, as what
    /// a part of it handed to another would go through memory.
    ///
    /// # Safety
    /// As for `segment`.
    #[inline(never)]
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmulqdq,sse4.1,ssse3")]
    unsafe fn chunk<const R: usize, const W: usize, const SEAL: bool, const HEAD: bool, const LAST: bool>(
        &mut self,
    ) {
        let place = self.at;
        let masks = (self.first, self.last);
        let mask = |n| text_mask::<W, HEAD, LAST>(masks, n);
        let (mut sum, mut power) = (self.sum, self.key.powers[self.power..].as_ptr());
        let mut waiting = self.before;
        let mut texts = [_mm512_setzero_si512(); W];
        for (n, text) in texts.iter_mut().enumerate() {
            // SAFETY: the caller's promise; an octet without a bit is not read.
            *text = unsafe { _mm512_maskz_loadu_epi8(mask(n), place.wrapping_add(REGISTER * n).cast()) };
        }
        if !SEAL {
            for n in 0..W {
                waiting[n] = self.as_hashed::<W, HEAD, LAST>(n, texts[n]);
            }
        }
        let mut state = [load(&self.key.rounds[0]); W];
        let mut counter = self.counter;
        for one in &mut state {
            *one = _mm512_xor_si512(*one, reverse_each(counter));
            counter = _mm512_add_epi32(counter, by_lane([4, 4, 4, 4]));
        }
        self.counter = counter;
        let count = if !SEAL {
            W
        } else if HEAD {
            0
        } else {
            WIDE
        };
        rounds!(R, state, self.key, waiting, count, power, sum, 1 2 3 4 5 6 7 8 9 10 11 12 13);
        let last = load(&self.key.rounds[R]);
        for one in &mut state {
            *one = _mm512_aesenclast_epi128(*one, last);
        }
        if HEAD {
            self.stream = state[0];
        }
        for n in 0..W {
            texts[n] = _mm512_xor_si512(texts[n], state[n]);
            // SAFETY: the caller's promise; an octet without a bit is not written.
            unsafe { _mm512_mask_storeu_epi8(place.wrapping_add(REGISTER * n).cast(), mask(n), texts[n]) };
            if SEAL {
                texts[n] = self.as_hashed::<W, HEAD, LAST>(n, texts[n]);
                if !LAST {
                    self.before[n] = texts[n];
                }
            }
        }
        if SEAL && LAST {
            let (pairs, rest) = texts.as_chunks();
            // SAFETY: a power for each lane of the segment, of which this chunk is the end.
            pairs.iter().for_each(|pair| unsafe { add_pair(*pair, &mut power, &mut sum) });
            // SAFETY: as above.
            rest.iter().for_each(|one| unsafe { add(*one, &mut power, &mut sum) });
        }
        self.sum = sum;
        self.power += 4 * if SEAL && LAST { count + W } else { count };
        self.at = place.wrapping_add(REGISTER * W);
    }

    /// What the hash takes of a chunk's `n`th register of ciphertext: the text alone, reversed, and what stands
    /// beside it.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmulqdq,sse4.1,ssse3")]
    fn as_hashed<const W: usize, const HEAD: bool, const LAST: bool>(
        &self,
        n: usize,
        mut text: __m512i,
    ) -> __m512i {
        let (head, last) = (HEAD && n == 0, LAST && n == W - 1);
        if head || last {
            text = _mm512_maskz_mov_epi8(text_mask::<W, HEAD, LAST>((self.first, self.last), n), text);
        }
        text = reverse_each(text);
        if head {
            text = _mm512_xor_si512(text, self.front);
        }
        if last {
            text = _mm512_xor_si512(text, self.back);
        }
        text
    }
}

/// Octets of a chunk's `n`th register that are text, of the segment's first and last masks.
#[inline]
fn text_mask<const W: usize, const HEAD: bool, const LAST: bool>((first, last): (u64, u64), n: usize) -> u64 {
    let first = if HEAD && n == 0 { first } else { u64::MAX };
    if LAST && n == W - 1 { first & last } else { first }
}

/// The length block, in the last lane (SP 800-38D §7.1), as the hash takes it.
#[target_feature(enable = "avx512f")]
fn lengths(aad: usize, text: usize) -> __m512i {
    let bits = |octets: usize| (octets as i64) << 3;
    _mm512_inserti32x4::<3>(_mm512_setzero_si512(), _mm_set_epi64x(bits(aad), bits(text)))
}

/// Counters of the first register, behind whose unused lanes the one that masks the tag stands: 1, as the
/// nonce has 12 octets. The unused lanes' counters never come to use.
#[target_feature(enable = "avx512f,ssse3")]
fn first_counters(nonce: &[u8; 12], unused: usize) -> __m512i {
    let [start @ .., a, b, c, d] = *nonce;
    let end = i64::from(u32::from_le_bytes([a, b, c, d]));
    let block = _mm512_broadcast_i32x4(reverse(_mm_set_epi64x(end, i64::from_le_bytes(start))));
    let unused = unused as i32;
    _mm512_add_epi32(block, by_lane([1, 2, 3, 4].map(|lane| lane - unused)))
}

/// The hash of the additional data, without the last multiplication: the lane it is put in does that. It is
/// short, so it is taken block by block.
#[target_feature(enable = "avx512bw,avx512vl,pclmulqdq,sse4.1,ssse3")]
fn hash_aad(key: &Key, aad: &[u8]) -> __m128i {
    let power = vector(key.powers[POWERS - 1]);
    let mut hash = _mm_setzero_si128();
    for (at, part) in aad.chunks(BLOCK).enumerate() {
        if at > 0 {
            hash = multiply(hash, power);
        }
        let filled = u16::MAX >> (BLOCK - part.len());
        // SAFETY: the mask has a bit for each octet of the part, and no other is read.
        let block = unsafe { _mm_maskz_loadu_epi8(filled, part.as_ptr().cast()) };
        hash = _mm_xor_si128(hash, reverse(block));
    }
    hash
}

/// Adds the products of a register.
///
/// # Safety
/// `power` is at least four powers before the table's end, and at a whole register.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
unsafe fn add(a: __m512i, power: &mut *const [u8; BLOCK], sum: &mut Product) {
    let zero = _mm512_setzero_si512();
    // SAFETY: the caller's promise.
    let b = unsafe { _mm512_load_si512(power.cast()) };
    *power = power.wrapping_add(4);
    add_halves(sum, a, b);
    let middle = _mm512_clmulepi64_epi128::<0x00>(halves([a, zero]), halves([b, zero]));
    sum.middle = _mm512_xor_si512(sum.middle, middle);
}

/// Adds the products of two registers, whose sums of halves share one.
///
/// # Safety
/// `power` is at least eight powers before the table's end, and at a whole register.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
unsafe fn add_pair(a: [__m512i; 2], power: &mut *const [u8; BLOCK], sum: &mut Product) {
    // SAFETY: the caller's promise.
    let b = [0, 4].map(|at| unsafe { _mm512_load_si512(power.wrapping_add(at).cast()) });
    *power = power.wrapping_add(8);
    let (x, y) = (halves(a), halves(b));
    add_halves(sum, a[0], b[0]);
    sum.middle = _mm512_xor_si512(sum.middle, _mm512_clmulepi64_epi128::<0x00>(x, y));
    add_halves(sum, a[1], b[1]);
    sum.middle = _mm512_xor_si512(sum.middle, _mm512_clmulepi64_epi128::<0x11>(x, y));
}

/// Adds the products of the low halves and of the high ones.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn add_halves(sum: &mut Product, a: __m512i, b: __m512i) {
    sum.low = _mm512_xor_si512(sum.low, _mm512_clmulepi64_epi128::<0x00>(a, b));
    sum.high = _mm512_xor_si512(sum.high, _mm512_clmulepi64_epi128::<0x11>(a, b));
}

/// The sums of the halves of each lane: of the one register in the low half, of the other in the high.
#[inline]
#[target_feature(enable = "avx512f")]
fn halves([one, other]: [__m512i; 2]) -> __m512i {
    _mm512_xor_si512(_mm512_unpacklo_epi64(one, other), _mm512_unpackhi_epi64(one, other))
}

/// The sum of the lanes, reduced.
#[target_feature(enable = "avx2,avx512f,pclmulqdq,sse4.1")]
fn reduce_lanes(sum: Product) -> __m128i {
    let (low, high) = (fold(sum.low), fold(sum.high));
    reduce(low, _mm_xor_si128(fold(sum.middle), _mm_xor_si128(low, high)), high)
}

#[target_feature(enable = "avx2,avx512f")]
fn fold(lanes: __m512i) -> __m128i {
    let half = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

/// A number for the lowest word of each 128-bit lane.
#[target_feature(enable = "avx512f")]
fn by_lane([a, b, c, d]: [i32; 4]) -> __m512i {
    _mm512_set_epi32(0, 0, 0, d, 0, 0, 0, c, 0, 0, 0, b, 0, 0, 0, a)
}

#[target_feature(enable = "avx512f,avx512bw")]
fn reverse_each(blocks: __m512i) -> __m512i {
    _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(backwards()))
}

#[target_feature(enable = "avx512f")]
fn load(from: &[u8; REGISTER]) -> __m512i {
    // SAFETY: the reference is to 64 octets.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}
