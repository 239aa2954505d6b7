//! What a session negotiated, out of one octet.

use bgp_wire::{Context, Families, PeerKind};

pub fn context(choice: u8) -> Context {
    Context {
        as4: choice & 1 != 0,
        families: Families::BOTH,
        extended_message: choice & 2 != 0,
        peer: if choice & 4 != 0 { PeerKind::Internal } else { PeerKind::External },
        first_as: (choice & 8 != 0).then_some(65_515),
        reject_as_sets: choice & 16 != 0,
    }
}
