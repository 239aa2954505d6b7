//! From meaning to octets: what the oldest peers accept.
//!
//! Attributes stand in ascending order, except MP_REACH_NLRI and MP_UNREACH_NLRI which come first
//! (RFC 7606 section 5.1); low flag bits are zero; old-style NLRI and MP_REACH_NLRI never share a message.

use inet::Prefix;

use crate::writer::Writer;
use crate::{
    AS_TRANS, Aggregator, AsPath, AttributeType, Context, Family, HEADER_LENGTH, MessageType, NextHop,
    PathAttributes, PeerKind, SegmentKind, nlri,
};

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const PARTIAL: u8 = 0x20;
const EXTENDED_LENGTH: u8 = 0x10;

/// LOCAL_PREF towards an internal peer when policy set none (RFC 4271 section 9.1.1).
const DEFAULT_LOCAL_PREF: u32 = 100;

/// The attributes alone leave no room for one prefix, or the next hop is of the wrong family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("attributes do not fit in one message, or next hop and prefix differ in family")]
pub struct TooLong;

/// One UPDATE that announces as many of `prefixes` (of one family) as fit, from the front.
/// Returns the message and how many were taken.
///
/// # Errors
/// Not even one fits; the route cannot be sent to this peer.
pub fn encode_announce(
    attributes: &PathAttributes,
    prefixes: &[Prefix],
    context: &Context,
) -> Result<(Vec<u8>, usize), TooLong> {
    let family = prefixes.first().map(Family::of).ok_or(TooLong)?;
    let rest = attribute_list(attributes, family, context);
    let room = context.max_length(MessageType::UPDATE).saturating_sub(HEADER_LENGTH + 4 + rest.len());
    match (family, attributes.next_hop) {
        (Family::Ipv4Unicast, NextHop::V4(_)) => announce_plain(&rest, prefixes, room),
        (Family::Ipv6Unicast, NextHop::V6 { .. }) => announce_mp(attributes.next_hop, &rest, prefixes, room),
        (Family::Ipv4Unicast, NextHop::V6 { .. }) | (Family::Ipv6Unicast, NextHop::V4(_)) => Err(TooLong),
    }
}

fn announce_plain(rest: &[u8], prefixes: &[Prefix], room: usize) -> Result<(Vec<u8>, usize), TooLong> {
    let (field, taken) = pack(prefixes, room);
    if taken == 0 {
        return Err(TooLong);
    }
    Ok((message(&[], rest, &field), taken))
}

fn announce_mp(
    next_hop: NextHop,
    rest: &[u8],
    prefixes: &[Prefix],
    room: usize,
) -> Result<(Vec<u8>, usize), TooLong> {
    let mut value = Vec::new();
    value.extend(Family::Ipv6Unicast.afi().to_be_bytes());
    value.push(Family::Ipv6Unicast.safi());
    if let NextHop::V6 { global, link_local } = next_hop {
        value.push(if link_local.is_some() { 32 } else { 16 });
        value.extend(global.octets());
        value.extend(link_local.iter().flat_map(|address| address.octets()));
    }
    value.push(0);
    let (field, taken) = pack(prefixes, room.saturating_sub(value.len() + 4));
    if taken == 0 {
        return Err(TooLong);
    }
    value.extend(field);
    let mut list = Vec::new();
    attribute(&mut list, OPTIONAL, AttributeType::MP_REACH_NLRI, &value);
    list.extend(rest);
    Ok((message(&[], &list, &[]), taken))
}

/// One UPDATE that withdraws as many of `prefixes` (of one family) as fit, from the front, at least one.
/// Returns the message and how many were taken.
#[must_use]
pub fn encode_withdraw(prefixes: &[Prefix], context: &Context) -> (Vec<u8>, usize) {
    let room = context.max_length(MessageType::UPDATE).saturating_sub(HEADER_LENGTH + 4);
    match prefixes.first().map_or(Family::Ipv4Unicast, Family::of) {
        Family::Ipv4Unicast => {
            let (field, taken) = pack(prefixes, room);
            (message(&field, &[], &[]), taken)
        }
        Family::Ipv6Unicast => {
            let (field, taken) = pack(prefixes, room.saturating_sub(7));
            (unreach(Family::Ipv6Unicast, &field), taken)
        }
    }
}

/// The end-of-RIB marker of a family (RFC 4724 section 2).
#[must_use]
pub fn encode_end_of_rib(family: Family) -> Vec<u8> {
    match family {
        Family::Ipv4Unicast => message(&[], &[], &[]),
        Family::Ipv6Unicast => unreach(family, &[]),
    }
}

fn unreach(family: Family, field: &[u8]) -> Vec<u8> {
    let mut value = family.afi().to_be_bytes().to_vec();
    value.push(family.safi());
    value.extend(field);
    let mut list = Vec::new();
    attribute(&mut list, OPTIONAL, AttributeType::MP_UNREACH_NLRI, &value);
    message(&[], &list, &[])
}

/// The prefixes that fit in `room` octets, and their number.
fn pack(prefixes: &[Prefix], room: usize) -> (Vec<u8>, usize) {
    let mut field = Vec::new();
    let mut taken = 0;
    for prefix in prefixes {
        if field.len() + nlri::encoded_len(prefix) > room {
            break;
        }
        nlri::encode(prefix, &mut field);
        taken += 1;
    }
    (field, taken)
}

fn message(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    // Each field is bounded by the largest message, so the conversions cannot fail.
    let length = |field: &[u8]| u16::try_from(field.len()).unwrap_or(u16::MAX);
    let mut writer = Writer::new(MessageType::UPDATE);
    writer.u16(length(withdrawn));
    writer.slice(withdrawn);
    writer.u16(length(attributes));
    writer.slice(attributes);
    writer.slice(nlri);
    writer.finish()
}

fn attribute(out: &mut Vec<u8>, flags: u8, kind: AttributeType, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(length) => out.extend([flags, kind.0, length]),
        Err(_) => {
            out.extend([flags | EXTENDED_LENGTH, kind.0]);
            out.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend(value);
}

/// Every attribute but MP_REACH_NLRI, in ascending order.
fn attribute_list(attributes: &PathAttributes, family: Family, context: &Context) -> Vec<u8> {
    let mut list = List::default();
    list.put(TRANSITIVE, AttributeType::ORIGIN, &[attributes.origin.wire()]);
    put_as_path(&mut list, &attributes.as_path, context);
    if let (Family::Ipv4Unicast, NextHop::V4(address)) = (family, attributes.next_hop) {
        list.put(TRANSITIVE, AttributeType::NEXT_HOP, &address.octets());
    }
    if let Some(med) = attributes.med {
        list.put(OPTIONAL, AttributeType::MED, &med.to_be_bytes());
    }
    if attributes.atomic_aggregate {
        list.put(TRANSITIVE, AttributeType::ATOMIC_AGGREGATE, &[]);
    }
    if let Some(aggregator) = attributes.aggregator {
        put_aggregator(&mut list, aggregator, context);
    }
    put_internal(&mut list, attributes, context);
    put_communities(&mut list, attributes, context);
    if let Some(asn) = attributes.only_to_customer {
        list.put(OPTIONAL | TRANSITIVE, AttributeType::ONLY_TO_CUSTOMER, &asn.to_be_bytes());
    }
    for unknown in &attributes.unknown {
        // "the Partial bit [...] MUST be set to 1" by a speaker that passes on what it does not know.
        list.put(OPTIONAL | TRANSITIVE | PARTIAL, unknown.kind, &unknown.value);
    }
    list.in_order()
}

/// Encoded attributes by their type.
#[derive(Default)]
struct List(std::collections::BTreeMap<AttributeType, Vec<u8>>);

impl List {
    fn put(&mut self, flags: u8, kind: AttributeType, value: &[u8]) {
        let mut bytes = Vec::with_capacity(value.len() + 4);
        attribute(&mut bytes, flags, kind, value);
        // Of two of one type the first stands: what is known wins over what was carried.
        self.0.entry(kind).or_insert(bytes);
    }

    fn in_order(self) -> Vec<u8> {
        self.0.into_values().flatten().collect()
    }
}

fn put_internal(list: &mut List, attributes: &PathAttributes, context: &Context) {
    if context.peer == PeerKind::External {
        return;
    }
    let preference = attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF);
    list.put(TRANSITIVE, AttributeType::LOCAL_PREF, &preference.to_be_bytes());
    if let Some(originator) = attributes.originator_id {
        list.put(OPTIONAL, AttributeType::ORIGINATOR_ID, &originator.octets());
    }
    if !attributes.cluster_list.is_empty() {
        let value: Vec<u8> = attributes.cluster_list.iter().flat_map(|id| id.octets()).collect();
        list.put(OPTIONAL, AttributeType::CLUSTER_LIST, &value);
    }
}

fn put_communities(list: &mut List, attributes: &PathAttributes, context: &Context) {
    let flags = OPTIONAL | TRANSITIVE;
    let plain: Vec<u8> = attributes.communities.iter().flat_map(|one| one.0.to_be_bytes()).collect();
    // "[...] non-transitive across the Autonomous System boundary" stay behind (RFC 4360 section 2).
    let keep = |one: &&crate::ExtendedCommunity| context.peer == PeerKind::Internal || one.is_transitive();
    let extended: Vec<u8> =
        attributes.extended_communities.iter().filter(keep).flat_map(|one| one.0).collect();
    let large: Vec<u8> = attributes
        .large_communities
        .iter()
        .flat_map(|one| [one.global, one.local1, one.local2])
        .flat_map(u32::to_be_bytes)
        .collect();
    for (kind, value) in [
        (AttributeType::COMMUNITIES, plain),
        (AttributeType::EXTENDED_COMMUNITIES, extended),
        (AttributeType::LARGE_COMMUNITY, large),
    ] {
        // An empty list is malformed, so none is sent.
        if !value.is_empty() {
            list.put(flags, kind, &value);
        }
    }
}

/// AS_PATH, and AS4_PATH beside it where a 2-octet session cannot carry a number (RFC 6793 section 4.2.2).
fn put_as_path(list: &mut List, path: &AsPath, context: &Context) {
    if context.as4 {
        return list.put(TRANSITIVE, AttributeType::AS_PATH, &path_octets(path, true, |_| true));
    }
    list.put(TRANSITIVE, AttributeType::AS_PATH, &path_octets(path, false, |_| true));
    if path.asns().any(|asn| asn > u32::from(u16::MAX)) {
        // "[...] AS_CONFED_SEQUENCE and AS_CONFED_SET MUST NOT be carried in the AS4_PATH".
        let plain = |kind| matches!(kind, SegmentKind::Set | SegmentKind::Sequence);
        let value = path_octets(path, true, plain);
        list.put(OPTIONAL | TRANSITIVE, AttributeType::AS4_PATH, &value);
    }
}

fn path_octets(path: &AsPath, as4: bool, wanted: impl Fn(SegmentKind) -> bool) -> Vec<u8> {
    let mut value = Vec::new();
    for segment in path.segments.iter().filter(|segment| wanted(segment.kind)) {
        for part in segment.asns.chunks(255) {
            value.extend([segment.kind.wire(), u8::try_from(part.len()).unwrap_or(u8::MAX)]);
            for asn in part {
                if as4 {
                    value.extend(asn.to_be_bytes());
                } else {
                    value.extend(u16::try_from(*asn).unwrap_or(AS_TRANS).to_be_bytes());
                }
            }
        }
    }
    value
}

fn put_aggregator(list: &mut List, aggregator: Aggregator, context: &Context) {
    let flags = OPTIONAL | TRANSITIVE;
    let long = [aggregator.asn.to_be_bytes(), aggregator.address.octets()].concat();
    if context.as4 {
        return list.put(flags, AttributeType::AGGREGATOR, &long);
    }
    let short = u16::try_from(aggregator.asn).unwrap_or(AS_TRANS);
    let mut value = short.to_be_bytes().to_vec();
    value.extend(aggregator.address.octets());
    list.put(flags, AttributeType::AGGREGATOR, &value);
    if aggregator.asn > u32::from(u16::MAX) {
        list.put(flags, AttributeType::AS4_AGGREGATOR, &long);
    }
}
