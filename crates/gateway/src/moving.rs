//! Routes on their way to another table or metric: the new ones first, then the rules, and only then the old ones go.
//! Between two steps every packet finds a route of ours, the old or the new.

use config::Routes;

use crate::OUTER_MARK;
use crate::effect::{Effect, Level, Line, Rules};
use crate::fib::Origin;
use crate::gateway::Gateway;

/// How far a move has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moving {
    /// The new routes are being put in. The old ones stood in this table.
    Routes { from: u32 },
    /// The rules are being changed.
    Rules { from: u32 },
    /// The kernel refused the rules: old and new routes stand until it takes them.
    Refused { from: u32 },
}

/// What stands in the table of learned routes alone.
const LEARNED: [Origin; 3] = [Origin::Bgp, Origin::Unreachable, Origin::Stale];

impl Gateway {
    /// The rules that the present table asks for.
    pub(crate) fn rules(&self) -> Option<Rules> {
        let table = self.plan.routes.table;
        (table != Routes::MAIN).then_some(Rules::Install { table, mark: OUTER_MARK })
    }

    /// The file names another table or metric; the plan has it already.
    pub(crate) fn move_routes(&mut self, old: Routes) {
        let new = self.plan.routes;
        self.fib.set_metric(new.metric);
        if old.table == new.table {
            return;
        }
        // Before any rule can lead an outer packet into a tunnel.
        if new.table != Routes::MAIN {
            self.effects.push_back(Effect::Mark(Some(OUTER_MARK)));
        }
        self.fib.transfer(&LEARNED, old.table, new.table);
        self.fib.forget_where(Origin::Neighbor, |key, _| ![Routes::MAIN, new.table].contains(&key.table));
        for id in self.tunnel_ids() {
            self.want_static_routes(id);
        }
        self.moving = Some(Moving::Routes { from: old.table });
    }

    /// The next step of a move, if the last one is done. True when the old routes may go now.
    pub(crate) fn advance_move(&mut self) -> bool {
        if !self.fib.has_moved() {
            return false;
        }
        match self.moving {
            // The metric alone.
            None => {
                self.end_move();
                true
            }
            Some(Moving::Routes { from }) => {
                self.change_rules(from);
                false
            }
            Some(Moving::Rules { .. } | Moving::Refused { .. }) => false,
        }
    }

    /// All ends: there is nothing to wait for.
    pub(crate) fn give_up_move(&mut self) {
        self.moving = None;
        self.fib.end_move();
    }

    fn change_rules(&mut self, from: u32) {
        let rules = self.rules().unwrap_or(Rules::Remove { table: from });
        self.moving = Some(Moving::Rules { from });
        self.effects.push_back(Effect::Rules(rules));
    }

    /// The rules are up, or not.
    pub(crate) fn rules_applied(&mut self, outcome: Result<(), String>) {
        match (outcome, self.moving) {
            (Ok(()), Some(Moving::Rules { .. })) => {
                self.moving = None;
                if self.rules().is_none() {
                    self.effects.push_back(Effect::Mark(None));
                }
                self.end_move();
            }
            (Ok(()), _) => {}
            (Err(error), moving) => {
                if let Some(Moving::Rules { from }) = moving {
                    self.moving = Some(Moving::Refused { from });
                }
                let text = format!("the policy rules could not be changed, which is tried again: {error}");
                self.effects.push_back(Effect::Log(Line {
                    level: Level::Warn,
                    tunnel: None,
                    spi: None,
                    text,
                }));
            }
        }
    }

    /// The kernel is looked over: rules it refused are tried again.
    pub(crate) fn retry_rules(&mut self) {
        match self.moving {
            Some(Moving::Refused { from }) => self.change_rules(from),
            Some(Moving::Routes { .. } | Moving::Rules { .. }) => {}
            // Whoever took them away: they are put back.
            None => self.effects.extend(self.rules().map(Effect::Rules)),
        }
        if !self.sources.is_empty() {
            self.effects.push_back(Effect::Sources(self.sources.clone()));
        }
    }

    /// The old routes go with the next batch.
    fn end_move(&mut self) {
        self.fib.end_move();
        let place = format!("table {}, metric {}", self.plan.routes.table, self.plan.routes.metric);
        self.log(format!("every route of ours is in {place}"));
    }
}
