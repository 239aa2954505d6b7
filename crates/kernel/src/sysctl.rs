//! Kernel settings, read only: the daemon writes none.
//!
//! Those under `net` are of the calling thread's network namespace.

use std::io;
use std::path::PathBuf;

/// The text of a setting named with slashes, as `net/ipv4/ip_forward`, without its newline.
pub fn read(name: &str) -> io::Result<String> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !name.split('/').all(plain) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let path: PathBuf = ["/proc/sys", name].iter().collect();
    Ok(std::fs::read_to_string(path)?.trim_end().to_owned())
}

/// A setting that is one number.
pub fn number(name: &str) -> io::Result<i64> {
    read(name)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Does this host pass IPv4 packets on?
pub fn forwards_v4() -> io::Result<bool> {
    Ok(number("net/ipv4/ip_forward")? != 0)
}

/// Does this host pass IPv6 packets on?
pub fn forwards_v6() -> io::Result<bool> {
    Ok(number("net/ipv6/conf/all/forwarding")? != 0)
}

/// The reverse-path filter in force on an interface: 0 off, 1 strict, 2 loose. The kernel takes the
/// larger of the interface's value and that of "all".
pub fn rp_filter(interface: &str) -> io::Result<i64> {
    if interface.contains('/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let all = number("net/ipv4/conf/all/rp_filter")?;
    Ok(all.max(number(&format!("net/ipv4/conf/{interface}/rp_filter"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_paths_do_not_escape() {
        assert!((0..=2).contains(&rp_filter("lo").unwrap()));
        assert!(forwards_v4().is_ok());
        assert!(!read("kernel/ostype").unwrap().ends_with('\n'));
        for bad in ["../cpuinfo", "net//x", "", "/etc/passwd", "net/./ipv4"] {
            assert_eq!(read(bad).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad}");
        }
    }
}
