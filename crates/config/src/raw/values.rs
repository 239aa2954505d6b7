//! How each kind of value is read.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bgp_rib::Action;
use crypto::Secret;
use ike::{Encapsulation, EspProposal, Identity, IkeProposal};
use inet::{Prefix, Selector};
use toml::Spanned;
use toml::de::DeValue;
use tunnel::DfPolicy;

use super::{Read, Written, kind};
use crate::error::{At, Fault, Faults};
use crate::plan::{InterfaceAddress, LogFormat, LogLevel, OnDown, Start};
use crate::time;

/// An array, each item with its place.
#[derive(Clone, Debug)]
pub(crate) struct Many<T> {
    pub(crate) items: Vec<Written<T>>,
    /// Were some refused, and noted? Then what is left says nothing about the whole.
    pub(crate) broken: bool,
}

/// One value, or an array of them.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<Written<T>>);

/// A number with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Within<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Within<MIN, MAX> {
    /// As 32 bits; sections that ask have bounds that fit.
    pub(crate) fn u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }

    /// As 16 bits; sections that ask have bounds that fit.
    pub(crate) fn u16(self) -> u16 {
        u16::try_from(self.0).unwrap_or(u16::MAX)
    }

    /// As 8 bits; sections that ask have bounds that fit.
    pub(crate) fn u8(self) -> u8 {
        u8::try_from(self.0).unwrap_or(u8::MAX)
    }
}

/// "auto", "off", or a number with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Automatic<const MIN: u64, const MAX: u64> {
    Auto,
    Off,
    Fixed(u16),
}

/// A number of octets: an integer, or text as "100GB" or "4GiB".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

/// `false`, `true` (asked for, not insisted on) or "require".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Esn {
    Off,
    Prefer,
    Require,
}

/// A routing table: a number, or a name the host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TableName {
    Number(u32),
    Name(String),
}

/// A secret in the file itself.
#[derive(Clone, Debug)]
pub(crate) struct SecretText(pub(crate) Secret);

/// "ipv4" or "ipv6".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FamilyName {
    Ipv4,
    Ipv6,
}

/// "connected", "static" or "kernel".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedistributeName {
    Connected,
    Static,
    Kernel,
}

fn text<'v>(
    value: &'v Spanned<DeValue<'_>>,
    want: &'static str,
    at: &At,
    faults: &mut Faults,
) -> Option<&'v str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        faults.error(at, Fault::Type { want, found: kind(value) });
    }
    text
}

/// `None` when it is no integer; `Some(Err)` when it is one that fits no `u64`.
fn integer(value: &Spanned<DeValue<'_>>) -> Option<Result<u64, String>> {
    let integer = value.get_ref().as_integer()?;
    Some(u64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| integer.to_string()))
}

/// Notes the fault of a value that parsed to an error.
fn noted<T, E: ToString>(result: Result<T, E>, at: &At, faults: &mut Faults) -> Option<T> {
    result.map_err(|error| faults.error(at, Fault::Value(error.to_string()))).ok()
}

/// Values that are text with a parser of its own.
macro_rules! from_text {
    ($($type:ty, $want:literal, $parse:expr;)*) => {$(
        impl Read for $type {
            fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
                let text = text(value, $want, at, faults)?;
                let parse: fn(&str) -> Result<Self, String> = $parse;
                noted(parse(text), at, faults)
            }
        }
    )*};
}

from_text! {
    String, "a string", |text| Ok(text.to_owned());
    PathBuf, "a path in quotes", |text| {
        if text.is_empty() { Err("a path must not be empty".to_owned()) } else { Ok(Self::from(text)) }
    };
    IpAddr, "an address in quotes", |text| text.parse().map_err(|_| format!("'{text}' is no IP address"));
    Ipv4Addr, "an IPv4 address in quotes", |text| text.parse().map_err(|_| format!("'{text}' is no IPv4 address"));
    Duration, "a time in quotes, as \"30s\", \"8h\" or \"7h30m\"", time::parse;
    Prefix, "a prefix in quotes", |text| Self::parse_strict(text).map_err(|error| error.to_string());
    Selector, "a selector in quotes", |text| text.parse().map_err(|error: inet::SelectorError| error.to_string());
    Identity, "an identity in quotes", |text| text.parse().map_err(|error: ike::IdentityError| error.to_string());
    IkeProposal, "a proposal in quotes", |text| Self::parse(text).map_err(|error| error.to_string());
    EspProposal, "a proposal in quotes", |text| Self::parse(text).map_err(|error| error.to_string());
    InterfaceAddress, "ADDRESS/LENGTH in quotes", interface_address;
    SecretText, "a secret in quotes", |text| {
        if text.is_empty() { Err("a secret must not be empty".to_owned()) } else { Ok(Self(Secret::from(text))) }
    };
}

fn interface_address(text: &str) -> Result<InterfaceAddress, String> {
    let want = || format!("'{text}' is no address with a length (want ADDRESS/LENGTH, as 169.254.10.2/30)");
    let (address, length) = text.split_once('/').ok_or_else(want)?;
    let address: IpAddr = address.parse().map_err(|_| want())?;
    let length: u8 = length.parse().map_err(|_| want())?;
    Prefix::new(address, length).map_err(|error| error.to_string())?;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(format!("{address} cannot be an interface's address"));
    }
    Ok(InterfaceAddress { address, length })
}

/// Values that are one of a few words.
macro_rules! words {
    ($($type:ty { $($word:literal => $value:expr,)* })*) => {$(
        impl Read for $type {
            fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
                const KNOWN: &[&str] = &[$($word),*];
                match text(value, "a word in quotes", at, faults)? {
                    $($word => Some($value),)*
                    other => {
                        faults.error(at, Fault::Word { word: other.to_owned(), known: KNOWN });
                        None
                    }
                }
            }
        }
    )*};
}

words! {
    Start { "initiate" => Self::Initiate, "on-demand" => Self::OnDemand, "respond" => Self::Respond, }
    OnDown { "unreachable" => Self::Unreachable, "withdraw" => Self::Withdraw, }
    Encapsulation { "auto" => Self::Auto, "always" => Self::Always, "never" => Self::Never, }
    DfPolicy { "copy" => Self::Copy, "set" => Self::Set, "clear" => Self::Clear, }
    Action { "permit" => Self::Permit, "deny" => Self::Deny, }
    FamilyName { "ipv4" => Self::Ipv4, "ipv6" => Self::Ipv6, }
    RedistributeName { "connected" => Self::Connected, "static" => Self::Static, "kernel" => Self::Kernel, }
    LogFormat { "auto" => Self::Auto, "journal" => Self::Journal, "json" => Self::Json, "text" => Self::Text, }
    LogLevel {
        "error" => Self::Error, "warn" => Self::Warn, "info" => Self::Info, "debug" => Self::Debug, "trace" => Self::Trace,
    }
}

impl Read for bool {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            faults.error(at, Fault::Type { want: "true or false", found: kind(value) });
        }
        read
    }
}

impl<const MIN: u64, const MAX: u64> Read for Within<MIN, MAX> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        let Some(number) = integer(value) else {
            faults.error(at, Fault::Type { want: "a number", found: kind(value) });
            return None;
        };
        within(number, MIN, MAX, at, faults).map(Self)
    }
}

fn within(number: Result<u64, String>, min: u64, max: u64, at: &At, faults: &mut Faults) -> Option<u64> {
    match number {
        Ok(number) if (min..=max).contains(&number) => Some(number),
        Ok(_) | Err(_) => {
            let found = number.map_or_else(|text| text, |number| number.to_string());
            faults.error(at, Fault::Range { found, min: min.to_string(), max: max.to_string() });
            None
        }
    }
}

impl<const MIN: u64, const MAX: u64> Read for Automatic<MIN, MAX> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        if let Some(number) = integer(value) {
            let number = within(number, MIN, MAX, at, faults)?;
            return Some(Self::Fixed(u16::try_from(number).unwrap_or(u16::MAX)));
        }
        match text(value, "a number or a word in quotes", at, faults)? {
            "auto" => Some(Self::Auto),
            "off" => Some(Self::Off),
            other => {
                let why = format!("'{other}' is neither a number nor \"auto\" nor \"off\"");
                faults.error(at, Fault::Value(why));
                None
            }
        }
    }
}

impl Read for Bytes {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        let number = match integer(value) {
            Some(number) => number,
            None => {
                let text = text(value, "a number of bytes, or a text as \"100GB\"", at, faults)?;
                Ok(noted(parse_bytes(text), at, faults)?)
            }
        };
        // Less than this is gone before the rekey it asks for has been answered.
        within(number, 100_000, u64::MAX, at, faults).map(Self)
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let bad = || format!("'{text}' is no number of bytes (want as 1000000, \"100GB\" or \"4GiB\")");
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(bad)?;
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)).ok_or_else(bad)
}

impl Read for Esn {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        match value.get_ref() {
            DeValue::Boolean(true) => return Some(Self::Prefer),
            DeValue::Boolean(false) => return Some(Self::Off),
            DeValue::String(word) if word == "require" => return Some(Self::Require),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {}
        }
        faults.error(at, Fault::Type { want: "true, false or \"require\"", found: kind(value) });
        None
    }
}

impl Read for TableName {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        if let Some(number) = integer(value) {
            let number = within(number, 1, u64::from(u32::MAX), at, faults)?;
            return Some(Self::Number(u32::try_from(number).unwrap_or(u32::MAX)));
        }
        let name = text(value, "a table's name in quotes, or its number", at, faults)?;
        Some(Self::Name(name.to_owned()))
    }
}

impl<T: Read> Read for Many<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else {
            faults.error(at, Fault::Type { want: "an array", found: kind(value) });
            return None;
        };
        let items = array.iter().enumerate().filter_map(|(index, item)| {
            let at = At { key: format!("{}[{index}]", at.key), span: item.span() };
            T::read(item, &at, faults).map(|value| Written { value, at })
        });
        let items: Vec<Written<T>> = items.collect();
        Some(Self { broken: items.len() < array.len(), items })
    }
}

impl<T: Read> Read for OneOrMany<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, faults: &mut Faults) -> Option<Self> {
        if value.get_ref().as_array().is_some() {
            return Many::read(value, at, faults).map(|many| Self(many.items));
        }
        T::read(value, at, faults).map(|value| Self(vec![Written { value, at: at.clone() }]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_decimal_and_binary_units() {
        assert_eq!(parse_bytes("100GB"), Ok(100_000_000_000));
        assert_eq!(parse_bytes("4 GiB"), Ok(4 << 30));
        for bad in ["", "GB", "100", "1.5GB", "100XB", "99999999999999999TB", "-1GB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
