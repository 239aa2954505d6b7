//! TUN devices: created or adopted by their alias, persistent, with offloads.
//!
//! A device of ours carries the alias `causeway:NAME`. It outlives the daemon, so that routes into it stay
//! and nothing leaks while no one is attached; the next start adopts it with its interface number. A device
//! of the wanted name without that alias is another's and is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use crate::netlink::{Link, LinkChange, Netlink, NetlinkError};
use crate::privilege::descriptors;
use crate::sys::ioctl;

mod discipline;
mod remove;
mod steering;

#[cfg(test)]
pub(crate) use remove::remove_all_in;
pub use remove::{Removal, remove, remove_all};
pub use steering::Steering;

/// Octets of the header (`struct virtio_net_hdr`, native endian) before every packet, both ways.
pub const HEADER_LEN: usize = 10;
/// A buffer of this size takes whatever one read gives: the header and the largest super-packet.
pub const READ_BUFFER: usize = HEADER_LEN + 65_535;
/// The largest number of slices one write may gather (`IOV_MAX`).
pub const MAX_SLICES: usize = 1024;

const DEVICE: &str = "/dev/net/tun";
const OWNER: &str = "causeway:";
const BASE: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
const UDP: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// How to open a device.
#[derive(Clone, Debug)]
pub struct TunOptions {
    /// Interface name, 1-15 octets.
    pub name: String,
    /// Queues (1-256): with more than one the kernel deals flows among them.
    pub queues: usize,
    /// Packets the device holds for us. The kernel's 500 overflow within 5 ms at 100,000 a second.
    pub queue_len: u32,
    /// Largest super-packet the stack hands us, in octets; `None` keeps the kernel's 65,536.
    pub gso_max: Option<u32>,
    /// Put `fq_codel` at its root, unless someone put another discipline there.
    pub fair: bool,
    /// Routes of this protocol number into a device that must be made anew say "unreachable" from then on: they would go
    /// with it, and what they carried would follow others.
    pub kept_routes: Option<u8>,
    /// Give packets with DSCP CS6 a queue of their own, by this program. Only a device with one queue besides takes it:
    /// among several the kernel deals flows by where their answers are written, and a program would deal in its stead.
    pub control: Option<Arc<Steering>>,
}

impl TunOptions {
    /// One queue of 10,000 packets, `fq_codel` before it where the kernel has that.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            queues: 1,
            queue_len: 10_000,
            gso_max: None,
            fair: true,
            kept_routes: None,
            control: None,
        }
    }

    /// Has the device several queues, that of control packets among them?
    fn multiple(&self) -> bool {
        self.queues > 1 || self.control.is_some()
    }

    /// The alias that marks the device as ours: `causeway:NAME`.
    #[must_use]
    pub fn alias(&self) -> String {
        alias_of(&self.name)
    }
}

/// Why a device was not opened.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// An interface of that name exists and is not ours.
    #[error("interface {name} exists and is not causeway's (kind '{kind}', alias '{alias}')")]
    Foreign {
        /// Its name.
        name: String,
        /// Its kind; empty for hardware.
        kind: String,
        /// Its alias; empty for none.
        alias: String,
    },
    /// It is ours, but another process is attached to it.
    #[error("interface {0} is in use by another process")]
    Busy(String),
    /// The name is empty, too long, or has characters an interface name cannot have.
    #[error("'{0}' is no interface name (1-15 octets, no '/', ':' or space)")]
    Name(String),
    /// `/dev/net/tun` cannot be opened.
    #[error("{DEVICE}: {0}")]
    Open(#[source] io::Error),
    /// This process has as many descriptors open as it may: this many.
    #[error(
        "{DEVICE}: this process may have no more than {0} descriptors (LimitNOFILE= of its unit, `ulimit -n`), and each queue of \
         a device takes one"
    )]
    Descriptors(u64),
    /// The kernel refused a step of the set-up.
    #[error("{step}: {source}")]
    Setup {
        /// Which.
        step: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// netlink refused.
    #[error("netlink: {0}")]
    Netlink(#[from] NetlinkError),
}

/// What the kernel may hand us in one read, beyond single packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// TCP super-packets, IPv4 and IPv6, and unfinished checksums.
    pub tcp: bool,
    /// UDP super-packets (Linux 6.2); without them none may be written either.
    pub udp: bool,
}

/// An open device: one descriptor a queue.
#[derive(Debug)]
pub struct Tun {
    name: String,
    index: u32,
    adopted: bool,
    offloads: Offloads,
    fair: Result<(), String>,
    queues: Vec<TunQueue>,
    control: Result<TunQueue, String>,
}

/// One queue of a device. Reads and writes take `&self` and never wait.
#[derive(Debug)]
pub struct TunQueue {
    file: File,
}

impl Tun {
    /// Open the device: adopt it where it exists with our alias, else create it. It is persistent after
    /// this, gets no IPv6 link-local address by itself, and is left on or off as it was (new: off).
    pub fn open(netlink: &mut Netlink, options: &TunOptions) -> Result<Self, TunError> {
        check_name(&options.name)?;
        let existing = netlink.link_by_name(&options.name)?;
        if let Some(link) = &existing {
            check_owner(link)?;
            // To a device of several queues the kernel lets anyone attach one more.
            if link.carrier {
                return Err(TunError::Busy(options.name.clone()));
            }
        }
        match Self::attach(netlink, options, existing.as_ref(), options.multiple()) {
            // A device made with another queue mode cannot be attached to as that: make it anew.
            Err(TunError::Setup { step: ATTACH, source }) if source.raw_os_error() == Some(libc::EINVAL) => {
                let Some(link) = existing else { return Err(TunError::Setup { step: ATTACH, source }) };
                // One left in the other mode does for one queue: so it stays, and with it routes of others, which would
                // go with it and leave what they carried to the next.
                if options.queues <= 1
                    && let Ok(tun) = Self::attach(netlink, options, Some(&link), !options.multiple())
                {
                    return Ok(tun);
                }
                if let Some(protocol) = options.kept_routes {
                    netlink.refuse_routes_into(link.index, protocol)?;
                }
                netlink.delete_link(link.index)?;
                Self::attach(netlink, options, None, options.multiple())
            }
            other => other,
        }
    }

    fn attach(
        netlink: &mut Netlink,
        options: &TunOptions,
        existing: Option<&Link>,
        multiple: bool,
    ) -> Result<Self, TunError> {
        let queues = open_queues(options, multiple)?;
        let [first, ..] = queues.as_slice() else { return Err(TunError::Name(options.name.clone())) };
        let offloads = set_offloads(first.as_fd())?;
        let control = match (&options.control, queues.as_slice()) {
            (Some(steering), [_]) if multiple => {
                steering::open_control(first, options, steering).map_err(|error| error.to_string())
            }
            (asked, queues) => {
                // A device that was left has the program still; a kernel that knows none has left none.
                let _ = ioctl::tun_steering(first.as_fd(), None);
                let why = match queues {
                    [_] => "the device was left with one queue; it has another when it is made anew",
                    _ => "the device has several queues, among which the kernel deals",
                };
                Err(asked.as_ref().map_or("not asked for", |_| why).to_owned())
            }
        };
        let link = netlink.link_by_name(&options.name)?.ok_or(NetlinkError::Missing { text: None })?;
        // Between the look and the attaching another may have made a device of that name.
        if existing.is_none_or(|known| known.index != link.index) && link.alias.is_some() {
            check_owner(&link)?;
        }
        netlink.set_link(
            link.index,
            &LinkChange {
                alias: Some(options.alias()),
                queue_len: Some(options.queue_len),
                no_link_local: true,
                ..LinkChange::default()
            },
        )?;
        if options.gso_max.is_some() {
            // An optional gain: a kernel that does not know it is none the worse.
            let _ = netlink
                .set_link(link.index, &LinkChange { gso_max: options.gso_max, ..LinkChange::default() });
        }
        let fair = discipline::put(netlink, link.index, options.fair, multiple);
        // Last, so that a device without alias never outlives us.
        ioctl::tun_persist(first.as_fd(), true).map_err(setup("TUNSETPERSIST"))?;
        let adopted = existing.is_some();
        Ok(Self { name: link.name, index: link.index, adopted, offloads, fair, queues, control })
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's number.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Did it exist already (a crash or a kept device)?
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// What may come in one read, and go in one write.
    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Is `fq_codel` at its root, and why not?
    ///
    /// The driver takes every packet at once into the ring of [`TunOptions::queue_len`] packets, and drops what
    /// finds no room there. So the discipline has a queue of its own only on kernels whose driver pushes back.
    pub fn fair(&self) -> Result<(), &str> {
        self.fair.as_ref().copied().map_err(String::as_str)
    }

    /// The queues, in order.
    #[must_use]
    pub fn queues(&self) -> &[TunQueue] {
        &self.queues
    }

    /// Take the queues out, one for each worker. The device lives on while any is open, and after.
    #[must_use]
    pub fn into_queues(self) -> Vec<TunQueue> {
        self.queues
    }

    /// Has it a queue for control packets, and why not?
    pub fn control(&self) -> Result<&TunQueue, &str> {
        self.control.as_ref().map_err(String::as_str)
    }

    /// The same as [`into_queues`](Self::into_queues), and the queue of control packets where there is one.
    #[must_use]
    pub fn into_all_queues(self) -> (Vec<TunQueue>, Option<TunQueue>) {
        (self.queues, self.control.ok())
    }

    /// Remove the device from the host.
    pub fn destroy(self) -> io::Result<()> {
        self.queues.first().map_or(Ok(()), |queue| ioctl::tun_persist(queue.as_fd(), false))
    }
}

impl TunQueue {
    /// Another descriptor of the same queue, for a second thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }

    /// Read one packet or super-packet behind its header of [`HEADER_LEN`] octets: octets read, header
    /// included. `None` when nothing waits. A packet longer than the buffer is cut: use [`READ_BUFFER`].
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match (&self.file).read(buffer) {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Write one packet or super-packet: the slices together are the header and the packet, at most
    /// [`MAX_SLICES`] of them. An error concerns this packet alone (EIO: the interface is off; EINVAL: the
    /// header does not fit the packet).
    pub fn writev(&self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        if slices.len() > MAX_SLICES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        (&self.file).write_vectored(slices).map(drop)
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for TunQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// All devices that carry our alias: what a crash may have left.
pub fn ours(netlink: &mut Netlink) -> Result<Vec<Link>, NetlinkError> {
    Ok(netlink.links()?.into_iter().filter(is_ours).collect())
}

const ATTACH: &str = "TUNSETIFF";

fn alias_of(name: &str) -> String {
    format!("{OWNER}{name}")
}

fn is_ours(link: &Link) -> bool {
    link.kind == "tun" && link.alias.as_deref() == Some(&alias_of(&link.name))
}

fn check_owner(link: &Link) -> Result<(), TunError> {
    if is_ours(link) {
        return Ok(());
    }
    Err(TunError::Foreign {
        name: link.name.clone(),
        kind: link.kind.clone(),
        alias: link.alias.clone().unwrap_or_default(),
    })
}

/// The kernel's own rule (`dev_valid_name`), and no pattern ('%'), which would name another device.
fn check_name(name: &str) -> Result<(), TunError> {
    let bad = |b: u8| b == b'/' || b == b':' || b == b'%' || b == 0 || b.is_ascii_whitespace();
    if name.is_empty() || name.len() > ioctl::NAME_MAX || name == "." || name == ".." || name.bytes().any(bad)
    {
        return Err(TunError::Name(name.to_owned()));
    }
    Ok(())
}

fn open_queues(options: &TunOptions, multiple: bool) -> Result<Vec<TunQueue>, TunError> {
    (0..options.queues.max(1)).map(|_| open_queue(options, flags(multiple))).collect()
}

fn flags(multiple: bool) -> libc::c_int {
    let one = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if multiple { one | libc::IFF_MULTI_QUEUE } else { one }
}

fn open_queue(options: &TunOptions, flags: libc::c_int) -> Result<TunQueue, TunError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(DEVICE)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE) => TunError::Descriptors(descriptors()),
            _ => TunError::Open(error),
        })?;
    ioctl::tun_attach(file.as_fd(), &options.name, flags as u16).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::EBUSY) => TunError::Busy(options.name.clone()),
            _ => TunError::Setup { step: ATTACH, source },
        }
    })?;
    ioctl::tun_header_size(file.as_fd(), HEADER_LEN as i32).map_err(setup("TUNSETVNETHDRSZ"))?;
    Ok(TunQueue { file })
}

/// Ask for all, then for less: UDP segmentation came with Linux 6.2.
fn set_offloads(fd: BorrowedFd<'_>) -> Result<Offloads, TunError> {
    if ioctl::tun_offload(fd, BASE | UDP).is_ok() {
        return Ok(Offloads { tcp: true, udp: true });
    }
    if ioctl::tun_offload(fd, BASE).is_ok() {
        return Ok(Offloads { tcp: true, udp: false });
    }
    ioctl::tun_offload(fd, 0).map_err(setup("TUNSETOFFLOAD"))?;
    Ok(Offloads { tcp: false, udp: false })
}

fn setup(step: &'static str) -> impl FnOnce(io::Error) -> TunError {
    move |source| TunError::Setup { step, source }
}
