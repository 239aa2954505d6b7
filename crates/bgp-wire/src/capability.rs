//! Capabilities of an OPEN (RFC 5492 and the RFC of each).

use crate::reader::Reader;
use crate::{CapabilityCode, Family, Notification, NotificationCode, sanitise};

/// One family of the graceful restart capability (RFC 4724 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulFamily {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// The F bit: forwarding state was kept.
    pub forwarding: bool,
}

/// The graceful restart capability (RFC 4724 section 3, RFC 8538 section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// The R bit: the sender has restarted.
    pub restarting: bool,
    /// The N bit: notifications do not end the routes either.
    pub notification: bool,
    /// Seconds the sender may need, 0-4095.
    pub time: u16,
    /// The families it covers.
    pub families: Vec<GracefulFamily>,
}

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Code 1: a family, ours or not.
    Multiprotocol {
        /// Address family identifier.
        afi: u16,
        /// Subsequent address family identifier.
        safi: u8,
    },
    /// Code 2.
    RouteRefresh,
    /// Code 6.
    ExtendedMessage,
    /// Code 64.
    GracefulRestart(GracefulRestart),
    /// Code 65: the sender's AS number.
    As4(u32),
    /// Code 70.
    EnhancedRefresh,
    /// Code 73: the sender's names, safe to print.
    Fqdn {
        /// The host's name.
        host: String,
        /// Its domain.
        domain: String,
    },
    /// Any other, or a known one with a length of its own making: kept to be shown, else ignored.
    Unknown {
        /// Its code.
        code: CapabilityCode,
        /// Its value.
        value: Vec<u8>,
    },
}

impl Capability {
    /// The multiprotocol capability of one of our families.
    #[must_use]
    pub fn family(family: Family) -> Self {
        Self::Multiprotocol { afi: family.afi(), safi: family.safi() }
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> CapabilityCode {
        match self {
            Self::Multiprotocol { .. } => CapabilityCode::MULTIPROTOCOL,
            Self::RouteRefresh => CapabilityCode::ROUTE_REFRESH,
            Self::ExtendedMessage => CapabilityCode::EXTENDED_MESSAGE,
            Self::GracefulRestart(_) => CapabilityCode::GRACEFUL_RESTART,
            Self::As4(_) => CapabilityCode::AS4,
            Self::EnhancedRefresh => CapabilityCode::ENHANCED_REFRESH,
            Self::Fqdn { .. } => CapabilityCode::FQDN,
            Self::Unknown { code, .. } => *code,
        }
    }

    /// Parses the value of one capability parameter: a list of capabilities (RFC 5492 section 4).
    ///
    /// # Errors
    /// 2/0 when the list runs past its end, or when the two whose meaning the session needs
    /// (multiprotocol, 4-octet AS) have no valid length.
    pub(crate) fn decode_list(bytes: &[u8]) -> Result<Vec<Self>, Notification> {
        let malformed = || Notification::from(NotificationCode::OPEN_UNSPECIFIC);
        let mut reader = Reader::new(bytes);
        let mut list = Vec::new();
        while let Some(code) = reader.u8() {
            let length = reader.u8().ok_or_else(malformed)?;
            let value = reader.take(usize::from(length)).ok_or_else(malformed)?;
            list.push(Self::decode(CapabilityCode(code), value).ok_or_else(malformed)?);
        }
        Ok(list)
    }

    fn decode(code: CapabilityCode, value: &[u8]) -> Option<Self> {
        let unknown = || Self::Unknown { code, value: value.to_vec() };
        Some(match (code, value) {
            (CapabilityCode::MULTIPROTOCOL, [a, b, _, safi]) => {
                Self::Multiprotocol { afi: u16::from_be_bytes([*a, *b]), safi: *safi }
            }
            (CapabilityCode::AS4, [a, b, c, d]) => Self::As4(u32::from_be_bytes([*a, *b, *c, *d])),
            (CapabilityCode::MULTIPROTOCOL | CapabilityCode::AS4, _) => return None,
            (CapabilityCode::ROUTE_REFRESH, []) => Self::RouteRefresh,
            (CapabilityCode::ENHANCED_REFRESH, []) => Self::EnhancedRefresh,
            (CapabilityCode::EXTENDED_MESSAGE, []) => Self::ExtendedMessage,
            (CapabilityCode::GRACEFUL_RESTART, value) => graceful(value).unwrap_or_else(unknown),
            (CapabilityCode::FQDN, value) => fqdn(value).unwrap_or_else(unknown),
            _ => unknown(),
        })
    }

    /// Appends code, length and value.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let value = self.value();
        // A value above 255 octets has no form on the wire; none of ours comes near.
        let Ok(length) = u8::try_from(value.len()) else { return };
        out.extend([self.code().0, length]);
        out.extend(value);
    }

    fn value(&self) -> Vec<u8> {
        match self {
            Self::Multiprotocol { afi, safi } => {
                let [a, b] = afi.to_be_bytes();
                vec![a, b, 0, *safi]
            }
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRefresh => Vec::new(),
            Self::As4(asn) => asn.to_be_bytes().to_vec(),
            Self::GracefulRestart(graceful) => graceful.encode(),
            Self::Fqdn { host, domain } => {
                let mut value = Vec::new();
                for name in [host, domain] {
                    let name = name.as_bytes().get(..name.len().min(120)).unwrap_or_default();
                    value.push(u8::try_from(name.len()).unwrap_or(0));
                    value.extend(name);
                }
                value
            }
            Self::Unknown { value, .. } => value.clone(),
        }
    }

    /// The octets to name this capability in a 2/7 notification (RFC 5492 section 5).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

impl GracefulRestart {
    fn encode(&self) -> Vec<u8> {
        let flags = u16::from(self.restarting) << 15 | u16::from(self.notification) << 14;
        let mut value = (flags | self.time & 0x0fff).to_be_bytes().to_vec();
        for family in &self.families {
            value.extend(family.afi.to_be_bytes());
            value.extend([family.safi, u8::from(family.forwarding) << 7]);
        }
        value
    }
}

fn graceful(value: &[u8]) -> Option<Capability> {
    let mut reader = Reader::new(value);
    let word = reader.u16()?;
    let mut families = Vec::new();
    while !reader.is_empty() {
        let (afi, safi, flags) = (reader.u16()?, reader.u8()?, reader.u8()?);
        families.push(GracefulFamily { afi, safi, forwarding: flags & 0x80 != 0 });
    }
    Some(Capability::GracefulRestart(GracefulRestart {
        restarting: word & 0x8000 != 0,
        notification: word & 0x4000 != 0,
        time: word & 0x0fff,
        families,
    }))
}

fn fqdn(value: &[u8]) -> Option<Capability> {
    let mut reader = Reader::new(value);
    let mut name = || {
        let length = reader.u8()?;
        reader.take(usize::from(length)).map(|name| sanitise(&String::from_utf8_lossy(name)))
    };
    Some(Capability::Fqdn { host: name()?, domain: name()? })
}
