//! Registers of words, one lane a packet, with the few operations SHA-1 and SHA-2 are made of.
//!
//! Methods are inlined into functions that have the instructions' target features; only there may they be
//! called.

use core::arch::x86_64::*;

/// A register of [`LANES`](Self::LANES) words, or two of them.
///
/// # Safety of its methods
/// The processor must have the register's instructions; pointers must be good for a whole register.
pub(super) trait Vector: Copy {
    type Word: Copy;
    const LANES: usize;
    /// Words of each lane that [`gather`](Self::gather) reads.
    const WORDS: usize;

    unsafe fn zero() -> Self;
    unsafe fn splat(word: Self::Word) -> Self;
    unsafe fn load(from: *const Self::Word) -> Self;
    unsafe fn store(self, to: *mut Self::Word);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn xor(self, other: Self) -> Self;
    unsafe fn xor3(self, b: Self, c: Self) -> Self;
    /// Of each bit, `y` where this is set, else `z`.
    unsafe fn choose(self, y: Self, z: Self) -> Self;
    unsafe fn majority(self, y: Self, z: Self) -> Self;
    unsafe fn rotate_right<const BITS: u32>(self) -> Self;
    unsafe fn shift_right<const BITS: u32>(self) -> Self;
    /// Reads `count` words of each lane's input at an offset in octets, [`WORDS`](Self::WORDS) at most, big endian, and
    /// turns them round: `to[w]` gets word `w` of all lanes, zeros past the count. `inputs` are as many as there are
    /// lanes; nothing is read past the count.
    unsafe fn gather(inputs: *const *const u8, offset: usize, count: usize, to: *mut Self);
}

#[derive(Clone, Copy)]
pub(super) struct Short16(__m512i);
#[derive(Clone, Copy)]
pub(super) struct Short8(__m256i);
#[derive(Clone, Copy)]
pub(super) struct Long8(__m512i);
#[derive(Clone, Copy)]
pub(super) struct Long4(__m256i);

/// What registers of both widths do alike, each by instructions of its own.
macro_rules! shared {
    ($word:ident, $octets:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $xor:ident) => {
        type Word = $word;
        const LANES: usize = $octets / size_of::<$word>();
        const WORDS: usize = Self::LANES;

        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller's promise.
            unsafe { Self::splat(0) }
        }
        #[inline(always)]
        unsafe fn splat(word: $word) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { $splat(word.cast_signed()) })
        }
        #[inline(always)]
        unsafe fn load(from: *const $word) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { $load(from.cast()) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut $word) {
            // SAFETY: the caller's promise.
            unsafe { $store(to.cast(), self.0) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { $add(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn xor(self, other: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { $xor(self.0, other.0) })
        }
    };
}

/// What both word lengths share in 512-bit registers, where three operands make one instruction.
macro_rules! wide {
    ($word:ident, $splat:ident, $add:ident, $rotate:ident, $shift:ident) => {
        shared!($word, 64, $splat, _mm512_loadu_si512, _mm512_storeu_si512, $add, _mm512_xor_si512);

        #[inline(always)]
        unsafe fn xor3(self, b: Self, c: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm512_ternarylogic_epi64::<0x96>(self.0, b.0, c.0) })
        }
        #[inline(always)]
        unsafe fn choose(self, y: Self, z: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm512_ternarylogic_epi64::<0xca>(self.0, y.0, z.0) })
        }
        #[inline(always)]
        unsafe fn majority(self, y: Self, z: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm512_ternarylogic_epi64::<0xe8>(self.0, y.0, z.0) })
        }
        #[inline(always)]
        unsafe fn rotate_right<const BITS: u32>(self) -> Self {
            // SAFETY: the caller's promise. A constant count becomes an immediate one.
            Self(unsafe { $rotate(self.0, $splat(BITS as _)) })
        }
        #[inline(always)]
        unsafe fn shift_right<const BITS: u32>(self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { $shift(self.0, $splat(BITS as _)) })
        }
    };
}

/// The same in 256-bit registers.
macro_rules! narrow {
    ($word:ident, $splat:ident, $add:ident, $left:ident, $right:ident) => {
        shared!($word, 32, $splat, _mm256_loadu_si256, _mm256_storeu_si256, $add, _mm256_xor_si256);

        #[inline(always)]
        unsafe fn xor3(self, b: Self, c: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm256_xor_si256(_mm256_xor_si256(self.0, b.0), c.0) })
        }
        #[inline(always)]
        unsafe fn choose(self, y: Self, z: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { _mm256_xor_si256(z.0, _mm256_and_si256(self.0, _mm256_xor_si256(y.0, z.0))) })
        }
        #[inline(always)]
        unsafe fn majority(self, y: Self, z: Self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe {
                let either = _mm256_or_si256(self.0, y.0);
                _mm256_or_si256(_mm256_and_si256(self.0, y.0), _mm256_and_si256(z.0, either))
            })
        }
        #[inline(always)]
        unsafe fn rotate_right<const BITS: u32>(self) -> Self {
            // SAFETY: the caller's promise. Constant counts become immediate ones.
            Self(unsafe {
                let low = $right(self.0, $splat(BITS as _));
                _mm256_or_si256(low, $left(self.0, $splat(($word::BITS - BITS) as _)))
            })
        }
        #[inline(always)]
        unsafe fn shift_right<const BITS: u32>(self) -> Self {
            // SAFETY: the caller's promise.
            Self(unsafe { $right(self.0, $splat(BITS as _)) })
        }
    };
}

/// The first octets from here on, whole words of 32 bits, and zeros.
#[inline(always)]
unsafe fn read_512(from: *const u8, octets: usize) -> __m512i {
    // SAFETY: the caller's promise; what has no bit is not read.
    unsafe { _mm512_maskz_loadu_epi32(((1u32 << (octets / 4)) - 1) as __mmask16, from.cast()) }
}

/// As [`read_512`].
#[inline(always)]
unsafe fn read_256(from: *const u8, octets: usize) -> __m256i {
    // SAFETY: the caller's promise; what has no bit is not read.
    unsafe {
        let place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let there = _mm256_cmpgt_epi32(_mm256_set1_epi32((octets / 4) as i32), place);
        _mm256_maskload_epi32(from.cast(), there)
    }
}

impl Vector for Short16 {
    wide!(u32, _mm512_set1_epi32, _mm512_add_epi32, _mm512_rorv_epi32, _mm512_srlv_epi32);

    #[inline(always)]
    unsafe fn gather(inputs: *const *const u8, offset: usize, count: usize, to: *mut Self) {
        // SAFETY: the caller's promise: so many words of each input, and room for 16 registers.
        unsafe {
            let octets = count * size_of::<Self::Word>();
            let order = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
            let mut quads = [_mm512_setzero_si512(); 16];
            // Four lanes at a time: word k of each 128-bit part, of those four.
            for four in 0..4 {
                let row = |lane: usize| {
                    let from = (*inputs.add(4 * four + lane)).wrapping_add(offset);
                    _mm512_shuffle_epi8(read_512(from, octets), order)
                };
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
                quads[4 * four] = _mm512_unpacklo_epi64(ab, cd);
                quads[4 * four + 1] = _mm512_unpackhi_epi64(ab, cd);
                let (ab, cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
                quads[4 * four + 2] = _mm512_unpacklo_epi64(ab, cd);
                quads[4 * four + 3] = _mm512_unpackhi_epi64(ab, cd);
            }
            for k in 0..4 {
                let turned = turn([quads[k], quads[4 + k], quads[8 + k], quads[12 + k]]);
                for (part, register) in turned.into_iter().enumerate() {
                    *to.add(4 * part + k) = Self(register);
                }
            }
        }
    }
}

impl Vector for Long8 {
    wide!(u64, _mm512_set1_epi64, _mm512_add_epi64, _mm512_rorv_epi64, _mm512_srlv_epi64);

    #[inline(always)]
    unsafe fn gather(inputs: *const *const u8, offset: usize, count: usize, to: *mut Self) {
        // SAFETY: the caller's promise: so many words of each input, and room for 8 registers.
        unsafe {
            let octets = count * size_of::<Self::Word>();
            let order = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607));
            let mut pairs = [_mm512_setzero_si512(); 8];
            for two in 0..4 {
                let row = |lane: usize| {
                    let from = (*inputs.add(2 * two + lane)).wrapping_add(offset);
                    _mm512_shuffle_epi8(read_512(from, octets), order)
                };
                let (a, b) = (row(0), row(1));
                pairs[2 * two] = _mm512_unpacklo_epi64(a, b);
                pairs[2 * two + 1] = _mm512_unpackhi_epi64(a, b);
            }
            for k in 0..2 {
                let turned = turn([pairs[k], pairs[2 + k], pairs[4 + k], pairs[6 + k]]);
                for (part, register) in turned.into_iter().enumerate() {
                    *to.add(2 * part + k) = Self(register);
                }
            }
        }
    }
}

/// Part `i` of register `j` becomes part `j` of register `i`; a part has 128 bits.
#[inline(always)]
unsafe fn turn([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        [
            _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even),
            _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd),
            _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even),
            _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd),
        ]
    }
}

impl Vector for Short8 {
    narrow!(u32, _mm256_set1_epi32, _mm256_add_epi32, _mm256_sllv_epi32, _mm256_srlv_epi32);

    #[inline(always)]
    unsafe fn gather(inputs: *const *const u8, offset: usize, count: usize, to: *mut Self) {
        // SAFETY: the caller's promise: so many words of each input, and room for 8 registers.
        unsafe {
            let octets = count * size_of::<Self::Word>();
            let order =
                _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
            let mut quads = [_mm256_setzero_si256(); 8];
            for four in 0..2 {
                let row = |lane: usize| {
                    let from = (*inputs.add(4 * four + lane)).wrapping_add(offset);
                    _mm256_shuffle_epi8(read_256(from, octets), order)
                };
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
                quads[4 * four] = _mm256_unpacklo_epi64(ab, cd);
                quads[4 * four + 1] = _mm256_unpackhi_epi64(ab, cd);
                let (ab, cd) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
                quads[4 * four + 2] = _mm256_unpacklo_epi64(ab, cd);
                quads[4 * four + 3] = _mm256_unpackhi_epi64(ab, cd);
            }
            for k in 0..4 {
                *to.add(k) = Self(_mm256_permute2x128_si256::<0x20>(quads[k], quads[4 + k]));
                *to.add(4 + k) = Self(_mm256_permute2x128_si256::<0x31>(quads[k], quads[4 + k]));
            }
        }
    }
}

impl Vector for Long4 {
    narrow!(u64, _mm256_set1_epi64x, _mm256_add_epi64, _mm256_sllv_epi64, _mm256_srlv_epi64);

    #[inline(always)]
    unsafe fn gather(inputs: *const *const u8, offset: usize, count: usize, to: *mut Self) {
        // SAFETY: the caller's promise: so many words of each input, and room for 4 registers.
        unsafe {
            let octets = count * size_of::<Self::Word>();
            let order =
                _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607));
            let row = |lane: usize| {
                let from = (*inputs.add(lane)).wrapping_add(offset);
                _mm256_shuffle_epi8(read_256(from, octets), order)
            };
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            let (ab, cd) = (_mm256_unpacklo_epi64(a, b), _mm256_unpacklo_epi64(c, d));
            *to = Self(_mm256_permute2x128_si256::<0x20>(ab, cd));
            *to.add(2) = Self(_mm256_permute2x128_si256::<0x31>(ab, cd));
            let (ab, cd) = (_mm256_unpackhi_epi64(a, b), _mm256_unpackhi_epi64(c, d));
            *to.add(1) = Self(_mm256_permute2x128_si256::<0x20>(ab, cd));
            *to.add(3) = Self(_mm256_permute2x128_si256::<0x31>(ab, cd));
        }
    }
}

/// Two registers side by side: while one waits for its last result, the other one works. Of 512-bit sums four
/// begin in a cycle on current processors, and each takes two.
#[derive(Clone, Copy)]
pub(super) struct Twice<V>(V, V);

impl<V: Vector> Vector for Twice<V> {
    type Word = V::Word;
    const LANES: usize = 2 * V::LANES;
    const WORDS: usize = V::WORDS;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(V::zero(), V::zero()) }
    }
    #[inline(always)]
    unsafe fn splat(word: V::Word) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(V::splat(word), V::splat(word)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const V::Word) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(V::load(from), V::load(from.add(V::LANES))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut V::Word) {
        // SAFETY: the caller's promise.
        unsafe {
            self.0.store(to);
            self.1.store(to.add(V::LANES));
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(self.0.add(other.0), self.1.add(other.1)) }
    }
    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(self.0.xor(other.0), self.1.xor(other.1)) }
    }
    #[inline(always)]
    unsafe fn xor3(self, b: Self, c: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(self.0.xor3(b.0, c.0), self.1.xor3(b.1, c.1)) }
    }
    #[inline(always)]
    unsafe fn choose(self, y: Self, z: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(self.0.choose(y.0, z.0), self.1.choose(y.1, z.1)) }
    }
    #[inline(always)]
    unsafe fn majority(self, y: Self, z: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(self.0.majority(y.0, z.0), self.1.majority(y.1, z.1)) }
    }
    #[inline(always)]
    unsafe fn rotate_right<const BITS: u32>(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(self.0.rotate_right::<BITS>(), self.1.rotate_right::<BITS>()) }
    }
    #[inline(always)]
    unsafe fn shift_right<const BITS: u32>(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self(self.0.shift_right::<BITS>(), self.1.shift_right::<BITS>()) }
    }
    #[inline(always)]
    unsafe fn gather(inputs: *const *const u8, offset: usize, count: usize, to: *mut Self) {
        // SAFETY: the caller's promise; no word needs more than sixteen registers.
        unsafe {
            let (mut a, mut b) = ([V::zero(); 16], [V::zero(); 16]);
            V::gather(inputs, offset, count, a.as_mut_ptr());
            V::gather(inputs.add(V::LANES), offset, count, b.as_mut_ptr());
            for at in 0..V::WORDS {
                *to.add(at) = Self(a[at], b[at]);
            }
        }
    }
}
