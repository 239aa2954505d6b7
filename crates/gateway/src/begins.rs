//! The first effects of a gateway: what stands from an earlier run is replaced, never taken down first.

use std::num::NonZeroU32;
use std::time::Instant;

use crate::gateway::Gateway;
use crate::many::NoSecrets;
use crate::{Effect, Rules};

/// The effects about policy rules, in order, of a gateway that begins with this file.
fn rules(text: &str) -> Vec<Effect> {
    #[expect(clippy::disallowed_methods, reason = "a test's clock must begin somewhere")]
    let now = Instant::now();
    let plan = config::load("causeway.toml", text, &NoSecrets).map_err(|errors| errors.to_string());
    let mut gateway = Gateway::new(plan.unwrap().gateway, [7; 32], NonZeroU32::MIN, now);
    std::iter::from_fn(|| gateway.poll_effect())
        .filter(|effect| matches!(effect, Effect::Rules(_) | Effect::Sources(_)))
        .collect()
}

#[test]
fn the_rules_of_an_own_table_stand_before_any_of_an_earlier_run_goes() {
    let effects = rules("[routes]\ntable = 1000\n");
    assert!(
        matches!(effects[..], [Effect::Rules(Rules::Install { table: 1000, .. })]),
        "whatever else sweeps would take them down for a moment"
    );
}

#[test]
fn without_rules_of_its_own_those_of_an_earlier_run_go() {
    let effects = rules("");
    assert!(matches!(&effects[..], [Effect::Sources(none)] if none.is_empty()));
}
