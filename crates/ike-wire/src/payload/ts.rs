//! Traffic Selector payloads (RFC 7296 section 3.13).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{EncodeError, Error};
use crate::iana::TsType;
use crate::reader::Reader;
use crate::writer::Writer;

/// Octets of a selector up to and with its length field.
const SELECTOR_HEADER: usize = 4;

/// The body of a TSi or TSr payload: one or more selectors, at most 255.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficSelectors {
    /// The selectors, the first being the packet's own where one triggered the exchange (section 2.9).
    pub selectors: Vec<TrafficSelector>,
}

/// One selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrafficSelector {
    /// A range of IPv4 or IPv6 addresses.
    Ip(IpSelector),
    /// A selector of another type, kept as it came.
    Other(OtherSelector),
}

/// A range of addresses, a protocol and a range of ports, exactly as sent: nothing says that first is not
/// behind last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpSelector {
    /// IP protocol number; 0 for any.
    pub protocol: u8,
    /// The first port, or ICMP type and code; 0 for any. 65535 with an end of 0 means OPAQUE.
    pub start_port: u16,
    /// The last port; 65535 for any.
    pub end_port: u16,
    /// The addresses.
    pub addresses: Addresses,
}

/// First and last address of a range, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// TS_IPV4_ADDR_RANGE.
    V4(Ipv4Addr, Ipv4Addr),
    /// TS_IPV6_ADDR_RANGE.
    V6(Ipv6Addr, Ipv6Addr),
}

impl Addresses {
    /// A range of two addresses; `None` when they are of different families.
    #[must_use]
    pub const fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Some(Self::V4(first, last)),
            (IpAddr::V6(first), IpAddr::V6(last)) => Some(Self::V6(first, last)),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// The first address.
    #[must_use]
    pub const fn first(self) -> IpAddr {
        match self {
            Self::V4(first, _) => IpAddr::V4(first),
            Self::V6(first, _) => IpAddr::V6(first),
        }
    }

    /// The last address.
    #[must_use]
    pub const fn last(self) -> IpAddr {
        match self {
            Self::V4(_, last) => IpAddr::V4(last),
            Self::V6(_, last) => IpAddr::V6(last),
        }
    }
}

/// A selector whose type is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherSelector {
    /// Its type.
    pub kind: TsType,
    /// The octet where IP selectors have their protocol.
    pub protocol: u8,
    /// What stands behind the length field.
    pub data: Vec<u8>,
}

impl TrafficSelectors {
    /// RFC 7296 section 3.13: the count is followed by three reserved octets and "one or more" selectors.
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let count = r.u8("TS count")?;
        r.skip(3, "TS reserved")?;
        if count == 0 {
            return Err(Error::Value { what: "TS count", value: 0 });
        }
        let selectors = (0..count).map(|_| TrafficSelector::parse(r)).collect::<Result<_, _>>()?;
        Ok(Self { selectors })
    }

    pub(crate) fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        if self.selectors.is_empty() {
            return Err(EncodeError::Invalid { what: "TS without a selector" });
        }
        w.count_u8(self.selectors.len(), usize::from(u8::MAX), "traffic selectors")?;
        w.zeros(3);
        self.selectors.iter().try_for_each(|selector| selector.emit(w))
    }
}

impl TrafficSelector {
    fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let kind = TsType(r.u8("selector type")?);
        let protocol = r.u8("selector protocol")?;
        let length = usize::from(r.u16("selector length")?);
        let body =
            length.checked_sub(SELECTOR_HEADER).ok_or(Error::Length { what: "selector length", length })?;
        let mut body = r.sub(body, "selector")?;
        let selector = match kind {
            TsType::TS_IPV4_ADDR_RANGE => Self::Ip(IpSelector::parse(protocol, &mut body, |r| {
                let (first, last) = (r.array::<4>("selector start")?, r.array::<4>("selector end")?);
                Ok(Addresses::V4(first.into(), last.into()))
            })?),
            TsType::TS_IPV6_ADDR_RANGE => Self::Ip(IpSelector::parse(protocol, &mut body, |r| {
                let (first, last) = (r.array::<16>("selector start")?, r.array::<16>("selector end")?);
                Ok(Addresses::V6(first.into(), last.into()))
            })?),
            kind => Self::Other(OtherSelector { kind, protocol, data: body.rest().to_vec() }),
        };
        body.finish("selector")?;
        Ok(selector)
    }

    fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let (kind, protocol) = match self {
            Self::Ip(IpSelector { addresses: Addresses::V4(..), protocol, .. }) => {
                (TsType::TS_IPV4_ADDR_RANGE, *protocol)
            }
            Self::Ip(IpSelector { addresses: Addresses::V6(..), protocol, .. }) => {
                (TsType::TS_IPV6_ADDR_RANGE, *protocol)
            }
            Self::Other(other) => (other.kind, other.protocol),
        };
        w.u8(kind.0);
        w.u8(protocol);
        w.measured(2, "traffic selector", |w| {
            match self {
                Self::Ip(selector) => selector.emit(w),
                Self::Other(other) => w.bytes(&other.data),
            }
            Ok(())
        })
    }
}

impl IpSelector {
    fn parse(
        protocol: u8,
        r: &mut Reader<'_>,
        addresses: impl FnOnce(&mut Reader<'_>) -> Result<Addresses, Error>,
    ) -> Result<Self, Error> {
        let start_port = r.u16("selector start port")?;
        let end_port = r.u16("selector end port")?;
        Ok(Self { protocol, start_port, end_port, addresses: addresses(r)? })
    }

    fn emit(&self, w: &mut Writer) {
        w.u16(self.start_port);
        w.u16(self.end_port);
        match self.addresses {
            Addresses::V4(first, last) => {
                w.bytes(&first.octets());
                w.bytes(&last.octets());
            }
            Addresses::V6(first, last) => {
                w.bytes(&first.octets());
                w.bytes(&last.octets());
            }
        }
    }
}
