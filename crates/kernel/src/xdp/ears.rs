//! Whose ESP a device's program takes, and for which of our addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use super::Mac;
use super::program::{IPV4, IPV6, KEY};
use crate::netlink::{Netlink, NetlinkError};
use crate::sys::bpf::{Map, MapKind};

/// Peers heard at most, each with an address of ours: for one more, who was not sent to for longest is left to the stack.
pub const MAX_PEERS: usize = 4096;

/// A peer, and the address of ours that it is sent to from.
type Pair = (IpAddr, IpAddr);

/// The map that a device's program asks, and what is in it. It hears nobody at first.
pub(super) struct Ears {
    map: Map<KEY>,
    heard: BTreeSet<[u8; KEY]>,
    device: u32,
    mac: Mac,
}

impl Ears {
    /// Of a device with that number and link address.
    pub(super) fn new(device: u32, mac: Mac) -> io::Result<Self> {
        let map = Map::new(MapKind::Hash, MAX_PEERS as u32)?;
        Ok(Self { map, heard: BTreeSet::new(), device, mac })
    }

    /// The number a program's instructions name the map by.
    pub(super) fn raw(&self) -> i32 {
        self.map.raw()
    }

    /// Takes ESP from these peers for these addresses, and no other, from now on; what is not heard goes through the stack.
    ///
    /// # Errors
    ///
    /// Something that the map did not take; all else is done, and the next call begins there.
    fn hear(&mut self, pairs: &[Pair]) -> io::Result<()> {
        let wanted: BTreeSet<[u8; KEY]> = pairs.iter().map(|pair| key(*pair, self.mac)).collect();
        let mut outcome = Ok(());
        for gone in self.heard.difference(&wanted).copied().collect::<Vec<_>>() {
            outcome = self.forget(gone).and(outcome);
        }
        for new in wanted.difference(&self.heard).copied().collect::<Vec<_>>() {
            outcome = self.take_in(new).and(outcome);
        }
        outcome
    }

    /// One more key.
    fn take_in(&mut self, new: [u8; KEY]) -> io::Result<()> {
        self.map.set(&new, 1)?;
        self.heard.insert(new);
        Ok(())
    }

    /// One key less, if it is there.
    fn forget(&mut self, gone: [u8; KEY]) -> io::Result<()> {
        if !self.heard.contains(&gone) {
            return Ok(());
        }
        match self.map.remove(&gone) {
            // It is not there, which is what was asked for.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => self.heard.remove(&gone),
        };
        Ok(())
    }
}

/// Whom all devices hear: the peers that ESP is sent to, at the addresses it is sent from. What else comes is for another: the
/// kernel's own IPsec, a host behind this one, or nobody.
#[derive(Default)]
pub(super) struct Hearing {
    ears: Vec<Ears>,
    host: BTreeSet<IpAddr>,
    /// Each with the time when it was sent to.
    peers: BTreeMap<Pair, u64>,
    /// Some ears have not heard of the last change.
    behind: bool,
}

impl Hearing {
    /// Another device, which hears what the others do.
    pub(super) fn add(&mut self, ears: Ears) {
        self.ears.push(ears);
    }

    /// The host has these addresses from now on, and the devices the link addresses that netlink says; where it says
    /// nothing, the one before.
    ///
    /// # Errors
    ///
    /// Netlink refused a question; all else is done.
    pub(super) fn set_host(
        &mut self,
        netlink: &mut Netlink,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<(), NetlinkError> {
        self.host = addresses.into_iter().collect();
        let mut outcome = Ok(());
        for ears in &mut self.ears {
            match netlink.hardware_address(ears.device) {
                Ok(mac) => ears.mac = mac.unwrap_or(ears.mac),
                Err(error) => outcome = Err(error),
            }
        }
        self.tell();
        outcome
    }

    /// Has the host this address?
    pub(super) fn is_host(&self, address: IpAddr) -> bool {
        self.host.contains(&address)
    }

    /// `peer` is sent to from `ours`, at that time of a clock that never goes back.
    pub(super) fn sent(&mut self, peer: IpAddr, ours: IpAddr, at: u64) {
        if self.peers.insert((peer, ours), at).is_none() {
            if self.peers.len() > MAX_PEERS
                && let Some(longest) = self.peers.iter().min_by_key(|(_, at)| **at).map(|(pair, _)| *pair)
            {
                self.peers.remove(&longest);
                self.tell_one(|ears| ears.forget(key(longest, ears.mac)));
            }
            if self.is_host(ours) {
                self.tell_one(|ears| ears.take_in(key((peer, ours), ears.mac)));
            }
        }
        if self.behind {
            self.tell();
        }
    }

    /// Tells every device of one pair: of all of them anew it would cost the more the more there are.
    fn tell_one(&mut self, mut change: impl FnMut(&mut Ears) -> io::Result<()>) {
        for ears in &mut self.ears {
            self.behind |= change(ears).is_err();
        }
    }

    /// Tells every device. What one does not take goes through the stack until a later call.
    fn tell(&mut self) {
        let host = &self.host;
        let wanted: Vec<Pair> = self.peers.keys().filter(|(_, ours)| host.contains(ours)).copied().collect();
        self.behind = false;
        for ears in &mut self.ears {
            self.behind |= ears.hear(&wanted).is_err();
        }
    }
}

/// A key of the map.
fn key((peer, ours): Pair, mac: Mac) -> [u8; KEY] {
    let mut key = [0; KEY];
    let kind = match (peer, ours) {
        (IpAddr::V4(peer), IpAddr::V4(ours)) => {
            key[..4].copy_from_slice(&peer.octets());
            key[16..20].copy_from_slice(&ours.octets());
            IPV4
        }
        (IpAddr::V6(peer), IpAddr::V6(ours)) => {
            key[..16].copy_from_slice(&peer.octets());
            key[16..32].copy_from_slice(&ours.octets());
            IPV6
        }
        // No packet is like that, nor a frame of no type.
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    };
    key[32..38].copy_from_slice(&mac);
    key[38..].copy_from_slice(&kind.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    fn hearing(ours: &[IpAddr]) -> Hearing {
        let ears = vec![Ears::new(1, MAC).unwrap()];
        Hearing { ears, host: ours.iter().copied().collect(), ..Hearing::default() }
    }

    fn peer(number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        [198, 51, high, low].into()
    }

    fn ours(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    /// Is it in the map? It is not any more, afterwards, and nobody knows.
    fn taken_away(hearing: &Hearing, pair: Pair) -> bool {
        hearing.ears[0].map.remove(&key(pair, MAC)).is_ok()
    }

    #[test]
    fn who_is_sent_to_is_heard_at_the_address_it_is_sent_to_from_while_that_is_the_hosts() {
        let mut hearing = hearing(&[ours(1), ours(2)]);
        hearing.sent(peer(1), ours(1), 0);
        hearing.sent(peer(2), ours(3), 0);
        assert_eq!(hearing.ears[0].heard.len(), 1);
        for other in [(peer(1), ours(2)), (peer(2), ours(1)), (peer(2), ours(3)), (ours(1), peer(1))] {
            assert!(!taken_away(&hearing, other), "{other:?}");
        }
        assert!(taken_away(&hearing, (peer(1), ours(1))));
        hearing.host = [ours(3)].into();
        hearing.tell();
        assert!(taken_away(&hearing, (peer(2), ours(3))));
    }

    #[test]
    fn what_the_map_did_not_do_is_done_with_the_next_change() {
        let mut hearing = hearing(&[ours(1)]);
        hearing.sent(peer(1), ours(1), 0);
        // Gone from the map behind our back: it is no error that it is not there to be removed.
        assert!(taken_away(&hearing, (peer(1), ours(1))));
        hearing.host.clear();
        hearing.tell();
        assert!(!hearing.behind && hearing.ears[0].heard.is_empty());
        // A map that takes nothing for a while.
        let whole = std::mem::replace(&mut hearing.ears[0].map, Map::new(MapKind::Hash, 1).unwrap());
        hearing.host = [ours(1)].into();
        hearing.tell();
        hearing.sent(peer(2), ours(1), 0);
        assert!(hearing.behind && hearing.ears[0].heard.len() == 1);
        hearing.ears[0].map = whole;
        hearing.ears[0].heard.clear();
        hearing.sent(peer(2), ours(1), 1000);
        assert!(!hearing.behind);
        assert!(taken_away(&hearing, (peer(1), ours(1))) && taken_away(&hearing, (peer(2), ours(1))));
    }

    #[test]
    fn one_more_peer_is_one_more_key_and_the_others_are_not_told_anew() {
        let mut hearing = hearing(&[ours(1)]);
        hearing.sent(peer(1), ours(1), 0);
        hearing.sent(peer(2), ours(3), 0);
        // Were the whole told, this one would be again.
        hearing.ears[0].heard.clear();
        assert!(taken_away(&hearing, (peer(1), ours(1))));
        hearing.sent(peer(3), ours(1), 0);
        assert_eq!(hearing.ears[0].heard.len(), 1);
        assert!(taken_away(&hearing, (peer(3), ours(1))) && !taken_away(&hearing, (peer(1), ours(1))));
    }

    #[test]
    fn for_one_too_many_the_one_that_was_not_sent_to_for_longest_is_left_to_the_stack() {
        let mut hearing = hearing(&[ours(1)]);
        let most = MAX_PEERS as u16;
        hearing.peers = (0..most).map(|number| ((peer(number), ours(1)), 10 + u64::from(number))).collect();
        hearing.tell();
        hearing.sent(peer(0), ours(1), 20_000);
        hearing.sent(peer(most), ours(1), 20_001);
        hearing.sent(peer(most + 1), ours(1), 20_001);
        assert_eq!((hearing.peers.len(), hearing.behind), (MAX_PEERS, false));
        for (number, heard) in [(0, true), (1, false), (2, false), (3, true), (most, true), (most + 1, true)]
        {
            assert_eq!(taken_away(&hearing, (peer(number), ours(1))), heard, "{number}");
        }
    }
}
