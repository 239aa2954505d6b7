//! Who a peer is (RFC 7296 section 3.5), typed as strongSwan users type it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ike_wire::{IdType, Identification};

use crate::dn;

/// An identity of IKE.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// ID_IPV4_ADDR.
    Ipv4(Ipv4Addr),
    /// ID_IPV6_ADDR.
    Ipv6(Ipv6Addr),
    /// ID_FQDN.
    Fqdn(String),
    /// ID_RFC822_ADDR: an e-mail address.
    Email(String),
    /// ID_DER_ASN1_DN: a distinguished name, DER.
    Dn(Vec<u8>),
    /// ID_KEY_ID: octets both sides agreed on.
    KeyId(Vec<u8>),
    /// A type without meaning to us; equal to itself alone.
    Other {
        /// The type's number.
        kind: u8,
        /// The octets.
        data: Vec<u8>,
    },
}

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nothing there.
    #[error("an identity must not be empty")]
    Empty,
    /// `%any` and its like: to accept any identity is not something a tunnel can mean.
    #[error("'{0}' is no identity: name the one peer")]
    Wildcard(String),
    /// What follows `ipv4:` or `ipv6:` is no address of that family.
    #[error("'{0}' is no such address")]
    Address(String),
    /// What follows `#` or `0x` is not hexadecimal.
    #[error("'{0}' is not hexadecimal")]
    Hex(String),
    /// Not a distinguished name.
    #[error("'{0}' is no distinguished name (want TYPE=value, …)")]
    Dn(String),
    /// The prefix before the colon names no identity type.
    #[error("'{0}:' is no identity type (ipv4, ipv6, fqdn, email, keyid, asn1dn)")]
    Type(String),
    /// More octets than a peer would accept.
    #[error("an identity of {0} bytes is too long")]
    TooLong(usize),
}

/// The longest identity we send or accept, in octets.
const MAX: usize = 2048;

impl Identity {
    /// An address as identity.
    #[must_use]
    pub fn from_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => Self::Ipv6(address),
        }
    }

    /// Do both name the same peer? Names compare without regard to case, everything else octet by octet.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fqdn(a), Self::Fqdn(b)) | (Self::Email(a), Self::Email(b)) => a.eq_ignore_ascii_case(b),
            (Self::Dn(a), Self::Dn(b)) => a == b || dn::same(a, b),
            (a, b) => a == b,
        }
    }

    pub(crate) fn from_wire(id: &Identification) -> Self {
        let other = || Self::Other { kind: id.kind.0, data: id.data.clone() };
        match id.kind {
            IdType::ID_IPV4_ADDR => <[u8; 4]>::try_from(id.data.as_slice())
                .map_or_else(|_| other(), |octets| Self::Ipv4(octets.into())),
            IdType::ID_IPV6_ADDR => <[u8; 16]>::try_from(id.data.as_slice())
                .map_or_else(|_| other(), |octets| Self::Ipv6(octets.into())),
            IdType::ID_FQDN => text(&id.data).map_or_else(other, Self::Fqdn),
            IdType::ID_RFC822_ADDR => text(&id.data).map_or_else(other, Self::Email),
            IdType::ID_DER_ASN1_DN => Self::Dn(id.data.clone()),
            IdType::ID_KEY_ID => Self::KeyId(id.data.clone()),
            _ => other(),
        }
    }

    pub(crate) fn to_wire(&self) -> Identification {
        let (id_type, data) = match self {
            Self::Ipv4(address) => (IdType::ID_IPV4_ADDR, address.octets().to_vec()),
            Self::Ipv6(address) => (IdType::ID_IPV6_ADDR, address.octets().to_vec()),
            Self::Fqdn(name) => (IdType::ID_FQDN, name.as_bytes().to_vec()),
            Self::Email(name) => (IdType::ID_RFC822_ADDR, name.as_bytes().to_vec()),
            Self::Dn(der) => (IdType::ID_DER_ASN1_DN, der.clone()),
            Self::KeyId(octets) => (IdType::ID_KEY_ID, octets.clone()),
            Self::Other { kind, data } => (IdType(*kind), data.clone()),
        };
        Identification::new(id_type, data)
    }
}

fn text(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    text.chars().all(|c| !c.is_control()).then(|| text.to_owned())
}

impl FromStr for Identity {
    type Err = IdentityError;

    /// `203.0.113.1`, `2001:db8::1`, `vpn.example.org`, `@vpn.example.org` (FQDN even if it looks like an address),
    /// `a@example.org`, `@@a@example.org` (e-mail), `@#0a0b` (key id, hex), `C=CH, CN=x` (distinguished name), and each
    /// type by name: `ipv4:`, `ipv6:`, `fqdn:`, `email:` or `rfc822:`, `keyid:` (text, or `#`/`0x` and hex), `asn1dn:` or `dn:`.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let text = text.trim();
        let identity = parse(text)?;
        let length = identity.to_wire().data.len();
        match length {
            0 => Err(IdentityError::Empty),
            1..=MAX => Ok(identity),
            _ => Err(IdentityError::TooLong(length)),
        }
    }
}

fn parse(text: &str) -> Result<Identity, IdentityError> {
    if text.is_empty() {
        return Err(IdentityError::Empty);
    }
    if text.starts_with('%') || text == "*" || text == "0.0.0.0" || text == "::" {
        return Err(IdentityError::Wildcard(text.to_owned()));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Identity::from_address(address));
    }
    if let Some(rest) = text.strip_prefix("@#") {
        return Ok(Identity::KeyId(hex(rest)?));
    }
    if let Some(rest) = text.strip_prefix("@@") {
        return Ok(Identity::Email(rest.to_owned()));
    }
    if let Some(rest) = text.strip_prefix('@') {
        return Ok(Identity::Fqdn(rest.to_owned()));
    }
    if let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| !kind.contains(['=', '@', '.', '/']))
    {
        return parse_typed(kind, rest);
    }
    if text.contains('=') {
        return dn::encode(text).map(Identity::Dn).ok_or_else(|| IdentityError::Dn(text.to_owned()));
    }
    if text.contains('@') {
        return Ok(Identity::Email(text.to_owned()));
    }
    Ok(Identity::Fqdn(text.to_owned()))
}

fn parse_typed(kind: &str, rest: &str) -> Result<Identity, IdentityError> {
    let address = || IdentityError::Address(rest.to_owned());
    match kind.to_ascii_lowercase().as_str() {
        "ipv4" => rest.parse().map(Identity::Ipv4).map_err(|_| address()),
        "ipv6" => rest.parse().map(Identity::Ipv6).map_err(|_| address()),
        "fqdn" | "dns" => Ok(Identity::Fqdn(rest.to_owned())),
        "email" | "rfc822" | "userfqdn" => Ok(Identity::Email(rest.to_owned())),
        "keyid" => octets(rest).map(Identity::KeyId),
        "asn1dn" | "dn" if rest.starts_with('#') || rest.starts_with("0x") => octets(rest).map(Identity::Dn),
        "asn1dn" | "dn" => {
            dn::encode(rest).map(Identity::Dn).ok_or_else(|| IdentityError::Dn(rest.to_owned()))
        }
        _ => Err(IdentityError::Type(kind.to_owned())),
    }
}

/// Text as it stands, or hexadecimal after `#` or `0x`.
fn octets(text: &str) -> Result<Vec<u8>, IdentityError> {
    match text.strip_prefix('#').or_else(|| text.strip_prefix("0x")) {
        Some(digits) => hex(digits),
        None => Ok(text.as_bytes().to_vec()),
    }
}

fn hex(digits: &str) -> Result<Vec<u8>, IdentityError> {
    let bad = || IdentityError::Hex(digits.to_owned());
    let clean: Vec<u8> = digits.bytes().filter(|byte| *byte != b':').collect();
    if clean.is_empty() || !clean.len().is_multiple_of(2) {
        return Err(bad());
    }
    clean
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            u8::from_str_radix(pair, 16).map_err(|_| bad())
        })
        .collect()
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            // A name that would read back as something else is printed with its type.
            Self::Fqdn(name) if !matches!(parse(name), Ok(Self::Fqdn(_))) => write!(f, "fqdn:{name}"),
            Self::Email(name) if !matches!(parse(name), Ok(Self::Email(_))) => write!(f, "email:{name}"),
            Self::Fqdn(name) | Self::Email(name) => f.write_str(name),
            Self::Dn(der) => match dn::decode(der) {
                Some(text) => f.write_str(&text),
                None => write_hex("asn1dn:#", der, f),
            },
            Self::KeyId(octets) => {
                match text(octets).filter(|text| !text.starts_with(['#', ' ']) && !text.starts_with("0x")) {
                    Some(text) => write!(f, "keyid:{text}"),
                    None => write_hex("keyid:#", octets, f),
                }
            }
            Self::Other { kind, data } => {
                write!(f, "type {kind}:")?;
                write_hex("#", data, f)
            }
        }
    }
}

fn write_hex(prefix: &str, octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(prefix)?;
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(text: &str) -> Identity {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_type_is_read_as_strongswan_reads_it() {
        assert_eq!(identity("203.0.113.1"), Identity::Ipv4("203.0.113.1".parse().unwrap()));
        assert_eq!(identity("2001:db8::1"), Identity::Ipv6("2001:db8::1".parse().unwrap()));
        assert_eq!(identity("vpn.example.org"), Identity::Fqdn("vpn.example.org".into()));
        assert_eq!(identity("@203.0.113.1"), Identity::Fqdn("203.0.113.1".into()));
        assert_eq!(identity("fqdn:a:b"), Identity::Fqdn("a:b".into()));
        assert_eq!(identity("joe@example.org"), Identity::Email("joe@example.org".into()));
        assert_eq!(identity("@@joe"), Identity::Email("joe".into()));
        assert_eq!(identity("keyid:branch 7"), Identity::KeyId(b"branch 7".to_vec()));
        assert_eq!(identity("keyid:#0a:0B"), Identity::KeyId(vec![10, 11]));
        assert_eq!(identity("@#0a0b"), Identity::KeyId(vec![10, 11]));
        assert!(matches!(identity("C=CH, O=Example, CN=gw"), Identity::Dn(_)));
    }

    #[test]
    fn what_is_printed_reads_back_the_same() {
        for text in [
            "203.0.113.1",
            "2001:db8::1",
            "vpn.example.org",
            "fqdn:203.0.113.1",
            "joe@example.org",
            "email:joe",
            "keyid:branch 7",
            "keyid:#00ff",
            "fqdn:a=b",
            "C=CH, O=Example Ltd, CN=gw.example.org",
            "keyid:#2378",
        ] {
            assert_eq!(identity(text).to_string(), text);
            assert_eq!(identity(&identity(text).to_string()), identity(text));
        }
    }

    #[test]
    fn wildcards_and_nonsense_are_refused() {
        for text in [
            "",
            "%any",
            "*",
            "0.0.0.0",
            "::",
            "ipv4:x",
            "ipv6:1.2.3.4",
            "keyid:#0",
            "keyid:#zz",
            "nope:x",
            "dn:x",
            "@",
        ] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_identity_survives_the_wire() {
        for text in ["203.0.113.1", "2001:db8::1", "a.b", "a@b", "keyid:#00", "CN=x"] {
            assert_eq!(Identity::from_wire(&identity(text).to_wire()), identity(text));
        }
        let odd = Identification::new(IdType::ID_IPV4_ADDR, vec![1, 2, 3]);
        assert_eq!(Identity::from_wire(&odd), Identity::Other { kind: 1, data: vec![1, 2, 3] });
    }

    #[test]
    fn names_match_whatever_their_case() {
        assert!(identity("VPN.Example.org").matches(&identity("vpn.example.ORG")));
        assert!(!identity("keyid:A").matches(&identity("keyid:a")));
        assert!(!identity("@a").matches(&identity("keyid:a")));
    }
}
