//! Socket addresses as the kernel lays them out (`struct sockaddr_in`, `struct sockaddr_in6`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Octets of `struct sockaddr_in6`, the larger of the two.
pub(crate) const NAME_LEN: usize = 28;
const V4_LEN: usize = 16;

/// One socket address in the kernel's layout.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    bytes: [u8; NAME_LEN],
    len: usize,
}

impl Name {
    pub(crate) const EMPTY: Self = Self { bytes: [0; NAME_LEN], len: NAME_LEN };

    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut bytes = [0; NAME_LEN];
        let len = match address {
            SocketAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                V4_LEN
            }
            SocketAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&v6.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                NAME_LEN
            }
        };
        Self { bytes, len }
    }

    /// The address as bytes, as long as its family needs.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; NAME_LEN] {
        self.len = NAME_LEN;
        &mut self.bytes
    }

    /// Read back what the kernel wrote; `None` for another family.
    pub(crate) fn decode(&self) -> Option<SocketAddr> {
        decode(&self.bytes)
    }
}

/// A `struct sockaddr` of either family at the head of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(array(bytes, 0)?));
    let port = u16::from_be_bytes(array(bytes, 2)?);
    match family {
        libc::AF_INET => Some(SocketAddrV4::new(Ipv4Addr::from(array::<4>(bytes, 4)?), port).into()),
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(array::<16>(bytes, 8)?);
            let flow = u32::from_be_bytes(array(bytes, 4)?);
            let scope = u32::from_ne_bytes(array(bytes, 24)?);
            Some(SocketAddrV6::new(ip, port, flow, scope).into())
        }
        _ => None,
    }
}

/// `N` octets of `bytes` from `at`, if they are there.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_kernels_layout() {
        for text in ["192.0.2.1:4500", "[2001:db8::1]:500", "[fe80::1%7]:4500"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Name::new(address).decode(), Some(address));
            let bytes = Name::new(address);
            for cut in 0..bytes.as_bytes().len() {
                let short = decode(&bytes.as_bytes()[..cut]);
                assert!(short.is_none() || cut >= 8, "{text} cut at {cut}");
            }
        }
    }
}
