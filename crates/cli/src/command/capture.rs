//! `capture`: a tunnel's inner packets as pcapng (draft-ietf-opsawg-pcapng), link type RAW.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use control::{Answer, Client, Request};

use super::CommandError;
use crate::args::Daemon;

/// LINKTYPE_RAW: packets begin with their IPv4 or IPv6 header.
const LINKTYPE_RAW: u16 = 101;

pub(super) fn capture(
    tunnel: &str,
    file: Option<&Path>,
    count: Option<u64>,
    daemon: &Daemon,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let mut connection = Client::connect(&daemon.socket)?;
    let interface = match connection.ask(&Request::Capture { tunnel: tunnel.to_owned() })? {
        Answer::Capturing { interface } => interface,
        Answer::Refused(why) => return Err(CommandError::Refused(why)),
        _ => return Err(CommandError::Unexpected),
    };
    match file {
        Some(path) => pump(&mut connection, &interface, count, &mut File::create(path)?),
        None => pump(&mut connection, &interface, count, out),
    }
}

fn pump(
    connection: &mut Client,
    interface: &str,
    count: Option<u64>,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    out.write_all(&preamble(interface))?;
    out.flush()?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(frame) = connection.next_packet()? else { break };
        let Some(block) = packet_block(&frame) else { continue };
        if let Err(error) = out.write_all(&block).and_then(|()| out.flush()) {
            // The reader of a pipe may leave at any time: that is how a capture usually ends.
            return if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error.into()) };
        }
        left -= 1;
    }
    Ok(())
}

/// Section header and interface description.
fn preamble(interface: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0x1a2b_3c4d_u32.to_le_bytes());
    body.extend([1, 0, 0, 0]);
    body.extend((-1_i64).to_le_bytes());
    let mut out = block(0x0a0d_0d0a, &body);
    let mut body = Vec::new();
    body.extend(LINKTYPE_RAW.to_le_bytes());
    body.extend([0, 0]);
    body.extend(0_u32.to_le_bytes());
    option(&mut body, 2, interface.as_bytes());
    // if_tsresol: nanoseconds.
    option(&mut body, 9, &[9]);
    option(&mut body, 0, &[]);
    out.extend(block(1, &body));
    out
}

/// An enhanced packet block from a capture frame; `None` when the frame is too short to be one.
fn packet_block(frame: &[u8]) -> Option<Vec<u8>> {
    let (time, rest) = frame.split_first_chunk::<8>()?;
    let (direction, packet) = rest.split_first()?;
    let nanoseconds = u64::from_be_bytes(*time);
    let length = u32::try_from(packet.len()).ok()?.to_le_bytes();
    let mut body = Vec::with_capacity(packet.len() + 40);
    body.extend(0_u32.to_le_bytes());
    body.extend(u32::try_from(nanoseconds >> 32).ok()?.to_le_bytes());
    body.extend(u32::try_from(nanoseconds & 0xffff_ffff).ok()?.to_le_bytes());
    body.extend(length);
    body.extend(length);
    body.extend(packet);
    pad(&mut body);
    // epb_flags: 1 inbound, 2 outbound.
    option(&mut body, 2, &(u32::from(*direction) + 1).to_le_bytes());
    option(&mut body, 0, &[]);
    Some(block(6, &body))
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_words_and_say_their_length_twice() {
        let mut frame = 1_700_000_000_123_456_789_u64.to_be_bytes().to_vec();
        frame.push(1);
        frame.extend([0x45; 21]);
        for bytes in [preamble("vti0"), packet_block(&frame).unwrap()] {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let length = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
                assert_eq!(length % 4, 0);
                assert_eq!(rest[length - 4..length], rest[4..8]);
                rest = &rest[length..];
            }
        }
    }

    #[test]
    fn a_short_frame_is_no_packet() {
        assert!(packet_block(&[0; 8]).is_none());
    }
}
