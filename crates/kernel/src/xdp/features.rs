//! What a device's driver can do for XDP, by generic netlink (family `netdev`, Linux 6.3).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{GENERIC, SocketAddrNetlink};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::sys::address::array;

const CONTROL_FAMILY: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const GET_DEVICE: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_FEATURES: u16 = 3;
/// `NETDEV_XDP_ACT_NDO_XMIT`: frames of a program can be sent.
const TRANSMIT: u64 = 1 << 2;

const REQUEST: u16 = 1;
/// Octets of `struct nlmsghdr` and of `struct genlmsghdr` behind it.
const HEADERS: usize = 16 + 4;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// Asks for devices' features.
#[derive(Debug)]
pub(super) struct Features {
    fd: OwnedFd,
    family: u16,
}

impl Features {
    /// In the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let fd =
            net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(GENERIC))?;
        net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let answer = ask(&fd, CONTROL_FAMILY, GET_FAMILY, FAMILY_NAME, b"netdev\0")?;
        let family = attribute(&answer, FAMILY_ID).and_then(|value| array(value, 0)).map(u16::from_ne_bytes);
        Ok(Self { fd, family: family.ok_or(io::ErrorKind::Unsupported)? })
    }

    /// Can frames that a program makes be sent by this device, as things are?
    pub(super) fn transmits(&self, device: u32) -> bool {
        ask(&self.fd, self.family, GET_DEVICE, DEVICE_INDEX, &device.to_ne_bytes())
            .ok()
            .and_then(|answer| array(attribute(&answer, DEVICE_FEATURES)?, 0))
            .is_some_and(|bits| u64::from_ne_bytes(bits) & TRANSMIT != 0)
    }
}

/// One question with one attribute; the answer's attributes.
fn ask(fd: &OwnedFd, family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let len = HEADERS + (4 + value.len()).next_multiple_of(4);
    let mut request = Vec::with_capacity(len);
    request.extend((len as u32).to_ne_bytes());
    request.extend(family.to_ne_bytes());
    request.extend(REQUEST.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([command, 1, 0, 0]);
    request.extend((4 + value.len() as u16).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(value);
    request.resize(len, 0);
    net::sendto(fd, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0; 8192];
    let (len, ..) = net::recvfrom(fd, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(len);
    if array(&answer, 4).map(u16::from_ne_bytes) != Some(family) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(answer.split_off(HEADERS.min(answer.len())))
}

/// The value of an attribute; a length that lies ends the search.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(u16::from_ne_bytes(array(rest, 0)?));
        let kind = u16::from_ne_bytes(array(rest, 2)?);
        let value = rest.get(4..len)?;
        if kind & 0x3fff == wanted {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_behind_another_and_no_lie_panics() {
        let mut bytes = Vec::new();
        for (kind, value) in [(7_u16, &b"abcde"[..]), (3, &[9, 0, 0, 0])] {
            bytes.extend((4 + value.len() as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        assert_eq!(attribute(&bytes, 3), Some(&[9, 0, 0, 0][..]));
        assert_eq!(attribute(&bytes, 4), None);
        for at in 0..bytes.len() {
            assert!(attribute(&bytes[..at], 3).is_none());
            for value in [0, 1, 3, 5, 255] {
                let mut lie = bytes.clone();
                lie[at] = value;
                attribute(&lie, 3);
            }
        }
    }
}
