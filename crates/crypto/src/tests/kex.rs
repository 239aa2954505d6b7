//! Key exchange: published exchanges, agreement of both sides, and what must be refused.

use super::exchanges::EXCHANGES;
use super::hex;
use crate::{BadPublicValue, Group, KeyPair};

#[test]
fn published_exchanges_are_reproduced() {
    for exchange in EXCHANGES {
        let [a, b] = exchange.private.map(|it| KeyPair::with_private(exchange.group, &hex(it)).unwrap());
        assert_eq!([a.public(), b.public()], exchange.public.map(hex), "{}", exchange.group);
        assert_eq!(a.agree(b.public()).unwrap().as_bytes(), hex(exchange.shared), "{}", exchange.group);
        assert_eq!(b.agree(a.public()).unwrap().as_bytes(), hex(exchange.shared), "{}", exchange.group);
    }
}

#[test]
fn both_sides_agree_in_every_group() {
    for group in Group::ALL {
        let (a, b) = (KeyPair::generate(group, [1; 32]), KeyPair::generate(group, [2; 32]));
        assert_eq!(a.public().len(), group.public_len(), "{group}");
        assert_ne!(a.public(), b.public(), "{group}");
        let shared = a.agree(b.public()).unwrap();
        assert_eq!(shared.len(), group.shared_len(), "{group}");
        assert_eq!(shared, b.agree(a.public()).unwrap(), "{group}");
        assert_eq!(KeyPair::generate(group, [1; 32]).public(), a.public(), "same seed, {group}");
    }
}

#[test]
fn a_public_value_of_another_length_is_refused() {
    for group in Group::ALL {
        let pair = KeyPair::generate(group, [1; 32]);
        let want = group.public_len();
        let mut longer = vec![0];
        longer.extend_from_slice(pair.public());
        for peer in [&[][..], &pair.public()[1..], &longer] {
            let error = BadPublicValue::Length { got: peer.len(), want };
            assert_eq!(pair.agree(peer).unwrap_err(), error, "{group}");
        }
    }
}

#[test]
fn trivial_and_unreduced_values_of_modp_groups_are_refused() {
    for group in Group::ALL.into_iter().filter(|it| modulus(*it).is_some()) {
        let pair = KeyPair::generate(group, [1; 32]);
        let modulus = modulus(group).unwrap();
        let near = |distance: i32| {
            let mut value = modulus.clone();
            let last = value.last_mut().unwrap();
            *last = (i32::from(*last) + distance) as u8;
            value
        };
        let small = |value: u8| {
            let mut octets = vec![0; group.public_len()];
            *octets.last_mut().unwrap() = value;
            octets
        };
        for bad in [small(0), small(1), near(-1), near(0), vec![0xff; group.public_len()]] {
            assert_eq!(pair.agree(&bad).unwrap_err(), BadPublicValue::Range, "{group}");
        }
        if group != Group::Modp2048s256 {
            assert!(pair.agree(&small(2)).is_ok(), "{group}");
            assert!(pair.agree(&near(-2)).is_ok(), "{group}");
        }
    }
}

/// RFC 6989 §2.2: p-1 has order 2; 2 and a square of small cofactor order are outside the subgroup of q.
#[test]
fn values_outside_the_subgroup_of_group_24_are_refused() {
    let pair = KeyPair::generate(Group::Modp2048s256, [1; 32]);
    for value in [2u8, 3, 4, 5] {
        let mut octets = vec![0; 256];
        octets[255] = value;
        assert_eq!(pair.agree(&octets).unwrap_err(), BadPublicValue::Subgroup);
    }
    assert!(pair.agree(KeyPair::generate(Group::Modp2048s256, [9; 32]).public()).is_ok());
}

#[test]
fn points_off_the_curve_and_coordinates_beyond_the_field_are_refused() {
    for group in [Group::Ecp256, Group::Ecp384, Group::Ecp521] {
        let pair = KeyPair::generate(group, [1; 32]);
        let good = KeyPair::generate(group, [2; 32]).public().to_vec();
        let mut bad = vec![vec![0; good.len()], vec![0xff; good.len()]];
        for bit in [0, good.len() * 4 - 1, good.len() * 8 - 1] {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            bad.push(flipped);
        }
        for peer in bad {
            assert_eq!(pair.agree(&peer).unwrap_err(), BadPublicValue::NotOnCurve, "{group}");
        }
    }
}

/// RFC 7748 §6.1; the points of small order on the curve and its twist.
#[test]
fn points_of_small_order_on_curve25519_are_refused() {
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let pair = KeyPair::generate(Group::Curve25519, [1; 32]);
    for point in points {
        assert_eq!(pair.agree(&hex(point)).unwrap_err(), BadPublicValue::SmallOrder, "{point}");
    }
}

#[test]
fn debug_output_names_the_group_alone() {
    let pair = KeyPair::generate(Group::Curve25519, [1; 32]);
    assert_eq!(format!("{pair:?}"), "KeyPair(Curve25519)");
}

pub(super) fn modulus(group: Group) -> Option<Vec<u8>> {
    use crate::kex::primes as p;
    let text = match group {
        Group::Modp1024 => p::MODP_1024,
        Group::Modp1536 => p::MODP_1536,
        Group::Modp2048 => p::MODP_2048,
        Group::Modp3072 => p::MODP_3072,
        Group::Modp4096 => p::MODP_4096,
        Group::Modp6144 => p::MODP_6144,
        Group::Modp8192 => p::MODP_8192,
        Group::Modp2048s256 => p::MODP_2048_256,
        Group::Ecp256 | Group::Ecp384 | Group::Ecp521 | Group::Curve25519 => return None,
    };
    Some(hex(text))
}
