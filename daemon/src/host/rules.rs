//! Policy rules for a table of our own, and for uplinks, IPv4 and IPv6.
//!
//! | preference | rule | why |
//! | --- | --- | --- |
//! | 17890 | packets from a local address: the table of its uplink | a peer reached by two uplinks needs a route for each; what the table has not is looked for further on |
//! | 17900 | marked packets: `main` | our outer packets never look into our table, whatever it has |
//! | 17910 | `main` without its default route | connected and static routes win over learned ones |
//! | 17920 | our table | learned routes win over `main`'s default route |
//!
//! They carry our protocol number, by which they are found again. The preferences stand before `main`
//! (32766) and away from 220, where other IPsec daemons put theirs.

use gateway::{PROTOCOL, Rules, Sources};
use inet::Prefix;
use kernel::netlink::{Netlink, NetlinkError, Rule, TABLE_MAIN};

const UPLINK: u32 = 17_890;
const MARKED: u32 = 17_900;
const SPECIFIC: u32 = 17_910;
const LEARNED: u32 = 17_920;

/// Makes the rules of ours what they shall be: nothing that is right is touched.
pub(super) fn apply(
    netlink: &mut Netlink,
    rules: Option<Rules>,
    sources: &Sources,
) -> Result<(), NetlinkError> {
    let found = netlink.rules()?;
    // A host without IPv6 has no IPv6 rules at all, not even the kernel's own.
    let ipv6 = found.iter().any(|rule| !rule.ipv4);
    let own_table = match rules {
        Some(Rules::Install { table, mark }) => [true, false]
            .into_iter()
            .filter(|ipv4| *ipv4 || ipv6)
            .map(|ipv4| wanted(ipv4, table, mark))
            .collect(),
        Some(Rules::Remove { .. }) | None => Vec::new(),
    };
    let uplinks = sources.iter().filter(|(local, _)| local.is_ipv4() || ipv6).map(|(local, table)| Rule {
        source: Some(Prefix::host(*local)),
        ..Rule::new(local.is_ipv4(), UPLINK, *table, PROTOCOL)
    });
    let wanted: Vec<Rule> = uplinks.chain(own_table.into_iter().flatten()).collect();
    // First the new ones: between the two there is never a moment without protection.
    for rule in &wanted {
        if !found.contains(rule) {
            tolerate(netlink.add_rule(rule), NetlinkError::is_exists)?;
        }
    }
    for rule in found.iter().filter(|rule| rule.protocol == PROTOCOL && !wanted.contains(rule)) {
        tolerate(netlink.delete_rule(rule), NetlinkError::is_missing)?;
    }
    Ok(())
}

fn wanted(ipv4: bool, table: u32, mark: u32) -> [Rule; 3] {
    [
        Rule { mark: Some((mark, u32::MAX)), ..Rule::new(ipv4, MARKED, TABLE_MAIN, PROTOCOL) },
        Rule { suppress_prefix_len: Some(0), ..Rule::new(ipv4, SPECIFIC, TABLE_MAIN, PROTOCOL) },
        Rule::new(ipv4, LEARNED, table, PROTOCOL),
    ]
}

fn tolerate(
    outcome: Result<(), NetlinkError>,
    harmless: impl Fn(&NetlinkError) -> bool,
) -> Result<(), NetlinkError> {
    match outcome {
        Err(error) if !harmless(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
