//! What views may ask.

use super::Engine;
use crate::config::{ConnId, Connection};
use crate::sa::IkeSa;
use crate::status::{ChildStatus, IkeStatus};

impl Engine {
    /// The connection's IKE SAs that are up or being made, oldest first.
    #[must_use]
    pub fn ike_status(&self, conn: ConnId) -> Vec<IkeStatus> {
        self.sas.values().filter(|sa| sa.conn() == Some(conn)).filter_map(IkeSa::status).collect()
    }

    /// The connection's CHILD SAs, oldest first.
    #[must_use]
    pub fn child_status(&self, conn: ConnId) -> Vec<ChildStatus> {
        let mut list: Vec<_> =
            self.sas.values().filter(|sa| sa.conn() == Some(conn)).flat_map(IkeSa::child_status).collect();
        list.sort_by_key(|status| status.child);
        list
    }

    /// The connection as the engine holds it.
    #[must_use]
    pub fn connection(&self, conn: ConnId) -> Option<&Connection> {
        self.connections.get(&conn).map(AsRef::as_ref)
    }

    /// IKE SAs being answered that have not authenticated.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.sas.values().filter(|sa| sa.is_half_open()).count()
    }

    /// All IKE SAs held, those kept only to repeat a last answer included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.sas.len()
    }
}
