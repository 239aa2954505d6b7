//! Cutting what the kernel sends into messages, and reading its acknowledgements (netlink(7)).

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader};
use netlink_packet_route::RouteNetlinkMessage;

use super::error::NetlinkError;
use crate::sys::address::array;

/// Octets of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
const ALIGN: usize = 4;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One netlink message, not yet decoded.
pub(super) struct Frame<'a> {
    pub(super) sequence: u32,
    /// The dump it belongs to was disturbed by a change.
    pub(super) interrupted: bool,
    pub(super) body: Body<'a>,
}

/// What kind of message it is.
pub(super) enum Body<'a> {
    /// The end of one request: done, or refused.
    Outcome(Result<(), NetlinkError>),
    /// The end of a dump.
    Done(Result<(), NetlinkError>),
    /// An rtnetlink message.
    Payload(u16, &'a [u8]),
    /// Nothing to act on.
    Noop,
}

impl Body<'_> {
    /// Decode the payload; `None` for what is no payload or not understood by the decoder.
    pub(super) fn decode(&self) -> Option<RouteNetlinkMessage> {
        let Body::Payload(kind, bytes) = self else { return None };
        let mut header = NetlinkHeader::default();
        header.message_type = *kind;
        RouteNetlinkMessage::deserialize(&header, bytes).ok()
    }
}

/// Walks the messages of one datagram; a lying length ends the walk.
pub(super) struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let len = u32::from_ne_bytes(array(self.rest, 0)?) as usize;
        let kind = u16::from_ne_bytes(array(self.rest, 4)?);
        let flags = u16::from_ne_bytes(array(self.rest, 6)?);
        let sequence = u32::from_ne_bytes(array(self.rest, 8)?);
        let payload = self.rest.get(HEADER..len)?;
        self.rest = self.rest.get(len.checked_next_multiple_of(ALIGN)?..).unwrap_or(&[]);
        let body = match kind {
            NLMSG_NOOP => Body::Noop,
            NLMSG_ERROR => Body::Outcome(outcome(payload, flags)),
            NLMSG_DONE => Body::Done(done(payload, flags)),
            NLMSG_OVERRUN => Body::Outcome(Err(NetlinkError::Malformed)),
            _ => Body::Payload(kind, payload),
        };
        Some(Frame { sequence, interrupted: flags & NLM_F_DUMP_INTR != 0, body })
    }
}

/// NLMSG_ERROR: a negated error number (0: success), the request's header, the request unless capped,
/// then attributes.
fn outcome(payload: &[u8], flags: u16) -> Result<(), NetlinkError> {
    let Some(code) = array(payload, 0).map(i32::from_ne_bytes) else {
        return Err(NetlinkError::Malformed);
    };
    let request = if flags & NLM_F_CAPPED != 0 {
        HEADER
    } else {
        array(payload, 4).map_or(HEADER, |len| u32::from_ne_bytes(len) as usize)
    };
    let attributes = request.checked_next_multiple_of(ALIGN).and_then(|at| payload.get(4 + at..));
    finish(code, flags, attributes)
}

/// NLMSG_DONE of a dump: an error number, then attributes.
fn done(payload: &[u8], flags: u16) -> Result<(), NetlinkError> {
    let code = array(payload, 0).map_or(0, i32::from_ne_bytes);
    finish(code, flags, payload.get(4..))
}

fn finish(code: i32, flags: u16, attributes: Option<&[u8]>) -> Result<(), NetlinkError> {
    if code >= 0 {
        return Ok(());
    }
    let text = attributes.filter(|_| flags & NLM_F_ACK_TLVS != 0).and_then(message_text);
    Err(NetlinkError::from_answer(code.saturating_neg(), text))
}

/// The extended acknowledgement's text among its attributes.
fn message_text(mut rest: &[u8]) -> Option<String> {
    loop {
        let len = usize::from(u16::from_ne_bytes(array(rest, 0)?));
        let kind = u16::from_ne_bytes(array(rest, 2)?);
        let value = rest.get(4..len)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = value.split(|b| *b == 0).next().unwrap_or(&[]);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = rest.get(len.next_multiple_of(ALIGN)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(HEADER as u32 + 4 + 16 + 12).to_ne_bytes());
        bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes.extend_from_slice(&(NLM_F_CAPPED | NLM_F_ACK_TLVS).to_ne_bytes());
        bytes.extend_from_slice(&7_u32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(-libc::EINVAL).to_ne_bytes());
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&10_u16.to_ne_bytes());
        bytes.extend_from_slice(&NLMSGERR_ATTR_MSG.to_ne_bytes());
        bytes.extend_from_slice(b"wrong\0\0\0");
        bytes
    }

    #[test]
    fn a_refusal_carries_the_kernels_words() {
        let bytes = refusal();
        let frame = Frames::new(&bytes).next().unwrap();
        assert_eq!(frame.sequence, 7);
        let Body::Outcome(Err(error)) = frame.body else { panic!("no refusal") };
        assert_eq!(error, NetlinkError::Refused { errno: libc::EINVAL, text: Some("wrong".into()) });
    }

    #[test]
    fn no_truncation_and_no_lie_panics() {
        let bytes = refusal();
        for cut in 0..bytes.len() {
            assert_eq!(Frames::new(&bytes[..cut]).count(), 0, "cut at {cut}");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 3, 15, 17, 127, 255] {
                let mut lie = bytes.clone();
                lie[at] = value;
                for frame in Frames::new(&lie) {
                    let _ = frame.body.decode();
                }
            }
        }
    }
}
