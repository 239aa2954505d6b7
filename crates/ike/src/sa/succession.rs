//! An IKE SA and the one that takes its place (RFC 7296 section 2.8): what is handed on, and how.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{PATIENCE, Phase, Shell, Up, UpParts, Want};
use crate::child::Child;
use crate::core::{Cross, Ctx};
use crate::event::{ChildId, Event, IkeId, Role};
use crate::resource::Pool;
use crate::timer::Timer;

/// A successor the peer made.
pub(crate) struct PeerRekey {
    pub(crate) new: IkeId,
    /// The lower of its two nonces.
    pub(crate) low: Vec<u8>,
}

/// What a successor takes over.
pub(crate) struct Estate {
    children: BTreeMap<ChildId, Child>,
    wants: Vec<Want>,
    pool: Option<Pool>,
    last_heard: Instant,
}

impl Up {
    /// The successor of one that was authenticated.
    pub(crate) fn successor(
        old: &Self,
        old_id: IkeId,
        parts: UpParts,
        shell: &mut Shell,
        ctx: &mut Ctx<'_>,
    ) -> Self {
        let mut up = Self::assemble(parts, Some(old_id), shell, ctx);
        up.last_heard = old.last_heard;
        up.superseded = old.superseded;
        up.told = true;
        up
    }

    /// Hands all over to a successor and tells.
    pub(crate) fn adopt(&mut self, new: IkeId, role: Role, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        self.phase = Phase::Rekeyed;
        if !self.told {
            self.told = true;
            ctx.event(Event::IkeRekeyed { conn: self.conn, old: shell.id, new, role });
        }
        shell.timers.stop_all();
        shell.timers.set(Timer::GiveUp, ctx.now + self.owed_delete());
        ctx.core.crosses.push_back(Cross::Adopt { old: shell.id, new });
    }

    pub(crate) fn bequeath(&mut self) -> Estate {
        let wants: Vec<Want> = self.wants.iter().chain(&self.put_off).copied().collect();
        self.wants.retain(|want| *want == Want::DeleteIke);
        self.put_off.clear();
        let wants = wants
            .into_iter()
            .filter(|want| !matches!(want, Want::DeleteIke | Want::RekeyIke | Want::Liveness));
        let (children, wants) = (std::mem::take(&mut self.children), wants.collect());
        Estate { children, wants, pool: self.pool.take(), last_heard: self.last_heard }
    }

    pub(crate) fn inherit(&mut self, estate: Estate, shell: &mut Shell, ctx: &mut Ctx<'_>) {
        self.inherits_from = None;
        self.told = false;
        match self.superseded {
            None => shell.timers.stop(Timer::GiveUp),
            // A rekeying is no way to stay for one that is to go.
            Some(_) => shell.timers.set(Timer::GiveUp, ctx.now + PATIENCE),
        }
        self.children.extend(estate.children);
        self.pool = estate.pool;
        self.last_heard = self.last_heard.max(estate.last_heard);
        for want in estate.wants {
            self.want(want, shell, ctx);
        }
        self.proceed(shell, ctx);
    }
}
