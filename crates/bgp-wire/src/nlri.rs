//! Prefixes on the wire (RFC 4271 section 4.3, RFC 4760 section 5).

use std::net::{Ipv4Addr, Ipv6Addr};

use inet::Prefix;

use crate::Family;
use crate::reader::Reader;

/// The field is no list of prefixes: a length above the family's, or octets missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadNlri;

/// All prefixes of a field. Bits beyond a prefix's length are ignored, as "the value of trailing bits is irrelevant".
pub(crate) fn decode(bytes: &[u8], family: Family) -> Result<Vec<Prefix>, BadNlri> {
    let mut reader = Reader::new(bytes);
    let mut prefixes = Vec::with_capacity(bytes.len() / 4);
    while let Some(length) = reader.u8() {
        if length > family.max_length() {
            return Err(BadNlri);
        }
        let octets = reader.take(usize::from(length).div_ceil(8)).ok_or(BadNlri)?;
        prefixes.push(prefix(octets, length, family)?);
    }
    Ok(prefixes)
}

fn prefix(octets: &[u8], length: u8, family: Family) -> Result<Prefix, BadNlri> {
    let address = match family {
        Family::Ipv4Unicast => Ipv4Addr::from(padded::<4>(octets)?).into(),
        Family::Ipv6Unicast => Ipv6Addr::from(padded::<16>(octets)?).into(),
    };
    Prefix::new(address, length).map_err(|_| BadNlri)
}

fn padded<const N: usize>(octets: &[u8]) -> Result<[u8; N], BadNlri> {
    let mut array = [0; N];
    array.get_mut(..octets.len()).ok_or(BadNlri)?.copy_from_slice(octets);
    Ok(array)
}

/// How many octets a prefix takes.
pub(crate) fn encoded_len(prefix: &Prefix) -> usize {
    1 + usize::from(prefix.len()).div_ceil(8)
}

/// Appends one prefix.
pub(crate) fn encode(prefix: &Prefix, out: &mut Vec<u8>) {
    let octets = usize::from(prefix.len()).div_ceil(8);
    out.push(prefix.len());
    match prefix.addr() {
        std::net::IpAddr::V4(address) => out.extend(address.octets().into_iter().take(octets)),
        std::net::IpAddr::V6(address) => out.extend(address.octets().into_iter().take(octets)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_beyond_the_length_are_ignored() {
        let got = decode(&[20, 10, 1, 0xff], Family::Ipv4Unicast).unwrap();
        assert_eq!(got, ["10.1.240.0/20".parse().unwrap()]);
    }

    #[test]
    fn a_length_above_the_family_or_missing_octets_are_refused() {
        assert_eq!(decode(&[33, 1, 2, 3, 4, 5], Family::Ipv4Unicast), Err(BadNlri));
        assert_eq!(decode(&[129], Family::Ipv6Unicast), Err(BadNlri));
        assert_eq!(decode(&[24, 10, 1], Family::Ipv4Unicast), Err(BadNlri));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "172.16.0.254/32", "192.168.128.0/17"] {
            let prefix: Prefix = text.parse().unwrap();
            let mut bytes = Vec::new();
            encode(&prefix, &mut bytes);
            assert_eq!(bytes.len(), encoded_len(&prefix));
            assert_eq!(decode(&bytes, Family::Ipv4Unicast).unwrap(), [prefix]);
        }
        let prefix: Prefix = "2001:db8:1::/48".parse().unwrap();
        let mut bytes = Vec::new();
        encode(&prefix, &mut bytes);
        assert_eq!(bytes, [48, 0x20, 0x01, 0x0d, 0xb8, 0, 1]);
        assert_eq!(decode(&bytes, Family::Ipv6Unicast).unwrap(), [prefix]);
    }
}
