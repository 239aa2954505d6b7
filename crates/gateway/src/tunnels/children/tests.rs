//! Which CHILD SA is sent on, through rekeys, resources and ends.

use super::*;
use crypto::{Encr, Secret, Suite};
use ike::{ChildKeys, ConnId};

const LINGER: Duration = Duration::from_secs(5);

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs some point in time")]
    Instant::now()
}

/// The CHILD SA of this number, in the place of another if one is named.
pub(crate) fn child(number: u64, replaces: Option<u64>, role: Role) -> ChildUp {
    let key = || Secret::from(vec![7; 36]);
    let none = || Secret::from(Vec::new());
    let spi = 0x1000 + u32::try_from(number).unwrap();
    ChildUp {
        conn: ConnId(1),
        child: ChildId(number),
        ike: IkeId(1),
        spi_in: spi,
        spi_out: spi,
        suite: Suite::new(Encr::from_keyword("aes256gcm16").unwrap(), None).unwrap(),
        esn: false,
        keys: ChildKeys { encr_in: key(), integ_in: none(), encr_out: key(), integ_out: none() },
        local_ts: vec![Selector::any_v4()],
        remote_ts: vec![Selector::any_v4()],
        path: Path::ike("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()),
        encap: true,
        resource: Resource::ANY,
        replaces: replaces.map(ChildId),
        role,
        inbound_only: false,
        pfs: None,
        too_narrow: None,
        replay_window: 1024,
        bytes: None,
        packets: None,
    }
}

fn sending(children: &Children) -> Option<u64> {
    children.sending().map(|(id, _)| id.0)
}

#[test]
fn a_second_rekey_by_the_peer_before_any_packet_still_leaves_the_first_sa_in_use() {
    let (mut children, now) = (Children::default(), now());
    children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
    children.up(&child(2, Some(1), Role::Responder), [0; 16], now).unwrap();
    assert_eq!(sending(&children), Some(1));
    children.up(&child(3, Some(2), Role::Responder), [0; 16], now).unwrap();
    assert_eq!(sending(&children), Some(1), "the peer may lack the keys of the third too");
    children.down(ChildId(2), LINGER, now);
    assert_eq!(sending(&children), Some(1));
    assert!(!children.first_packet(0x1002), "of the second nothing is awaited any more");
    assert!(children.first_packet(0x1003));
    assert_eq!(sending(&children), Some(3));
}

#[test]
fn the_first_ones_end_too_leads_to_the_newest_successor() {
    let (mut children, now) = (Children::default(), now());
    children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
    children.up(&child(2, Some(1), Role::Responder), [0; 16], now).unwrap();
    children.up(&child(3, Some(2), Role::Responder), [0; 16], now).unwrap();
    children.down(ChildId(1), LINGER, now);
    assert_eq!(sending(&children), Some(3));
}

#[test]
fn our_own_rekey_of_one_not_yet_sent_on_is_sent_on_at_once() {
    let (mut children, now) = (Children::default(), now());
    children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
    children.up(&child(2, Some(1), Role::Responder), [0; 16], now).unwrap();
    children.up(&child(3, Some(2), Role::Initiator), [0; 16], now).unwrap();
    assert_eq!(sending(&children), Some(3));
}

#[test]
fn what_was_carried_stays_counted_when_its_sa_is_gone() {
    let (mut children, now) = (Children::default(), now());
    for number in 1..=2 {
        children.up(&child(number, None, Role::Initiator), [0; 16], now).unwrap();
        let (_, held) = children.sending().unwrap();
        held.outbound.reserve(10, 1000, esp::Tick(0)).unwrap();
        held.inbound.refusals().count(esp::Refusal::Replayed, 2);
    }
    let whole = children.carried();
    assert_eq!((whole.packets_out, whole.bytes_out), (20, 2000));
    assert_eq!(whole.refused, [("replayed", 4)].into());
    children.down(ChildId(1), Duration::ZERO, now);
    children.down(ChildId(2), LINGER, now);
    assert_eq!(children.carried(), whole);
    assert!(children.expire(now + LINGER));
    assert_eq!((children.iter().count(), children.carried()), (0, whole));
}

/// The same for a further resource.
fn further(number: u64, resource: u8, replaces: Option<u64>, role: Role) -> ChildUp {
    ChildUp { resource: Resource(resource), ..child(number, replaces, role) }
}

/// SPIs of what is sent on, in the order of resources.
fn ways(children: &Children) -> Vec<u32> {
    children.ways().iter().map(|child| child.outbound.spi() - 0x1000).collect()
}

#[test]
fn each_resource_has_its_own_sa_and_the_one_for_all_stands_in_where_there_is_none() {
    let (mut children, now) = (Children::default(), now());
    assert!(ways(&children).is_empty());
    children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
    assert_eq!(ways(&children), [1]);
    children.up(&further(2, 1, None, Role::Initiator), [0; 16], now).unwrap();
    children.up(&further(3, 3, None, Role::Initiator), [0; 16], now).unwrap();
    assert_eq!(ways(&children), [1, 2, 1, 3]);
    children.down(ChildId(3), LINGER, now);
    assert_eq!((ways(&children), sending(&children)), (vec![1, 2], Some(1)));
    children.down(ChildId(1), LINGER, now);
    assert_eq!((ways(&children), sending(&children)), (vec![], None), "nothing goes on without it");
}

#[test]
fn one_the_peer_asked_for_is_sent_on_when_it_has_shown_the_keys_or_had_time_enough() {
    for shows in [true, false] {
        let (mut children, now) = (Children::default(), now());
        children.up(&child(1, None, Role::Responder), [0; 16], now).unwrap();
        children.up(&further(2, 1, None, Role::Responder), [0; 16], now).unwrap();
        assert_eq!(ways(&children), [1]);
        assert_eq!(children.next_expiry(), Some(now + TRUST));
        if shows {
            assert!(children.first_packet(0x1002));
        } else {
            assert!(!children.expire(now + TRUST - Duration::from_millis(1)));
            assert!(children.expire(now + TRUST));
        }
        assert_eq!((ways(&children), children.next_expiry()), (vec![1, 2], None));
    }
}

#[test]
fn a_rekeyed_one_is_sent_on_by_the_rules_of_every_rekey_and_leaves_the_others_alone() {
    let (mut children, now) = (Children::default(), now());
    children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
    children.up(&further(2, 1, None, Role::Initiator), [0; 16], now).unwrap();
    children.up(&further(3, 1, Some(2), Role::Responder), [0; 16], now).unwrap();
    assert_eq!((ways(&children), children.next_expiry()), (vec![1, 2], None));
    children.down(ChildId(2), LINGER, now);
    assert_eq!(ways(&children), [1, 3]);
    // So is one that was never sent on, and it keeps the right to be trusted.
    children.up(&further(6, 2, None, Role::Responder), [0; 16], now).unwrap();
    children.up(&further(7, 2, Some(6), Role::Responder), [0; 16], now).unwrap();
    children.down(ChildId(6), LINGER, now);
    children.expire(now + TRUST);
    assert_eq!(ways(&children), [1, 3, 7]);
    children.down(ChildId(7), LINGER, now);
    children.up(&further(4, 1, Some(3), Role::Initiator), [0; 16], now).unwrap();
    assert_eq!(ways(&children), [1, 4]);
    children.up(&child(5, Some(1), Role::Responder), [0; 16], now).unwrap();
    assert!(children.first_packet(0x1005));
    assert_eq!(ways(&children), [5, 4]);
}

#[test]
fn of_a_peer_that_came_again_only_what_its_new_ike_sa_made_is_sent_on() {
    let (mut children, now) = (Children::default(), now());
    children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
    children.up(&further(2, 1, None, Role::Initiator), [0; 16], now).unwrap();
    let again = ChildUp { ike: IkeId(2), ..child(3, None, Role::Responder) };
    children.up(&again, [0; 16], now).unwrap();
    assert_eq!(ways(&children), [3]);
    children.inherit(IkeId(2), IkeId(1));
    assert_eq!(ways(&children), [3, 2]);
}

/// The same with HMAC-SHA2-512, whose packets are longer by some dozens of octets.
fn longer(mut up: ChildUp) -> ChildUp {
    let (encr, integ) =
        (Encr::from_keyword("aes256").unwrap(), crypto::Integ::from_keyword("sha512").unwrap());
    up.suite = Suite::new(encr, Some(integ)).unwrap();
    let (encr, integ) = (|| Secret::from(vec![7; 32]), || Secret::from(vec![9; 64]));
    up.keys = ChildKeys { encr_in: encr(), integ_in: integ(), encr_out: encr(), integ_out: integ() };
    up
}

#[test]
fn the_mtu_is_that_of_the_sa_with_the_longest_packets() {
    let (mut children, now) = (Children::default(), now());
    assert_eq!(children.inner_mtu(1500), None);
    children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
    let short = children.inner_mtu(1500).unwrap();
    let mut further = longer(child(2, None, Role::Initiator));
    further.resource = Resource(1);
    children.up(&further, [0; 16], now).unwrap();
    let long = children.inner_mtu(1500).unwrap();
    assert!(long < short, "{long} {short}");
    children.down(ChildId(2), Duration::ZERO, now);
    assert_eq!(children.inner_mtu(1500), Some(short));
    // A successor by the peer, not sent on until the old one ends.
    children.up(&longer(child(3, Some(1), Role::Responder)), [0; 16], now).unwrap();
    assert_eq!(children.inner_mtu(1500), Some(short));
    children.down(ChildId(1), LINGER, now);
    assert_eq!(children.inner_mtu(1500), Some(long));
}
