//! NOTIFICATION: why a session ends (RFC 4271 sections 4.5 and 6, RFC 4486, RFC 6608, RFC 9003, RFC 9687).

use std::fmt;
use std::fmt::Write as _;

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Family, MessageType};

/// Error code and subcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NotificationCode {
    /// The error code.
    pub code: u8,
    /// The error subcode; 0 where the code has none.
    pub subcode: u8,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $code:literal / $subcode:literal, $text:literal;)*) => {
        impl NotificationCode {
            $($(#[$doc])* pub const $constant: Self = Self { code: $code, subcode: $subcode };)*

            /// All named here.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$constant),*];

            fn name(self) -> Option<&'static str> {
                match (self.code, self.subcode) {
                    $(($code, $subcode) => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// RFC 4271 section 6.1.
    NOT_SYNCHRONISED = 1 / 1, "message header error: connection not synchronized";
    /// RFC 4271 section 6.1; data: the length field.
    BAD_LENGTH = 1 / 2, "message header error: bad message length";
    /// RFC 4271 section 6.1; data: the type field.
    BAD_TYPE = 1 / 3, "message header error: bad message type";
    /// RFC 4271 section 6.2.
    OPEN_UNSPECIFIC = 2 / 0, "OPEN error: malformed";
    /// RFC 4271 section 6.2; data: the highest version supported, 16 bit.
    UNSUPPORTED_VERSION = 2 / 1, "OPEN error: unsupported version number";
    /// RFC 4271 section 6.2.
    BAD_PEER_AS = 2 / 2, "OPEN error: bad peer AS";
    /// RFC 4271 section 6.2, RFC 6286.
    BAD_BGP_IDENTIFIER = 2 / 3, "OPEN error: bad BGP identifier";
    /// RFC 4271 section 6.2.
    UNSUPPORTED_PARAMETER = 2 / 4, "OPEN error: unsupported optional parameter";
    /// RFC 4271 section 6.2.
    UNACCEPTABLE_HOLD_TIME = 2 / 6, "OPEN error: unacceptable hold time";
    /// RFC 5492 section 5; data: the wanted capabilities.
    UNSUPPORTED_CAPABILITY = 2 / 7, "OPEN error: unsupported capability";
    /// RFC 9234 section 4.2.
    ROLE_MISMATCH = 2 / 11, "OPEN error: role mismatch";
    /// RFC 4271 section 6.3.
    MALFORMED_ATTRIBUTE_LIST = 3 / 1, "UPDATE error: malformed attribute list";
    /// RFC 4271 section 6.3.
    UNKNOWN_WELL_KNOWN = 3 / 2, "UPDATE error: unrecognized well-known attribute";
    /// RFC 4271 section 6.3; data: the attribute type.
    MISSING_WELL_KNOWN = 3 / 3, "UPDATE error: missing well-known attribute";
    /// RFC 4271 section 6.3.
    ATTRIBUTE_FLAGS = 3 / 4, "UPDATE error: attribute flags";
    /// RFC 4271 section 6.3.
    ATTRIBUTE_LENGTH = 3 / 5, "UPDATE error: attribute length";
    /// RFC 4271 section 6.3.
    INVALID_ORIGIN = 3 / 6, "UPDATE error: invalid ORIGIN attribute";
    /// RFC 4271 section 6.3.
    INVALID_NEXT_HOP = 3 / 8, "UPDATE error: invalid NEXT_HOP attribute";
    /// RFC 4271 section 6.3, RFC 4760 section 7.
    OPTIONAL_ATTRIBUTE = 3 / 9, "UPDATE error: optional attribute";
    /// RFC 4271 section 6.3.
    INVALID_NETWORK = 3 / 10, "UPDATE error: invalid network field";
    /// RFC 4271 section 6.3.
    MALFORMED_AS_PATH = 3 / 11, "UPDATE error: malformed AS_PATH";
    /// RFC 4271 section 6.5.
    HOLD_TIMER_EXPIRED = 4 / 0, "hold timer expired";
    /// RFC 4271 section 6.6.
    FSM_UNSPECIFIED = 5 / 0, "finite state machine error";
    /// RFC 6608.
    UNEXPECTED_IN_OPEN_SENT = 5 / 1, "finite state machine error: unexpected message in OpenSent";
    /// RFC 6608.
    UNEXPECTED_IN_OPEN_CONFIRM = 5 / 2, "finite state machine error: unexpected message in OpenConfirm";
    /// RFC 6608.
    UNEXPECTED_IN_ESTABLISHED = 5 / 3, "finite state machine error: unexpected message in Established";
    /// RFC 4486; data: AFI, SAFI, limit.
    MAX_PREFIXES = 6 / 1, "cease: maximum number of prefixes reached";
    /// RFC 4486; data: RFC 9003 text.
    ADMINISTRATIVE_SHUTDOWN = 6 / 2, "cease: administrative shutdown";
    /// RFC 4486.
    PEER_DECONFIGURED = 6 / 3, "cease: peer de-configured";
    /// RFC 4486; data: RFC 9003 text.
    ADMINISTRATIVE_RESET = 6 / 4, "cease: administrative reset";
    /// RFC 4486.
    CONNECTION_REJECTED = 6 / 5, "cease: connection rejected";
    /// RFC 4486.
    CONFIGURATION_CHANGE = 6 / 6, "cease: other configuration change";
    /// RFC 4486.
    COLLISION = 6 / 7, "cease: connection collision resolution";
    /// RFC 4486.
    OUT_OF_RESOURCES = 6 / 8, "cease: out of resources";
    /// RFC 8538; data: the notification that stands behind it.
    HARD_RESET = 6 / 9, "cease: hard reset";
    /// RFC 9384.
    BFD_DOWN = 6 / 10, "cease: BFD down";
    /// RFC 7313 section 5; data: the message.
    REFRESH_LENGTH = 7 / 1, "ROUTE-REFRESH error: invalid message length";
    /// RFC 9687 section 4.
    SEND_HOLD_TIMER_EXPIRED = 8 / 0, "send hold timer expired";
}

impl fmt::Display for NotificationCode {
    /// The registry's words, with the numbers where there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {} subcode {}", self.code, self.subcode),
        }
    }
}

/// A NOTIFICATION message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Why.
    pub code: NotificationCode,
    /// What the code says its data is; from a peer, anything.
    pub data: Vec<u8>,
}

/// The data of Cease / Maximum Number of Prefixes Reached (RFC 4486 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixLimit {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// The sender's limit.
    pub limit: u32,
}

/// The longest text of a shutdown communication, in octets (RFC 9003 section 2).
const MAX_TEXT: usize = 255;
/// The most data octets that are shown as hexadecimal.
const SHOWN_DATA: usize = 32;

impl Notification {
    /// With its data.
    #[must_use]
    pub fn new(code: NotificationCode, data: Vec<u8>) -> Self {
        Self { code, data }
    }

    /// Administrative Shutdown or Reset with a text for the peer's operator (RFC 9003 section 2).
    /// A text above 255 octets is cut at a character boundary.
    #[must_use]
    pub fn with_text(code: NotificationCode, text: &str) -> Self {
        let mut end = text.len().min(MAX_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        if text.is_empty() {
            return code.into();
        }
        let mut data = vec![u8::try_from(text.len()).unwrap_or(u8::MAX)];
        data.extend_from_slice(text.as_bytes());
        Self { code, data }
    }

    /// Maximum Number of Prefixes Reached, with our limit (RFC 4486 section 4).
    #[must_use]
    pub fn max_prefixes(family: Family, limit: u32) -> Self {
        let mut data = family.afi().to_be_bytes().to_vec();
        data.push(family.safi());
        data.extend_from_slice(&limit.to_be_bytes());
        Self { code: NotificationCode::MAX_PREFIXES, data }
    }

    /// Parses the body. A body below two octets, which the cutter never lets through, reads as 0/0.
    #[must_use]
    pub fn decode(body: &[u8]) -> Self {
        let mut reader = Reader::new(body);
        let code = reader.u8().unwrap_or(0);
        let subcode = reader.u8().unwrap_or(0);
        Self { code: NotificationCode { code, subcode }, data: reader.rest().to_vec() }
    }

    /// The message, at most 4096 octets: data beyond that is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(MessageType::NOTIFICATION);
        writer.u8(self.code.code);
        writer.u8(self.code.subcode);
        let room = crate::MAX_LENGTH - crate::HEADER_LENGTH - 2;
        writer.slice(self.data.get(..room).unwrap_or(&self.data));
        writer.finish()
    }

    /// The text a peer's operator wrote (RFC 9003), safe to print: its length octet is never trusted,
    /// bad UTF-8 is replaced and control characters are escaped.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        if !matches!(
            self.code,
            NotificationCode::ADMINISTRATIVE_SHUTDOWN | NotificationCode::ADMINISTRATIVE_RESET
        ) {
            return None;
        }
        let (length, rest) = self.data.split_first()?;
        let text = rest.get(..usize::from(*length)).unwrap_or(rest);
        (!text.is_empty()).then(|| sanitise(&String::from_utf8_lossy(text)))
    }

    /// The peer's limit, where the notification is about one and says it.
    #[must_use]
    pub fn prefix_limit(&self) -> Option<PrefixLimit> {
        if self.code != NotificationCode::MAX_PREFIXES {
            return None;
        }
        let mut reader = Reader::new(&self.data);
        Some(PrefixLimit { afi: reader.u16()?, safi: reader.u8()?, limit: reader.u32()? })
    }
}

impl From<NotificationCode> for Notification {
    fn from(code: NotificationCode) -> Self {
        Self { code, data: Vec::new() }
    }
}

impl fmt::Display for PrefixLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Family::from_wire(self.afi, self.safi) {
            Some(family) => write!(f, "limit {}, {family}", self.limit),
            None => write!(f, "limit {}, AFI {} SAFI {}", self.limit, self.afi, self.safi),
        }
    }
}

impl fmt::Display for Notification {
    /// In words for an operator: the code, its text or its limit, else its data in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}/{})", self.code, self.code.code, self.code.subcode)?;
        if let Some(text) = self.text() {
            return write!(f, ": \"{text}\"");
        }
        if let Some(limit) = self.prefix_limit() {
            return write!(f, ": {limit}");
        }
        if self.data.is_empty() {
            return Ok(());
        }
        f.write_str(", data ")?;
        for octet in self.data.iter().take(SHOWN_DATA) {
            write!(f, "{octet:02x}")?;
        }
        if self.data.len() > SHOWN_DATA {
            f.write_str("…")?;
        }
        Ok(())
    }
}

/// Text from a peer with control characters (and what could reorder a line) escaped.
#[must_use]
pub fn sanitise(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        let reorders =
            matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders {
            // Writing to a String cannot fail.
            let _ = write!(clean, "\\u{{{:x}}}", u32::from(character));
        } else {
            clean.push(character);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_text_survives_the_wire_and_is_escaped() {
        let sent =
            Notification::with_text(NotificationCode::ADMINISTRATIVE_SHUTDOWN, "maintenance\n\u{1b}[31m");
        let got = Notification::decode(&sent.encode()[19..]);
        assert_eq!(got, sent);
        assert_eq!(got.to_string(), "cease: administrative shutdown (6/2): \"maintenance\\u{a}\\u{1b}[31m\"");
    }

    #[test]
    fn the_length_octet_of_a_text_is_not_trusted() {
        let lying = Notification::new(NotificationCode::ADMINISTRATIVE_RESET, vec![200, b'h', b'i']);
        assert_eq!(lying.text().as_deref(), Some("hi"));
        let none = Notification::new(NotificationCode::ADMINISTRATIVE_RESET, vec![0]);
        assert_eq!(none.text(), None);
        let bad = Notification::new(NotificationCode::ADMINISTRATIVE_RESET, vec![2, 0xff, 0xfe]);
        assert_eq!(bad.text().as_deref(), Some("\u{fffd}\u{fffd}"));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let sent = Notification::with_text(NotificationCode::ADMINISTRATIVE_SHUTDOWN, &"ä".repeat(200));
        assert_eq!(sent.data[0], 254);
        assert_eq!(sent.text().unwrap().chars().count(), 127);
    }

    #[test]
    fn the_peer_limit_is_decoded_for_the_operator() {
        let aws = Notification::decode(&[6, 1, 0, 1, 1, 0, 0, 0, 100]);
        assert_eq!(
            aws.to_string(),
            "cease: maximum number of prefixes reached (6/1): limit 100, ipv4 unicast"
        );
        assert_eq!(Notification::max_prefixes(Family::Ipv4Unicast, 100), aws);
    }

    #[test]
    fn unknown_codes_are_shown_as_numbers_and_data_as_hexadecimal() {
        assert_eq!(Notification::decode(&[99, 3, 0xab]).to_string(), "code 99 subcode 3 (99/3), data ab");
    }

    #[test]
    fn every_named_code_survives_the_wire() {
        for code in NotificationCode::ALL {
            let got = Notification::decode(&Notification::from(*code).encode()[19..]);
            assert_eq!(got.code, *code);
            assert!(!got.to_string().starts_with("code"), "{code:?}");
        }
    }
}
