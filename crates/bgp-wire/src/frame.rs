//! Cuts a TCP stream into messages (RFC 4271 sections 4.1 and 6.1).

use crate::{Context, MessageType, Notification, NotificationCode};

/// Octets of the fixed header.
pub const HEADER_LENGTH: usize = 19;
/// The longest message unless both sides offered RFC 8654.
pub const MAX_LENGTH: usize = 4096;
/// The longest message when both sides did.
pub const MAX_EXTENDED_LENGTH: usize = 65535;

/// One whole message, header included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    kind: MessageType,
    bytes: Vec<u8>,
}

impl Frame {
    /// The message type; one of the five known.
    #[must_use]
    pub fn kind(&self) -> MessageType {
        self.kind
    }

    /// The whole message.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What follows the header.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_LENGTH..).unwrap_or_default()
    }
}

/// Keeps what has arrived of a message until the rest is there.
///
/// After a drain with [`Cutter::next_frame`] it holds less than one message: at most 65534 octets.
#[derive(Clone, Debug, Default)]
pub struct Cutter {
    buffer: Vec<u8>,
    start: usize,
}

impl Cutter {
    /// An empty one, for a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// How many octets wait for the rest of their message.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next whole message; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream is beyond repair: send the notification and close. A header is judged as soon as it is
    /// complete, so a bad length never makes the cutter wait.
    pub fn next_frame(&mut self, context: &Context) -> Result<Option<Frame>, Notification> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some(header) = rest.first_chunk::<HEADER_LENGTH>() else {
            return Ok(None);
        };
        let (kind, length) = check_header(header, context)?;
        let Some(bytes) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = Frame { kind, bytes: bytes.to_vec() };
        self.start += length;
        Ok(Some(frame))
    }
}

fn check_header(
    header: &[u8; HEADER_LENGTH],
    context: &Context,
) -> Result<(MessageType, usize), Notification> {
    let [marker @ .., high, low, kind] = header;
    // "If the Marker field of the message header is not as expected, then a synchronization error has occurred."
    if marker.iter().any(|octet| *octet != 0xff) {
        return Err(NotificationCode::NOT_SYNCHRONISED.into());
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let bad_length = || Notification::new(NotificationCode::BAD_LENGTH, vec![*high, *low]);
    if length < HEADER_LENGTH {
        return Err(bad_length());
    }
    let kind = MessageType(*kind);
    let minimum = match kind {
        MessageType::OPEN => 29,
        MessageType::UPDATE | MessageType::ROUTE_REFRESH => 23,
        MessageType::NOTIFICATION => 21,
        MessageType::KEEPALIVE => HEADER_LENGTH,
        MessageType(other) => return Err(Notification::new(NotificationCode::BAD_TYPE, vec![other])),
    };
    let maximum = if kind == MessageType::KEEPALIVE { HEADER_LENGTH } else { context.max_length(kind) };
    // A ROUTE-REFRESH that is too short is an error of its own code, which needs the whole message
    // as its data (RFC 7313 section 5); the decoder reports it.
    let minimum = if kind == MessageType::ROUTE_REFRESH { HEADER_LENGTH } else { minimum };
    if length < minimum || length > maximum {
        return Err(bad_length());
    }
    Ok((kind, length))
}
