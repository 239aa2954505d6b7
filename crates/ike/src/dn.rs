//! Distinguished names: the little DER that identities need (X.501, RFC 4514's common types).

/// Attribute types by the names users write, with the body of their OID.
const TYPES: &[(&str, &[u8])] = &[
    ("CN", &[0x55, 4, 3]),
    ("SN", &[0x55, 4, 5]),
    ("C", &[0x55, 4, 6]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("STREET", &[0x55, 4, 9]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("T", &[0x55, 4, 12]),
    ("E", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const IA5: u8 = 0x16;

/// `C=CH, O=Example, CN=gw` or `/C=CH/O=Example` to DER; `None` for anything else.
pub(crate) fn encode(text: &str) -> Option<Vec<u8>> {
    let (separator, text) = match text.strip_prefix('/') {
        Some(rest) => ('/', rest),
        None => (',', text),
    };
    let mut body = Vec::new();
    for part in text.split(separator) {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let (_, oid) = TYPES.iter().find(|(known, _)| {
            known.eq_ignore_ascii_case(name) || (*known == "E" && name.eq_ignore_ascii_case("emailAddress"))
        })?;
        if value.is_empty() {
            return None;
        }
        let tag = match name.to_ascii_uppercase().as_str() {
            "E" | "EMAILADDRESS" | "DC" => IA5,
            _ if value.bytes().all(printable) => PRINTABLE,
            _ => UTF8,
        };
        let mut pair = wrap(OID, oid);
        pair.extend(wrap(tag, value.as_bytes()));
        body.extend(wrap(SET, &wrap(SEQUENCE, &pair)));
    }
    Some(wrap(SEQUENCE, &body))
}

/// DER to the text form; `None` when it is not one we can print without loss.
pub(crate) fn decode(der: &[u8]) -> Option<String> {
    let parts = parts(der)?;
    let mut words = Vec::with_capacity(parts.len());
    for (oid, value) in parts {
        let (name, _) = TYPES.iter().find(|(_, known)| *known == oid)?;
        let value = std::str::from_utf8(value).ok()?;
        if value.chars().any(|c| c.is_control() || c == ',') {
            return None;
        }
        words.push(format!("{name}={value}"));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// The same attributes in the same order, whatever kind of string holds them and whatever their case.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    let (Some(a), Some(b)) = (parts(a), parts(b)) else { return false };
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a.0 == b.0 && a.1.eq_ignore_ascii_case(b.1))
}

/// The (OID, value) pairs of a name whose sets hold one pair each.
fn parts(der: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (body, rest) = take(SEQUENCE, der)?;
    if !rest.is_empty() {
        return None;
    }
    let mut list = Vec::new();
    let mut left = body;
    while !left.is_empty() {
        let (set, rest) = take(SET, left)?;
        let (pair, more) = take(SEQUENCE, set)?;
        let (oid, value) = take(OID, pair)?;
        let (&tag, _) = value.split_first()?;
        let (value, tail) = take(tag, value)?;
        if !more.is_empty() || !tail.is_empty() {
            return None;
        }
        list.push((oid, value));
        left = rest;
    }
    Some(list)
}

/// One element with this tag: its content, and what follows it.
fn take(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(&n, rest)| (usize::from(n), rest))?,
        0x82 => rest.split_first_chunk::<2>().map(|(n, rest)| (usize::from(u16::from_be_bytes(*n)), rest))?,
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}

fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes() {
        [0, low @ 0..=0x7f] => out.push(low),
        [0, low] => out.extend([0x81, low]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}

fn printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_encodes_as_openssl_does() {
        let der = encode("C=CH, CN=gw").unwrap();
        let want = [
            0x30, 26, 0x31, 11, 0x30, 9, 6, 3, 0x55, 4, 6, 0x13, 2, b'C', b'H', 0x31, 11, 0x30, 9, 6, 3,
            0x55, 4, 3, 0x13, 2, b'g', b'w',
        ];
        assert_eq!(der, want);
        assert_eq!(decode(&der).unwrap(), "C=CH, CN=gw");
    }

    #[test]
    fn the_kind_of_string_does_not_matter_for_equality() {
        let mut other = encode("CN=gw").unwrap();
        let tag = other.iter().position(|byte| *byte == PRINTABLE).unwrap();
        other[tag] = UTF8;
        assert!(same(&other, &encode("/CN=GW").unwrap()));
        assert!(!same(&other, &encode("CN=gx").unwrap()));
    }

    #[test]
    fn no_truncation_or_mutation_panics() {
        let der = encode("C=CH, O=Example, CN=a fairly long name to have lengths to break").unwrap();
        for cut in 0..der.len() {
            assert!(decode(&der[..cut]).is_none());
        }
        for index in 0..der.len() {
            for value in [0, 1, 0x7f, 0x80, 0x81, 0x82, 0xff] {
                let mut bad = der.clone();
                bad[index] = value;
                let _ = (decode(&bad), same(&bad, &der));
            }
        }
    }
}
