//! The payloads of one message, by kind.

use ike_wire::{
    Authentication, Configuration, Delete, Identification, KeyExchange, Notify, NotifyType, Payload,
    SecurityAssociation, TrafficSelectors,
};

use crate::failure::{Exchange, Failure};

/// A look at a message's payloads. Where a kind may come once, the first counts (RFC 7296 section 2.5 lets us).
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(pub(crate) &'a [Payload]);

macro_rules! first {
    ($name:ident, $variant:ident, $kind:ty) => {
        pub(crate) fn $name(self) -> Option<&'a $kind> {
            self.0.iter().find_map(|payload| match payload {
                Payload::$variant(value) => Some(value),
                _ => None,
            })
        }
    };
}

impl<'a> Body<'a> {
    first!(sa, SecurityAssociation, SecurityAssociation);
    first!(ke, KeyExchange, KeyExchange);
    first!(nonce, Nonce, Vec<u8>);
    first!(id_i, IdInitiator, Identification);
    first!(id_r, IdResponder, Identification);
    first!(auth, Authentication, Authentication);
    first!(ts_i, TsInitiator, TrafficSelectors);
    first!(ts_r, TsResponder, TrafficSelectors);
    first!(configuration, Configuration, Configuration);

    pub(crate) fn notifies(self) -> impl Iterator<Item = &'a Notify> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        })
    }

    pub(crate) fn deletes(self) -> impl Iterator<Item = &'a Delete> {
        self.0.iter().filter_map(|payload| match payload {
            Payload::Delete(delete) => Some(delete),
            _ => None,
        })
    }

    pub(crate) fn notify(self, kind: NotifyType) -> Option<&'a Notify> {
        self.notifies().find(|notify| notify.kind == kind)
    }

    pub(crate) fn has(self, kind: NotifyType) -> bool {
        self.notify(kind).is_some()
    }

    /// The first error notify. RFC 7296 section 3.10.1: an unknown one too means that the request failed.
    pub(crate) fn error(self) -> Option<&'a Notify> {
        self.notifies().find(|notify| notify.kind.is_error())
    }

    /// Vendor ids, to be shown.
    pub(crate) fn vendors(self) -> Vec<String> {
        let ids = self.0.iter().filter_map(|payload| match payload {
            Payload::VendorId(id) => Some(id),
            _ => None,
        });
        ids.take(MAX_VENDORS).map(|id| show_vendor(id)).collect()
    }
}

/// Vendor ids kept for views, and octets of each.
const MAX_VENDORS: usize = 16;
const MAX_VENDOR_OCTETS: usize = 64;

fn show_vendor(id: &[u8]) -> String {
    let id = id.get(..id.len().min(MAX_VENDOR_OCTETS)).unwrap_or_default();
    match std::str::from_utf8(id) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => {
            text.to_owned()
        }
        _ => id.iter().map(|octet| format!("{octet:02x}")).collect(),
    }
}

/// A notify without data.
pub(crate) fn bare(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, Vec::new()))
}

/// The failure an error notify means, where the exchange has no better word for it.
pub(crate) fn refused(notify: &Notify, exchange: Exchange) -> Failure {
    let data = notify.data.iter().take(64).copied().collect();
    Failure::PeerRefused { notify: notify.kind.0, exchange, data }
}

/// The two octets of INVALID_KE_PAYLOAD: the group wanted.
pub(crate) fn wanted_group(notify: &Notify) -> Option<u16> {
    notify.data.first_chunk::<2>().map(|octets| u16::from_be_bytes(*octets))
}
