//! One host of a pair: its engine, and what its owner makes of what that says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::*;

/// One engine with what it said.
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) address: IpAddr,
    pub(super) events: Vec<Event>,
    /// CHILD SAs told up and not yet down, in that order.
    pub(super) children: BTreeMap<ChildId, ChildUp>,
    pub(super) ikes: BTreeMap<IkeId, Path>,
    pub(super) sent: Vec<Transmit>,
    /// The CHILD SAs packets go out on, one a resource, by the rules that `ChildUp` and `ChildDown` state.
    pub(super) current: BTreeMap<Resource, ChildId>,
    /// Inbound SPIs of CHILD SAs that are down, and until when they are still heard.
    pub(super) lingering: Vec<(u32, Instant)>,
    pub(super) now: Instant,
    /// How long its key exchanges take.
    pub(super) work_delay: Duration,
}

/// Two ends of one CHILD SA.
pub(super) fn mirror(a: &ChildUp, b: &ChildUp) {
    assert_eq!((a.spi_in, a.spi_out), (b.spi_out, b.spi_in));
    assert_eq!((a.suite, a.esn, a.encap, a.pfs), (b.suite, b.esn, b.encap, b.pfs));
    assert_eq!((&a.local_ts, &a.remote_ts), (&b.remote_ts, &b.local_ts));
    assert!(a.keys.encr_in == b.keys.encr_out && a.keys.encr_out == b.keys.encr_in);
    assert!(a.keys.integ_in == b.keys.integ_out && a.keys.integ_out == b.keys.integ_in);
    assert!(a.keys.encr_in != a.keys.encr_out);
}

impl Host {
    pub(super) fn learn(&mut self, event: Event) {
        match &event {
            Event::IkeUp(up) => assert!(self.ikes.insert(up.ike, up.path).is_none()),
            Event::ChildUp(up) => {
                assert!(self.ikes.contains_key(&up.ike), "a CHILD SA of an unknown IKE SA");
                assert!(self.children.insert(up.child, (**up).clone()).is_none());
                let any = up.resource.is_any();
                let first = any && (up.replaces.is_none() || !self.current.contains_key(&up.resource));
                if (first || up.role == Role::Initiator) && !up.inbound_only {
                    self.current.insert(up.resource, up.child);
                }
            }
            Event::ChildDown { child, spi_in, linger, .. } => {
                let up = self.children.remove(child).expect("down twice, or never up");
                assert_eq!(up.spi_in, *spi_in);
                self.lingering.push((*spi_in, self.now + *linger));
                if self.current.get(&up.resource) == Some(child) {
                    self.current.remove(&up.resource);
                    let same = |other: &&ChildUp| !other.inbound_only && other.resource == up.resource;
                    let next = self.children.values().filter(same).map(|up| up.child).max();
                    self.current.extend(next.map(|next| (up.resource, next)));
                }
            }
            Event::IkeRekeyed { old, new, .. } => {
                let path = self.ikes.remove(old).expect("rekeyed twice, or never up");
                assert!(self.ikes.insert(*new, path).is_none());
            }
            Event::IkeDown { ike, .. } => assert!(self.ikes.remove(ike).is_some(), "down twice, or never up"),
            Event::PathChanged { ike, path, .. } => {
                self.ikes.insert(*ike, *path);
            }
            Event::Failed { .. } | Event::Note(_) => {}
        }
        self.events.push(event);
    }

    /// A packet came in on this SPI: is it heard? It may be the sign to move to a successor.
    pub(super) fn hears(&mut self, spi: u32, now: Instant) -> bool {
        let Some(up) = self.children.values().find(|up| up.spi_in == spi) else {
            return self.lingering.iter().any(|(lingering, until)| *lingering == spi && now <= *until);
        };
        let current = self.current.get(&up.resource).copied();
        let awaited = up.replaces.is_some() || !up.resource.is_any();
        if awaited && up.replaces == current && !up.inbound_only {
            self.current.insert(up.resource, up.child);
        }
        true
    }

    /// The one CHILD SA.
    pub(super) fn child(&self) -> &ChildUp {
        assert_eq!(self.children.len(), 1, "{:#?}", self.story());
        self.children.values().next().unwrap()
    }

    pub(super) fn up(&self) -> bool {
        !self.children.is_empty()
    }

    pub(super) fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| is(event)).count()
    }

    pub(super) fn child_reasons(&self) -> Vec<DownReason> {
        self.picked(|event| match event {
            Event::ChildDown { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    pub(super) fn ike_reasons(&self) -> Vec<DownReason> {
        self.picked(|event| match event {
            Event::IkeDown { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    /// What `pick` takes of each event, in order.
    pub(super) fn picked<T>(&self, pick: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        self.events.iter().filter_map(pick).collect()
    }

    /// What happened, a line an event.
    pub(super) fn story(&self) -> Vec<String> {
        self.events
            .iter()
            .map(|event| match event {
                Event::IkeUp(up) => format!("IkeUp {:?} {:?}", up.ike, up.role),
                Event::ChildUp(up) => format!(
                    "ChildUp {:?} in {:08x} out {:08x} {:?} of {:?} replaces {:?} inbound only {}",
                    up.child, up.spi_in, up.spi_out, up.role, up.ike, up.replaces, up.inbound_only
                ),
                other => format!("{other:?}"),
            })
            .collect()
    }
}
