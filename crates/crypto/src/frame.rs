//! The one shape of a protected packet, shared by ESP and by the SK payload of IKE.

use core::fmt;
use core::ops::Range;

use crate::algorithm::Suite;

/// One packet in one contiguous buffer: `header | IV | text | ICV`.
///
/// * ESP (RFC 4303 §2): `header` is 8 octets, SPI and the low half of the sequence number.
/// * IKE (RFC 7296 §3.14, RFC 5282 §5.1): `header` is the message from its first octet up to and including
///   the generic header of the SK payload.
///
/// The text holds padding and trailer already. IV and ICV lengths are those of the [`Suite`]; whatever
/// stood in their place before sealing is overwritten.
pub struct Frame<'a> {
    /// The packet, from its first authenticated octet to the last of its ICV.
    pub bytes: &'a mut [u8],
    /// Octets that are authenticated and stay readable, before the IV.
    pub header: usize,
    /// The high half of the sequence number when the SA uses extended ones: it is authenticated
    /// (RFC 4303 §2.2.1, RFC 4106 §5) and not sent. The header must then be the 8 octets of ESP.
    pub esn_hi: Option<u32>,
}

impl Frame<'_> {
    /// Where the text stands in `bytes`; `None` when the buffer does not fit the suite.
    #[must_use]
    pub fn text(&self, suite: Suite) -> Option<Range<usize>> {
        self.text_of(Shape::of(suite))
    }

    /// The same, of a suite's lengths.
    #[inline]
    pub(crate) fn text_of(&self, shape: Shape) -> Option<Range<usize>> {
        let start = self.header.checked_add(shape.iv)?;
        let end = self.bytes.len().checked_sub(shape.icv)?;
        let length = end.checked_sub(start)?;
        let whole = length & shape.beyond_block == 0;
        let esn = self.esn_hi.is_none() || self.header == ESP_HEADER;
        (whole && esn).then_some(start..end)
    }

    /// The four parts, each to be written on its own.
    #[inline]
    pub(crate) fn split(&mut self, shape: Shape) -> Option<Parts<'_>> {
        let range = self.text_of(shape)?;
        let (header, rest) = self.bytes.split_at_mut_checked(self.header)?;
        let (iv, rest) = rest.split_at_mut_checked(shape.iv)?;
        let (text, icv) = rest.split_at_mut_checked(range.len())?;
        Some(Parts { header, iv, text, icv, range })
    }
}

/// The lengths of a suite's packets: asked of the suite once, not for each packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    iv: usize,
    pub(crate) icv: usize,
    /// The block, a power of two, less one.
    beyond_block: usize,
}

impl Shape {
    pub(crate) const fn of(suite: Suite) -> Self {
        Self { iv: suite.iv_len(), icv: suite.icv_len(), beyond_block: suite.block() - 1 }
    }
}

/// Says nothing of the octets, which may be plaintext.
impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} octets, header {}, esn_hi {:?})", self.bytes.len(), self.header, self.esn_hi)
    }
}

/// A frame taken apart.
pub(crate) struct Parts<'a> {
    pub(crate) header: &'a mut [u8],
    pub(crate) iv: &'a mut [u8],
    pub(crate) text: &'a mut [u8],
    pub(crate) icv: &'a mut [u8],
    /// Where the text stands in the frame.
    pub(crate) range: Range<usize>,
}

/// The additional authenticated data of an AEAD, held without allocation.
pub(crate) enum Aad<'a> {
    Header(&'a [u8]),
    Extended([u8; 12]),
}

impl<'a> Aad<'a> {
    /// RFC 4106 §5: SPI and sequence number; with extended sequence numbers SPI, high half, low half.
    /// RFC 5282 §5.1: the message up to the IV.
    #[inline]
    pub(crate) fn new(header: &'a [u8], esn_hi: Option<u32>) -> Self {
        match (esn_hi, header) {
            (Some(high), &[s0, s1, s2, s3, n0, n1, n2, n3]) => {
                let [h0, h1, h2, h3] = high.to_be_bytes();
                Self::Extended([s0, s1, s2, s3, h0, h1, h2, h3, n0, n1, n2, n3])
            }
            (Some(_) | None, _) => Self::Header(header),
        }
    }
}

impl AsRef<[u8]> for Aad<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Header(bytes) => bytes,
            Self::Extended(bytes) => bytes,
        }
    }
}

/// Octets of SPI and sequence number.
const ESP_HEADER: usize = 8;

/// Keys that cannot belong to the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// An AEAD with, or a plain cipher without, an integrity algorithm.
    #[error("the encryption and integrity algorithms do not belong together")]
    Suite,
    /// The encryption key, salt included, is not [`Suite::encr_key_len`] octets long.
    #[error("encryption key of the wrong length")]
    EncrKey,
    /// The integrity key is not [`Suite::integ_key_len`] octets long.
    #[error("integrity key of the wrong length")]
    IntegKey,
}

/// The buffer cannot hold a packet of the suite: too short, text not a multiple of the block, or an
/// extended sequence number with a header that is not ESP's. Nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer does not fit the suite")]
pub struct Misfit;

/// The packet is not one the peer sealed under these keys: wrong ICV, or a shape that cannot be right.
/// The text in the buffer is then of no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("integrity check failed")]
pub struct Forged;
