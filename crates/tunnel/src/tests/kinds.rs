//! Super-packets of all kinds, at random.

use proptest::prelude::*;

use super::support::*;

/// Octets of the longest packet that [`specs`] are cut into.
pub(super) const LONGEST: usize = 1450;

/// Super-packets of all kinds. Sizes are kept small enough for many runs, but odd.
pub(super) fn specs() -> impl Strategy<Value = Spec> {
    let network = (any::<bool>(), any::<bool>(), any::<u8>(), 1u8.., any::<u16>(), any::<bool>());
    let flags = prop_oneof![
        3 => Just(ACK),
        3 => Just(ACK | PSH),
        1 => Just(ACK | FIN | PSH),
        1 => Just(ACK | CWR),
        1 => Just(ACK | ECE | CWR),
        1 => Just(ACK | URG),
        1 => any::<u8>().prop_map(|flags| flags & !SYN),
    ];
    // An urgent pointer into the payload, at its edges, and anywhere.
    let urgent = prop_oneof![3 => 0u16..9000, 1 => 0u16..3, 1 => any::<u16>()];
    let reserved = prop_oneof![4 => Just(0u8), 1 => 0u8..16];
    let tcp = (any::<u32>(), flags, urgent, reserved, 0usize..11);
    let more = (network_options(), extensions(), 0u32..1 << 20);
    let sizes = (0usize..9000, 1usize..LONGEST);
    (network, more, tcp, sizes).prop_map(|(network, more, tcp, (length, size))| {
        let (ipv6, udp, tos, ttl, id, dont_fragment) = network;
        let (network_options, extensions, label) = more;
        let (sequence, flags, urgent, reserved, options) = tcp;
        let mut spec = Spec { ipv6, udp, tos, ttl, id, dont_fragment, label, ..Spec::default() };
        (spec.network_options, spec.extensions) = (network_options, extensions);
        (spec.sequence, spec.flags, spec.urgent, spec.reserved) = (sequence, flags, urgent, reserved);
        spec.options = payload(options * 4);
        spec.payload = payload(length);
        // Not so small that one frame is thousands of packets.
        spec.size = size.max(length / 100 + 1).min(LONGEST - spec.headers());
        spec
    })
}

/// IPv4 options, mostly none: those that every fragment has, those of the first alone, and the two of one octet.
fn network_options() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(7u8), Just(68), Just(130), Just(131), Just(137), Just(148), Just(1)];
    let some = (prop::collection::vec((kind, 2u8..12), 1..6), 0u8..2);
    let some = some.prop_map(|(list, pad)| {
        let mut options = Vec::new();
        for (kind, length) in list {
            let length = if kind == 1 { 1 } else { length };
            if options.len() + usize::from(length) <= 40 {
                let body = [kind, length].into_iter().chain(100..);
                options.extend(body.take(length.into()));
            }
        }
        // End of options, or no-operations.
        options.resize(options.len().next_multiple_of(4), pad);
        options
    });
    prop_oneof![2 => Just(Vec::new()), 1 => some]
}

/// IPv6 extension headers, mostly none, that leave source and last destination in the IPv6 header.
fn extensions() -> impl Strategy<Value = Vec<Extension>> {
    let destination = prop_oneof![
        1 => (1usize..6).prop_map(|blocks| Extension::padding(DESTINATION_OPTIONS, blocks)),
        1 => options().prop_map(|list| Extension::options(DESTINATION_OPTIONS, &list)),
    ];
    let some = (any::<bool>(), prop::collection::vec(destination, 0..3)).prop_map(|(hop_by_hop, others)| {
        let first = hop_by_hop.then(|| Extension::padding(HOP_BY_HOP, 1));
        first.into_iter().chain(others).collect()
    });
    prop_oneof![2 => Just(Vec::new()), 1 => some]
}

/// Options of IPv6 that say nothing of addresses, some of which have the Home Address's number in their data.
fn options() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let kind =
        any::<u8>().prop_filter("padding, or a home address", |kind| ![0, 1, HOME_ADDRESS].contains(kind));
    let data = prop_oneof![Just(vec![HOME_ADDRESS; 9]), prop::collection::vec(any::<u8>(), 0..9)];
    prop::collection::vec((kind, data), 0..4)
}
