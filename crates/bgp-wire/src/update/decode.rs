//! From octets to meaning (RFC 4271 section 4.3; RFC 7606 sections 3 to 5).

use std::sync::Arc;

use super::draft::Draft;
use super::table::{Refusal, row};
use super::{Action, FaultKind, Reach, Update, as4};
use crate::reader::Reader;
use crate::{
    AttributeType, Context, Family, NextHop, Notification, NotificationCode, PathAttributes, PeerKind,
    UnknownAttribute, nlri,
};

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const PARTIAL: u8 = 0x20;
const EXTENDED_LENGTH: u8 = 0x10;

/// The three fields of the body.
struct Fields<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    nlri: &'a [u8],
}

impl Update {
    /// Parses the body of an UPDATE.
    ///
    /// # Errors
    /// Only what RFC 7606 leaves no other way for: the session is to be reset with this notification.
    pub fn decode(body: &[u8], context: &Context) -> Result<Self, Notification> {
        let fields = split(body).ok_or(NotificationCode::MALFORMED_ATTRIBUTE_LIST)?;
        let network =
            |bytes| nlri::decode(bytes, Family::Ipv4Unicast).map_err(|_| NotificationCode::INVALID_NETWORK);
        let mut update = Self { withdrawn: network(fields.withdrawn)?, ..Self::default() };
        let mut reachable = network(fields.nlri)?;
        let mut draft = scan(fields.attributes, context);
        if let Some(reset) = draft.reset.take() {
            return Err(reset);
        }
        let named = !reachable.is_empty() || draft.mp_reach_named;
        if !context.families.contains(Family::Ipv4Unicast) {
            update.withdrawn.clear();
            reachable.clear();
        }
        update.end_of_rib = end_of_rib(&fields, &draft, context);
        if !context.as4 {
            as4::merge(&mut draft);
        }
        check_mandatory(&mut draft, !fields.nlri.is_empty(), context);
        let withdraw = draft.faults.iter().any(|fault| fault.action == Action::Withdraw);
        if withdraw && !named && draft.others {
            // With no reachable NLRI there is nothing to withdraw, and "path attributes other than
            // MP_UNREACH_NLRI" say that some was meant: "session reset" (RFC 7606 section 5.2).
            return Err(NotificationCode::MALFORMED_ATTRIBUTE_LIST.into());
        }
        update.assemble(draft, reachable);
        Ok(update)
    }

    fn assemble(&mut self, mut draft: Draft, reachable: Vec<inet::Prefix>) {
        if let Some((_, prefixes)) = draft.mp_unreach.take() {
            self.withdrawn.extend(prefixes);
        }
        self.faults = std::mem::take(&mut draft.faults);
        let mp = draft.mp_reach.take().map(|mp| (Some(mp.next_hop), mp.prefixes));
        let plain = (draft.next_hop.map(NextHop::V4), reachable);
        let withdraw = self.treated_as_withdraw();
        for (next_hop, prefixes) in [Some(plain), mp].into_iter().flatten() {
            if prefixes.is_empty() {
                continue;
            }
            let attributes: Option<PathAttributes> = next_hop.and_then(|next_hop| draft.attributes(next_hop));
            match attributes {
                Some(attributes) if !withdraw => {
                    self.reach.push(Reach { attributes: Arc::new(attributes), prefixes });
                }
                _ => self.withdrawn.extend(prefixes),
            }
        }
    }
}

/// `None` when the two lengths do not fit the message.
fn split(body: &[u8]) -> Option<Fields<'_>> {
    let mut reader = Reader::new(body);
    let length = reader.u16()?;
    let withdrawn = reader.take(usize::from(length))?;
    let length = reader.u16()?;
    let attributes = reader.take(usize::from(length))?;
    Some(Fields { withdrawn, attributes, nlri: reader.rest() })
}

/// RFC 4724 section 2: an UPDATE with nothing in it, or with nothing but an empty MP_UNREACH_NLRI.
fn end_of_rib(fields: &Fields<'_>, draft: &Draft, context: &Context) -> Option<Family> {
    if !fields.withdrawn.is_empty() || !fields.nlri.is_empty() {
        return None;
    }
    if fields.attributes.is_empty() {
        return context.families.contains(Family::Ipv4Unicast).then_some(Family::Ipv4Unicast);
    }
    match &draft.mp_unreach {
        // Flags, type, length and AFI, SAFI: six octets, or seven with an extended length.
        Some((family, prefixes)) if prefixes.is_empty() && fields.attributes.len() <= 7 => Some(*family),
        _ => None,
    }
}

/// Reads every attribute; a fault never ends the scan, since a later MP_REACH_NLRI names prefixes
/// that must be withdrawn too.
fn scan(attributes: &[u8], context: &Context) -> Draft {
    let mut draft = Draft::default();
    let mut reader = Reader::new(attributes);
    let mut seen = [false; 256];
    while !reader.is_empty() {
        match header(&mut reader) {
            Ok((flags, kind, value)) => {
                draft.others |= kind != AttributeType::MP_UNREACH_NLRI;
                let repeated =
                    seen.get_mut(usize::from(kind.0)).is_some_and(|slot| std::mem::replace(slot, true));
                take(&mut draft, flags, kind, value, repeated, context);
            }
            Err(kind) => {
                overrun(&mut draft, kind);
                break;
            }
        }
        if draft.reset.is_some() {
            break;
        }
    }
    draft
}

/// Flags, type and value; `Err` with the type (0 if cut before it) when the list ends too early.
fn header<'a>(reader: &mut Reader<'a>) -> Result<(u8, AttributeType, &'a [u8]), AttributeType> {
    let flags = reader.u8().ok_or(AttributeType(0))?;
    let kind = reader.u8().map(AttributeType).ok_or(AttributeType(0))?;
    let length = if flags & EXTENDED_LENGTH != 0 { reader.u16() } else { reader.u8().map(u16::from) };
    let value = length.and_then(|length| reader.take(usize::from(length))).ok_or(kind)?;
    Ok((flags, kind, value))
}

/// Treat-as-withdraw, for "the NLRI field [...] can still be located" (RFC 7606 section 4);
/// but NLRI inside the attribute that is cut cannot.
fn overrun(draft: &mut Draft, kind: AttributeType) {
    if matches!(kind, AttributeType::MP_REACH_NLRI | AttributeType::MP_UNREACH_NLRI) {
        draft.reset = Some(NotificationCode::MALFORMED_ATTRIBUTE_LIST.into());
    } else {
        draft.others = true;
        draft.fault(kind, FaultKind::Overrun, Action::Withdraw);
    }
}

fn take(draft: &mut Draft, flags: u8, kind: AttributeType, value: &[u8], repeated: bool, context: &Context) {
    if repeated {
        return duplicate(draft, kind);
    }
    let Some(row) = row(kind) else {
        return unknown(draft, flags, kind, value);
    };
    let wrong = (flags & OPTIONAL != 0) != row.optional
        || (flags & TRANSITIVE != 0) != row.transitive
        || (!row.optional && flags & PARTIAL != 0);
    if wrong {
        draft.fault(kind, FaultKind::Flags, row.on_flags);
        if row.on_flags == Action::Discard {
            return;
        }
    }
    match row.read.map(|read| read(draft, value, context)) {
        None => unknown(draft, flags, kind, value),
        Some(Ok(())) => {}
        Some(Err(Refusal::Fault(what, action))) => draft.fault(kind, what, action),
        Some(Err(Refusal::Reset(notification))) => draft.reset = Some(notification),
    }
}

/// RFC 7606 section 3 (g): the first of several is kept, but MP_REACH_NLRI and MP_UNREACH_NLRI must not repeat.
fn duplicate(draft: &mut Draft, kind: AttributeType) {
    if matches!(kind, AttributeType::MP_REACH_NLRI | AttributeType::MP_UNREACH_NLRI) {
        draft.reset = Some(NotificationCode::MALFORMED_ATTRIBUTE_LIST.into());
    } else {
        draft.fault(kind, FaultKind::Duplicate, Action::Discard);
    }
}

/// RFC 4271 section 5: transitive ones are passed on, the others quietly ignored.
fn unknown(draft: &mut Draft, flags: u8, kind: AttributeType, value: &[u8]) {
    if flags & OPTIONAL == 0 {
        draft.fault(kind, FaultKind::UnknownWellKnown, Action::Withdraw);
    } else if flags & TRANSITIVE != 0 {
        draft.pass_on(UnknownAttribute { kind, partial: flags & PARTIAL != 0, value: value.to_vec() });
    }
}

/// RFC 7606 section 3 (d). NEXT_HOP is asked for only where the old NLRI field is used;
/// an attribute that came and was refused is not missing as well.
fn check_mandatory(draft: &mut Draft, plain: bool, context: &Context) {
    let mp = draft.mp_reach.as_ref().is_some_and(|mp| !mp.prefixes.is_empty());
    if !plain && !mp {
        return;
    }
    let faulty = |draft: &Draft, kind| draft.faults.iter().any(|fault| fault.attribute == kind);
    let internal = context.peer == PeerKind::Internal;
    let missing = [
        (AttributeType::ORIGIN, draft.origin.is_none()),
        (AttributeType::AS_PATH, draft.as_path.is_none()),
        (AttributeType::NEXT_HOP, plain && draft.next_hop.is_none()),
        (AttributeType::LOCAL_PREF, internal && draft.local_pref.is_none()),
    ];
    for (kind, absent) in missing {
        if absent && !faulty(draft, kind) {
            draft.fault(kind, FaultKind::Missing, Action::Withdraw);
        }
    }
}
