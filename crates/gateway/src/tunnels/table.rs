//! The datapath's table, made of every tunnel's CHILD SAs.

use std::sync::Arc;

use ::tunnel::{InboundRow, OutboundRow, Selectors, Table, TableBuilder, TunnelRow};

use super::Tunnel;
use super::children::Child;
use crate::effect::Effect;
use crate::gateway::Gateway;

impl Gateway {
    /// Publishes a new table if anything of it changed. Rows share their SAs with the table before.
    pub(crate) fn publish(&mut self) {
        if !std::mem::take(&mut self.table_dirty) {
            return;
        }
        let mut table = TableBuilder::default();
        table.set_outer(Arc::clone(&self.outer));
        for tunnel in self.tunnels.values() {
            table.set_tunnel(row(tunnel));
            for (_, child) in tunnel.children.iter() {
                table.set_inbound(inbound(tunnel, child));
            }
        }
        self.table = Arc::new(table.build());
        self.effects.push_back(Effect::Publish(Arc::clone(&self.table)));
    }

    /// The table published last.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }
}

fn row(tunnel: &Tunnel) -> TunnelRow {
    TunnelRow {
        id: tunnel.id,
        mtu: u16::try_from(tunnel.mtu).unwrap_or(u16::MAX),
        mss: tunnel.plan.interface.mss,
        df: tunnel.plan.esp.df,
        outbound: tunnel.children.ways().into_iter().map(outbound).collect(),
    }
}

fn outbound(child: &Child) -> OutboundRow {
    OutboundRow {
        sa: Arc::clone(&child.outbound),
        path: child.outer(),
        local: Arc::new(Selectors::new(&child.local_ts)),
        remote: Arc::new(Selectors::new(&child.remote_ts)),
    }
}

fn inbound(tunnel: &Tunnel, child: &Child) -> InboundRow {
    InboundRow {
        tunnel: tunnel.id,
        sa: Arc::clone(&child.inbound),
        path: child.outer(),
        local: Arc::new(Selectors::new(&child.local_ts)),
        remote: Arc::new(Selectors::new(&child.remote_ts)),
    }
}
