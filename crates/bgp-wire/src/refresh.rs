//! ROUTE-REFRESH (RFC 2918, RFC 7313).

use crate::writer::Writer;
use crate::{Family, Frame, MessageType, Notification, NotificationCode};

/// What the message is about (RFC 7313 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshKind {
    /// 0: send everything again.
    Request,
    /// 1: the refresh begins (BoRR).
    Begin,
    /// 2: the refresh is complete (EoRR).
    End,
    /// Anything else: to be ignored (RFC 7313 section 5).
    Unknown(u8),
}

/// A ROUTE-REFRESH message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// Request, begin or end.
    pub kind: RefreshKind,
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
}

impl RouteRefresh {
    /// For one of our families.
    #[must_use]
    pub fn new(kind: RefreshKind, family: Family) -> Self {
        Self { kind, afi: family.afi(), safi: family.safi() }
    }

    /// The family, where it is one of ours.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        Family::from_wire(self.afi, self.safi)
    }

    /// Parses the message. A request that carries outbound filters (RFC 5291), which we never offer,
    /// is read as a plain request.
    ///
    /// # Errors
    /// "If the length, excluding the fixed-size message header, of the received ROUTE-REFRESH message with
    /// Message Subtype 1 and 2 is not 4, then [...] NOTIFICATION message with the Error Code of
    /// 'ROUTE-REFRESH Message Error' and the subcode of 'Invalid Message Length'" (RFC 7313 section 5).
    pub fn decode(frame: &Frame) -> Result<Self, Notification> {
        let invalid = || Notification::new(NotificationCode::REFRESH_LENGTH, frame.bytes().to_vec());
        let Some([a, b, subtype, safi]) = frame.body().first_chunk::<4>().copied() else {
            return Err(invalid());
        };
        let kind = match subtype {
            0 => RefreshKind::Request,
            1 => RefreshKind::Begin,
            2 => RefreshKind::End,
            other => RefreshKind::Unknown(other),
        };
        if matches!(kind, RefreshKind::Begin | RefreshKind::End) && frame.body().len() != 4 {
            return Err(invalid());
        }
        Ok(Self { kind, afi: u16::from_be_bytes([a, b]), safi })
    }

    /// The message: 23 octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(MessageType::ROUTE_REFRESH);
        writer.u16(self.afi);
        writer.u8(match self.kind {
            RefreshKind::Request => 0,
            RefreshKind::Begin => 1,
            RefreshKind::End => 2,
            RefreshKind::Unknown(other) => other,
        });
        writer.u8(self.safi);
        writer.finish()
    }
}
