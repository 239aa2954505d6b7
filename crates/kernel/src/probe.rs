//! What this kernel can do, tried rather than guessed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use crate::datagram::Segmentation;
use crate::netlink::{Netlink, Rule};
use crate::netns::Namespace;
use crate::raw::{EspOptions, EspSocket, Family};
use crate::tcp::{Listener, Md5Key, TcpOptions};
use crate::tun::{Tun, TunOptions};
use crate::udp::{UdpOptions, UdpSocket};

/// The findings. What could not be tried for want of capabilities counts as missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// `/dev/net/tun` opens and makes a device.
    pub tun: bool,
    /// Why not, in words.
    pub tun_error: Option<String>,
    /// A TUN device takes and gives TCP super-packets.
    pub tun_tcp: bool,
    /// A TUN device takes and gives UDP super-packets (Linux 6.2).
    pub tun_udp: bool,
    /// A TUN device can have `fq_codel` at its root.
    pub tun_fair: bool,
    /// Runs of datagrams can be sent whole.
    pub udp_gso: bool,
    /// Datagrams arrive joined.
    pub udp_gro: bool,
    /// IPv6 is there at all.
    pub ipv6: bool,
    /// Raw sockets for protocol 50 over IPv4.
    pub esp_v4: bool,
    /// Raw sockets for protocol 50 over IPv6.
    pub esp_v6: bool,
    /// TCP MD5 digests (RFC 2385).
    pub tcp_md5: bool,
    /// Minimum TTL of received segments (RFC 5082).
    pub tcp_min_ttl: bool,
    /// Outer sockets may carry a mark.
    pub mark: bool,
    /// Rules with a mark and with `suppress_prefixlength`.
    pub rules: bool,
    /// Network namespaces can be made.
    pub namespaces: bool,
}

/// Try everything inside a namespace of its own, so that the host notices nothing; where none can be made
/// (in a daemon that has dropped its capabilities) what changes the network is left untried.
#[must_use]
pub fn probe() -> Findings {
    match Namespace::anonymous() {
        Ok(namespace) => {
            let inside = namespace.run(|| {
                let mut findings = sockets();
                findings.namespaces = true;
                devices(&mut findings);
                findings
            });
            inside.unwrap_or_default()
        }
        Err(_) => sockets(),
    }
}

fn sockets() -> Findings {
    let v4 = UdpSocket::bind(&UdpOptions::new((Ipv4Addr::UNSPECIFIED, 0).into()));
    let marked = UdpOptions { mark: Some(1), ..UdpOptions::new((Ipv4Addr::UNSPECIFIED, 0).into()) };
    Findings {
        udp_gso: v4.as_ref().is_ok_and(|socket| socket.segmentation() == Segmentation::On),
        udp_gro: v4.as_ref().is_ok_and(UdpSocket::uses_gro),
        ipv6: UdpSocket::bind(&UdpOptions::new((Ipv6Addr::UNSPECIFIED, 0).into())).is_ok(),
        esp_v4: EspSocket::open(&EspOptions::new(Family::V4)).is_ok(),
        esp_v6: EspSocket::open(&EspOptions::new(Family::V6)).is_ok(),
        tcp_md5: md5().is_ok(),
        tcp_min_ttl: min_ttl().is_ok(),
        mark: UdpSocket::bind(&marked).is_ok(),
        ..Findings::default()
    }
}

fn devices(findings: &mut Findings) {
    let Ok(mut netlink) = Netlink::open() else { return };
    match Tun::open(&mut netlink, &TunOptions::new("probe")) {
        Ok(tun) => {
            findings.tun = true;
            findings.tun_tcp = tun.offloads().tcp;
            findings.tun_udp = tun.offloads().udp;
            findings.tun_fair = tun.fair().is_ok();
        }
        Err(error) => findings.tun_error = Some(error.to_string()),
    }
    findings.rules = rules(&mut netlink).unwrap_or(false);
}

/// Made and read back: a kernel without the attribute drops it in silence.
fn rules(netlink: &mut Netlink) -> io::Result<bool> {
    let rule = Rule {
        mark: Some((1, u32::MAX)),
        suppress_prefix_len: Some(0),
        ..Rule::new(true, 1000, crate::netlink::TABLE_MAIN, 250)
    };
    let made = netlink.add_rule(&rule).is_ok();
    Ok(made && netlink.rules().is_ok_and(|all| all.contains(&rule)))
}

fn md5() -> io::Result<()> {
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), &TcpOptions::default())?;
    listener.set_md5(IpAddr::V4(Ipv4Addr::LOCALHOST), Md5Key::new(b"probe").as_ref())
}

fn min_ttl() -> io::Result<()> {
    let options = TcpOptions { min_ttl: NonZeroU8::new(255), ..TcpOptions::default() };
    Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), &options).map(drop)
}
