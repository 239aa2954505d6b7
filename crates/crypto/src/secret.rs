//! Octets that must not be printed, compared byte by byte, or left in memory.

use core::fmt;
use core::ops::Deref;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Key material: wiped when dropped, silent under `Debug`, compared in constant time.
///
/// The length is not secret. The octets live in one allocation of exactly their length, so that growing
/// never leaves a copy behind.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Copies `bytes`; the caller still owns, and should wipe, the original.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(Box::from(bytes)))
    }

    /// `len` octets of zero, to be filled by [`Secret::as_mut_bytes`].
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self(Zeroizing::new(vec![0; len].into_boxed_slice()))
    }

    /// The octets themselves.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The octets themselves, to be written in place.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Cuts the octets into consecutive secrets of the given lengths, as RFC 7296 §2.14 and §2.17 cut
    /// keying material; `None` when the lengths together exceed it. What is left over is dropped.
    #[must_use]
    pub fn split<const N: usize>(&self, lengths: [usize; N]) -> Option<[Self; N]> {
        let mut parts = [const { None }; N];
        let mut rest: &[u8] = &self.0;
        for (part, length) in parts.iter_mut().zip(lengths) {
            let (head, tail) = rest.split_at_checked(length)?;
            *part = Some(Self::new(head));
            rest = tail;
        }
        Some(parts.map(Option::unwrap_or_default))
    }
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Secret {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Takes the octets over; a vector with spare capacity is copied into an exact allocation and wiped.
impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(Zeroizing::new(bytes.into_boxed_slice()));
        }
        Self::new(&Zeroizing::new(bytes))
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} octets)", self.0.len())
    }
}

/// Whether two strings of octets are equal, in time that depends on their lengths alone.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
    // By words, each not looked at before the last: `subtle` puts a barrier behind each element it compares.
    let words =
        a.iter().zip(b).fold(0, |differ, (a, b)| differ | (u32::from_ne_bytes(*a) ^ u32::from_ne_bytes(*b)));
    a.len() == b.len() && bool::from(words.ct_eq(&0) & a_rest.ct_eq(b_rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_the_octets() {
        let shown = format!("{:?}", Secret::from("hunter2"));
        assert_eq!(shown, "Secret(7 octets)");
    }

    #[test]
    fn equality_looks_at_every_octet_and_the_length() {
        let a = Secret::new(&[1, 2, 3]);
        assert_eq!(a, Secret::new(&[1, 2, 3]));
        for other in [&[1u8, 2][..], &[1, 2, 4], &[0, 2, 3], &[1, 2, 3, 0], &[]] {
            assert_ne!(a, Secret::new(other));
        }
    }

    #[test]
    fn a_vector_with_spare_room_is_taken_whole() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"abc");
        assert_eq!(Secret::from(bytes).as_bytes(), b"abc");
    }

    #[test]
    fn splitting_takes_consecutive_parts_and_refuses_too_much() {
        let secret = Secret::new(&[1, 2, 3, 4, 5]);
        let [a, b, c] = secret.split([2, 0, 2]).unwrap();
        assert_eq!((a.as_bytes(), b.as_bytes(), c.as_bytes()), (&[1u8, 2][..], &[][..], &[3u8, 4][..]));
        assert!(secret.split([5, 1]).is_none());
    }
}
