//! What `show interfaces` says of the tunnels' devices, as they are now.

use control::view::{NamedCount, Offload};
use gateway::DeviceFacts;
use kernel::netlink::SendDrops;
use workers::Joins;

use crate::sockets::{off, on};

/// A device: what it took when it was opened, whether packets are written to it joined (TCP, UDP; `None` while no worker has
/// it), and what its kernel dropped.
pub(crate) fn device(opened: &[Offload], joins: Option<[Joins; 2]>, drops: SendDrops) -> DeviceFacts {
    let joins = joins.into_iter().flat_map(|joins| ["join-tcp", "join-udp"].into_iter().zip(joins));
    let refused = joins.clone().map(|(_, joins)| match joins {
        Joins::On | Joins::NotTaken => 0,
        Joins::GivenUp { refused } => refused,
    });
    let counts = [
        ("tx-dropped", drops.device),
        ("qdisc-dropped", drops.discipline),
        ("refused-joined", refused.sum()),
    ];
    let counted = counts.into_iter().filter(|(_, count)| *count > 0);
    DeviceFacts {
        offloads: opened.iter().cloned().chain(joins.map(|(name, joins)| joined(name, joins))).collect(),
        counts: counted.map(|(name, count)| NamedCount { name: name.to_owned(), count }).collect(),
    }
}

fn joined(name: &str, joins: Joins) -> Offload {
    match joins {
        Joins::On => on(name),
        Joins::NotTaken => off(name, "this kernel's TUN devices do not take it"),
        Joins::GivenUp { refused } => {
            let why = format!(
                "given up: the kernel refused {refused} joined packets (EINVAL), which were then written one by one"
            );
            off(name, &why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offload_that_was_given_up_says_so_and_what_was_dropped_is_counted() {
        let opened = [on("tso4"), off("uso4", "TUN devices take it from Linux 6.2 on")];
        let joins = [Joins::GivenUp { refused: 7 }, Joins::NotTaken];
        let shown = device(&opened, Some(joins), SendDrops { device: 3, discipline: 0 });
        assert_eq!(shown.offloads[..2], opened);
        let why = shown.offloads[2].why.as_deref().unwrap_or_default();
        assert!(
            !shown.offloads[2].on && why.starts_with("given up: the kernel refused 7 joined packets"),
            "{why}"
        );
        assert_eq!((&shown.offloads[3].name[..], shown.offloads[3].on), ("join-udp", false));
        let counts: Vec<_> = shown.counts.iter().map(|count| (&count.name[..], count.count)).collect();
        assert_eq!(counts, [("tx-dropped", 3), ("refused-joined", 7)]);
        let fine = device(&opened[..1], Some([Joins::On; 2]), SendDrops::default());
        assert!(fine.offloads.iter().all(|offload| offload.on) && fine.counts.is_empty());
        assert_eq!(device(&opened, None, SendDrops::default()).offloads, opened);
    }
}
