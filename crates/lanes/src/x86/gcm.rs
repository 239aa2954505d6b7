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
//! costs nothing of its own. Registers are taken in turns of eight, the first turn being the one that may have
//! fewer. Products are summed over [`SEGMENT`] registers, 1,504 octets of text, and reduced once: a packet of the
//! usual length has one reduction.
//!
//! What is deciphered is hashed in the same turn. What is enciphered is hashed a turn later, when it need not be
//! waited for: the end of a packet in the first turn of the next.

use core::arch::x86_64::*;

use crate::cbc::{BLOCK, Schedule};
use crate::gcm::{Key, POWERS, Packet};
use crate::x86::ghash::{
    NOTHING, POLYNOMIAL, Powers, add_all, bytes, encrypt_block, halves, multiply, reduce_lanes, reverse,
    vector,
};
use crate::x86::turn::{REGISTER, Turn, WIDE, by_lane};

/// Registers whose products are summed before one reduction.
const SEGMENT: usize = POWERS / 4;
const _: () = assert!(SEGMENT.is_multiple_of(WIDE));

/// The round keys in all lanes, and the powers of the hash key, which is the enciphered zero block.
///
/// # Safety
/// The processor has AES, PCLMULQDQ and AVX-512 F.
#[target_feature(enable = "aes,pclmulqdq,sse4.1,ssse3,avx512f")]
pub(crate) unsafe fn prepare(keys: &Schedule, wide: &mut Key) {
    for (round, key) in wide.rounds.iter_mut().zip(&keys.encrypt) {
        round.as_chunks_mut().0.fill(*key);
    }
    let key = u128::from_be_bytes(bytes(encrypt_block(keys, _mm_setzero_si128())));
    // Times x. Without a branch, as the carry is a secret.
    let key = (key << 1) ^ (POLYNOMIAL & 0_u128.wrapping_sub(key >> 127));
    let key = vector(key.to_le_bytes());
    let mut power = key;
    for (slot, sum) in wide.powers.iter_mut().zip(&mut wide.sums).rev() {
        *slot = bytes(power);
        let lane = _mm512_zextsi128_si512(power);
        *sum = bytes(_mm512_castsi512_si128(halves([lane, lane])));
        power = multiply(power, key);
    }
}

/// The additional data hashed but for the last multiplication, which the lane it is put in does.
///
/// # Safety
/// The processor has PCLMULQDQ and AVX-512 BW and VL.
#[target_feature(enable = "avx512bw,avx512vl,pclmulqdq,sse4.1,ssse3")]
pub(crate) unsafe fn hash_aad(key: &Key, aad: &[u8]) -> u128 {
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
    u128::from_le_bytes(bytes(hash))
}

/// Calls [`Turn::work`] for a turn of one to eight registers. From one place, or it would not be inlined.
macro_rules! work {
    ($seal:literal, $turn:expr, $waiting:expr, $powers:expr, $sum:expr) => {
        match $turn.width() {
            1 => $turn.work::<R, 1, $seal>($waiting, $powers, $sum),
            2 => $turn.work::<R, 2, $seal>($waiting, $powers, $sum),
            3 => $turn.work::<R, 3, $seal>($waiting, $powers, $sum),
            4 => $turn.work::<R, 4, $seal>($waiting, $powers, $sum),
            5 => $turn.work::<R, 5, $seal>($waiting, $powers, $sum),
            6 => $turn.work::<R, 6, $seal>($waiting, $powers, $sum),
            7 => $turn.work::<R, 7, $seal>($waiting, $powers, $sum),
            _ => $turn.work::<R, WIDE, $seal>($waiting, $powers, $sum),
        }
    };
}

/// Enciphers the packets' texts in place under a key of `R` rounds, and leaves their tags with them.
///
/// # Safety
/// The processor has PCLMULQDQ, VAES, VPCLMULQDQ and AVX-512 F, BW, VL.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmulqdq,sse4.1,ssse3")]
pub(crate) unsafe fn seal<const R: usize>(key: &Key, packets: &mut [Packet<'_>]) {
    // What waits to be hashed, of the packet before in the first turn; its powers are the last.
    let (mut waiting, mut sum, mut power) = ([_mm512_setzero_si512(); WIDE], NOTHING, SEGMENT - WIDE);
    let mut mask = _mm_setzero_si128();
    let mut ended: Option<&mut [u8; BLOCK]> = None;
    for packet in packets {
        let mut turn = start(key, packet);
        let (first_power, mut begun) = (turn.first_power(SEGMENT), false);
        while turn.registers > 0 {
            // SAFETY: the turns are those of the text; there are eight registers of powers.
            waiting = unsafe { work!(true, turn, waiting, Powers::at(key, power), &mut sum) };
            power += WIDE;
            if power < SEGMENT {
                continue;
            }
            let hash = reduce_lanes(sum);
            (sum, power) = (NOTHING, 0);
            if begun {
                waiting[0] = _mm512_xor_si512(waiting[0], _mm512_zextsi128_si512(hash));
                continue;
            }
            if let Some(tag) = ended.take() {
                *tag = bytes(_mm_xor_si128(reverse(hash), mask));
            }
            mask = turn.tag_mask();
            power = first_power;
            begun = true;
        }
        ended = Some(&mut packet.tag);
    }
    if let Some(tag) = ended {
        // SAFETY: eight registers before the table's end.
        unsafe { add_all(waiting, Powers::at(key, SEGMENT - WIDE), &mut sum) };
        *tag = bytes(_mm_xor_si128(reverse(reduce_lanes(sum)), mask));
    }
}

/// Deciphers the packets' texts in place under a key of `R` rounds, and leaves with them the tags they should
/// have.
///
/// # Safety
/// As for [`seal`].
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmulqdq,sse4.1,ssse3")]
pub(crate) unsafe fn open<const R: usize>(key: &Key, packets: &mut [Packet<'_>]) {
    let none = [_mm512_setzero_si512(); WIDE];
    for packet in packets {
        let mut turn = start(key, packet);
        let (mut sum, mut power) = (NOTHING, turn.first_power(SEGMENT));
        let mut mask = None;
        while turn.registers > 0 {
            if power == SEGMENT {
                turn.front = _mm512_zextsi128_si512(reduce_lanes(sum));
                (sum, power) = (NOTHING, 0);
            }
            // SAFETY: the turns are those of the text; there are eight registers of powers.
            unsafe { work!(false, turn, none, Powers::at(key, power), &mut sum) };
            power += WIDE;
            mask.get_or_insert_with(|| turn.tag_mask());
        }
        let mask = mask.unwrap_or(_mm_setzero_si128());
        packet.tag = bytes(_mm_xor_si128(reverse(reduce_lanes(sum)), mask));
    }
}

/// A packet laid out.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmulqdq,sse4.1,ssse3")]
fn start<'k>(key: &'k Key, packet: &mut Packet<'_>) -> Turn<'k> {
    let len = packet.text.len();
    let lanes = len.div_ceil(BLOCK) + 2;
    let registers = lanes.div_ceil(4);
    let unused = 4 * registers - lanes;
    let lead = BLOCK * (unused + 1);
    Turn {
        key,
        registers,
        unused,
        at: packet.text.as_mut_ptr().wrapping_sub(lead),
        counter: first_counters(packet.nonce, unused),
        front: _mm512_maskz_broadcast_i32x4(0xf << (4 * unused), number(packet.aad)),
        back: lengths(packet.aad_len, len),
        first: u64::MAX.checked_shl(lead as u32).unwrap_or(0),
        // Of the last register's four lanes the text has three at most.
        last: (1 << (lead + len - REGISTER * (registers - 1))) - 1,
        begun: _mm512_setzero_si512(),
    }
}

/// The length block, in the last lane (SP 800-38D §7.1), as the hash takes it.
#[inline]
#[target_feature(enable = "avx512f")]
fn lengths(aad: usize, text: usize) -> __m512i {
    let bits = |octets: usize| (octets as i64) << 3;
    _mm512_inserti32x4::<3>(_mm512_setzero_si512(), _mm_set_epi64x(bits(aad), bits(text)))
}

/// Counters of the first register, behind whose unused lanes the one that masks the tag stands: 1, as the
/// nonce has 12 octets. The unused lanes' counters never come to use.
#[inline]
#[target_feature(enable = "avx512f")]
fn first_counters(nonce: u128, unused: usize) -> __m512i {
    let unused = unused as i32;
    let block = _mm512_broadcast_i32x4(number(nonce));
    _mm512_add_epi32(block, by_lane([1, 2, 3, 4].map(|lane| lane - unused)))
}

#[inline]
#[target_feature(enable = "sse2")]
fn number(value: u128) -> __m128i {
    _mm_set_epi64x((value >> 64) as i64, value as i64)
}
