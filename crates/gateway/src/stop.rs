//! The end of the process: the sessions' last words, the tunnels' DELETEs, and what stays on the host.

use std::time::{Duration, Instant};

use crate::effect::{Device, Effect, Rules};
use crate::gateway::Gateway;
use crate::input::Departure;
use crate::uplinks::Sources;

/// How long a BGP session's last word has on its way out.
const LAST_WORD: Duration = Duration::from_millis(200);
/// How long the peers' answers are waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// A DELETE is repeated after this: there is time for six more.
const REPEAT: Duration = Duration::from_millis(300);

/// How far a stop has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopping {
    how: Departure,
    stage: Stage,
    /// When the stage ends, whatever is still missing.
    pub(crate) until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The sessions have ended; their last words are on their way.
    Sessions,
    /// The tunnels are ending.
    Tunnels,
    /// The process may go.
    Over,
}

impl Stopping {
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }
}

impl Gateway {
    /// Sessions first: their last word still has to go through the tunnels. A stop after all, while only a restart was
    /// meant, takes away what the restart would have left.
    pub(crate) fn stop(&mut self, how: Departure, now: Instant) {
        match &mut self.stopping {
            Some(stopping) if stopping.how == Departure::Restart && how == Departure::Stop => {
                stopping.how = how;
                if stopping.stage == Stage::Tunnels {
                    self.leave_nothing();
                }
            }
            Some(_) => {}
            None => {
                self.close_sessions(now);
                self.stopping = Some(Stopping { how, stage: Stage::Sessions, until: now + LAST_WORD });
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// The last words had their time: now the tunnels.
    pub(crate) fn advance_stop(&mut self, now: Instant) {
        let Some(stopping) = self.stopping.as_mut().filter(|stopping| stopping.stage == Stage::Sessions)
        else {
            return;
        };
        if stopping.until > now {
            return;
        }
        (stopping.stage, stopping.until) = (Stage::Tunnels, now + PATIENCE);
        let how = stopping.how;
        self.ike.wind_up(REPEAT, now);
        self.drain_ike(now);
        match how {
            Departure::Stop => self.leave_nothing(),
            // The sessions are gone and what they taught is refused: so it stays, with the interfaces.
            Departure::Restart => {}
        }
    }

    fn leave_nothing(&mut self) {
        self.give_up_move();
        self.forget_all_routes();
        self.fib.close();
    }

    /// Ends once the peers have answered or patience is over, and the kernel is as it shall be left.
    pub(crate) fn finish_stop(&mut self, now: Instant) {
        let Some(stopping) = self.stopping.filter(|stopping| stopping.stage == Stage::Tunnels) else {
            return;
        };
        if stopping.until > now && !(self.ike.is_wound_up() && self.fib.is_settled()) {
            return;
        }
        self.stopping = Some(Stopping { stage: Stage::Over, ..stopping });
        if stopping.how == Departure::Stop {
            for id in self.tunnel_ids() {
                self.effects.push_back(Effect::Device(id, Device::Close));
            }
            if let Some(Rules::Install { table, .. }) = self.rules() {
                self.effects.push_back(Effect::Rules(Rules::Remove { table }));
            }
            if !self.sources.is_empty() {
                self.sources.clear();
                self.effects.push_back(Effect::Sources(Sources::new()));
            }
        }
        self.effects.push_back(Effect::Stopped);
    }
}
