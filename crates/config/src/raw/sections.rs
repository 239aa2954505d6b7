//! Every section of the file and every key in it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bgp_rib::Action;
use ike::{Encapsulation, EspProposal, Identity, IkeProposal};
use inet::{Prefix, Selector};
use tunnel::DfPolicy;

use super::values::{
    Automatic, Bytes, Esn, FamilyName, Many, OneOrMany, RedistributeName, SecretText, TableName, Within,
};
use super::{Named, Section, section};
use crate::plan::{InterfaceAddress, LogFormat, LogLevel, OnDown, Start};

section! {
    /// The file.
    Root {
        router: RawRouter,
        routes: RawRoutes,
        control: RawControl,
        log: RawLog,
        esp: RawOuter,
        tunnel: Named<RawTunnel>,
        bgp: RawBgp,
        prefix_list: Named<Many<RawRule>>,
    } reserved ["hub", "vrf"]
}

section! {
    RawRouter {
        id: Ipv4Addr,
        asn: Within<1, 4_294_967_294>,
    } reserved ["vrf"]
}

section! {
    RawRoutes {
        table: TableName,
        metric: Within<1, 4_294_967_295>,
    } reserved ["vrf"]
}

section! {
    RawControl {
        socket: PathBuf,
    } reserved []
}

section! {
    RawLog {
        format: LogFormat,
        level: LogLevel,
    } reserved []
}

section! {
    RawOuter {
        af_xdp: Many<String>,
    } reserved []
}

section! {
    RawTunnel {
        profile: String,
        local: OneOrMany<String>,
        remote: OneOrMany<String>,
        start: Start,
        on_down: OnDown,
        psk: RawPsk,
        local_id: Identity,
        remote_id: Identity,
        ike: RawIke,
        esp: RawEsp,
        interface: RawInterface,
    } reserved ["gre", "vrf"]
}

section! {
    /// One secret for both sides, or one each.
    RawPsk {
        file: String,
        value: SecretText,
        credential: String,
        local: RawSecret,
        remote: RawSecret,
    } reserved [] want "{ file = \"…\" }, { value = \"…\" }, { credential = \"…\" } or { local = {…}, remote = {…} }"
}

section! {
    /// One secret.
    RawSecret {
        file: String,
        value: SecretText,
        credential: String,
    } reserved [] want "{ file = \"…\" }, { value = \"…\" } or { credential = \"…\" }"
}

section! {
    RawIke {
        proposals: Many<IkeProposal>,
        lifetime: Duration,
        rekey: Duration,
        dpd: RawDpd,
    } reserved []
}

section! {
    RawDpd {
        delay: Duration,
        timeout: Duration,
    } reserved [] want "{ delay = \"30s\", timeout = \"150s\" }"
}

section! {
    RawEsp {
        proposals: Many<EspProposal>,
        lifetime: Duration,
        rekey: Duration,
        lifetime_bytes: Bytes,
        lifetime_packets: Within<100, 18_446_744_073_709_551_615>,
        esn: Esn,
        replay_window: Within<64, 8192>,
        df: DfPolicy,
        encapsulation: Encapsulation,
        local_ts: Many<Selector>,
        remote_ts: Many<Selector>,
        accept_rekey_without_pfs: bool,
        resource_sas: Within<1, 16>,
    } reserved []
}

section! {
    RawInterface {
        name: String,
        addresses: Many<InterfaceAddress>,
        source: OneOrMany<IpAddr>,
        mtu: Automatic<576, 65_535>,
        mss: Automatic<500, 65_495>,
        queues: Within<1, 16>,
        routes: Many<Prefix>,
    } reserved ["vrf"]
}

section! {
    RawBgp {
        networks: Many<Prefix>,
        redistribute: Many<RedistributeName>,
        always_compare_med: bool,
        missing_med_worst: bool,
        ignore_age: bool,
        neighbor: Named<RawNeighbor>,
    } reserved ["vrf"]
}

section! {
    RawNeighbor {
        description: String,
        address: IpAddr,
        asn: Within<1, 4_294_967_294>,
        local_asn: Within<1, 4_294_967_294>,
        tunnel: String,
        source: IpAddr,
        next_hop: IpAddr,
        multihop: Within<1, 255>,
        hold_time: Duration,
        keepalive: Duration,
        send_hold_time: Duration,
        passive: bool,
        password: RawSecret,
        families: Many<FamilyName>,
        import: String,
        export: String,
        weight: Within<0, 65_535>,
        max_prefix: Within<1, 4_294_967_295>,
        max_prefix_restart: Duration,
        max_prefix_out: Within<1, 4_294_967_295>,
    } reserved ["vrf"]
}

section! {
    RawRule {
        seq: Within<1, 4_294_967_295>,
        action: Action,
        prefix: Prefix,
        ge: Within<0, 128>,
        le: Within<0, 128>,
        description: String,
    } reserved []
}

/// Every section with its keys: for hints, and for the test that the reference page has them all.
pub(crate) const SECTIONS: &[(&str, &[&str])] = &[
    ("router", RawRouter::KEYS),
    ("routes", RawRoutes::KEYS),
    ("control", RawControl::KEYS),
    ("log", RawLog::KEYS),
    ("tunnel.NAME", RawTunnel::KEYS),
    ("tunnel.NAME.psk", RawPsk::KEYS),
    ("tunnel.NAME.ike", RawIke::KEYS),
    ("tunnel.NAME.ike.dpd", RawDpd::KEYS),
    ("tunnel.NAME.esp", RawEsp::KEYS),
    ("tunnel.NAME.interface", RawInterface::KEYS),
    ("bgp", RawBgp::KEYS),
    ("bgp.neighbor.NAME", RawNeighbor::KEYS),
    ("bgp.neighbor.NAME.password", RawSecret::KEYS),
    ("prefix_list.NAME", RawRule::KEYS),
];
