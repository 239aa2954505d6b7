//! Bytes that are no messages, and messages cut or changed at every octet: an answer each time, never a panic.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use bgp_wire::{
    AsPath, Context, Cutter, Families, Message, NextHop, NotificationCode, PathAttributes, PeerKind,
    encode_announce, encode_withdraw, keepalive,
};

mod common;
use common::{context, prefixes, samples};

fn contexts() -> Vec<Context> {
    let mut all = Vec::new();
    for as4 in [true, false] {
        for families in [Families::BOTH, Families::IPV4, Families::NONE] {
            for peer in [PeerKind::External, PeerKind::Internal] {
                all.push(Context { as4, families, peer, ..context() });
            }
        }
    }
    all
}

/// Everything that comes of these bytes; the cutter must stop at its end.
fn digest(bytes: &[u8], context: &Context) -> usize {
    let mut cutter = Cutter::new();
    cutter.push(bytes);
    let mut messages = 0;
    while let Ok(Some(frame)) = cutter.next_frame(context) {
        if let Err(notification) = Message::decode(&frame, context) {
            assert!(!notification.to_string().is_empty());
        }
        messages += 1;
    }
    messages
}

#[test]
fn every_sample_is_one_whole_message() {
    for sample in samples() {
        assert_eq!(digest(&sample, &context()), 1);
        let mut cutter = Cutter::new();
        cutter.push(&sample);
        let frame = cutter.next_frame(&context()).unwrap().unwrap();
        Message::decode(&frame, &context()).unwrap();
    }
}

#[test]
fn every_truncation_waits_or_is_answered() {
    for sample in samples() {
        for length in 0..sample.len() {
            assert_eq!(digest(&sample[..length], &context()), 0, "a part is no message");
            // The same with a header that claims the part is all.
            let mut whole = sample[..length].to_vec();
            if let Some(field) = whole.get_mut(16..18) {
                field.copy_from_slice(&(length as u16).to_be_bytes());
            }
            contexts().iter().for_each(|context| {
                digest(&whole, context);
            });
        }
    }
}

#[test]
fn every_octet_may_be_anything() {
    for sample in samples() {
        for at in 16..sample.len() {
            for value in (0..=255).step_by(5).chain([1, 2, 4, 128]) {
                let mut changed = sample.clone();
                changed[at] = value as u8;
                digest(&changed, &context());
                digest(&changed, &contexts()[3]);
            }
        }
    }
}

#[test]
fn random_octets_behind_a_good_header_are_answered() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20_000 {
        let length = 23 + next() as usize % 120;
        let mut bytes = vec![0xff; 16];
        bytes.extend((length as u16).to_be_bytes());
        bytes.push(1 + (next() % 5) as u8);
        bytes.extend((19..length).map(|_| if next() % 3 == 0 { next() as u8 } else { (next() % 40) as u8 }));
        contexts().iter().for_each(|context| {
            digest(&bytes, context);
        });
    }
}

#[test]
fn a_bad_header_is_told_at_once_and_with_its_octets() {
    let answer = |edit: &dyn Fn(&mut Vec<u8>), context: &Context| {
        let mut bytes = keepalive();
        edit(&mut bytes);
        let mut cutter = Cutter::new();
        cutter.push(&bytes);
        cutter.next_frame(context).unwrap_err()
    };
    let plain = context();
    let marker = answer(&|bytes| bytes[3] = 0, &plain);
    assert_eq!((marker.code, marker.data.len()), (NotificationCode::NOT_SYNCHRONISED, 0));
    for (kind, length) in [(4, 18), (4, 0), (4, 20), (1, 28), (2, 22), (2, 4097), (3, 20), (1, 4097)] {
        let bad = answer(
            &|bytes| {
                bytes[16..18].copy_from_slice(&u16::to_be_bytes(length));
                bytes[18] = kind;
            },
            &plain,
        );
        assert_eq!(
            (bad.code, bad.data),
            (NotificationCode::BAD_LENGTH, length.to_be_bytes().to_vec()),
            "{kind}"
        );
    }
    let kind = answer(&|bytes| bytes[18] = 6, &plain);
    assert_eq!((kind.code, kind.data), (NotificationCode::BAD_TYPE, vec![6]));
}

#[test]
fn longer_messages_pass_only_where_both_sides_offered_them_and_never_as_open() {
    let long = Context { extended_message: true, ..context() };
    let mut bytes = vec![0xff; 16];
    bytes.extend(60_000_u16.to_be_bytes());
    bytes.push(2);
    let mut cutter = Cutter::new();
    cutter.push(&bytes);
    assert_eq!(cutter.next_frame(&long), Ok(None), "waits for the rest");
    bytes[18] = 1;
    let mut cutter = Cutter::new();
    cutter.push(&bytes);
    assert_eq!(cutter.next_frame(&long).unwrap_err().code, NotificationCode::BAD_LENGTH);
}

#[test]
fn no_message_passes_4096_octets_and_all_prefixes_arrive() {
    let names: Vec<String> = (0..3000).map(|n| format!("10.{}.{}.0/24", n / 250, n % 250)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = prefixes(&names);
    let mut attributes = PathAttributes::originated(NextHop::V4([10, 0, 0, 1].into()));
    attributes.as_path = AsPath::sequence((1..=300).map(|n| 64000 + n));
    let (mut rest, mut arrived) = (all.as_slice(), Vec::new());
    while !rest.is_empty() {
        let (octets, taken) = encode_announce(&attributes, rest, &context()).unwrap();
        assert!(octets.len() <= 4096 && octets.len() > 4000 || taken == rest.len());
        let update = bgp_wire::Update::decode(&octets[19..], &context()).unwrap();
        assert_eq!(update.reach[0].attributes.as_path.hop_count(), 300);
        arrived.extend(update.reach[0].prefixes.iter().copied());
        rest = &rest[taken..];
    }
    assert_eq!(arrived, all);
    let (octets, taken) = encode_withdraw(&all, &context());
    assert!(octets.len() <= 4096 && taken > 900);
}

#[test]
fn attributes_that_fill_a_message_leave_the_route_unsent() {
    let mut attributes = PathAttributes::originated(NextHop::V4([10, 0, 0, 1].into()));
    attributes.as_path = AsPath::sequence((0..1100).map(|n| 64000 + n));
    assert!(encode_announce(&attributes, &prefixes(&["10.0.0.0/8"]), &context()).is_err());
    let long = Context { extended_message: true, ..context() };
    assert!(encode_announce(&attributes, &prefixes(&["10.0.0.0/8"]), &long).is_ok());
    assert!(encode_announce(&attributes, &prefixes(&["2001:db8::/32"]), &long).is_err(), "no IPv6 next hop");
    assert!(encode_announce(&attributes, &[], &long).is_err());
}
