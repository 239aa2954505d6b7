//! How the octets of one ESP packet lie (RFC 4303 section 2).

use crypto::Suite;

/// Octets of SPI and sequence number in front of every ESP packet.
pub const HEADER_LEN: usize = 8;

/// Pad Length and Next Header.
const TRAILER_LEN: usize = 2;

/// The lengths a suite gives to a packet: `[SPI | seq | IV | inner | 1,2,3… | pad length | next header | ICV]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    iv: usize,
    align: usize,
    icv: usize,
}

impl Geometry {
    /// The lengths of a suite.
    #[must_use]
    pub fn new(suite: Suite) -> Self {
        // RFC 4303 section 2.4: the pad length and next header fields must end on a 4-byte boundary,
        // whatever the cipher needs.
        Self { iv: suite.iv_len(), align: suite.block().max(4), icv: suite.icv_len() }
    }

    /// Where the inner packet starts.
    #[must_use]
    pub fn inner_offset(self) -> usize {
        HEADER_LEN + self.iv
    }

    /// Octets of padding an inner packet of `inner` octets gets: 0 to 15.
    #[must_use]
    pub fn padding(self, inner: usize) -> usize {
        self.aligned(inner + TRAILER_LEN) - inner - TRAILER_LEN
    }

    /// The next multiple of the alignment, which is a power of two.
    fn aligned(self, len: usize) -> usize {
        (len + self.align - 1) & !(self.align - 1)
    }

    /// Octets of the ESP packet that carries an inner packet of `inner` octets.
    #[must_use]
    pub fn sealed_len(self, inner: usize) -> usize {
        self.inner_offset() + self.aligned(inner + TRAILER_LEN) + self.icv
    }

    /// The longest inner packet whose ESP packet fits in `sealed` octets; `None` when not even an empty
    /// one does.
    #[must_use]
    pub fn largest_inner(self, sealed: usize) -> Option<usize> {
        let room = sealed.checked_sub(self.inner_offset() + self.icv)?;
        (room / self.align * self.align).checked_sub(TRAILER_LEN)
    }

    /// Can an ESP packet of `sealed` octets be one of this suite at all?
    #[must_use]
    pub fn plausible(self, sealed: usize) -> bool {
        match sealed.checked_sub(self.inner_offset() + self.icv) {
            Some(body) => body >= self.align && body & (self.align - 1) == 0,
            None => false,
        }
    }

    /// Writes padding 1, 2, 3 … (RFC 4303 section 2.4), pad length and next header behind the inner packet.
    pub(crate) fn write_trailer(self, packet: &mut [u8], inner: usize, next_header: u8) {
        let padding = self.padding(inner);
        let start = self.inner_offset() + inner;
        let Some(trailer) = packet.get_mut(start..start + padding + TRAILER_LEN) else { return };
        for (value, octet) in (1..).zip(trailer.iter_mut()) {
            *octet = value;
        }
        if let [.., pad_length, next] = trailer {
            // At most 15, as the alignment is at most 16.
            *pad_length = padding as u8;
            *next = next_header;
        }
    }
}

/// Reads pad length and next header off a decrypted body and checks the padding.
///
/// Gives the inner octets' count and the next header.
pub(crate) fn read_trailer(body: &[u8]) -> Option<(usize, u8)> {
    let [padded @ .., pad_length, next] = body else { return None };
    let inner = padded.len().checked_sub(usize::from(*pad_length))?;
    // RFC 4303 section 2.4: "If Padding bytes are needed but the encryption algorithm does not specify
    // the padding contents, then [1, 2, 3, …] MUST be used. When this padding scheme is employed, the
    // receiver SHOULD inspect the Padding field."
    let padding = padded.get(inner..)?;
    let sound = (1u8..=255).zip(padding).all(|(want, got)| want == *got);
    sound.then_some((inner, *next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_inner_packet_is_the_last_that_fits() {
        for suite in Suite::all() {
            let geometry = Geometry::new(suite);
            for sealed in 0..1600 {
                let Some(inner) = geometry.largest_inner(sealed) else {
                    assert!(geometry.sealed_len(0) > sealed);
                    continue;
                };
                assert!(geometry.sealed_len(inner) <= sealed, "{suite} {sealed}");
                assert!(geometry.sealed_len(inner + 1) > sealed, "{suite} {sealed}");
            }
        }
    }

    #[test]
    fn every_sealed_length_is_plausible_and_its_neighbours_are_not_for_cbc() {
        for suite in Suite::all() {
            let geometry = Geometry::new(suite);
            for inner in 0..100 {
                assert!(geometry.plausible(geometry.sealed_len(inner)), "{suite} {inner}");
                assert!(!geometry.plausible(geometry.sealed_len(inner) + 1), "{suite} {inner}");
            }
        }
    }

    #[test]
    fn a_trailer_is_read_as_written_and_bad_padding_is_refused() {
        assert_eq!(read_trailer(&[9, 9, 1, 2, 2, 4]), Some((2, 4)));
        assert_eq!(read_trailer(&[0, 41]), Some((0, 41)));
        assert_eq!(read_trailer(&[9, 9, 1, 3, 2, 4]), None);
        assert_eq!(read_trailer(&[1, 2, 3, 4]), None);
        assert_eq!(read_trailer(&[4]), None);
        assert_eq!(read_trailer(&[]), None);
    }
}
