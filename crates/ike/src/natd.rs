//! NAT detection (RFC 7296 section 2.23).

use std::net::{IpAddr, SocketAddr};

use crypto::digest::sha1;
use ike_wire::{IkeSpi, Notify, NotifyType, Payload};

use crate::config::{Encapsulation, Path};
use crate::event::Nat;

/// SHA-1 of the SPIs in the order of the header, the address and the port.
pub(crate) fn hash(spi_i: IkeSpi, spi_r: IkeSpi, end: SocketAddr) -> [u8; 20] {
    let port = end.port().to_be_bytes();
    match end.ip() {
        IpAddr::V4(address) => sha1(&[&spi_i.to_bytes(), &spi_r.to_bytes(), &address.octets(), &port]),
        IpAddr::V6(address) => sha1(&[&spi_i.to_bytes(), &spi_r.to_bytes(), &address.octets(), &port]),
    }
}

/// The two notifies we send; none when encapsulation is never wanted. `fake` replaces the source hash when it is
/// always wanted: the peer then finds us behind a translator.
pub(crate) fn notifies(
    encapsulation: Encapsulation,
    (spi_i, spi_r): (IkeSpi, IkeSpi),
    path: Path,
    fake: [u8; 20],
) -> Vec<Payload> {
    let source = match encapsulation {
        Encapsulation::Never => return Vec::new(),
        Encapsulation::Always => fake,
        Encapsulation::Auto => hash(spi_i, spi_r, path.local),
    };
    let destination = hash(spi_i, spi_r, path.remote);
    [(NotifyType::NAT_DETECTION_SOURCE_IP, source), (NotifyType::NAT_DETECTION_DESTINATION_IP, destination)]
        .into_iter()
        .map(|(kind, hash)| Payload::Notify(Notify::new(kind, hash.to_vec())))
        .collect()
}

/// What the peer's notifies, seen from here, say. Nothing is found where the peer sent none or we do not want to know.
///
/// A peer with several addresses may send several source hashes; one that fits is enough.
pub(crate) fn detect(
    encapsulation: Encapsulation,
    (spi_i, spi_r): (IkeSpi, IkeSpi),
    path: Path,
    payloads: &[Payload],
) -> Nat {
    let hashes = |kind: NotifyType| {
        payloads.iter().filter_map(move |payload| match payload {
            Payload::Notify(notify) if notify.kind == kind => Some(notify.data.as_slice()),
            _ => None,
        })
    };
    let mut sources = hashes(NotifyType::NAT_DETECTION_SOURCE_IP).peekable();
    let mut destinations = hashes(NotifyType::NAT_DETECTION_DESTINATION_IP).peekable();
    if encapsulation == Encapsulation::Never || sources.peek().is_none() || destinations.peek().is_none() {
        return Nat::default();
    }
    let theirs = hash(spi_i, spi_r, path.remote);
    let ours = hash(spi_i, spi_r, path.local);
    Nat {
        remote: !sources.any(|hash| hash == theirs),
        local: encapsulation == Encapsulation::Always || !destinations.any(|hash| hash == ours),
    }
}
