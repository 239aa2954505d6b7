//! What moves a connection's octets.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use gateway::ConnId;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

use super::{Command, Event, Marks};
use crate::sockets::mark_socket;

/// Octets read at once: a full message and some.
const READ: usize = 16 << 10;
/// How long a closing connection may still write.
const DRAIN: Duration = Duration::from_secs(2);

/// Moves octets until either side is done.
pub(super) async fn pump(
    conn: ConnId,
    stream: Arc<TcpStream>,
    mut commands: mpsc::Receiver<Command>,
    mut marks: Marks,
    events: mpsc::Sender<Event>,
) {
    let mut pending: Vec<u8> = Vec::new();
    let mut buffer = vec![0; READ];
    loop {
        let interest =
            if pending.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Write(bytes)) => pending.extend(bytes),
                Some(Command::Close { drain: true }) => {
                    let _ = timeout(DRAIN, drain(&stream, &pending)).await;
                    return;
                }
                Some(Command::Close { drain: false }) | None => return,
            },
            mark = changed(&mut marks) => {
                if let Err(error) = mark_socket(&*stream, mark) {
                    tracing::error!(%error, "a BGP connection could not be marked");
                }
            }
            ready = stream.ready(interest) => {
                let Ok(ready) = ready else { break };
                if ready.is_writable() && !pending.is_empty() {
                    match stream.try_write(&pending) {
                        Ok(count) => {
                            pending.drain(..count);
                            if events.send(Event::Written { conn, count }).await.is_err() { return }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
                if ready.is_readable() {
                    match stream.try_read(&mut buffer) {
                        Ok(0) => break,
                        Ok(count) => {
                            let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                            if events.send(Event::Received { conn, bytes }).await.is_err() { return }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
            }
        }
    }
    let _ = events.send(Event::Closed { conn }).await;
}

/// The next mark, once it is another than before; safe to cancel.
async fn changed(marks: &mut Marks) -> Option<u32> {
    if let Some(receiver) = marks
        && receiver.changed().await.is_ok()
    {
        return *receiver.borrow_and_update();
    }
    std::future::pending().await
}

/// Writes what is left, ends our half and waits for the peer's: a reset could overtake the last message.
async fn drain(stream: &TcpStream, mut pending: &[u8]) {
    while !pending.is_empty() {
        if stream.writable().await.is_err() {
            return;
        }
        match stream.try_write(pending) {
            Ok(count) => pending = pending.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
    let mut rest = [0; 1024];
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() {
        return;
    }
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
