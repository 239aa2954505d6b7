//! A small blocking client.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::frame::{self, FrameError, Kind};
use crate::{Answer, Request};

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens there.
    #[error("no causeway daemon answers on {0}: {1} (is it running? another socket: --socket PATH)")]
    Connect(PathBuf, io::Error),
    /// The conversation broke.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An answer that is no JSON of ours.
    #[error("the daemon's answer could not be read: {0}")]
    Json(#[from] serde_json::Error),
}

/// A connection to the daemon.
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects to the socket; the daemon has 30 seconds for each answer.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|e| ClientError::Connect(path.to_owned(), e))?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(FrameError::from)?;
        Ok(Self { stream })
    }

    /// Asks one thing.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let body = serde_json::to_vec(request)?;
        frame::write(&mut self.stream, Kind::Json, &body)?;
        let (_, body) = frame::read(&mut self.stream, frame::MAX_BODY)?;
        Ok(serde_json::from_slice(&body)?)
    }

    /// After [`Answer::Capturing`]: the next packet, `None` when the daemon ended the capture.
    pub fn next_packet(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        self.stream.set_read_timeout(None).map_err(FrameError::from)?;
        match frame::read(&mut self.stream, frame::MAX_BODY) {
            Ok((Kind::Packet, body)) => Ok(Some(body)),
            Ok((Kind::Json, _)) => Ok(None),
            Err(FrameError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}
