//! Our OPEN, and what may be made of theirs (RFC 4271 sections 4.2 and 6.2).

use std::net::Ipv4Addr;
use std::time::Duration;

use bgp_wire::{
    AS_TRANS, Capability, Context, Families, Family, GracefulRestart, Notification, NotificationCode, Open,
    PeerKind,
};

use crate::config::{NeighborConfig, SpeakerConfig};

/// What both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The hold time; `None`: neither keepalives nor a hold timer.
    pub hold: Option<Duration>,
    /// The most time between our keepalives, where there are any.
    pub keepalive: Duration,
    /// The send hold time (RFC 9687 section 4.4); `None` where there is no hold time.
    pub send_hold: Option<Duration>,
    /// Both can refresh (RFC 2918).
    pub refresh: bool,
    /// Both mark where a refresh begins and ends (RFC 7313).
    pub enhanced_refresh: bool,
    /// The peer's identifier.
    pub router_id: Ipv4Addr,
    /// The peer's AS.
    pub asn: u32,
    /// What changes the meaning of bytes: 4-octet AS numbers, families, message size.
    pub context: Context,
}

/// The capabilities we offer. `bare`: only what the session cannot do without, for a peer that
/// refused the rest.
pub(crate) fn capabilities(config: &NeighborConfig, bare: bool) -> Vec<Capability> {
    let mut list = Vec::new();
    if bare {
        return list;
    }
    list.extend(config.families.iter().map(Capability::family));
    list.push(Capability::RouteRefresh);
    list.push(Capability::EnhancedRefresh);
    if config.extended_message {
        list.push(Capability::ExtendedMessage);
    }
    // No families: "the sender is not capable of preserving its forwarding state [...], but supports procedures for the
    // Receiving Speaker" (RFC 4724 section 3). Some peers send End-of-RIB to those alone who offer this.
    list.push(Capability::GracefulRestart(GracefulRestart::default()));
    list.push(Capability::As4(config.local_asn));
    list
}

/// The families a peer says it goes on forwarding while it restarts, and how long that may take; `None` where it says nothing of the kind.
pub(crate) fn survives(open: &Open, families: Families) -> Option<(Families, Duration)> {
    let graceful = open.graceful_restart().filter(|graceful| graceful.time > 0)?;
    let named = graceful.families.iter().filter_map(|family| Family::from_wire(family.afi, family.safi));
    let kept = named.collect::<Families>().intersect(families);
    (!kept.is_empty()).then_some((kept, Duration::from_secs(graceful.time.into())))
}

/// The families whose forwarding state a peer that is back has kept (the F bit).
pub(crate) fn kept_forwarding(open: &Open) -> Families {
    let graceful = open.graceful_restart().into_iter().flat_map(|graceful| &graceful.families);
    let kept = graceful.filter(|family| family.forwarding);
    kept.filter_map(|family| Family::from_wire(family.afi, family.safi)).collect()
}

/// The OPEN we send.
pub(crate) fn ours(speaker: &SpeakerConfig, config: &NeighborConfig, bare: bool) -> Open {
    Open::new(config.local_asn, config.hold_time, speaker.router_id, capabilities(config, bare))
}

/// The context before any OPEN: the least anybody can do.
pub(crate) fn initial_context(config: &NeighborConfig) -> Context {
    Context {
        as4: false,
        families: Families::IPV4,
        extended_message: false,
        peer: config.kind(),
        first_as: None,
        reject_as_sets: config.reject_as_sets,
    }
}

/// Judges the peer's OPEN and settles what the session will be.
///
/// # Errors
/// The session cannot be; the peer is told so.
pub(crate) fn negotiate(
    speaker: &SpeakerConfig,
    config: &NeighborConfig,
    bare: bool,
    open: &Open,
) -> Result<Negotiated, Notification> {
    check_as(config, open)?;
    // "[...] the BGP Identifier must be a 4-octet, unsigned, non-zero integer" and, between internal peers,
    // unique in the AS (RFC 6286 section 2.1).
    let internal = config.kind() == PeerKind::Internal;
    if open.router_id.is_unspecified() || (internal && open.router_id == speaker.router_id) {
        return Err(NotificationCode::BAD_BGP_IDENTIFIER.into());
    }
    // "An implementation MUST reject Hold Time values of one or two seconds."
    if matches!(open.hold_time, 1 | 2) {
        return Err(NotificationCode::UNACCEPTABLE_HOLD_TIME.into());
    }
    let mine = ours(speaker, config, bare);
    let families = open.families().intersect(config.families.intersect(mine.families()));
    if families.is_empty() {
        let wanted = config.families.iter().map(Capability::family);
        let data = wanted.flat_map(|capability| capability.to_bytes()).collect();
        return Err(Notification::new(NotificationCode::UNSUPPORTED_CAPABILITY, data));
    }
    let both = |capability: Capability| mine.has(&capability) && open.has(&capability);
    let refresh = both(Capability::RouteRefresh);
    let hold = Some(config.hold_time.min(open.hold_time)).filter(|hold| *hold > 0);
    Ok(Negotiated {
        hold: hold.map(|hold| Duration::from_secs(hold.into())),
        keepalive: keepalive(config, hold),
        send_hold: hold.map(|hold| config.send_hold(hold)),
        refresh,
        enhanced_refresh: refresh && both(Capability::EnhancedRefresh),
        router_id: open.router_id,
        asn: open.asn(),
        context: Context {
            as4: mine.as4().is_some() && open.as4().is_some(),
            families,
            extended_message: both(Capability::ExtendedMessage),
            peer: config.kind(),
            first_as: (config.enforce_first_as && !internal).then_some(config.asn),
            reject_as_sets: config.reject_as_sets,
        },
    })
}

/// The lesser of what is configured and a third of the hold time, and never zero.
fn keepalive(config: &NeighborConfig, hold: Option<u16>) -> Duration {
    let third = hold.map_or(u16::MAX, |hold| hold / 3).max(1);
    let configured = if config.keepalive == 0 { third } else { config.keepalive };
    Duration::from_secs(configured.min(third).into())
}

/// The AS of the field and of the capability, against each other and against the configuration
/// (RFC 4271 section 6.2, RFC 6793 section 4.1, RFC 7607).
fn check_as(config: &NeighborConfig, open: &Open) -> Result<(), Notification> {
    let bad = Err(NotificationCode::BAD_PEER_AS.into());
    let trans = u32::from(AS_TRANS);
    match open.as4() {
        Some(0) => return bad,
        Some(asn) if asn == trans => return bad,
        // The field holds the number itself, or AS_TRANS where it does not fit.
        Some(asn) if u16::try_from(asn).is_ok_and(|low| low != open.my_as) && open.my_as != AS_TRANS => {
            return bad;
        }
        Some(asn) if u16::try_from(asn).is_err() && open.my_as != AS_TRANS => return bad,
        Some(_) => {}
        None if open.my_as == 0 || open.my_as == AS_TRANS => return bad,
        None => {}
    }
    if open.asn() == config.asn { Ok(()) } else { bad }
}
