//! The path attributes known here: one row each, with the flags its RFC gives it, what wrong flags mean,
//! and how its value is read. RFC 7606 section 7 is the source of the actions.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::draft::{Draft, MpReach};
use super::{Action, FaultKind};
use crate::nlri;
use crate::reader::Reader;
use crate::{
    Aggregator, AsPath, AttributeType, Community, Context, ExtendedCommunity, Family, LargeCommunity,
    NextHop, Notification, NotificationCode, Origin, PeerKind, Segment, SegmentKind,
};

/// Why a value was not taken.
pub(super) enum Refusal {
    /// Noted as a fault with its action.
    Fault(FaultKind, Action),
    /// The session ends with this.
    Reset(Notification),
}

use Action::{Discard, Withdraw};

/// Reads one value into the draft.
type Read = fn(&mut Draft, &[u8], &Context) -> Result<(), Refusal>;

/// One attribute's row.
pub(super) struct Row {
    pub(super) optional: bool,
    pub(super) transitive: bool,
    /// What a conflict of the Optional or Transitive bit means: treat-as-withdraw "unless the specification
    /// for the attribute mandates different handling" (RFC 7606 section 3 (c)).
    pub(super) on_flags: Action,
    /// How the value is read; `None` for attributes carried or dropped by their flags, unread.
    pub(super) read: Option<Read>,
}

const fn well_known(read: Read) -> Row {
    Row { optional: false, transitive: true, on_flags: Withdraw, read: Some(read) }
}

const fn optional(read: Read) -> Row {
    Row { optional: true, transitive: false, on_flags: Withdraw, read: Some(read) }
}

const fn transitive(read: Read) -> Row {
    Row { optional: true, transitive: true, on_flags: Withdraw, read: Some(read) }
}

/// The row of an attribute; `None` for one not known here.
pub(super) fn row(kind: AttributeType) -> Option<Row> {
    Some(match kind {
        AttributeType::ORIGIN => well_known(origin),
        AttributeType::AS_PATH => well_known(as_path),
        AttributeType::NEXT_HOP => well_known(next_hop),
        AttributeType::MED => optional(med),
        AttributeType::LOCAL_PREF => Row { on_flags: Withdraw, ..well_known(local_pref) },
        AttributeType::ATOMIC_AGGREGATE => well_known(atomic_aggregate),
        AttributeType::AGGREGATOR => transitive(aggregator),
        AttributeType::COMMUNITIES => transitive(communities),
        AttributeType::ORIGINATOR_ID => optional(originator_id),
        AttributeType::CLUSTER_LIST => optional(cluster_list),
        AttributeType::MP_REACH_NLRI => optional(mp_reach),
        AttributeType::MP_UNREACH_NLRI => optional(mp_unreach),
        AttributeType::EXTENDED_COMMUNITIES => transitive(extended_communities),
        AttributeType::AS4_PATH => Row { on_flags: Discard, ..transitive(as4_path) },
        AttributeType::AS4_AGGREGATOR => Row { on_flags: Discard, ..transitive(as4_aggregator) },
        AttributeType::PMSI_TUNNEL | AttributeType::TUNNEL_ENCAPSULATION => {
            Row { optional: true, transitive: true, on_flags: Withdraw, read: None }
        }
        AttributeType::IPV6_EXTENDED_COMMUNITIES => transitive(ipv6_extended_communities),
        AttributeType::AIGP | AttributeType::LINK_STATE => {
            Row { optional: true, transitive: false, on_flags: Discard, read: None }
        }
        AttributeType::LARGE_COMMUNITY => transitive(large_communities),
        AttributeType::ONLY_TO_CUSTOMER => transitive(only_to_customer),
        AttributeType::PREFIX_SID => Row { on_flags: Discard, ..transitive(prefix_sid) },
        _ => return None,
    })
}

fn length_fault(action: Action) -> Refusal {
    Refusal::Fault(FaultKind::Length, action)
}

fn word(value: &[u8], action: Action) -> Result<u32, Refusal> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| length_fault(action))
}

/// RFC 7606 section 7.1.
fn origin(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    let [octet] = value else { return Err(length_fault(Withdraw)) };
    let origin = Origin::from_wire(*octet).ok_or(Refusal::Fault(FaultKind::Value, Withdraw))?;
    draft.origin = Some(origin);
    Ok(())
}

/// RFC 7606 section 7.2, RFC 7607, RFC 9774.
fn as_path(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    let path = read_path(value, context.as4).ok_or(Refusal::Fault(FaultKind::Value, Withdraw))?;
    // Kept even when refused: the rest of the list is judged with it.
    let refusal = judge_path(&path, context);
    draft.as_path = Some(path);
    refusal.map_or(Ok(()), |kind| Err(Refusal::Fault(kind, Withdraw)))
}

fn judge_path(path: &AsPath, context: &Context) -> Option<FaultKind> {
    if path.asns().any(|asn| asn == 0) {
        return Some(FaultKind::AsZero);
    }
    if context.reject_as_sets && path.has_set() {
        return Some(FaultKind::AsSet);
    }
    if context.peer == PeerKind::External && path.has_confed() {
        return Some(FaultKind::Confederation);
    }
    match context.first_as {
        Some(asn) if !path_begins_with(path, asn, context.as4) => Some(FaultKind::FirstAs),
        _ => None,
    }
}

/// On a 2-octet session the first AS of a peer above 65535 reads AS_TRANS (RFC 6793 section 4.2.2).
fn path_begins_with(path: &AsPath, asn: u32, as4: bool) -> bool {
    let expected = if as4 { asn } else { u16::try_from(asn).unwrap_or(crate::AS_TRANS).into() };
    path.first_as() == Some(expected)
}

/// Segments of (kind, count, AS numbers); `None` for an unknown kind, a count of 0, an overrun or an underrun.
fn read_path(value: &[u8], as4: bool) -> Option<AsPath> {
    let mut reader = Reader::new(value);
    let mut segments = Vec::new();
    while !reader.is_empty() {
        let kind = SegmentKind::from_wire(reader.u8()?)?;
        let count = usize::from(reader.u8()?);
        let asns: Vec<u32> = if as4 {
            (0..count).map(|_| reader.u32()).collect::<Option<_>>()?
        } else {
            (0..count).map(|_| reader.u16().map(u32::from)).collect::<Option<_>>()?
        };
        if asns.is_empty() {
            return None;
        }
        segments.push(Segment { kind, asns });
    }
    Some(AsPath { segments })
}

/// RFC 7606 section 7.3. Whether the address is one a route may point to is for policy to say: such a
/// route is ignored "without a NOTIFICATION" (RFC 4271 section 6.3), and the operator shall see why.
fn next_hop(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    let octets: [u8; 4] = value.try_into().map_err(|_| length_fault(Withdraw))?;
    draft.next_hop = Some(octets.into());
    Ok(())
}

/// RFC 7606 section 7.4.
fn med(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    draft.med = Some(word(value, Withdraw)?);
    Ok(())
}

/// RFC 7606 section 7.5: from an external peer discarded whatever it holds.
fn local_pref(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    internal_only(context)?;
    draft.local_pref = Some(word(value, Withdraw)?);
    Ok(())
}

fn internal_only(context: &Context) -> Result<(), Refusal> {
    match context.peer {
        PeerKind::Internal => Ok(()),
        PeerKind::External => Err(Refusal::Fault(FaultKind::NotFromThisPeer, Discard)),
    }
}

/// RFC 7606 section 7.6.
fn atomic_aggregate(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    if !value.is_empty() {
        return Err(length_fault(Discard));
    }
    draft.atomic_aggregate = true;
    Ok(())
}

/// RFC 7606 section 7.7, RFC 7607 section 2.
fn aggregator(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    draft.aggregator = Some(read_aggregator(value, context.as4)?);
    Ok(())
}

fn read_aggregator(value: &[u8], as4: bool) -> Result<Aggregator, Refusal> {
    let mut reader = Reader::new(value);
    let asn = if as4 { reader.u32() } else { reader.u16().map(u32::from) };
    let address = reader.array::<4>().map(Ipv4Addr::from);
    match (asn, address) {
        (Some(asn), Some(address)) if reader.is_empty() => {
            if asn == 0 {
                return Err(Refusal::Fault(FaultKind::AsZero, Discard));
            }
            Ok(Aggregator { asn, address })
        }
        _ => Err(length_fault(Discard)),
    }
}

/// The items of a list whose length must be a multiple of `N` and not zero.
fn list<const N: usize, T>(value: &[u8], make: impl FnMut([u8; N]) -> T) -> Result<Vec<T>, Refusal> {
    let (chunks, rest) = value.as_chunks::<N>();
    if chunks.is_empty() || !rest.is_empty() {
        return Err(length_fault(Withdraw));
    }
    Ok(chunks.iter().copied().map(make).collect())
}

/// RFC 7606 section 7.8.
fn communities(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    draft.communities = list(value, |octets| Community(u32::from_be_bytes(octets)))?;
    Ok(())
}

/// RFC 7606 section 7.9.
fn originator_id(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    internal_only(context)?;
    draft.originator_id = Some(word(value, Withdraw)?.into());
    Ok(())
}

/// RFC 7606 section 7.10.
fn cluster_list(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    internal_only(context)?;
    draft.cluster_list = list(value, Ipv4Addr::from)?;
    Ok(())
}

/// RFC 7606 section 7.14.
fn extended_communities(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    draft.extended_communities = list(value, ExtendedCommunity)?;
    Ok(())
}

/// RFC 7606 section 7.15; the value is passed on unread.
fn ipv6_extended_communities(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    list(value, |_: [u8; 20]| ())?;
    pass_on(draft, AttributeType::IPV6_EXTENDED_COMMUNITIES, value);
    Ok(())
}

/// Sound, and of no use here.
fn pass_on(draft: &mut Draft, kind: AttributeType, value: &[u8]) {
    draft.pass_on(crate::UnknownAttribute { kind, partial: false, value: value.to_vec() });
}

/// RFC 8669 sections 3 and 6: a list of TLVs, those of unknown types kept; passed on if it is sound.
fn prefix_sid(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    /// Seven octets: reserved, flags, label index.
    const LABEL_INDEX: u8 = 1;
    /// Flags of two octets, then ranges of six.
    const ORIGINATOR_SRGB: u8 = 3;
    let mut reader = Reader::new(value);
    if reader.is_empty() {
        return Err(length_fault(Discard));
    }
    while !reader.is_empty() {
        let header = reader.u8().zip(reader.u16());
        let tlv = header.and_then(|(kind, length)| Some((kind, reader.take(usize::from(length))?)));
        let (kind, body) = tlv.ok_or(Refusal::Fault(FaultKind::Value, Discard))?;
        let sound = match kind {
            LABEL_INDEX => body.len() == 7,
            ORIGINATOR_SRGB => body.len() >= 8 && (body.len() - 2).is_multiple_of(6),
            _ => true,
        };
        if !sound {
            return Err(length_fault(Discard));
        }
    }
    pass_on(draft, AttributeType::PREFIX_SID, value);
    Ok(())
}

/// RFC 8092 section 6.
fn large_communities(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    draft.large_communities = list(value, |octets: [u8; 12]| {
        let octets =
            u128::from_be_bytes([&[0; 4], octets.as_slice()].concat().try_into().unwrap_or_default());
        // The casts keep exactly the 32 bits meant.
        LargeCommunity { global: (octets >> 64) as u32, local1: (octets >> 32) as u32, local2: octets as u32 }
    })?;
    Ok(())
}

/// RFC 9234 section 5.
fn only_to_customer(draft: &mut Draft, value: &[u8], _: &Context) -> Result<(), Refusal> {
    draft.only_to_customer = Some(word(value, Withdraw)?);
    Ok(())
}

/// "A NEW BGP speaker that receives the AS4_PATH attribute [...] from a NEW BGP speaker MUST discard it";
/// a malformed one is discarded too (RFC 6793 sections 4.1 and 6).
fn as4_path(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    if context.as4 {
        return Err(Refusal::Fault(FaultKind::NotFromThisPeer, Discard));
    }
    let mut path = read_path(value, true).ok_or(Refusal::Fault(FaultKind::Value, Discard))?;
    if path.is_empty() {
        return Err(length_fault(Discard));
    }
    if path.asns().any(|asn| asn == 0) {
        return Err(Refusal::Fault(FaultKind::AsZero, Discard));
    }
    // A set hidden here is a set in the path after the merge (RFC 9774 section 3).
    if context.reject_as_sets && path.has_set() {
        return Err(Refusal::Fault(FaultKind::AsSet, Withdraw));
    }
    // "[...] these path segments MUST be discarded" (RFC 6793 section 6).
    path.segments.retain(|segment| matches!(segment.kind, SegmentKind::Set | SegmentKind::Sequence));
    draft.as4_path = Some(path);
    Ok(())
}

/// RFC 6793 sections 4.1 and 6.
fn as4_aggregator(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    if context.as4 {
        return Err(Refusal::Fault(FaultKind::NotFromThisPeer, Discard));
    }
    draft.as4_aggregator = Some(read_aggregator(value, true)?);
    Ok(())
}

fn unusable_mp() -> Refusal {
    Refusal::Reset(NotificationCode::OPTIONAL_ATTRIBUTE.into())
}

/// RFC 7606 sections 5.3 and 7.11: where the next hop has no legal length the prefixes cannot be found.
fn mp_reach(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    let mut reader = Reader::new(value);
    let (afi, safi) = reader.u16().zip(reader.u8()).ok_or_else(unusable_mp)?;
    let length = reader.u8().ok_or_else(unusable_mp)?;
    let octets = reader.take(usize::from(length)).ok_or_else(unusable_mp)?;
    // A reserved octet, "MUST be ignored upon receipt".
    reader.u8().ok_or_else(unusable_mp)?;
    draft.mp_reach_named = !reader.is_empty();
    let Some(family) = negotiated(afi, safi, context) else { return Ok(()) };
    let next_hop = mp_next_hop(family, octets)?;
    let prefixes = nlri::decode(reader.rest(), family).map_err(|_| unusable_mp())?;
    draft.mp_reach = Some(MpReach { next_hop, prefixes });
    Ok(())
}

/// Families not negotiated are ignored (RFC 4760 section 6 leaves the choice).
fn negotiated(afi: u16, safi: u8, context: &Context) -> Option<Family> {
    Family::from_wire(afi, safi).filter(|family| context.families.contains(*family))
}

/// Four octets, or a global IPv6 address with or without the link-local one (RFC 2545 section 3).
fn mp_next_hop(family: Family, octets: &[u8]) -> Result<NextHop, Refusal> {
    if family == Family::Ipv4Unicast {
        let octets: [u8; 4] = octets.try_into().map_err(|_| unusable_mp())?;
        return Ok(NextHop::V4(octets.into()));
    }
    let mut reader = Reader::new(octets);
    let first = reader.array::<16>().map(Ipv6Addr::from).ok_or_else(unusable_mp)?;
    if reader.is_empty() {
        return Ok(NextHop::V6 { global: first, link_local: None });
    }
    let second = reader.array::<16>().map(Ipv6Addr::from).ok_or_else(unusable_mp)?;
    if !reader.is_empty() {
        return Err(unusable_mp());
    }
    let link_local = second.is_unicast_link_local().then_some(second);
    // Some speakers without a global address write zeros in its place.
    let global = link_local.filter(|_| first.is_unspecified()).unwrap_or(first);
    Ok(NextHop::V6 { global, link_local })
}

/// RFC 7606 sections 5.3 and 7.12.
fn mp_unreach(draft: &mut Draft, value: &[u8], context: &Context) -> Result<(), Refusal> {
    let mut reader = Reader::new(value);
    let (afi, safi) = reader.u16().zip(reader.u8()).ok_or_else(unusable_mp)?;
    let Some(family) = negotiated(afi, safi, context) else { return Ok(()) };
    let prefixes = nlri::decode(reader.rest(), family).map_err(|_| unusable_mp())?;
    draft.mp_unreach = Some((family, prefixes));
    Ok(())
}
