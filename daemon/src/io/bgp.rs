//! BGP's TCP connections: one task each, which moves octets and decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::num::NonZeroU8;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use gateway::{ConnId, ConnectError, Listener, Measured, Secret, StreamOp, Target, TunnelId};
use kernel::tcp::{self, Md5Key, TcpOptions};
use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Duration;

use crate::sockets::mark_socket;

mod pump;
#[cfg(test)]
mod tests;

use pump::pump;

/// Events that may wait for the loop; a task whose event finds no room waits, and TCP slows the peer down.
const EVENTS: usize = 256;
/// Commands that may wait for a connection's task: a write, since the speaker has one under way at a time, and at its end
/// the last message and the close.
const COMMANDS: usize = 3;
/// Between two tries to bind a listener.
const BIND_AGAIN: Duration = Duration::from_secs(2);

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

/// The way to a connection's task.
struct Task {
    commands: mpsc::Sender<Command>,
    /// To measure; empty until it is connected. The task alone keeps it open.
    socket: Socket,
}

type Socket = Arc<OnceLock<Weak<TcpStream>>>;

/// A listener's place: its socket, once that could be bound, and the keys it demands.
#[derive(Default)]
struct Place {
    socket: Option<Arc<AsyncFd<tcp::Listener>>>,
    keys: BTreeMap<IpAddr, Arc<Secret>>,
    mark: Option<u32>,
}

/// A listener and the task that accepts from it, or tries to bind it.
struct Listening {
    place: Arc<Mutex<Place>>,
    task: JoinHandle<()>,
}

impl Listening {
    /// The task, which holds the socket too, ends only when this turn of the loop is over; the same address may be wanted
    /// again before that, so the socket stops listening here and now.
    fn end(&self) {
        self.task.abort();
        if let Some(socket) = lock(&self.place).socket.take() {
            // It listens, so there is nothing that could fail.
            let _ = SockRef::from(socket.get_ref()).shutdown(Shutdown::Both);
        }
    }
}

/// Nobody panics while holding it.
fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All connections and listeners.
pub(crate) struct Connections {
    commands: HashMap<ConnId, Task>,
    listeners: HashMap<Listener, Listening>,
    events: mpsc::Sender<Event>,
    /// Of what travels outside the tunnels.
    mark: watch::Sender<Option<u32>>,
    /// Commands that found no room.
    overflows: u64,
}

/// What tells a connection's task of another mark; `None` inside a tunnel.
type Marks = Option<watch::Receiver<Option<u32>>>;

impl Connections {
    pub(crate) fn new(mark: Option<u32>) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (commands, listeners) = (HashMap::new(), HashMap::new());
        let mark = watch::Sender::new(mark);
        (Self { commands, listeners, events, mark, overflows: 0 }, receiver)
    }

    pub(crate) fn perform(&mut self, op: StreamOp) {
        match op {
            StreamOp::Listen(listener) => self.listen(listener),
            StreamOp::Unlisten(listener) => {
                if let Some(listening) = self.listeners.remove(&listener) {
                    listening.end();
                }
            }
            StreamOp::Password { listener, peer, key } => self.password(&listener, peer, key),
            StreamOp::Connect { conn, target } => self.connect(conn, &target),
            StreamOp::Write { conn, bytes } => self.command(conn, Command::Write(bytes)),
            StreamOp::Close { conn, drain } => {
                self.command(conn, Command::Close { drain });
                self.commands.remove(&conn);
            }
        }
    }

    /// What travels outside the tunnels is marked so from now on, open connections and listeners too.
    pub(crate) fn set_mark(&mut self, mark: Option<u32>) {
        self.mark.send_replace(mark);
        for (listener, listening) in self.listeners.iter().filter(|(listener, _)| listener.device.is_none()) {
            let mut place = lock(&listening.place);
            place.mark = mark;
            if let Some(socket) = &place.socket
                && let Err(error) = mark_socket(socket.get_ref(), mark)
            {
                tracing::error!(address = %listener.address, %error, "a BGP listener could not be marked");
            }
        }
    }

    /// A connection is over for its task: nothing more will be said to it.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.commands.remove(&conn);
    }

    /// What the kernel measured of each that is connected.
    pub(crate) fn measured(&self) -> BTreeMap<ConnId, Measured> {
        let measured = |task: &Task| {
            let found = tcp::measured(&*task.socket.get()?.upgrade()?).ok()?;
            Some(Measured { rtt: found.rtt, mss: found.mss })
        };
        self.commands.iter().filter_map(|(conn, task)| Some((*conn, measured(task)?))).collect()
    }

    /// Only what travels outside the tunnels looks its way up without them.
    fn mark_for(&self, in_tunnel: bool) -> Option<u32> {
        (*self.mark.borrow()).filter(|_| !in_tunnel)
    }

    fn marks_for(&self, in_tunnel: bool) -> Marks {
        (!in_tunnel).then(|| self.mark.subscribe())
    }

    /// A connection a listener accepted has its number now.
    pub(crate) fn adopt(&mut self, conn: ConnId, tunnel: Option<TunnelId>, stream: std::net::TcpStream) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (events, marks) = (self.events.clone(), self.marks_for(tunnel.is_some()));
        // Its listener's mark of a moment ago may be another.
        let marked = if tunnel.is_none() { mark_socket(&stream, self.mark_for(false)) } else { Ok(()) };
        match marked.and_then(|()| TcpStream::from_std(stream)) {
            Ok(stream) => {
                let stream = Arc::new(stream);
                let socket = Arc::new(OnceLock::from(Arc::downgrade(&stream)));
                self.commands.insert(conn, Task { commands, socket });
                tokio::spawn(pump(conn, stream, receiver, marks, events));
            }
            Err(_) => {
                tokio::spawn(async move { events.send(Event::Closed { conn }).await });
            }
        }
    }

    /// Nothing that was to be written may be missing from a connection: one whose task is too far behind ends, as if the peer
    /// had closed it.
    fn command(&mut self, conn: ConnId, command: Command) {
        let Some(task) = self.commands.get(&conn) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = task.commands.try_send(command) {
            self.overflows += 1;
            tracing::error!(
                count = self.overflows,
                "a BGP connection ends: more was to be written than may wait"
            );
            self.commands.remove(&conn);
            let events = self.events.clone();
            tokio::spawn(async move { events.send(Event::Closed { conn }).await });
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
        let tunnel = listener.device.as_ref().map(|(tunnel, _)| *tunnel);
        let place = Arc::new(Mutex::new(Place { mark: options.mark, ..Place::default() }));
        let events = self.events.clone();
        let task = match bind(address, &options) {
            Ok(socket) => {
                lock(&place).socket = Some(Arc::clone(&socket));
                tokio::spawn(accept(socket, tunnel, options, events))
            }
            Err(error) => {
                tracing::warn!(%address, %error, "cannot listen for BGP yet; neighbours are dialled all the same");
                tokio::spawn(bind_later(Arc::clone(&place), address, tunnel, options, events))
            }
        };
        self.listeners.insert(listener, Listening { place, task });
    }

    fn password(&self, listener: &Listener, peer: IpAddr, key: Option<Arc<Secret>>) {
        let Some(listening) = self.listeners.get(listener) else { return };
        let mut place = lock(&listening.place);
        if let Some(socket) = &place.socket {
            demand(socket, peer, key.as_deref());
        }
        match key {
            Some(key) => place.keys.insert(peer, key),
            None => place.keys.remove(&peer),
        };
    }

    fn connect(&mut self, conn: ConnId, target: &Target) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let socket = Socket::default();
        self.commands.insert(conn, Task { commands, socket: Arc::clone(&socket) });
        // Before the mark is read, so that a change while it connects is not missed.
        let marks = self.marks_for(target.device.is_some());
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
                    let stream = Arc::new(stream);
                    // Set here alone, so it is empty.
                    let _ = socket.set(Arc::downgrade(&stream));
                    if events.send(Event::Connected { conn, local, remote }).await.is_ok() {
                        pump(conn, stream, receiver, marks, events).await;
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

fn bind(address: SocketAddr, options: &TcpOptions) -> io::Result<Arc<AsyncFd<tcp::Listener>>> {
    super::watch(tcp::Listener::bind(address, options)?).map(Arc::new)
}

fn demand(socket: &AsyncFd<tcp::Listener>, peer: IpAddr, key: Option<&Secret>) {
    let key = key.and_then(|key| Md5Key::new(key.as_bytes()));
    if let Err(error) = socket.get_ref().set_md5(peer, key.as_ref()) {
        tracing::warn!(%peer, %error, "TCP-MD5 cannot be demanded (net.core.optmem_max bounds the keys of a socket)");
    }
}

/// Another program may have the address, or its device may be away for a moment: tried until it is ours.
async fn bind_later(
    place: Arc<Mutex<Place>>,
    address: SocketAddr,
    tunnel: Option<TunnelId>,
    mut options: TcpOptions,
    events: mpsc::Sender<Event>,
) {
    let socket = loop {
        tokio::time::sleep(BIND_AGAIN).await;
        options.mark = lock(&place).mark;
        if let Ok(socket) = bind(address, &options) {
            break socket;
        }
    };
    tracing::info!(%address, "listening for BGP after all");
    {
        let mut place = lock(&place);
        place.keys.iter().for_each(|(peer, key)| demand(&socket, *peer, Some(key)));
        place.socket = Some(Arc::clone(&socket));
    }
    accept(socket, tunnel, options, events).await;
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
