//! How many IKE SAs that have not authenticated are kept, and whose they may be (RFC 7296 section 2.6).
//!
//! Who can fill what:
//!
//! * Without a cookie a request's address may be anybody's, so such a request has the common room alone, and little of it
//!   an address ([`Limits::half_open_per_address`]); and from [`Limits::cookie_from`] on none gets in at all. Whoever forges
//!   the address of a configured peer can therefore make that peer bring a cookie. That is all as long as fewer than
//!   [`Limits::cookies_per_second`] are forged: what comes beyond them in a second is asked for nothing, the peer's own
//!   request among it, which then has to be repeated. Other addresses have their own such number.
//! * A cookie proves that its sender hears what is sent to its address. An address that connections name has a room of its
//!   own then, for two dials of each of these connections and as many besides as a stranger has, which nobody but those at
//!   that address can fill: neither a flood from other addresses, forged or not, nor a host of real strangers locks a
//!   configured peer out.
//! * Strangers with a cookie share the common room with those without: up to one for each connection whose peer may be
//!   anywhere, and a few more, from one address. They can fill it, and then keep out other strangers.
//!
//! Each of these numbers is fixed by the configuration, and so is their sum, [`bound`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::register::{Door, Register};
use crate::config::Limits;
use crate::event::IkeId;

/// Half-open IKE SAs of one connection that its peer's address has room for: its dial, and one that the peer gave up without
/// a word because it crossed ours.
const OWN: usize = 2;

/// Where one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Among those at a configured address.
    Own,
    /// Among all, and its address is its own.
    Proven,
    /// Among all, from anybody.
    Unproven,
}

/// How many are from one address.
#[derive(Clone, Copy, Default)]
struct Tally {
    own: usize,
    proven: usize,
    unproven: usize,
}

/// All of them.
#[derive(Default)]
pub(super) struct Rooms {
    taken: BTreeMap<IkeId, (IpAddr, Place)>,
    from: BTreeMap<IpAddr, Tally>,
    common: usize,
}

impl Rooms {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// Has this address as many as it may have without a cookie?
    pub(super) fn must_prove(&self, from: IpAddr, limits: &Limits) -> bool {
        self.tally(from).unproven >= limits.half_open_per_address
    }

    /// The place of one more; none where all that it could have are taken.
    pub(super) fn place(
        &self,
        from: IpAddr,
        proven: bool,
        door: &Door,
        anywhere: usize,
        limits: &Limits,
    ) -> Option<Place> {
        let (tally, few) = (self.tally(from), limits.half_open_per_address);
        if proven && door.named > 0 && tally.own < OWN * door.named + few {
            return Some(Place::Own);
        }
        let of_address = few + if proven { door.anywhere() } else { 0 };
        let room = self.common < limits.half_open + anywhere && tally.proven + tally.unproven < of_address;
        room.then_some(if proven { Place::Proven } else { Place::Unproven })
    }

    pub(super) fn take(&mut self, ike: IkeId, from: IpAddr, place: Place) {
        self.taken.insert(ike, (from, place));
        self.common += usize::from(place != Place::Own);
        *self.from.entry(from).or_default().of(place) += 1;
    }

    /// It authenticated, or is gone.
    pub(super) fn free(&mut self, ike: IkeId) {
        let Some((from, place)) = self.taken.remove(&ike) else { return };
        self.common -= usize::from(place != Place::Own);
        let Some(tally) = self.from.get_mut(&from) else { return };
        *tally.of(place) -= 1;
        if tally.own + tally.proven + tally.unproven == 0 {
            self.from.remove(&from);
        }
    }

    fn tally(&self, from: IpAddr) -> Tally {
        self.from.get(&from).copied().unwrap_or_default()
    }
}

impl Tally {
    fn of(&mut self, place: Place) -> &mut usize {
        match place {
            Place::Own => &mut self.own,
            Place::Proven => &mut self.proven,
            Place::Unproven => &mut self.unproven,
        }
    }
}

/// At most so many are half-open with these connections, whatever anybody sends.
pub(super) fn bound(connections: &Register, limits: &Limits) -> usize {
    let (addresses, named, anywhere) = connections.sizes();
    limits.half_open + anywhere + OWN * named + addresses * limits.half_open_per_address
}
