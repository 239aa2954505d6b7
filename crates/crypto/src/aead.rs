//! AEADs over the one shape of a packet (RFC 4106, RFC 5282, RFC 7634), and which implementation serves which.
//!
//! AES-GCM in the widest registers where the processor has what that takes, with any key and ICV; else `ring`, for
//! AES-128-GCM and AES-256-GCM with the full ICV and for ChaCha20-Poly1305; else the plain one.

use core::array;
use core::ops::Range;

use lanes::{Level, Packet};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad as RingAad, Algorithm, CHACHA20_POLY1305};
use ring::aead::{LessSafeKey, Nonce, Tag, UnboundKey};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::algorithm::{Encr, KeyBits, Suite};
use crate::frame::{Aad, Forged, Frame, KeyError, Misfit, Shape};
use crate::gcm::Gcm;

/// The cipher of an AEAD, with the salt of its nonces.
pub(crate) struct Aead {
    cipher: Cipher,
    /// As secret as the key: it comes out of KEYMAT with it (RFC 4106 §8.1).
    salt: Zeroizing<[u8; 4]>,
    shape: Shape,
}

/// Several packets side by side, or each by itself.
enum Cipher {
    Together(lanes::Gcm),
    Single(Single),
}

/// Boxed, as that of the lanes is inside, so that moving it leaves no copy of the expanded keys behind.
enum Single {
    Ring(Box<LessSafeKey>),
    Plain(Box<Gcm>),
}

impl Aead {
    /// With lanes of a level, or none. `encr_key` is the key with the salt behind it.
    pub(crate) fn new(suite: Suite, encr_key: &[u8], level: Option<Level>) -> Result<Self, KeyError> {
        let encr = suite.encr;
        let (key, salt) = encr_key.split_last_chunk::<4>().ok_or(KeyError::EncrKey)?;
        let wide = level.filter(|_| is_gcm(encr)).and_then(|level| lanes::Gcm::new(level, key));
        let cipher = if let Some(gcm) = wide {
            Cipher::Together(gcm)
        } else if let Some(algorithm) = of_ring(encr) {
            let key = UnboundKey::new(algorithm, key).map_err(|_| KeyError::EncrKey)?;
            Cipher::Single(Single::Ring(Box::new(LessSafeKey::new(key))))
        } else if is_gcm(encr) {
            Cipher::Single(Single::Plain(Box::new(Gcm::new(key)?)))
        } else {
            return Err(KeyError::Suite);
        };
        Ok(Self { cipher, salt: Zeroizing::new(*salt), shape: Shape::of(suite) })
    }

    /// Seals each frame, the first under `first_counter`; the caller has checked that every frame fits.
    pub(crate) fn seal_batch(&self, frames: &mut [Frame<'_>], first_counter: u64) -> Result<(), Misfit> {
        let gcm = match &self.cipher {
            Cipher::Together(gcm) => gcm,
            Cipher::Single(cipher) => {
                let mut numbered = frames.iter_mut().zip(first_counter..=u64::MAX);
                return numbered.try_for_each(|(frame, n)| self.seal_one(cipher, frame, n));
            }
        };
        let mut counter = first_counter;
        for group in frames.chunks_mut(GROUP) {
            // Room for few is made faster.
            if group.len() <= FEW {
                self.seal_group::<FEW>(gcm, group, counter)?;
            } else if group.len() <= SOME {
                self.seal_group::<SOME>(gcm, group, counter)?;
            } else {
                self.seal_group::<GROUP>(gcm, group, counter)?;
            }
            counter = counter.wrapping_add(group.len() as u64);
        }
        Ok(())
    }

    /// Opens each frame that is authentic and gives each one's outcome, in order.
    pub(crate) fn open_batch(
        &self,
        frames: &mut [Frame<'_>],
        mut outcome: impl FnMut(usize, Result<Range<usize>, Forged>),
    ) {
        let mut index = 0;
        let mut tell = |opened| {
            outcome(index, opened);
            index += 1;
        };
        let gcm = match &self.cipher {
            Cipher::Together(gcm) => gcm,
            Cipher::Single(cipher) => {
                return frames.iter_mut().for_each(|frame| tell(self.open_one(cipher, frame)));
            }
        };
        for group in frames.chunks_mut(GROUP) {
            if group.len() <= FEW {
                self.open_group::<FEW>(gcm, group, &mut tell);
            } else if group.len() <= SOME {
                self.open_group::<SOME>(gcm, group, &mut tell);
            } else {
                self.open_group::<GROUP>(gcm, group, &mut tell);
            }
        }
    }

    /// At most `N` packets side by side.
    fn seal_group<const N: usize>(
        &self,
        gcm: &lanes::Gcm,
        group: &mut [Frame<'_>],
        counter: u64,
    ) -> Result<(), Misfit> {
        let mut packets: [Packet<'_>; N] = array::from_fn(|_| Packet::none());
        let mut icvs: [&mut [u8]; N] = array::from_fn(|_| &mut [][..]);
        let packets = packets.get_mut(..group.len()).ok_or(Misfit)?;
        for (((frame, packet), place), counter) in
            group.iter_mut().zip(packets.iter_mut()).zip(&mut icvs).zip(counter..=u64::MAX)
        {
            let esn_hi = frame.esn_hi;
            let parts = frame.split(self.shape).ok_or(Misfit)?;
            let iv = counter.to_be_bytes();
            *parts.iv.as_mut_array().ok_or(Misfit)? = iv;
            *packet = packet_of(gcm, &nonce(*self.salt, iv), Aad::new(parts.header, esn_hi), parts.text);
            *place = parts.icv;
        }
        gcm.encrypt(packets);
        for (icv, packet) in icvs.into_iter().zip(packets) {
            write_icv(icv, packet.tag());
        }
        Ok(())
    }

    /// At most `N` packets side by side.
    fn open_group<const N: usize>(
        &self,
        gcm: &lanes::Gcm,
        group: &mut [Frame<'_>],
        mut outcome: impl FnMut(Result<Range<usize>, Forged>),
    ) {
        let mut packets: [Packet<'_>; N] = array::from_fn(|_| Packet::none());
        let mut found: [Option<(Range<usize>, &[u8])>; N] = [const { None }; N];
        let packets = packets.get_mut(..group.len()).unwrap_or_default();
        for ((frame, packet), place) in group.iter_mut().zip(packets.iter_mut()).zip(&mut found) {
            let esn_hi = frame.esn_hi;
            let Some(parts) = frame.split(self.shape) else { continue };
            let Some(iv) = parts.iv.as_array() else { continue };
            *packet = packet_of(gcm, &nonce(*self.salt, *iv), Aad::new(parts.header, esn_hi), parts.text);
            *place = Some((parts.range, parts.icv));
        }
        gcm.decrypt(packets);
        for (found, packet) in found.into_iter().zip(packets) {
            outcome(found.ok_or(Forged).and_then(|(range, icv)| {
                authentic(packet.tag(), icv)?;
                Ok(range)
            }));
        }
    }

    fn seal_one(&self, cipher: &Single, frame: &mut Frame<'_>, counter: u64) -> Result<(), Misfit> {
        let esn_hi = frame.esn_hi;
        let parts = frame.split(self.shape).ok_or(Misfit)?;
        let iv = counter.to_be_bytes();
        let nonce = nonce(*self.salt, iv);
        let aad = Aad::new(parts.header, esn_hi);
        let tag = match cipher {
            Single::Ring(key) => ring_seal(key, nonce, aad, parts.text)?,
            Single::Plain(gcm) => gcm.encrypt(nonce, aad.as_ref(), parts.text),
        };
        parts.iv.copy_from_slice(&iv);
        write_icv(parts.icv, &tag);
        Ok(())
    }

    fn open_one(&self, cipher: &Single, frame: &mut Frame<'_>) -> Result<Range<usize>, Forged> {
        let esn_hi = frame.esn_hi;
        let parts = frame.split(self.shape).ok_or(Forged)?;
        let iv: [u8; 8] = (&*parts.iv).try_into().map_err(|_| Forged)?;
        let nonce = nonce(*self.salt, iv);
        let aad = Aad::new(parts.header, esn_hi);
        match cipher {
            Single::Ring(key) => {
                let tag = Tag::try_from(&*parts.icv).map_err(|_| Forged)?;
                let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), RingAad::from(aad));
                key.open_in_place_separate_tag(nonce, aad, tag, parts.text, 0..).map_err(|_| Forged)?;
            }
            Single::Plain(gcm) => {
                authentic(&gcm.tag(nonce, aad.as_ref(), parts.text), parts.icv)?;
                gcm.decrypt(nonce, parts.text);
            }
        }
        Ok(parts.range)
    }
}

/// Each way of the additional data by itself, so that what is put together need not go through memory.
#[inline]
fn packet_of<'a>(gcm: &lanes::Gcm, nonce: &[u8; 12], aad: Aad<'_>, text: &'a mut [u8]) -> Packet<'a> {
    match aad {
        Aad::Header(header) => gcm.packet(nonce, header, text),
        Aad::Extended(bytes) => gcm.packet(nonce, &bytes, text),
    }
}

/// The beginning of the tag, as long as the ICV (RFC 4106 §6): 8, 12 or 16 octets, each written in one go.
fn write_icv(icv: &mut [u8], tag: &[u8; 16]) {
    if let Some(icv) = icv.as_mut_array() {
        *icv = *tag;
    } else if let (Some(icv), Some(part)) = (icv.as_mut_array::<12>(), tag.first_chunk()) {
        *icv = *part;
    } else if let (Some(icv), Some(part)) = (icv.as_mut_array::<8>(), tag.first_chunk()) {
        *icv = *part;
    }
}

/// An ICV may be the beginning of a tag alone (RFC 4106 §6).
fn authentic(tag: &[u8; 16], icv: &[u8]) -> Result<(), Forged> {
    let equal = match icv.len() {
        16 => same::<16>(tag, icv),
        12 => same::<12>(tag, icv),
        8 => same::<8>(tag, icv),
        _ => None,
    };
    if equal.ok_or(Forged)?.into() { Ok(()) } else { Err(Forged) }
}

/// Whether the first `N` octets are equal, in constant time: as one number, as `subtle` hides each piece it compares
/// from the compiler by way of memory.
fn same<const N: usize>(tag: &[u8; 16], icv: &[u8]) -> Option<Choice> {
    let number = |bytes: &[u8; N]| {
        let mut all = [0; 16];
        all.first_chunk_mut().map(|first| *first = *bytes)?;
        Some(u128::from_ne_bytes(all))
    };
    Some(number(tag.first_chunk()?)?.ct_eq(&number(icv.first_chunk()?)?))
}

fn ring_seal(key: &LessSafeKey, nonce: [u8; 12], aad: Aad<'_>, text: &mut [u8]) -> Result<[u8; 16], Misfit> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    // ring refuses only text beyond the cipher's 2^36 octets, which no buffer of a packet is.
    let tag = key.seal_in_place_separate_tag(nonce, RingAad::from(aad), text).map_err(|_| Misfit)?;
    tag.as_ref().try_into().map_err(|_| Misfit)
}

/// The 12-octet nonce: salt, then the IV as sent (RFC 4106 §4, RFC 7634 §2).
fn nonce(salt: [u8; 4], iv: [u8; 8]) -> [u8; 12] {
    let [s0, s1, s2, s3] = salt;
    let [i0, i1, i2, i3, i4, i5, i6, i7] = iv;
    [s0, s1, s2, s3, i0, i1, i2, i3, i4, i5, i6, i7]
}

fn is_gcm(encr: Encr) -> bool {
    match encr {
        Encr::AesGcm8(_) | Encr::AesGcm12(_) | Encr::AesGcm16(_) => true,
        Encr::AesCbc(_) | Encr::ChaCha20Poly1305 => false,
    }
}

/// What `ring` has; it knows neither AES-192 nor short ICVs.
fn of_ring(encr: Encr) -> Option<&'static Algorithm> {
    match encr {
        Encr::AesGcm16(KeyBits::B128) => Some(&AES_128_GCM),
        Encr::AesGcm16(KeyBits::B256) => Some(&AES_256_GCM),
        Encr::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
        Encr::AesGcm16(KeyBits::B192) | Encr::AesGcm12(_) | Encr::AesGcm8(_) | Encr::AesCbc(_) => None,
    }
}

/// Packets worked on together: what one segmentation batch carries.
const GROUP: usize = 64;
const SOME: usize = 16;
const FEW: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_salt_is_wiped_with_the_keys() {
        fn is_wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let suite = Suite::new(Encr::AesGcm16(KeyBits::B128), None).unwrap();
        let aead = Aead::new(suite, &[7; 20], None).unwrap();
        is_wiped(&aead.salt);
        assert_eq!(*aead.salt, [7; 4]);
    }
}
