//! The datapath's table, made of every tunnel's CHILD SAs.

use std::sync::Arc;

use ::tunnel::{InboundRow, OutboundRow, Selectors, Table, TunnelRow};

use super::Tunnel;
use super::children::Child;
use crate::effect::Effect;
use crate::gateway::Gateway;
use crate::looks;

impl Gateway {
    /// Publishes a new table if anything of it changed: the rows of the tunnels that were touched are made anew, and share
    /// their SAs with the table before.
    pub(crate) fn publish(&mut self) {
        if !std::mem::take(&mut self.table_dirty) {
            return;
        }
        let mut table = self.table.edit();
        table.set_outer(Arc::clone(&self.outer));
        let unpublished = self.tunnels.take_unpublished();
        // All that goes before anything comes.
        for spi in unpublished.iter().filter_map(|id| self.rows.remove(id)).flatten() {
            table.remove_inbound(spi);
        }
        for id in unpublished {
            let Some(tunnel) = self.tunnels.get(&id) else {
                table.remove_tunnel(id);
                continue;
            };
            looks::count();
            table.set_tunnel(row(tunnel));
            for (_, child) in tunnel.children.iter() {
                table.set_inbound(inbound(tunnel, child));
            }
            self.rows.insert(id, tunnel.children.iter().map(|(_, child)| child.inbound.spi()).collect());
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
