//! Protocol 50 past the kernel's stack, on the devices that `[esp] af_xdp` names: their programs, the sockets of their
//! queues, and the one sender of all workers.
//!
//! A device that cannot be had so costs a warning, never the tunnels: the raw sockets carry everything it would have.

use std::sync::{Arc, Mutex, PoisonError};

use control::view;
use kernel::netlink::Netlink;
use kernel::xdp::{XdpCounts, XdpDevice, XdpError, XdpReceiver, XdpSender};

use crate::sockets::{off, on};

/// Sends for all workers, one batch after another.
pub(crate) type Sender = Arc<Mutex<XdpSender>>;

/// What was opened.
pub(crate) struct Bypass {
    /// `None` when no device could be had.
    pub(crate) sender: Option<Sender>,
    /// One a queue, with its number.
    pub(crate) receivers: Vec<(usize, XdpReceiver)>,
    /// Each device that could not be had, and why.
    pub(crate) faults: Vec<(String, String)>,
}

/// Opens the devices. It takes powers that the daemon gives up afterwards (`CAP_BPF`, `CAP_IPC_LOCK`). `mark` is that of the
/// outer packets. Must run in the daemon's network namespace.
pub(crate) fn open(devices: &[String], mark: Option<u32>) -> Bypass {
    let mut bypass = Bypass { sender: None, receivers: Vec::new(), faults: Vec::new() };
    let mut sender = match XdpSender::new(mark) {
        Ok(sender) => sender,
        Err(error) => {
            bypass.faults.extend(devices.iter().map(|device| (device.clone(), error.to_string())));
            return bypass;
        }
    };
    for device in devices {
        match open_one(device, &mut sender) {
            Ok(receivers) => bypass.receivers.extend((0..).zip(receivers)),
            Err(error) => bypass.faults.push((device.clone(), error.to_string())),
        }
    }
    if sender.devices().next().is_some() {
        bypass.sender = Some(Arc::new(Mutex::new(sender)));
    }
    for (device, why) in &bypass.faults {
        tracing::warn!(device, "protocol 50 goes through the kernel's stack: {why}");
    }
    bypass
}

fn open_one(name: &str, sender: &mut XdpSender) -> Result<Vec<XdpReceiver>, XdpError> {
    let mut netlink = Netlink::open().map_err(|source| XdpError::Kernel { what: "netlink", source })?;
    let device = XdpDevice::attach(&mut netlink, name)?;
    let (receivers, mut transmitters): (Vec<_>, Vec<_>) = device.open_all()?.into_iter().unzip();
    // There is at least one; its queue is as good as another.
    if let Some(transmitter) = (!transmitters.is_empty()).then(|| transmitters.swap_remove(0)) {
        sender.add(device, transmitter);
    }
    Ok(receivers)
}

/// What is sent carries this mark from now on.
pub(crate) fn set_mark(sender: &Sender, mark: Option<u32>) {
    sender.lock().unwrap_or_else(PoisonError::into_inner).set_mark(mark);
}

/// Packets sent past the stack and by the raw socket, by reason; what never happened is left out.
fn counts(counts: XdpCounts) -> Vec<view::NamedCount> {
    [
        ("past-the-stack", counts.sent),
        ("of-those-by-program", counts.injected),
        ("no-way", counts.no_way),
        ("too-long", counts.too_long),
        ("no-frame", counts.no_frame),
        ("lost", counts.lost),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(name, count)| view::NamedCount { name: name.to_owned(), count })
    .collect()
}

/// What `show interfaces` and a change of the mark need of it.
#[derive(Clone)]
pub(crate) struct Shown {
    /// `None` when no device could be had.
    pub(crate) sender: Option<Sender>,
    /// Each device that could not be had, and why.
    pub(crate) faults: Vec<(String, String)>,
}

impl Shown {
    /// Each device asked for, on or off and why, and what went which way.
    pub(crate) fn read(&self) -> Vec<view::Socket> {
        let one = |device: &str, offloads| view::Socket {
            name: format!("xdp {device}"),
            offloads,
            counts: Vec::new(),
        };
        let mut found = Vec::new();
        if let Some(sender) = &self.sender {
            let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
            found.extend(sender.devices().map(|device| {
                let why = "the driver has no XDP: the program stands behind it, which gains little";
                let native = if device.native() { on("native") } else { off("native", why) };
                one(device.name(), vec![on("af_xdp"), native])
            }));
            if let Some(first) = found.first_mut() {
                first.counts = counts(sender.counts());
            }
        }
        found.extend(self.faults.iter().map(|(device, why)| one(device, vec![off("af_xdp", why)])));
        found
    }
}
