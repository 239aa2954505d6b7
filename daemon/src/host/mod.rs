//! The kernel's hands: interfaces, routes, rules and reading, one after the other in a thread of its own.
//!
//! The control thread gives [`Command`]s and goes on; each outcome comes back as a [`Done`]. What others
//! change on this host is heard, gathered for a moment, and read anew without being asked.
//!
//! | file | subject |
//! | --- | --- |
//! | [`mod@self`] | the handle, commands and outcomes |
//! | `queue` | commands that wait |
//! | `thread` | the loop |
//! | `device` | interfaces: opened, swept, closed |
//! | `routes` | batches of changes and what came of each |
//! | `rules` | policy rules |
//! | `read` | the kernel's state as the gateway wants it |
//! | `watch` | which announcements are news |

mod device;
mod queue;
mod read;
mod routes;
mod rules;
mod thread;
mod watch;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use control::Request;
use control::view::Offload;
use gateway::{Applied, Change, Device, Effect, Input, KernelView, RequestId, Rules, Sources};
use kernel::epoll::Bell;
use kernel::netlink::{Netlink, SendDrops};
use kernel::tun::Steering;
use tunnel::TunnelId;
use workers::Devices;

use queue::Queue;
use thread::Thread;

/// Outcomes that may wait for the control thread before the host thread waits for it.
const OUTCOMES: usize = 64;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// About a tunnel's interface.
    Device(TunnelId, Device),
    /// Change routes.
    Routes(Vec<Change>),
    /// Change policy rules.
    Rules(Rules),
    /// Change the policy rules of local addresses.
    Sources(Sources),
    /// Read everything.
    Read,
    /// Read what the devices dropped, for this request.
    Drops(RequestId),
}

/// What devices dropped, by their index.
pub(crate) type Drops = BTreeMap<u32, SendDrops>;

/// What gives control packets a queue of their own in each device, or why there is none.
pub(crate) type Control = Result<Arc<Steering>, String>;

/// Loads that. It takes a power that the daemon gives up afterwards (`CAP_BPF`).
pub(crate) fn load_control() -> Control {
    Steering::load()
        .map(Arc::new)
        .map_err(|error| format!("the kernel refuses the program that deals: {error}"))
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    /// A device was opened, or why not.
    Device {
        /// Of which tunnel.
        tunnel: TunnelId,
        /// The device, or words.
        outcome: Result<Ready, String>,
    },
    /// A batch of routes, in its order.
    Routes(Vec<Applied>),
    /// The kernel was read, asked or unasked.
    Kernel(KernelView),
    /// The rules are as asked, or why not.
    Rules(Result<(), String>),
    /// What each device dropped, by its index; nothing where the kernel did not say.
    Drops {
        /// Who asked.
        request: RequestId,
        /// The packets, read once for all who asked meanwhile.
        drops: Arc<Drops>,
    },
    /// The thread is dead; the daemon must not go on without it.
    Died(String),
}

/// A device that is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ready {
    /// Its index.
    pub(crate) index: u32,
    /// For `show interfaces`.
    pub(crate) offloads: Vec<Offload>,
}

impl Command {
    /// An effect that is the host's, or the effect back.
    pub(crate) fn from_effect(effect: Effect) -> Result<Self, Box<Effect>> {
        match effect {
            Effect::Device(tunnel, device) => Ok(Self::Device(tunnel, device)),
            Effect::Routes(changes) => Ok(Self::Routes(changes)),
            Effect::Rules(rules) => Ok(Self::Rules(rules)),
            Effect::Sources(sources) => Ok(Self::Sources(sources)),
            Effect::ReadKernel => Ok(Self::Read),
            other => Err(Box::new(other)),
        }
    }
}

impl Done {
    /// What the gateway is told; `Err` with the last words of a dead thread.
    pub(crate) fn into_input(self) -> Result<Input<'static>, String> {
        match self {
            Self::Device { tunnel, outcome } => {
                Ok(Input::DeviceReady { tunnel, outcome: outcome.map(|ready| ready.index) })
            }
            Self::Routes(applied) => Ok(Input::RoutesApplied(applied)),
            Self::Kernel(view) => Ok(Input::Kernel(view)),
            Self::Rules(outcome) => Ok(Input::RulesApplied(outcome)),
            // What was read is among the page's facts.
            Self::Drops { request, .. } => Ok(Input::Request(request, Request::Interfaces)),
            Self::Died(why) => Err(why),
        }
    }
}

/// The handle.
pub(crate) struct Host {
    commands: Arc<Queue>,
    bell: Arc<Bell>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts the thread, in the caller's network namespace. Devices of ours that are not in `kept` (names)
    /// and that nobody has open are removed first; the queues of those to come go to `devices`, with one for control
    /// packets where `control` gives them one.
    pub(crate) fn start(
        kept: BTreeSet<String>,
        devices: Devices,
        control: Control,
    ) -> io::Result<(Self, tokio::sync::mpsc::Receiver<Done>)> {
        let (outcomes, receiver) = tokio::sync::mpsc::channel(OUTCOMES);
        let commands = Arc::<Queue>::default();
        let bell = Arc::new(Bell::new()?);
        let thread = Thread::new(
            Netlink::open()?,
            devices,
            control,
            Arc::clone(&commands),
            Arc::clone(&bell),
            outcomes,
        )?;
        let thread = thread.spawn(kept)?;
        Ok((Self { commands, bell, thread: Some(thread) }, receiver))
    }

    /// Starts a command; never waits.
    ///
    /// # Errors
    /// In words: so many wait that this one is lost. The daemon must not go on as if the host were as it asked.
    pub(crate) fn command(&self, command: Command) -> Result<(), String> {
        // A dead thread has told so itself.
        let room = self.commands.push(command);
        self.bell.ring();
        if room { Ok(()) } else { Err(format!("the host's thread is {} commands behind", queue::MOST)) }
    }

    /// Lets the thread finish what it was given, and waits. The receiver must be drained or gone.
    pub(crate) fn stop(mut self) {
        self.end();
        if let Some(thread) = self.thread.take() {
            // A panic was already told.
            let _ = thread.join();
        }
    }

    fn end(&self) {
        self.commands.end();
        self.bell.ring();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}
