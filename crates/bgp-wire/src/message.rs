//! One message of any type.

use crate::writer::Writer;
use crate::{Context, Frame, MessageType, Notification, Open, RouteRefresh, Update};

/// A decoded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// RFC 4271 section 4.2.
    Open(Open),
    /// RFC 4271 section 4.3.
    Update(Update),
    /// RFC 4271 section 4.5.
    Notification(Notification),
    /// RFC 4271 section 4.4.
    Keepalive,
    /// RFC 2918, RFC 7313.
    RouteRefresh(RouteRefresh),
}

impl Message {
    /// Decodes a message the cutter found.
    ///
    /// # Errors
    /// The session must end with this notification. What RFC 7606 lets a session survive is no error here
    /// but a list of faults in [`Update`].
    pub fn decode(frame: &Frame, context: &Context) -> Result<Self, Notification> {
        match frame.kind() {
            MessageType::OPEN => Open::decode(frame.body()).map(Self::Open),
            MessageType::UPDATE => Update::decode(frame.body(), context).map(Self::Update),
            MessageType::NOTIFICATION => Ok(Self::Notification(Notification::decode(frame.body()))),
            MessageType::KEEPALIVE => Ok(Self::Keepalive),
            // The cutter lets no other type through.
            _ => RouteRefresh::decode(frame).map(Self::RouteRefresh),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> MessageType {
        match self {
            Self::Open(_) => MessageType::OPEN,
            Self::Update(_) => MessageType::UPDATE,
            Self::Notification(_) => MessageType::NOTIFICATION,
            Self::Keepalive => MessageType::KEEPALIVE,
            Self::RouteRefresh(_) => MessageType::ROUTE_REFRESH,
        }
    }
}

/// A KEEPALIVE: the header alone.
#[must_use]
pub fn keepalive() -> Vec<u8> {
    Writer::new(MessageType::KEEPALIVE).finish()
}
