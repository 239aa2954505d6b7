//! RFC 7606 as a table: an attribute, and what must become of the routes that came with it.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use bgp_wire::{Action, AttributeType, Context, FaultKind, NotificationCode, PeerKind, Update};

mod common;
use common::{body, context, prefixes};

const ORIGIN: &str = "40010100";
const PATH: &str = "40020602010000ffeb";
const HOP: &str = "400304ac1000fe";
const NLRI: &str = "080a";

/// What becomes of 10.0.0.0/8 when `extra` stands beside what is mandatory.
enum Want {
    Fine,
    Discard(FaultKind),
    Withdraw(FaultKind),
    Reset(NotificationCode),
}
use FaultKind::{
    AsSet, AsZero, Confederation, Duplicate, Flags, Length, Missing, NotFromThisPeer, Overrun,
    UnknownWellKnown, Value,
};
use Want::{Discard, Fine, Reset, Withdraw};

fn check(name: &str, attributes: &str, context: &Context, want: &Want) {
    let got = Update::decode(&body("", attributes, NLRI), context);
    let wanted = prefixes(&["10.0.0.0/8"]);
    match (want, got) {
        (Reset(code), got) => assert_eq!(got.unwrap_err().code, *code, "{name}"),
        (_, Err(notification)) => panic!("{name}: session reset with {notification}"),
        (Fine, Ok(update)) => {
            assert!(update.faults.is_empty() && update.withdrawn.is_empty(), "{name}: {update:?}");
            assert_eq!(update.reach[0].prefixes, wanted, "{name}");
        }
        (Discard(kind), Ok(update)) => {
            assert_eq!(update.reach.len(), 1, "{name}: {update:?}");
            assert_eq!((update.discarded(), update.treated_as_withdraw()), (1, false), "{name}: {update:?}");
            assert_eq!(update.faults[0].kind, *kind, "{name}");
        }
        (Withdraw(kind), Ok(update)) => {
            assert_eq!((update.reach.len(), &update.withdrawn), (0, &wanted), "{name}: {update:?}");
            let withdraw = |fault: &&bgp_wire::Fault| fault.action == Action::Withdraw;
            assert_eq!(update.faults.iter().find(withdraw).map(|fault| fault.kind), Some(*kind), "{name}");
        }
    }
}

fn beside(extra: &str) -> String {
    format!("{ORIGIN}{PATH}{HOP}{extra}")
}

#[test]
fn optional_attributes_of_external_peers_have_the_consequence_of_rfc_7606() {
    let context = context();
    for (name, extra, want) in [
        ("MED", "80040400000032", Fine),
        ("MED of 3 octets", "800403000032", Withdraw(Length)),
        ("MED with the transitive bit", "c0040400000032", Withdraw(Flags)),
        ("low flag bits are ignored", "8f040400000032", Fine),
        ("an extended length where a short one would do", "9004000400000032", Fine),
        ("LOCAL_PREF", "40050400000064", Discard(NotFromThisPeer)),
        ("LOCAL_PREF of 3 octets", "400503000064", Discard(NotFromThisPeer)),
        ("ATOMIC_AGGREGATE", "400600", Fine),
        ("ATOMIC_AGGREGATE with a value", "40060100", Discard(Length)),
        ("ATOMIC_AGGREGATE as optional", "c00600", Withdraw(Flags)),
        ("AGGREGATOR", "c007080000ffeb0a000001", Fine),
        ("AGGREGATOR of a 2-octet speaker", "c00706ffeb0a000001", Discard(Length)),
        ("AGGREGATOR of AS 0", "c00708000000000a000001", Discard(AsZero)),
        ("COMMUNITIES", "c00804ffff0001", Fine),
        ("COMMUNITIES of 5 octets", "c00805ffff000100", Withdraw(Length)),
        ("COMMUNITIES without any", "c00800", Withdraw(Length)),
        ("COMMUNITIES not transitive", "800804ffff0001", Withdraw(Flags)),
        ("ORIGINATOR_ID", "8009040a000001", Discard(NotFromThisPeer)),
        ("ORIGINATOR_ID of 3 octets", "8009030a0000", Discard(NotFromThisPeer)),
        ("CLUSTER_LIST", "800a040a000001", Discard(NotFromThisPeer)),
        ("EXTENDED_COMMUNITIES", "c010080002ffeb00000001", Fine),
        ("EXTENDED_COMMUNITIES of an unknown kind", "c01008ff77000000000001", Fine),
        ("EXTENDED_COMMUNITIES of 7 octets", "c010070002ffeb000000", Withdraw(Length)),
        ("EXTENDED_COMMUNITIES without any", "c01000", Withdraw(Length)),
        ("AS4_PATH from a 4-octet speaker", "c0110602010000ffeb", Discard(NotFromThisPeer)),
        ("AS4_AGGREGATOR from a 4-octet speaker", "c012080000ffeb0a000001", Discard(NotFromThisPeer)),
        (
            "IPv6 EXTENDED_COMMUNITIES of 19 octets",
            "c0191300000000000000000000000000000000000000",
            Withdraw(Length),
        ),
        ("PMSI_TUNNEL not transitive", "80160100", Withdraw(Flags)),
        ("AIGP", "801a0b01000b0000000000000001", Fine),
        ("AIGP with the transitive bit", "c01a0b01000b0000000000000001", Discard(Flags)),
        ("PREFIX_SID not transitive", "80280100", Discard(Flags)),
        ("PREFIX_SID with a label index", "c0280a01000700000000000064", Fine),
        ("PREFIX_SID with something newer", "c0280509000201ff", Fine),
        ("PREFIX_SID cut in its header", "c028020100", Discard(Value)),
        ("PREFIX_SID cut in its value", "c0280501000700ff", Discard(Value)),
        ("PREFIX_SID with a label index of 6", "c02809010006000000000064", Discard(Length)),
        ("PREFIX_SID with half an SRGB", "c0280803000500000000 64", Discard(Length)),
        ("PREFIX_SID without anything", "c02800", Discard(Length)),
        ("LARGE_COMMUNITY", "c0200c0000ffeb0000000100000002", Fine),
        ("LARGE_COMMUNITY of 11 octets", "c0200b0000ffeb00000001000000", Withdraw(Length)),
        ("LARGE_COMMUNITY without any", "c02000", Withdraw(Length)),
        ("OTC", "c023040000ffeb", Fine),
        ("OTC of 3 octets", "c0230300ffeb", Withdraw(Length)),
        ("unknown, optional and transitive", "c0c80101", Fine),
        ("unknown, optional and not transitive", "80c80101", Fine),
        ("unknown and well-known", "40c80101", Withdraw(UnknownWellKnown)),
        ("MED twice", "8004040000003280040400000033", Discard(Duplicate)),
        ("ORIGIN again", "40010101", Discard(Duplicate)),
        ("a value past the end", "c00808ffff0001", Withdraw(Overrun)),
        ("one octet left", "80", Withdraw(Overrun)),
        ("two octets left", "8004", Withdraw(Overrun)),
        ("an extended length cut in two", "901000", Withdraw(Overrun)),
        ("MP_REACH past the end", "800e200002", Reset(NotificationCode::MALFORMED_ATTRIBUTE_LIST)),
        ("MP_REACH without a next hop length", "800e03000201", Reset(NotificationCode::OPTIONAL_ATTRIBUTE)),
        (
            "MP_REACH with a next hop of 5",
            "800e0a000201050102030405 00",
            Reset(NotificationCode::OPTIONAL_ATTRIBUTE),
        ),
        ("MP_REACH of a family not ours", "800e0a00010004 01020304 0000", Fine),
        ("MP_UNREACH of 2 octets", "800f020002", Reset(NotificationCode::OPTIONAL_ATTRIBUTE)),
        ("MP_UNREACH with a prefix of 129", "800f0500020181 00", Reset(NotificationCode::OPTIONAL_ATTRIBUTE)),
        ("MP_UNREACH of a family not ours", "800f04000102ff", Fine),
        ("MP_UNREACH twice", "800f03000201800f03000201", Reset(NotificationCode::MALFORMED_ATTRIBUTE_LIST)),
    ] {
        check(name, &beside(extra), &context, &want);
    }
}

#[test]
fn mandatory_attributes_have_the_consequence_of_rfc_7606() {
    let context = context();
    let with = |path: &str| format!("{ORIGIN}{path}{HOP}");
    for (name, attributes, want) in [
        ("ORIGIN missing", format!("{PATH}{HOP}"), Withdraw(Missing)),
        ("ORIGIN of 2 octets", format!("4001020000{PATH}{HOP}"), Withdraw(Length)),
        ("ORIGIN without a value", format!("400100{PATH}{HOP}"), Withdraw(Length)),
        ("ORIGIN 3", format!("40010103{PATH}{HOP}"), Withdraw(Value)),
        ("ORIGIN as optional", format!("c0010100{PATH}{HOP}"), Withdraw(Flags)),
        ("ORIGIN partial", format!("60010100{PATH}{HOP}"), Withdraw(Flags)),
        ("AS_PATH missing", format!("{ORIGIN}{HOP}"), Withdraw(Missing)),
        ("AS_PATH empty", with("400200"), Fine),
        ("AS_PATH of segment kind 5", with("40020605010000ffeb"), Withdraw(Value)),
        ("AS_PATH with a segment of none", with("4002020200"), Withdraw(Value)),
        ("AS_PATH that runs over", with("40020602020000ffeb"), Withdraw(Value)),
        ("AS_PATH with an octet too many", with("40020702010000ffeb02"), Withdraw(Value)),
        ("AS_PATH with AS 0", with("4002060201 00000000"), Withdraw(AsZero)),
        ("AS_PATH with a set", with("40020602010000ffeb").replace("0602", "0601"), Withdraw(AsSet)),
        ("AS_PATH with a confederation", with("40020603010000ffeb"), Withdraw(Confederation)),
        ("NEXT_HOP missing", format!("{ORIGIN}{PATH}"), Withdraw(Missing)),
        ("NEXT_HOP of 3 octets", format!("{ORIGIN}{PATH}400303ac1000"), Withdraw(Length)),
        (
            "NEXT_HOP of 16 octets",
            format!("{ORIGIN}{PATH}40031020010db8000000000000000000000001"),
            Withdraw(Length),
        ),
        ("NEXT_HOP 127.0.0.1, for policy to refuse", format!("{ORIGIN}{PATH}4003047f000001"), Fine),
        ("NEXT_HOP 169.254.1.1, where clouds live", format!("{ORIGIN}{PATH}400304a9fe0101"), Fine),
        ("none at all", String::new(), Withdraw(Missing)),
    ] {
        check(name, &attributes, &context, &want);
    }
}

#[test]
fn internal_peers_have_consequences_of_their_own() {
    let context = Context { peer: PeerKind::Internal, ..context() };
    let local_pref = "40050400000064";
    for (name, extra, want) in [
        ("LOCAL_PREF missing", String::new(), Withdraw(Missing)),
        ("LOCAL_PREF of 3 octets", "400503000064".into(), Withdraw(Length)),
        ("ORIGINATOR_ID", format!("{local_pref}8009040a000001"), Fine),
        ("ORIGINATOR_ID of 3 octets", format!("{local_pref}8009030a0000"), Withdraw(Length)),
        ("CLUSTER_LIST of 5 octets", format!("{local_pref}800a050a00000100"), Withdraw(Length)),
        ("CLUSTER_LIST without any", format!("{local_pref}800a00"), Withdraw(Length)),
    ] {
        check(name, &beside(&extra), &context, &want);
    }
}

#[test]
fn a_two_octet_session_takes_as4_attributes_and_discards_the_malformed() {
    let context = Context { as4: false, ..context() };
    let base = format!("{ORIGIN}400204 0201ffeb{HOP}");
    for (name, extra, want) in [
        ("AS4_PATH", "c0110602010000ffeb", Fine),
        ("AS4_PATH that runs over", "c0110602020000ffeb", Discard(Value)),
        ("AS4_PATH with AS 0", "c011060201 00000000", Discard(AsZero)),
        ("AS4_PATH with a set", "c0110601010000ffeb", Withdraw(AsSet)),
        ("AS4_PATH not transitive", "80110602010000ffeb", Discard(Flags)),
        ("AS4_AGGREGATOR of 6 octets", "c01206ffeb0a000001", Discard(Length)),
        ("AGGREGATOR of a 4-octet speaker", "c007080000ffeb0a000001", Discard(Length)),
    ] {
        check(name, &format!("{base}{extra}"), &context, &want);
    }
}

#[test]
fn the_first_as_is_asked_for_where_the_session_says_so() {
    let strict = Context { first_as: Some(65515), ..context() };
    check("the peer's", &beside(""), &strict, &Fine);
    let other = Context { first_as: Some(65516), ..context() };
    check("another's", &beside(""), &other, &Withdraw(FaultKind::FirstAs));
    let empty = format!("{ORIGIN}400200{HOP}");
    check("nobody's", &empty, &strict, &Withdraw(FaultKind::FirstAs));
}

#[test]
fn the_scan_goes_on_after_a_fault_so_that_all_prefixes_are_withdrawn() {
    let reach = "800e1a 000201 10 20010db8000000000000000000000001 00 2020010db8";
    let attributes = format!("40010109{PATH}{HOP}{reach}");
    let update = Update::decode(&body("", &attributes, NLRI), &context()).unwrap();
    assert_eq!(update.withdrawn, prefixes(&["10.0.0.0/8", "2001:db8::/32"]));
    assert!(update.reach.is_empty());
}

#[test]
fn several_faults_have_the_strongest_consequence() {
    let attributes = beside("40060100800403000032");
    let update = Update::decode(&body("", &attributes, NLRI), &context()).unwrap();
    assert_eq!((update.faults.len(), update.discarded()), (2, 1));
    assert!(update.treated_as_withdraw() && update.reach.is_empty());
}

#[test]
fn a_fault_without_any_reachable_prefix_resets_the_session() {
    let error = Update::decode(&body("080a", "40010109", ""), &context()).unwrap_err();
    assert_eq!(error.code, NotificationCode::MALFORMED_ATTRIBUTE_LIST);
    let fine = Update::decode(&body("080a", "40010100", ""), &context()).unwrap();
    assert_eq!(fine.withdrawn, prefixes(&["10.0.0.0/8"]));
    let discarded = Update::decode(&body("080a", "40060101", ""), &context()).unwrap();
    assert_eq!(discarded.discarded(), 1, "a discard needs no prefix to act on");
}

#[test]
fn a_withdrawal_with_wrong_flags_withdraws_and_resets_nothing() {
    // "[...] path attributes other than MP_UNREACH_NLRI" are what makes it a reset (RFC 7606 section 5.2).
    let alone = Update::decode(&body("", "c00f08 000201 2020010db8", ""), &context()).unwrap();
    assert_eq!(alone.withdrawn, prefixes(&["2001:db8::/32"]));
    assert_eq!(alone.faults[0].kind, Flags);
    let beside = Update::decode(&body("", "c00f08 000201 2020010db8 40010109", ""), &context()).unwrap_err();
    assert_eq!(beside.code, NotificationCode::MALFORMED_ATTRIBUTE_LIST);
}

#[test]
fn lengths_and_prefixes_that_cannot_be_found_reset_the_session() {
    let context = context();
    let code = |octets: &[u8]| Update::decode(octets, &context).unwrap_err().code;
    assert_eq!(code(&[0, 5, 0, 0]), NotificationCode::MALFORMED_ATTRIBUTE_LIST);
    assert_eq!(code(&[0, 0, 0, 9, 1, 2]), NotificationCode::MALFORMED_ATTRIBUTE_LIST);
    assert_eq!(code(&body("210a000000ff", "", "")), NotificationCode::INVALID_NETWORK);
    assert_eq!(code(&body("", &beside(""), "180a00")), NotificationCode::INVALID_NETWORK);
}

#[test]
fn withdrawals_need_no_attributes_and_a_prefix_in_both_fields_comes_last_as_reachable() {
    let update = Update::decode(&body("080a", "", ""), &context()).unwrap();
    assert_eq!(update.withdrawn, prefixes(&["10.0.0.0/8"]));
    let both = Update::decode(&body("080a", &beside(""), NLRI), &context()).unwrap();
    assert_eq!((both.withdrawn.len(), both.reach.len()), (1, 1));
}

#[test]
fn what_is_not_known_is_passed_on_with_the_partial_bit_and_in_order() {
    let update = Update::decode(&body("", &beside("c0c9020102c0c80101"), NLRI), &context()).unwrap();
    let attributes = &update.reach[0].attributes;
    let kinds: Vec<AttributeType> = attributes.unknown.iter().map(|unknown| unknown.kind).collect();
    assert_eq!(kinds, [AttributeType(0xc8), AttributeType(0xc9)]);
    let (octets, _) = bgp_wire::encode_announce(attributes, &update.reach[0].prefixes, &context()).unwrap();
    let tail = common::hex("e0c80101e0c9020102080a");
    assert!(octets.ends_with(&tail), "{octets:02x?}");
}

#[test]
fn attributes_that_came_in_another_order_are_the_same_attributes() {
    let communities = format!("c01914{}", "0002".repeat(10));
    let read = |extra: &str| {
        let update = Update::decode(&body("", &beside(extra), NLRI), &context()).unwrap();
        update.reach[0].attributes.clone()
    };
    assert_eq!(read(&format!("{communities}c0c80101")), read(&format!("c0c80101{communities}")));
}

#[test]
fn an_ipv6_next_hop_may_bring_its_link_local_address_or_only_that() {
    let reach = |hop: &str, length: &str| format!("800e{length} 000201 {hop} 00 2020010db8{ORIGIN}{PATH}");
    let global = "20010db8000000000000000000000001";
    let link = "fe800000000000000000000000000001";
    let both = Update::decode(&body("", &reach(&format!("20{global}{link}"), "2a"), ""), &context()).unwrap();
    assert_eq!(both.reach[0].attributes.next_hop.to_string(), "2001:db8::1");
    let zeros = "0".repeat(32);
    let only = Update::decode(&body("", &reach(&format!("20{zeros}{link}"), "2a"), ""), &context()).unwrap();
    assert_eq!(only.reach[0].attributes.next_hop.to_string(), "fe80::1");
}
