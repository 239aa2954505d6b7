//! Who holds a UDP port or an IP protocol here: for the check of a host before the daemon starts.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The state "bound, not connected" of `/proc/net/udp` (`TCP_CLOSE`).
const UNCONNECTED: &str = "07";

/// A socket that holds what we want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The local address it is bound to; unspecified means all.
    pub address: IpAddr,
    /// The UDP port, or the IP protocol.
    pub number: u16,
    /// The user it belongs to.
    pub uid: u32,
    /// The processes that have it open, as "name (pid)"; empty when we may not look.
    pub processes: Vec<String>,
}

/// Sockets bound to one of these UDP ports in the calling thread's network namespace.
pub fn udp_holders(ports: &[u16]) -> io::Result<Vec<Holder>> {
    holders(&["udp", "udp6"], ports)
}

/// Raw sockets for this IP protocol (50 is ESP) in the calling thread's network namespace.
pub fn raw_holders(protocol: u8) -> io::Result<Vec<Holder>> {
    holders(&["raw", "raw6"], &[protocol.into()])
}

fn holders(files: &[&str], numbers: &[u16]) -> io::Result<Vec<Holder>> {
    let mut found = Vec::new();
    for file in files {
        // The thread's own directory: /proc/net is that of the process's first thread.
        let text = match fs::read_to_string(format!("/proc/thread-self/net/{file}")) {
            Ok(text) => text,
            // A kernel without IPv6 has no such file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let entries = text.lines().skip(1).filter_map(parse_line);
        found.extend(entries.filter(|entry| numbers.contains(&entry.number)));
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let owners = Owners::read();
    Ok(found.into_iter().map(|entry| owners.holder(entry)).collect())
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    address: IpAddr,
    number: u16,
    uid: u32,
    inode: u64,
}

/// One line: slot, local address:port, remote, state, queues, timer, retransmits, uid, timeout, inode, …
fn parse_line(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace();
    let (address, port) = words.nth(1)?.split_once(':')?;
    let state = words.nth(1)?;
    let uid = words.nth(3)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    // A connected socket (a client of some server) does not stand in the way of a bind by port alone.
    (state == UNCONNECTED).then_some(())?;
    Some(Entry { address: parse_address(address)?, number: u16::from_str_radix(port, 16).ok()?, uid, inode })
}

/// Addresses stand as 32-bit words in hexadecimal, each in the machine's octet order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (i, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(i * 8)?);
            }
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// Which process has which socket open.
struct Owners(Vec<(u64, String)>);

impl Owners {
    fn read() -> Self {
        let mut found = Vec::new();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for process in processes {
            let name = process.file_name();
            let Some(pid) = name.to_str().filter(|n| n.bytes().all(|b| b.is_ascii_digit())) else { continue };
            let links = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            for inode in links.filter_map(|link| socket_inode(&link.path())) {
                let words = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                found.push((inode, format!("{} ({pid})", words.trim_end())));
            }
        }
        Self(found)
    }

    fn holder(&self, entry: Entry) -> Holder {
        let mut processes: Vec<_> =
            self.0.iter().filter(|(inode, _)| *inode == entry.inode).map(|(_, name)| name.clone()).collect();
        processes.sort();
        processes.dedup();
        Holder { address: entry.address, number: entry.number, uid: entry.uid, processes }
    }
}

fn socket_inode(link: &std::path::Path) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_each_family_is_read() {
        let v4 =
            "  120: 0100007F:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000   105 0 4321 2 0 0";
        assert_eq!(
            parse_line(v4),
            Some(Entry { address: [127, 0, 0, 1].into(), number: 4500, uid: 105, inode: 4321 })
        );
        let v6 = "  9: 00000000000000000000000001000000:01F4 00000000000000000000000000000000:0000 07 \
                  00000000:00000000 00:00000000 00000000     0        0 99 2 0 0";
        assert_eq!(
            parse_line(v6),
            Some(Entry { address: Ipv6Addr::LOCALHOST.into(), number: 500, uid: 0, inode: 99 })
        );
        assert_eq!(parse_line(&v4.replace(" 07 ", " 01 ")), None);
        for cut in 0..v4.len() {
            let _ = parse_line(&v4[..cut]);
        }
    }
}
