//! The loop of the host thread.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use gateway::{Device, RequestId, Rules, Sources};
use kernel::epoll::{Bell, Epoll, Interest};
use kernel::netlink::{Interest as Groups, Monitor, Netlink};
use tokio::sync::mpsc::Sender;
use workers::Devices;

use super::queue::{Next, Queue};
use super::watch::{self, Watch};
use super::{Command, Control, Done, Drops, device, read, routes, rules};

const BELL: u64 = 0;
const MONITOR: u64 = 1;
/// Changes of the host are gathered for so long before it is read anew.
const GATHER: Duration = Duration::from_millis(100);
/// The same where routes of ours may be gone.
const GATHER_LOSS: Duration = Duration::from_millis(5);
/// Announcements taken in one go, so that a flood of them does not keep commands waiting.
const EVENTS: usize = 4096;

/// The thread's own.
pub(super) struct Thread {
    netlink: Netlink,
    monitor: Monitor,
    epoll: Epoll,
    bell: Arc<Bell>,
    inbox: Arc<Queue>,
    outcomes: Sender<Done>,
    workers: Devices,
    devices: device::OpenDevices,
    control: Control,
    watch: Watch,
    /// The policy rules that shall stand, if any.
    rules: Option<Rules>,
    /// Those of local addresses.
    sources: Sources,
    /// When to read the kernel, because it changed.
    due: Option<Instant>,
}

impl Thread {
    pub(super) fn new(
        netlink: Netlink,
        workers: Devices,
        control: Control,
        inbox: Arc<Queue>,
        bell: Arc<Bell>,
        outcomes: Sender<Done>,
    ) -> io::Result<Self> {
        // Before the first read, so that nothing is missed between the two.
        let monitor = Monitor::open(Groups { links: true, addresses: true, routes: true, rules: true })?;
        let epoll = Epoll::new()?;
        epoll.add(&*bell, BELL, Interest::READ)?;
        epoll.add(&monitor, MONITOR, Interest::READ)?;
        Ok(Self {
            netlink,
            monitor,
            epoll,
            bell,
            inbox,
            outcomes,
            workers,
            devices: device::OpenDevices::new(),
            control,
            watch: Watch::default(),
            rules: None,
            sources: Sources::new(),
            due: None,
        })
    }

    /// Starts the thread. If it panics, the control thread hears of it.
    pub(super) fn spawn(mut self, kept: BTreeSet<String>) -> io::Result<JoinHandle<()>> {
        let last_words = self.outcomes.clone();
        Builder::new().name("host".to_owned()).spawn(move || {
            let why = match catch_unwind(AssertUnwindSafe(|| self.run(&kept))) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => workers::words(panic.as_ref()),
            };
            // It fails when the control thread is gone itself.
            let _ = last_words.blocking_send(Done::Died(why));
        })
    }

    fn run(&mut self, kept: &BTreeSet<String>) -> io::Result<()> {
        device::sweep(&mut self.netlink, kept);
        let mut ready = Vec::with_capacity(2);
        loop {
            #[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
            let now = Instant::now();
            if self.due.is_some_and(|due| due <= now) {
                self.read();
            }
            let wait = self.due.map(|due| due.saturating_duration_since(now));
            self.epoll.wait(&mut ready, wait)?;
            if ready.iter().any(|one| one.token == MONITOR) {
                self.listen(now)?;
            }
            if ready.iter().any(|one| one.token == BELL) && !self.obey(now)? {
                return Ok(());
            }
        }
    }

    /// Carries out the commands that wait, in order; `false` when the other end is gone.
    fn obey(&mut self, now: Instant) -> io::Result<bool> {
        self.bell.hush();
        let (mut asked, mut closing, mut curious) = (false, Vec::new(), Vec::new());
        loop {
            let next = self.inbox.next();
            // Those that are to go one after another go together: the kernel takes its time for each removal.
            if let Next::Do(Command::Device(tunnel, Device::Close)) = next {
                closing.push(tunnel);
                continue;
            }
            let closing = std::mem::take(&mut closing);
            device::close(&mut self.netlink, &self.workers, &mut self.devices, &closing);
            match next {
                // Several questions at once have one answer, behind everything that was to be done before.
                Next::Do(Command::Read) => asked = true,
                Next::Do(Command::Drops(request)) => curious.push(request),
                Next::Do(command) => self.carry_out(command, now)?,
                Next::Nothing => break,
                Next::Ended => return Ok(false),
            }
        }
        if asked {
            self.read();
        }
        self.tell_drops(&curious);
        Ok(true)
    }

    /// Reads once what the devices dropped, for all who asked. Whoever hears that may ask again at once, and has to wait until
    /// the kernel's announcements had their turn.
    fn tell_drops(&mut self, curious: &[RequestId]) {
        if curious.is_empty() {
            return;
        }
        let drops = self.netlink.tun_drops().unwrap_or_else(|error| {
            tracing::warn!(%error, "what the interfaces dropped could not be read");
            Drops::new()
        });
        let drops = Arc::new(drops);
        for request in curious {
            self.tell(Done::Drops { request: *request, drops: Arc::clone(&drops) });
        }
    }

    fn carry_out(&mut self, command: Command, now: Instant) -> io::Result<()> {
        match command {
            Command::Device(tunnel, change) => {
                let Self { netlink, workers, devices, control, .. } = self;
                let done = device::carry_out(netlink, workers, devices, control, tunnel, change);
                if let Some(done) = done {
                    self.tell(done);
                }
            }
            Command::Routes(changes) => {
                let applied = routes::apply(&mut self.netlink, &changes);
                // What we did ourselves is announced before it is answered, and is no news.
                self.watch.expect(&changes);
                self.listen(now)?;
                self.watch.expect_nothing();
                self.tell(Done::Routes(applied));
            }
            Command::Rules(rules) => {
                self.rules = match rules {
                    Rules::Install { .. } => Some(rules),
                    Rules::Remove { .. } => None,
                };
                let outcome = rules::apply(&mut self.netlink, self.rules, &self.sources);
                self.tell(Done::Rules(outcome.map_err(|error| error.to_string())));
            }
            Command::Sources(sources) => {
                self.sources = sources;
                // The gateway asks for them again with every look at the kernel.
                if let Err(error) = rules::apply(&mut self.netlink, self.rules, &self.sources) {
                    tracing::warn!(%error, "the policy rules of local addresses could not be changed");
                }
            }
            Command::Read => self.read(),
            Command::Drops(request) => self.tell_drops(&[request]),
        }
        Ok(())
    }

    /// Takes in what the kernel announced; news makes a reading due.
    fn listen(&mut self, now: Instant) -> io::Result<()> {
        let mut rule_gone = false;
        for _ in 0..EVENTS {
            let Some(event) = self.monitor.next_event()? else { break };
            rule_gone |= watch::takes_rule(&event);
            if self.watch.is_news(&event) {
                let due = now + if watch::takes_routes(&event) { GATHER_LOSS } else { GATHER };
                self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
            }
        }
        if rule_gone {
            self.restore_rules();
        }
        Ok(())
    }

    /// Somebody took rules of ours away, perhaps: without them learned routes are not looked at, and what was to go
    /// into a tunnel leaves in clear.
    fn restore_rules(&mut self) {
        if self.rules.is_none() && self.sources.is_empty() {
            return;
        }
        if let Err(error) = rules::apply(&mut self.netlink, self.rules, &self.sources) {
            tracing::error!(%error, "policy rules of ours were removed and could not be put back");
        }
    }

    fn read(&mut self) {
        self.due = None;
        match read::read(&mut self.netlink) {
            Ok(view) => self.tell(Done::Kernel(view)),
            Err(error) => tracing::error!(%error, "the host's network could not be read"),
        }
    }

    fn tell(&self, done: Done) {
        // It fails when the control thread is gone, which ends this thread too.
        let _ = self.outcomes.blocking_send(done);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{inside, one_worker};
    use super::*;

    /// Questions that wait at first, and answers upon which another is asked at once.
    const WAITING: u64 = 3;
    const EAGER: u64 = 200;

    #[test]
    fn clients_that_never_stop_asking_for_drops_leave_the_kernel_its_turn() {
        inside(|_, _| {
            let workers = one_worker();
            let (inbox, bell) = (Arc::<Queue>::default(), Arc::new(Bell::new().unwrap()));
            // Of one place: when the thread may tell the next answer, a new question is already there.
            let (outcomes, mut heard) = tokio::sync::mpsc::channel(1);
            let (netlink, control) = (Netlink::open().unwrap(), Err("none".to_owned()));
            let mut thread =
                Thread::new(netlink, workers.devices(), control, Arc::clone(&inbox), bell, outcomes).unwrap();
            (0..WAITING).for_each(|number| assert!(inbox.push(Command::Drops(RequestId(number)))));
            let answers = std::thread::scope(|scope| {
                let clients = scope.spawn(|| {
                    let mut answers = Vec::new();
                    while let Some(Done::Drops { request, .. }) = heard.blocking_recv() {
                        answers.push(request.0);
                        if request.0 < EAGER {
                            assert!(inbox.push(Command::Drops(RequestId(request.0 + WAITING))));
                        }
                    }
                    answers
                });
                #[expect(clippy::disallowed_methods, reason = "the loop is given the time")]
                let now = Instant::now();
                assert!(thread.obey(now).unwrap());
                drop(thread);
                clients.join().unwrap()
            });
            assert_eq!(answers, [0, 1, 2], "all that waited, and nothing of what was asked meanwhile");
            workers.stop();
        });
    }
}
