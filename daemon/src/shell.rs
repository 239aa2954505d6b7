//! Carries out the gateway's effects: each is started here and reports back to the loop.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use control::view::NamedCount;
use control::{Answer, Request};
use gateway::{Effect, Facts, Gateway, Input, Level, Line, RequestId, TunnelId};
use tokio::sync::mpsc;
use workers::Workers;

use crate::host::{Command, Drops, Host, Ready};
use crate::interfaces;
use crate::io::bgp::Connections;
use crate::io::control::{Asked, REPLIES, Reply};
use crate::logging::Logging;
use crate::pool::{Pool, Turn};
use crate::sockets::{IkeSender, SocketViews};
use crate::start;

/// Outcomes of work and look-ups that may wait for the loop.
const OUTCOMES: usize = 256;

/// What comes back from other threads.
pub(crate) type Outcome = Result<Box<dyn FnOnce() -> Input<'static> + Send>, String>;

/// Everything effects are carried out with.
pub(crate) struct Shell {
    pub(crate) ike: IkeSender,
    pub(crate) host: Host,
    pub(crate) workers: Workers,
    pub(crate) publisher: tunnel::publish::Publisher,
    pub(crate) connections: Connections,
    pub(crate) sockets: SocketViews,
    /// The tunnels' devices as they were opened.
    pub(crate) devices: BTreeMap<TunnelId, Ready>,
    pub(crate) logging: Logging,
    file: PathBuf,
    origin: Instant,
    pool: Pool,
    outcomes: mpsc::Sender<Outcome>,
    asked: HashMap<RequestId, mpsc::Sender<Reply>>,
    next_request: u64,
    /// The configuration asks to be read: done by the loop, which owns the gateway.
    pub(crate) reload: Option<Option<RequestId>>,
    pub(crate) stopped: bool,
    /// Why the daemon must not go on.
    pub(crate) fault: Option<String>,
}

/// What a shell is made of.
pub(crate) struct Parts {
    pub(crate) ike: IkeSender,
    pub(crate) host: Host,
    pub(crate) workers: Workers,
    pub(crate) publisher: tunnel::publish::Publisher,
    pub(crate) connections: Connections,
    pub(crate) sockets: SocketViews,
    pub(crate) logging: Logging,
    pub(crate) file: PathBuf,
    /// From when the workers count milliseconds.
    pub(crate) origin: Instant,
}

impl Shell {
    /// # Errors
    /// No thread can be started.
    pub(crate) fn new(parts: Parts) -> std::io::Result<(Self, mpsc::Receiver<Outcome>)> {
        let (outcomes, receiver) = mpsc::channel(OUTCOMES);
        let pool = Pool::start(&outcomes)?;
        let Parts { ike, host, workers, publisher, connections, sockets, logging, file, origin } = parts;
        let shell = Self {
            ike,
            host,
            workers,
            publisher,
            connections,
            sockets,
            logging,
            file,
            origin,
            pool,
            outcomes,
            devices: BTreeMap::new(),
            asked: HashMap::new(),
            next_request: 0,
            reload: None,
            stopped: false,
            fault: None,
        };
        Ok((shell, receiver))
    }

    /// Carries out all that waits.
    pub(crate) fn drain(&mut self, gateway: &mut Gateway) {
        while let Some(effect) = gateway.poll_effect() {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::SendIke { message, ifindex } => {
                let path = message.path;
                let sent = self.ike.send(path.local, path.remote, ifindex, &message.bytes, message.keepalive);
                if let Err(error) = sent {
                    tracing::debug!(remote = %path.remote, ?error, "IKE message not sent");
                }
            }
            Effect::Work(id, work) => self.pool.submit(work.turn(), move |turn| {
                outcome_of(move || {
                    let outcome = match turn {
                        Turn::Come => work.perform(),
                        Turn::Missed => work.refuse(),
                    };
                    move || Input::Work(id, outcome)
                })
            }),
            Effect::Resolve { tunnel, name } => start(&self.outcomes, move || {
                let outcome = resolve(&name);
                move || Input::Resolved { tunnel, outcome }
            }),
            Effect::Publish(table) => {
                self.publisher.publish(table);
                self.workers.devices().nudge();
            }
            Effect::Stream(op) => self.connections.perform(op),
            Effect::Answer(request, answer) => self.answer(request, answer),
            Effect::Capture { request, tunnel, interface } => self.capture(request, tunnel, interface),
            Effect::ReadConfig(request) => self.reload = Some(request),
            Effect::Log(line) => log(&line),
            Effect::Mark(mark) => {
                self.sockets.set_mark(mark);
                self.connections.set_mark(mark);
            }
            Effect::Logging(log) => self.logging.change(log),
            Effect::Stopped => self.stopped = true,
            host => {
                if let Ok(command) = Command::from_effect(host) {
                    self.command(command);
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        if let Err(why) = self.host.command(command) {
            self.fault = Some(why);
        }
    }

    /// A client's request becomes the gateway's, but for what only the shell has.
    pub(crate) fn ask(&mut self, asked: Asked, gateway: &mut Gateway) -> Option<Input<'static>> {
        if let Request::Log { lines } = asked.request {
            let answer = Answer::Log(self.logging.last(lines));
            let _ = asked.replies.try_send(Reply::Answer(Box::new(answer)));
            return None;
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.asked.insert(id, asked.replies);
        if asked.request == Request::Interfaces {
            // The kernel may take its time for the devices' counters.
            self.command(Command::Drops(id));
            return None;
        }
        gateway.set_facts(self.facts(&asked.request));
        Some(Input::Request(id, asked.request))
    }

    /// What the interfaces' page shows and the gateway cannot know, with what their devices dropped.
    pub(crate) fn interface_facts(&self, drops: &Drops) -> Facts {
        let workers = self.workers.devices();
        let device = |(tunnel, ready): (&TunnelId, &Ready)| {
            let drops = drops.get(&ready.index).copied().unwrap_or_default();
            (*tunnel, interfaces::device(&ready.offloads, workers.joins(*tunnel), drops))
        };
        let interfaces = self.devices.iter().map(device).collect();
        Facts { interfaces, ..self.facts(&Request::Interfaces) }
    }

    /// What the page asked for shows and the gateway cannot know.
    fn facts(&self, request: &Request) -> Facts {
        let mut facts = Facts { wall: wall(), ..Facts::default() };
        match request {
            Request::Interfaces => {
                let now = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
                facts.sockets = self.sockets.read(now);
                let drops = self.workers.drops().into_iter();
                facts.drops =
                    drops.map(|(name, count)| NamedCount { name: name.to_owned(), count }).collect();
            }
            Request::BgpNeighbors { .. } => facts.connections = self.connections.measured(),
            _ => {}
        }
        facts
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        if let Some(replies) = self.asked.remove(&request) {
            // A client that left does not hear it.
            let _ = replies.try_send(Reply::Answer(Box::new(answer)));
        }
    }

    fn capture(&mut self, request: RequestId, tunnel: TunnelId, interface: String) {
        let Some(replies) = self.asked.remove(&request) else { return };
        let _ = replies.try_send(Reply::Answer(Box::new(Answer::Capturing { interface })));
        let (sink, mut packets) = mpsc::channel::<Vec<u8>>(REPLIES);
        self.workers.devices().capture(tunnel, &sink);
        tokio::spawn(async move {
            while let Some(packet) = packets.recv().await {
                if replies.send(Reply::Packet(packet)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// The file read again, as the input it becomes.
    pub(crate) fn read_config(&self, request: Option<RequestId>) -> Input<'static> {
        let outcome = start::load(&self.file).map(|plan| Box::new(plan.gateway));
        Input::Reload(request, outcome)
    }
}

/// Does something that takes time on a thread of the pool. If it panics the loop hears of that: whoever waits for the
/// outcome would wait for ever.
pub(crate) fn start<T>(outcomes: &mpsc::Sender<Outcome>, task: impl FnOnce() -> T + Send + 'static)
where
    T: FnOnce() -> Input<'static> + Send + 'static,
{
    let outcomes = outcomes.clone();
    tokio::task::spawn_blocking(move || {
        // The loop only ever lets go of its end when the process ends.
        let _ = outcomes.blocking_send(outcome_of(task));
    });
}

/// What came of a task, its panic included.
fn outcome_of<T>(task: impl FnOnce() -> T) -> Outcome
where
    T: FnOnce() -> Input<'static> + Send + 'static,
{
    match catch_unwind(AssertUnwindSafe(task)) {
        Ok(outcome) => Ok(Box::new(outcome) as _),
        Err(panic) => Err(format!("a thread of the pool died: {}", workers::words(panic.as_ref()))),
    }
}

/// The time of day; `None` from a clock that stands before 1970.
fn wall() -> Option<Duration> {
    #[expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()
}

fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(found.map(|address| address.ip()).collect())
}

/// One line with its fields.
pub(crate) fn log(line: &Line) {
    let tunnel = line.tunnel.as_deref().unwrap_or_default();
    let text = line.text.as_str();
    match (line.level, line.spi.map(|spi| spi.to_string())) {
        (Level::Warn, None) => tracing::warn!(tunnel, "{text}"),
        (Level::Info, None) => tracing::info!(tunnel, "{text}"),
        (Level::Debug, None) => tracing::debug!(tunnel, "{text}"),
        (Level::Warn, Some(spi)) => tracing::warn!(tunnel, spi, "{text}"),
        (Level::Info, Some(spi)) => tracing::info!(tunnel, spi, "{text}"),
        (Level::Debug, Some(spi)) => tracing::debug!(tunnel, spi, "{text}"),
    }
}
