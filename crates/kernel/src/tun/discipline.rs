//! The queue discipline at a device's root.

use crate::netlink::{Netlink, NetlinkError};

const FAIR: &str = "fq_codel";
const PLAIN: &str = "pfifo";
const NOT_ASKED: &str = "not asked for";

/// `fq_codel` where it is asked for, the kernel has it and nobody chose another; else why not.
///
/// A device that may have several queues gets `pfifo` at its root instead: by itself the kernel would give each of the 256
/// queues the device could have a discipline of its own, 98 MB of memory at 10,000 packets. It works without, and then costs
/// that memory, which is told. Such a `pfifo` is ours, from a time when the kernel had no other.
pub(super) fn put(netlink: &mut Netlink, index: u32, fair: bool, multiple: bool) -> Result<(), String> {
    let replaced = |found: &str| {
        matches!(found, "" | "noop" | "noqueue" | "mq" | "pfifo_fast") || multiple && found == PLAIN
    };
    let why = match netlink.root_qdisc(index) {
        Ok(found) if fair && found == FAIR => return Ok(()),
        Ok(found) if !replaced(&found) => {
            return Err(if fair { format!("{found} is there") } else { NOT_ASKED.to_owned() });
        }
        Ok(_) if fair => match netlink.set_root_qdisc(index, FAIR) {
            Ok(()) => return Ok(()),
            Err(NetlinkError::Missing { .. }) => "this kernel does not have it".to_owned(),
            Err(error) => error.to_string(),
        },
        Ok(_) => NOT_ASKED.to_owned(),
        // Somebody's own may be there.
        Err(error) => return Err(format!("the kernel did not say what is there: {error}")),
    };
    match multiple.then(|| netlink.set_root_qdisc(index, PLAIN)) {
        Some(Err(error)) => Err(format!("{why}; and no {PLAIN} for all queues together: {error}")),
        Some(Ok(())) | None => Err(why),
    }
}
