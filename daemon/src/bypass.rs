//! Protocol 50 past the kernel's stack, on the devices that `[esp] af_xdp` names: their programs, the sockets of their
//! queues, and the one sender of all workers.
//!
//! A device that cannot be had so costs a warning, never the tunnels: the raw sockets carry everything it would have.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use control::view;
use kernel::netlink::Netlink;
use kernel::xdp::{
    XdpCounts, XdpDevice, XdpError, XdpFrames, XdpLosses, XdpMeter, XdpReceiver, XdpScout, XdpSender,
    XdpTransmitter, XdpWatch,
};
use workers::Bypass as Sender;

use crate::sockets::{off, on};

/// What was opened.
pub(crate) struct Bypass {
    /// What is left of it when the workers have theirs.
    pub(crate) shown: Shown,
    /// One a queue, with its number.
    pub(crate) receivers: Vec<(usize, XdpReceiver)>,
    /// Who asks for the sender; `None` where there is none.
    scout: Option<XdpScout>,
}

/// Opens the devices. It takes powers that the daemon gives up afterwards (`CAP_BPF`, `CAP_IPC_LOCK`). `mark` is that of the
/// outer packets. Must run in the daemon's network namespace.
pub(crate) fn open(devices: &[String], mark: Option<u32>) -> Bypass {
    let mut bypass = Bypass { shown: Shown::default(), receivers: Vec::new(), scout: None };
    match XdpSender::new(mark) {
        Ok((sender, scout)) => bypass.open_each(devices, sender, scout),
        Err(error) => {
            let fault = |device: &String| (device.clone(), error.to_string());
            bypass.shown.faults.extend(devices.iter().map(fault));
        }
    }
    for (device, why) in &bypass.shown.faults {
        tracing::warn!(device, "protocol 50 goes through the kernel's stack: {why}");
    }
    bypass
}

impl Bypass {
    fn open_each(&mut self, devices: &[String], mut sender: XdpSender, scout: XdpScout) {
        let mut opened = Vec::new();
        for name in devices {
            match open_one(name) {
                Ok((device, receivers, transmitter)) => {
                    let meters = receivers.iter().map(XdpReceiver::meter).collect();
                    let (watch, native) = (device.watch(), device.native());
                    opened.push(Device { name: name.clone(), native, watch, meters });
                    sender.add(device, transmitter);
                    self.receivers.extend((0..).zip(receivers));
                }
                Err(error) => self.shown.faults.push((name.clone(), error.to_string())),
            }
        }
        if !opened.is_empty() {
            self.shown.sender = Some(Arc::new(Mutex::new(sender)));
            self.shown.devices = opened.into();
            self.scout = Some(scout);
        }
    }

    /// Starts the thread that asks the kernel which way packets take, so that no worker waits for an answer. It ends with the
    /// sender. Not before powers were given up, which it would keep.
    ///
    /// # Errors
    /// No thread is to be had.
    pub(crate) fn start_scout(&mut self) -> io::Result<()> {
        let Some(scout) = self.scout.take() else { return Ok(()) };
        let serve = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scout.serve())) {
                let why = workers::words(panic.as_ref());
                tracing::error!(
                    "protocol 50 goes through the kernel's stack from now on: the scout died: {why}"
                );
            }
        };
        Builder::new().name("scout".to_owned()).spawn(serve).map(drop)
    }
}

fn open_one(name: &str) -> Result<(XdpDevice, Vec<XdpReceiver>, XdpTransmitter), XdpError> {
    let mut netlink = Netlink::open().map_err(|source| XdpError::Kernel { what: "netlink", source })?;
    let device = XdpDevice::attach(&mut netlink, name)?;
    let (receivers, transmitter) = device.open_all()?;
    Ok((device, receivers, transmitter))
}

/// What is sent carries this mark from now on.
pub(crate) fn set_mark(sender: &Sender, mark: Option<u32>) {
    sender.lock().unwrap_or_else(PoisonError::into_inner).set_mark(mark);
}

/// What `show interfaces` and a change of the mark need of it.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    /// `None` when no device could be had.
    pub(crate) sender: Option<Sender>,
    /// The sender's devices, in its order.
    devices: Arc<[Device]>,
    /// Each device that could not be had, and why.
    faults: Vec<(String, String)>,
}

/// What is shown of a device, but for what the sender counts.
struct Device {
    name: String,
    native: bool,
    watch: XdpWatch,
    /// One a queue.
    meters: Vec<XdpMeter>,
}

/// What the kernel says of a device.
struct Said {
    attached: bool,
    losses: XdpLosses,
}

impl Device {
    /// May wait for whoever holds the kernel's network lock.
    fn ask(&self) -> Said {
        Said { attached: self.watch.is_attached(), losses: losses(&self.meters) }
    }
}

impl Shown {
    /// Each device asked for, on or off and why, what went which way and what was lost; and what led by none of them.
    /// `now`: milliseconds of the workers' clock.
    pub(crate) fn read(&self, now: u64) -> Vec<view::Socket> {
        self.read_asking(now, Device::ask)
    }

    /// The kernel is asked without the sender, which every worker needs for what it sends.
    fn read_asking(&self, now: u64, ask: impl Fn(&Device) -> Said) -> Vec<view::Socket> {
        let mut found = Vec::new();
        let (sent, elsewhere) =
            self.sender.as_ref().map(|sender| sent_so_far(sender, now)).unwrap_or_default();
        for (device, (sent, frames)) in self.devices.iter().zip(sent) {
            let Said { attached, losses } = ask(device);
            let offloads = offloads(attached, device.native, frames);
            found.push(line(&format!("xdp {}", device.name), offloads, counts(sent, losses)));
        }
        if elsewhere > 0 {
            found.push(line("xdp, by no such device", Vec::new(), vec![named("no-way", elsewhere)]));
        }
        let fault = |(device, why): &(String, String)| {
            line(&format!("xdp {device}"), vec![off("af_xdp", why)], Vec::new())
        };
        found.extend(self.faults.iter().map(fault));
        found
    }
}

/// What went which way on each of a sender's devices and whether frames go by it now, and what was given to the raw socket
/// for none of them.
fn sent_so_far(sender: &Sender, now: u64) -> (Vec<(XdpCounts, XdpFrames)>, u64) {
    let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    let sent = sender.devices().map(|(_, sent)| sent);
    (sent.zip(sender.frames(now)).collect(), sender.elsewhere())
}

fn line(name: &str, offloads: Vec<view::Offload>, counts: Vec<view::NamedCount>) -> view::Socket {
    view::Socket { name: name.to_owned(), offloads, counts }
}

fn offloads(attached: bool, native: bool, frames: XdpFrames) -> Vec<view::Offload> {
    if !attached {
        // A program for another takes powers that were given up.
        let why = "the device went away; one of its name is taken up when the daemon starts again";
        return vec![off("af_xdp", why)];
    }
    let why = "the driver has no XDP: the program stands behind it, which gains little";
    let native = if native { on("native") } else { off("native", why) };
    let frames = match frames {
        XdpFrames::On => on("frames"),
        XdpFrames::Unasked => off("frames", "nothing went by this device yet"),
        XdpFrames::Resting => {
            off("frames", "the kernel made none a moment ago: the AF_XDP socket sends for a second")
        }
        XdpFrames::NotTaken => off("frames", "the driver takes none now: the AF_XDP socket sends"),
        XdpFrames::Absent => {
            off("frames", "they want Linux 5.18 and the program in the driver: the AF_XDP socket sends")
        }
    };
    vec![on("af_xdp"), native, frames]
}

/// Packets that the kernel took for us and lost, over all queues of a device.
fn losses(meters: &[XdpMeter]) -> XdpLosses {
    let mut sum = XdpLosses::default();
    // What the kernel does not say is not counted.
    for XdpLosses { full, other, damaged } in meters.iter().filter_map(|meter| meter.losses().ok()) {
        sum.full += full;
        sum.other += other;
        sum.damaged += damaged;
    }
    sum
}

/// Packets sent past the stack and by the raw socket, by reason, and those lost in receiving; what never happened is left
/// out.
fn counts(sent: XdpCounts, lost: XdpLosses) -> Vec<view::NamedCount> {
    [
        ("past-the-stack", sent.sent),
        ("of-those-by-program", sent.injected),
        ("no-way", sent.no_way),
        ("too-long", sent.too_long),
        ("no-frame", sent.no_frame),
        ("lost", sent.lost),
        ("receive-full", lost.full),
        ("receive-error", lost.other),
        ("receive-damaged", lost.damaged),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(name, count)| named(name, count))
    .collect()
}

fn named(name: &str, count: u64) -> view::NamedCount {
    view::NamedCount { name: name.to_owned(), count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_its_line_and_one_that_went_away_says_what_to_do() {
        crate::host::tests::inside(|netlink, wan| {
            let mut bypass = open(&["wan", "none"].map(str::to_owned), None);
            bypass.start_scout().unwrap();
            let lines = |bypass: &Bypass| {
                let line = |line: view::Socket| {
                    let first = line.offloads[0].clone();
                    assert_eq!((&first.name[..], &line.counts[..]), ("af_xdp", &[][..]));
                    (line.name, first.on, first.why)
                };
                bypass.shown.read(0).into_iter().map(line).collect::<Vec<_>>()
            };
            let none = ("xdp none".to_owned(), false, Some("there is no device none".to_owned()));
            assert_eq!(lines(&bypass), [("xdp wan".to_owned(), true, None), none.clone()]);
            assert_eq!(bypass.receivers.len(), bypass.shown.devices[0].meters.len());
            netlink.delete_link(wan).unwrap();
            netlink.create_bridge("wan").unwrap();
            let after = lines(&bypass);
            assert_eq!((&after[0].0[..], after[0].1), ("xdp wan", false));
            assert!(after[0].2.as_ref().is_some_and(|why| why.contains("when the daemon starts again")));
            assert_eq!(after[1], none);
        });
    }

    #[test]
    fn the_kernel_is_asked_while_nobody_waits_for_the_sender() {
        crate::host::tests::inside(|_, _| {
            let shown = open(&["wan".to_owned()], None).shown;
            let asked = std::cell::Cell::new(0);
            let lines = shown.read_asking(0, |device| {
                asked.set(asked.get() + 1);
                assert!(shown.sender.as_ref().is_some_and(|sender| sender.try_lock().is_ok()));
                device.ask()
            });
            assert_eq!((asked.get(), lines.len()), (1, 1));
        });
    }

    #[test]
    fn whether_frames_go_by_a_device_is_said_as_it_is_now() {
        let states =
            [XdpFrames::On, XdpFrames::Unasked, XdpFrames::Resting, XdpFrames::NotTaken, XdpFrames::Absent];
        let words = [None, Some("yet"), Some("a moment ago"), Some("takes none now"), Some("Linux 5.18")];
        for (state, words) in states.into_iter().zip(words) {
            let said = offloads(true, true, state);
            let names: Vec<_> = said.iter().map(|offload| &offload.name[..]).collect();
            assert_eq!(names, ["af_xdp", "native", "frames"]);
            assert!(said[0].on && said[1].on && said[2].on == words.is_none());
            let why = said[2].why.as_deref();
            assert_eq!(why.is_some_and(|why| why.contains(words.unwrap_or("?"))), words.is_some(), "{why:?}");
        }
        crate::host::tests::inside(|_, _| {
            // A bridge has no XDP of its own.
            let shown = open(&["wan".to_owned()], None).shown;
            let said = shown.read(0).remove(0).offloads;
            assert_eq!(said, offloads(true, false, XdpFrames::Absent));
        });
    }

    #[test]
    fn what_was_lost_in_receiving_stands_beside_what_was_sent() {
        let sent = XdpCounts { sent: 7, injected: 5, no_way: 1, ..XdpCounts::default() };
        let told: Vec<(String, u64)> = counts(sent, XdpLosses { full: 3, other: 2, damaged: 4 })
            .into_iter()
            .map(|named| (named.name, named.count))
            .collect();
        let expected = [
            ("past-the-stack", 7),
            ("of-those-by-program", 5),
            ("no-way", 1),
            ("receive-full", 3),
            ("receive-error", 2),
            ("receive-damaged", 4),
        ];
        assert_eq!(told, expected.map(|(name, count)| (name.to_owned(), count)));
    }
}
