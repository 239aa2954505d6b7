//! The control socket: one task a client, requests to the loop, answers back.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use control::frame::{self, HEADER, Kind, MAX_REQUEST};
use control::{Answer, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

/// The group whose members may use the socket.
const GROUP: &str = "causeway";
/// Requests that may wait for the loop.
const REQUESTS: usize = 64;
/// Answers and packets that may wait for a client; a capture that is read too slowly loses packets.
pub(crate) const REPLIES: usize = 1024;
/// How long a client that may not ask is heard out.
const REFUSAL: std::time::Duration = std::time::Duration::from_secs(1);
/// Clients served at a time; more wait in the socket's backlog.
const CLIENTS: usize = 64;
/// The least time between two lines about refused processes.
const STRANGERS: std::time::Duration = std::time::Duration::from_secs(10);

/// One request and where its replies go.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) replies: mpsc::Sender<Reply>,
}

/// What a client is sent.
pub(crate) enum Reply {
    Answer(Box<Answer>),
    /// A frame of `Kind::Packet`.
    Packet(Vec<u8>),
}

/// The socket; removed when dropped.
pub(crate) struct Socket {
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Opens the socket: a live one refuses us, a dead one is replaced.
pub(crate) fn open(path: &Path) -> io::Result<(Socket, mpsc::Receiver<Asked>)> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there and is no socket"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another causeway listens on it"));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    let group = group_id(GROUP);
    if let Some(gid) = group
        && let Err(error) = chown(path, None, Some(gid))
    {
        tracing::warn!(%error, "cannot give the control socket to the group causeway; only root can use it");
    }
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let (sender, receiver) = mpsc::channel(REQUESTS);
    tokio::spawn(listen(listener, group, sender));
    Ok((Socket { path: path.to_owned() }, receiver))
}

async fn listen(listener: UnixListener, group: Option<u32>, asked: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    let mut strangers = Strangers::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A place is held until the client is gone, refused or not: nobody can pile up connections.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                if !admitted(&stream, group) {
                    strangers.say();
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(REFUSAL, refuse(stream)).await;
                        drop(place);
                    });
                    continue;
                }
                let asked = asked.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, asked).await {
                        tracing::debug!(%error, "control client");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "control accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Refused processes, told of at a bounded rate.
#[derive(Default)]
struct Strangers {
    told: Option<tokio::time::Instant>,
    since: u64,
}

impl Strangers {
    fn say(&mut self) {
        self.since += 1;
        let now = tokio::time::Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= STRANGERS) {
            let count = self.since;
            tracing::warn!(count, "processes of other users were refused on the control socket");
            (self.told, self.since) = (Some(now), 0);
        }
    }
}

/// Root, ourselves, and members of the group; the file's mode says the same, this does not depend on it.
fn admitted(stream: &UnixStream, group: Option<u32>) -> bool {
    let Ok(peer) = kernel::peer::credentials(stream) else { return false };
    let own = fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).ok();
    // Of the socket itself: the unit hides other users' processes from us.
    let member = |gid| peer.gid == gid || kernel::peer::groups(stream).is_ok_and(|held| held.contains(&gid));
    peer.uid == 0 || Some(peer.uid) == own || group.is_some_and(member)
}

/// Says no, and hears the client out so that it reads that before the connection ends.
async fn refuse(mut stream: UnixStream) -> Result<(), frame::FrameError> {
    let why = format!("only root and members of the group {GROUP} may ask this daemon");
    send(&mut stream, &Answer::Refused(why)).await?;
    stream.shutdown().await?;
    let mut rest = [0; 512];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

async fn serve(mut stream: UnixStream, asked: mpsc::Sender<Asked>) -> Result<(), frame::FrameError> {
    loop {
        let mut head = [0; HEADER];
        match stream.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let (_, length) = frame::parse_header(head, MAX_REQUEST)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let request = match serde_json::from_slice::<Request>(&body) {
            Ok(request) => request,
            Err(error) => {
                send(&mut stream, &Answer::Refused(format!("not a request: {error}"))).await?;
                continue;
            }
        };
        let (replies, mut receiver) = mpsc::channel(REPLIES);
        if asked.send(Asked { request, replies }).await.is_err() {
            return Ok(());
        }
        answer(&mut stream, &mut receiver).await?;
    }
}

/// Passes on what comes until the loop lets go of the sender, or a client that captures leaves.
async fn answer(
    stream: &mut UnixStream,
    replies: &mut mpsc::Receiver<Reply>,
) -> Result<(), frame::FrameError> {
    let mut probe = [0; 1];
    let mut capturing = false;
    loop {
        let reply = tokio::select! {
            reply = replies.recv() => reply,
            // A capturing client says nothing more: octets or their end mean that it left.
            _ = stream.read(&mut probe), if capturing => return Ok(()),
        };
        match reply {
            Some(Reply::Answer(answer)) => {
                capturing = matches!(*answer, Answer::Capturing { .. });
                send(stream, &answer).await?;
                if !capturing {
                    return Ok(());
                }
            }
            Some(Reply::Packet(body)) => write(stream, Kind::Packet, &body).await?,
            None => return Ok(()),
        }
    }
}

async fn send(stream: &mut UnixStream, answer: &Answer) -> Result<(), frame::FrameError> {
    let body = serde_json::to_vec(answer).map_err(io::Error::from)?;
    write(stream, Kind::Json, &body).await
}

async fn write(stream: &mut UnixStream, kind: Kind, body: &[u8]) -> Result<(), frame::FrameError> {
    stream.write_all(&frame::header(kind, body.len())?).await?;
    stream.write_all(body).await?;
    Ok(())
}
