//! Messages cut into Encrypted Fragment payloads (RFC 7383).

use crate::chain;
use crate::error::EncodeError;
use crate::header::Header;
use crate::iana::PayloadType;
use crate::outer::Fragment;
use crate::payload::Payload;
use crate::protected::{self, Protected, ProtectedLayout};

/// Fragments of one message, read or written.
pub const MAX_FRAGMENTS: usize = 256;

/// Writes a message as one SK payload where that fits `max_datagram` octets, else as SKF payloads of at most
/// that size each, in order.
///
/// `max_datagram` is the size of the IKE message alone: a non-ESP marker, UDP and IP come on top. RFC 7383
/// section 2.5.1 has messages that fit left whole, and asks for more fragments than before when a smaller
/// size is tried.
///
/// # Errors
/// [`EncodeError::FragmentSize`] when `max_datagram` leaves no room for content or would need more than
/// [`MAX_FRAGMENTS`]; otherwise what does not fit.
pub fn encode_fragments(
    header: &Header,
    payloads: &[Payload],
    layout: ProtectedLayout,
    max_datagram: usize,
) -> Result<Vec<Protected>, EncodeError> {
    let body = protected::body(payloads)?;
    let first = chain::first(payloads);
    if layout.message_len(body.len(), false)? <= max_datagram {
        return Ok(vec![protected::frame(header, first, &body, layout, None)?]);
    }
    let too_small = EncodeError::FragmentSize { max_datagram };
    let room = room(layout, max_datagram)?.ok_or(too_small)?;
    let total = body.len().div_ceil(room);
    if total > MAX_FRAGMENTS {
        return Err(too_small);
    }
    let total = u16::try_from(total).map_err(|_| too_small)?;
    (1..=total)
        .zip(body.chunks(room))
        .map(|(number, part)| {
            // RFC 7383 section 2.5: Next Payload is the first inner payload in the first fragment, else zero.
            let next = if number == 1 { first } else { PayloadType::NONE };
            protected::frame(header, next, part, layout, Some(Fragment { number, total }))
        })
        .collect()
}

/// Octets of content one fragment holds: what is left in whole blocks, less the pad length.
fn room(layout: ProtectedLayout, max_datagram: usize) -> Result<Option<usize>, EncodeError> {
    let around = ProtectedLayout::header_len(true) + layout.iv_len + layout.icv_len;
    let sealed = max_datagram.saturating_sub(around);
    let blocks =
        sealed.checked_div(layout.block).ok_or(EncodeError::Invalid { what: "block of zero octets" })?;
    Ok((blocks * layout.block).checked_sub(1).filter(|room| *room > 0))
}
