//! Devices of ours removed, one or many together.

use std::collections::BTreeSet;

use super::{TunError, check_owner};
use crate::netlink::{Link, LinkChange, Netlink, NetlinkError};

/// Groups from here on are asked for one that is free.
const GROUPS: u32 = 0x6361_0000;

/// What [`remove_all`] left.
#[derive(Debug)]
pub struct Removal {
    /// Devices that are still there, by name, and why.
    pub left: Vec<(String, TunError)>,
    /// Why the kernel did not remove them together, if it was asked and did not: each was removed by itself then.
    pub apart: Option<NetlinkError>,
}

/// Remove a device of ours by name, attached or not: `Ok(false)` when there is none.
///
/// # Errors
///
/// It is not ours, or the kernel refused; it is left.
pub fn remove(netlink: &mut Netlink, name: &str) -> Result<bool, TunError> {
    let Some(link) = netlink.link_by_name(name)? else { return Ok(false) };
    check_owner(&link)?;
    match netlink.delete_link(link.index) {
        Ok(()) => Ok(true),
        Err(NetlinkError::Missing { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Remove many devices of ours by name, attached or not, in the time that one takes: a thousand one by one are twenty
/// seconds. A name there is no device of is passed over; a device that is not ours is left.
pub fn remove_all(netlink: &mut Netlink, names: &BTreeSet<String>) -> Removal {
    remove_all_in(netlink, names, free_group)
}

/// The same by way of the group that is chosen in sight of all interfaces there are.
pub(crate) fn remove_all_in(
    netlink: &mut Netlink,
    names: &BTreeSet<String>,
    choose: impl FnOnce(&[Link]) -> u32,
) -> Removal {
    let mut apart = None;
    if names.len() > 1 {
        match remove_together(netlink, names, choose) {
            Ok(left) => return Removal { left, apart },
            Err(error) => apart = Some(error),
        }
    }
    let left = |name: &String| Some((name.clone(), remove(netlink, name).err()?));
    Removal { left: names.iter().filter_map(left).collect(), apart }
}

/// Removes those that are ours; the others of these names, and why they are left.
fn remove_together(
    netlink: &mut Netlink,
    names: &BTreeSet<String>,
    choose: impl FnOnce(&[Link]) -> u32,
) -> Result<Vec<(String, TunError)>, NetlinkError> {
    let links = netlink.links()?;
    let group = choose(&links);
    let (mut left, mut grouped) = (Vec::new(), false);
    for link in links.iter().filter(|link| names.contains(&link.name)) {
        if let Err(foreign) = check_owner(link) {
            left.push((link.name.clone(), foreign));
            continue;
        }
        match netlink.set_link(link.index, &LinkChange { group: Some(group), ..LinkChange::default() }) {
            Ok(()) => grouped = true,
            // Somebody else removed it.
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    if grouped {
        netlink.delete_group(group)?;
    }
    Ok(left)
}

/// One that nothing is in, and that another program that does the same takes no notice of.
fn free_group(links: &[Link]) -> u32 {
    let mut group = GROUPS | std::process::id() & 0xffff;
    while links.iter().any(|link| link.group == group) {
        group = group.wrapping_add(1);
    }
    group
}
