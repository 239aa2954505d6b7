//! Frames on the control socket: version, kind, length, body.

use std::io::{self, Read, Write};

/// The version spoken here; another one is refused, because the answers' shape may differ.
pub const VERSION: u8 = 2;
/// The largest body taken, in octets: a full BGP table as JSON stays below it.
pub const MAX_BODY: usize = 256 << 20;
/// The largest request taken, in octets.
pub const MAX_REQUEST: usize = 64 << 10;
/// Octets before the body.
pub const HEADER: usize = 6;

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request or an answer.
    Json = 0,
    /// A captured packet: 64-bit nanoseconds since 1970, direction octet (0 in, 1 out), the IP packet.
    Packet = 1,
}

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed or closed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side speaks another version.
    #[error("the other side speaks version {0} of the control protocol, this is version {VERSION}")]
    Version(u8),
    /// A kind octet nobody defined.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// Longer than may be.
    #[error("a frame of {0} octets is longer than the limit of {1}")]
    TooLong(usize, usize),
}

/// The six octets before a body.
pub fn header(kind: Kind, body: usize) -> Result<[u8; HEADER], FrameError> {
    if body > MAX_BODY {
        return Err(FrameError::TooLong(body, MAX_BODY));
    }
    let length = u32::try_from(body).map_err(|_| FrameError::TooLong(body, MAX_BODY))?.to_be_bytes();
    Ok([VERSION, kind as u8, length[0], length[1], length[2], length[3]])
}

/// Reads a header: the kind and how many octets follow, at most `limit`.
pub fn parse_header(bytes: [u8; HEADER], limit: usize) -> Result<(Kind, usize), FrameError> {
    let [version, kind, a, b, c, d] = bytes;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let kind = match kind {
        0 => Kind::Json,
        1 => Kind::Packet,
        other => return Err(FrameError::Kind(other)),
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > limit {
        return Err(FrameError::TooLong(length, limit));
    }
    Ok((kind, length))
}

/// Writes one frame.
pub fn write(out: &mut impl Write, kind: Kind, body: &[u8]) -> Result<(), FrameError> {
    out.write_all(&header(kind, body.len())?)?;
    out.write_all(body)?;
    out.flush()?;
    Ok(())
}

/// Reads one frame of at most `limit` octets.
pub fn read(input: &mut impl Read, limit: usize) -> Result<(Kind, Vec<u8>), FrameError> {
    let mut head = [0; HEADER];
    input.read_exact(&mut head)?;
    let (kind, length) = parse_header(head, limit)?;
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok((kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_written() {
        let mut wire = Vec::new();
        write(&mut wire, Kind::Packet, b"abc").unwrap();
        assert_eq!(read(&mut wire.as_slice(), 16).unwrap(), (Kind::Packet, b"abc".to_vec()));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let mut wire = Vec::new();
        write(&mut wire, Kind::Json, b"{}").unwrap();
        for cut in 0..wire.len() {
            assert!(read(&mut &wire[..cut], 16).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_lying_length_another_version_and_an_unknown_kind_are_refused() {
        assert!(matches!(
            parse_header([VERSION, 0, 0, 1, 0, 0], 1024),
            Err(FrameError::TooLong(65536, 1024))
        ));
        assert!(matches!(parse_header([9, 0, 0, 0, 0, 0], 1024), Err(FrameError::Version(9))));
        assert!(matches!(parse_header([VERSION, 7, 0, 0, 0, 0], 1024), Err(FrameError::Kind(7))));
    }
}
