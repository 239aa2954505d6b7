//! BGP's TCP connections: one task each, which moves octets and decides nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::Arc;

use gateway::{ConnId, ConnectError, Listener, Secret, StreamOp, Target, TunnelId};
use kernel::tcp::{self, Md5Key, TcpOptions};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

/// Octets read at once: a full message and some.
const READ: usize = 16 << 10;
/// Events that may wait for the loop; a task whose event finds no room waits, and TCP slows the peer down.
const EVENTS: usize = 256;
/// How long a closing connection may still write.
const DRAIN: Duration = Duration::from_secs(2);

/// Something happened on a connection.
pub(crate) enum Event {
    Connected { conn: ConnId, local: SocketAddr, remote: SocketAddr },
    ConnectFailed { conn: ConnId, error: ConnectError },
    Accepted { tunnel: Option<TunnelId>, stream: std::net::TcpStream, local: SocketAddr, remote: SocketAddr },
    Received { conn: ConnId, bytes: Vec<u8> },
    Written { conn: ConnId, count: usize },
    Closed { conn: ConnId },
}

enum Command {
    Write(Vec<u8>),
    Close { drain: bool },
}

/// A listener and the task that accepts from it.
struct Listening {
    socket: Arc<AsyncFd<tcp::Listener>>,
    task: JoinHandle<()>,
}

/// All connections and listeners.
pub(crate) struct Connections {
    commands: HashMap<ConnId, mpsc::UnboundedSender<Command>>,
    listeners: HashMap<Listener, Listening>,
    events: mpsc::Sender<Event>,
    mark: Option<u32>,
}

impl Connections {
    pub(crate) fn new(mark: Option<u32>) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        (Self { commands: HashMap::new(), listeners: HashMap::new(), events, mark }, receiver)
    }

    pub(crate) fn perform(&mut self, op: StreamOp) {
        match op {
            StreamOp::Listen(listener) => self.listen(listener),
            StreamOp::Unlisten(listener) => {
                if let Some(listening) = self.listeners.remove(&listener) {
                    listening.task.abort();
                }
            }
            StreamOp::Password { listener, peer, key } => self.password(&listener, peer, key.as_deref()),
            StreamOp::Connect { conn, target } => self.connect(conn, &target),
            StreamOp::Write { conn, bytes } => self.command(conn, Command::Write(bytes)),
            StreamOp::Close { conn, drain } => {
                self.command(conn, Command::Close { drain });
                self.commands.remove(&conn);
            }
        }
    }

    /// Only what travels outside the tunnels looks its way up without them.
    fn mark_for(&self, in_tunnel: bool) -> Option<u32> {
        self.mark.filter(|_| !in_tunnel)
    }

    /// A connection a listener accepted has its number now.
    pub(crate) fn adopt(&mut self, conn: ConnId, stream: std::net::TcpStream) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let events = self.events.clone();
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                self.commands.insert(conn, sender);
                tokio::spawn(pump(conn, stream, receiver, events));
            }
            Err(_) => {
                tokio::spawn(async move { events.send(Event::Closed { conn }).await });
            }
        }
    }

    // The speaker has one bounded write under way for each connection, so this channel never grows.
    fn command(&mut self, conn: ConnId, command: Command) {
        if let Some(sender) = self.commands.get(&conn) {
            let _ = sender.send(command);
        }
    }

    fn listen(&mut self, listener: Listener) {
        let address = SocketAddr::new(listener.address, Listener::PORT);
        let options = TcpOptions {
            device: listener.device.as_ref().map(|(_, name)| name.clone()),
            ttl: NonZeroU8::new(listener.ttl),
            mark: self.mark_for(listener.device.is_some()),
            ..TcpOptions::default()
        };
        let socket = match tcp::Listener::bind(address, &options) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%address, %error, "cannot listen for BGP; neighbours are dialled all the same");
                return;
            }
        };
        let Ok(socket) = super::watch(socket).map(Arc::new) else { return };
        let tunnel = listener.device.as_ref().map(|(tunnel, _)| *tunnel);
        let task = tokio::spawn(accept(Arc::clone(&socket), tunnel, options, self.events.clone()));
        self.listeners.insert(listener, Listening { socket, task });
    }

    fn password(&self, listener: &Listener, peer: IpAddr, key: Option<&Secret>) {
        let Some(listening) = self.listeners.get(listener) else { return };
        let key = key.and_then(|key| Md5Key::new(key.as_bytes()));
        if let Err(error) = listening.socket.get_ref().set_md5(peer, key.as_ref()) {
            tracing::warn!(%peer, %error, "TCP-MD5 cannot be demanded (net.core.optmem_max bounds the keys of a socket)");
        }
    }

    fn connect(&mut self, conn: ConnId, target: &Target) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.commands.insert(conn, sender);
        let options = TcpOptions {
            device: target.device.clone(),
            source: target.source,
            ttl: NonZeroU8::new(target.ttl),
            mss: target.mss,
            md5_key: target.password.as_ref().and_then(|key| Md5Key::new(key.as_bytes())),
            mark: self.mark_for(target.device.is_some()),
            ..TcpOptions::default()
        };
        let events = self.events.clone();
        let begun = tcp::connect(target.remote, &options);
        tokio::spawn(async move {
            match established(begun).await {
                Ok((stream, local, remote)) => {
                    if events.send(Event::Connected { conn, local, remote }).await.is_ok() {
                        pump(conn, stream, receiver, events).await;
                    }
                }
                Err(error) => {
                    let error = connect_error(&error);
                    let _ = events.send(Event::ConnectFailed { conn, error }).await;
                }
            }
        });
    }
}

async fn accept(
    socket: Arc<AsyncFd<tcp::Listener>>,
    tunnel: Option<TunnelId>,
    options: TcpOptions,
    events: mpsc::Sender<Event>,
) {
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        match socket.get_ref().accept() {
            Ok(Some(accepted)) => {
                if tcp::tune_accepted(&accepted.stream, &options).is_err() {
                    continue;
                }
                let tcp::Accepted { stream, local, remote } = accepted;
                if events.send(Event::Accepted { tunnel, stream, local, remote }).await.is_err() {
                    return;
                }
            }
            Ok(None) => ready.clear_ready(),
            Err(error) => {
                // Out of descriptors, or the peer was gone before we looked: the next one may do better.
                tracing::debug!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn established(
    begun: io::Result<std::net::TcpStream>,
) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
    let stream = TcpStream::from_std(begun?)?;
    stream.writable().await?;
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    Ok((stream, local, remote))
}

fn connect_error(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ConnectError::Unreachable,
        io::ErrorKind::TimedOut => ConnectError::TimedOut,
        _ => ConnectError::Other,
    }
}

/// Moves octets until either side is done.
async fn pump(
    conn: ConnId,
    mut stream: TcpStream,
    mut commands: mpsc::UnboundedReceiver<Command>,
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
                    let _ = timeout(DRAIN, drain(&mut stream, &pending)).await;
                    return;
                }
                Some(Command::Close { drain: false }) | None => return,
            },
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

/// Writes what is left, ends our half and waits for the peer's: a reset could overtake the last message.
async fn drain(stream: &mut TcpStream, mut pending: &[u8]) {
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
    if stream.shutdown().await.is_err() {
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
