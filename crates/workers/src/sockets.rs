//! What workers send and receive through: ESP in UDP on port 4500, ESP as IP protocol 50.
//!
//! Every socket is bound to all addresses of its family; which address a packet came to, and leaves from, is packet info.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use kernel::procnet;
use kernel::raw::{EspOptions, EspSocket, Family};
use kernel::udp::{UdpOptions, UdpSocket};
use kernel::xdp::{XdpReceiver, XdpSender};

/// IKE and ESP through a translator (RFC 3948).
pub const PORT: u16 = 4500;
/// ESP (RFC 4303 section 2).
const ESP: u8 = 50;

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}{held}")]
pub struct SocketError {
    what: String,
    source: io::Error,
    /// Who holds it, in words; empty when unknown.
    held: String,
}

impl SocketError {
    /// Of a UDP socket that could not be bound; names who holds the port, where that is why.
    #[must_use]
    pub fn udp(address: SocketAddr, source: io::Error) -> Self {
        let in_use = source.kind() == io::ErrorKind::AddrInUse;
        let held = if in_use { holders(address.port()) } else { String::new() };
        Self { what: format!("UDP {address}"), source, held }
    }

    /// Is it that the host has no IPv6?
    #[must_use]
    pub fn no_ipv6(&self) -> bool {
        // EAFNOSUPPORT: not in the kernel. EADDRNOTAVAIL: switched off (`disable_ipv6`).
        const EAFNOSUPPORT: i32 = 97;
        self.source.raw_os_error() == Some(EAFNOSUPPORT)
            || self.source.kind() == io::ErrorKind::AddrNotAvailable
    }

    /// What the kernel said.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        &self.source
    }
}

/// Sends protocol 50 past the kernel's stack for all workers, one batch after another.
pub type Bypass = Arc<Mutex<XdpSender>>;

/// What one worker sends and receives through.
pub struct WorkerSockets {
    /// Port 4500, one a family.
    pub udp: Vec<Arc<UdpSocket>>,
    /// Protocol 50, one a family, shared by all workers for sending.
    pub esp: Vec<Arc<EspSocket>>,
    /// Does this worker receive from them? A raw socket hears everything, so one worker does.
    pub hears_esp: bool,
    /// Protocol 50 past the kernel's stack: this worker's share of the devices' queues.
    pub xdp: Vec<XdpReceiver>,
    /// And the one to send so, shared by all workers; `None` where no device is asked for.
    pub bypass: Option<Bypass>,
}

/// Opens a share for each of so many workers, for the families of `any` (the unspecified address of each); `mark` is that
/// of every packet they send. The kernel deals what comes to port 4500 by the first four octets, so that an SPI which
/// leaves the rest N comes to worker N; where it cannot, `notes` says so.
///
/// The sockets belong to the network namespace of the calling thread.
///
/// # Errors
/// A socket that cannot be opened: the port is taken, `CAP_NET_RAW` is missing, the family is.
pub fn open(
    workers: NonZeroU32,
    any: &[IpAddr],
    mark: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<Vec<WorkerSockets>, SocketError> {
    let several = workers.get() > 1;
    let share = || any.iter().map(|any| udp(*any, mark, several).map(Arc::new)).collect();
    let shares: Vec<Vec<Arc<UdpSocket>>> = (0..workers.get()).map(|_| share()).collect::<Result<_, _>>()?;
    if several {
        for socket in shares.first().into_iter().flatten() {
            if let Err(error) = socket.deal_by_first_word(workers) {
                let local = socket.local();
                notes.push(format!("UDP {local}: the kernel deals packets by address, not by SPI: {error}"));
            }
        }
    }
    let esp: Vec<Arc<EspSocket>> =
        any.iter().map(|any| raw(*any, mark).map(Arc::new)).collect::<Result<_, _>>()?;
    let of = |(number, udp)| WorkerSockets {
        udp,
        esp: esp.clone(),
        hears_esp: number == 0,
        xdp: Vec::new(),
        bypass: None,
    };
    Ok(shares.into_iter().enumerate().map(of).collect())
}

/// One a core: what the machine can run at once.
#[must_use]
pub fn one_a_core() -> NonZeroU32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
}

fn udp(any: IpAddr, mark: Option<u32>, reuse_port: bool) -> Result<UdpSocket, SocketError> {
    let address = SocketAddr::new(any, PORT);
    let options =
        UdpOptions { mark, reuse_port, offload: true, path_errors: true, ..UdpOptions::new(address) };
    UdpSocket::bind(&options)
        .and_then(|socket| socket.set_dont_fragment(true).map(|()| socket))
        .map_err(|source| SocketError::udp(address, source))
}

fn raw(any: IpAddr, mark: Option<u32>) -> Result<EspSocket, SocketError> {
    let family = if any.is_ipv4() { Family::V4 } else { Family::V6 };
    let options = EspOptions { mark, path_errors: true, ..EspOptions::new(family) };
    EspSocket::open(&options).map_err(|source| SocketError {
        what: format!("IP protocol {ESP} on {any}"),
        source,
        held: String::new(),
    })
}

fn holders(port: u16) -> String {
    let found = procnet::udp_holders(&[port]).unwrap_or_default();
    let mut names: Vec<String> = found.into_iter().flat_map(|holder| holder.processes).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { String::new() } else { format!(" (held by {})", names.join(", ")) }
}
