//! The configuration file, and the words inside it: whatever stands there, every fault is told and none panics.
#![no_main]

use config::{Host, SecretError};
use crypto::Secret;
use ike::{EspProposal, Identity, IkeProposal};
use libfuzzer_sys::fuzz_target;

/// A host where every secret and every table is there.
struct Everything;

impl Host for Everything {
    fn file(&self, _: &str) -> Result<Secret, SecretError> {
        Ok(Secret::from("fuzzed"))
    }

    fn credential(&self, _: &str) -> Result<Secret, SecretError> {
        Ok(Secret::from("fuzzed"))
    }

    fn table(&self, name: &str) -> Option<u32> {
        (name == "main").then_some(254)
    }
}

fuzz_target!(|text: &str| {
    match config::load("fuzzed.toml", text, &Everything) {
        // What is good has a plan that differs from itself in nothing, and prints.
        Ok(plan) => {
            assert!(config::Diff::new(&plan.gateway, &plan.gateway).is_empty());
            assert!(!plan.to_string().contains("fuzzed"), "a secret was printed");
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
    if let Ok(proposal) = IkeProposal::parse(text) {
        assert_eq!(IkeProposal::parse(&proposal.to_string()), Ok(proposal));
    }
    if let Ok(proposal) = EspProposal::parse(text) {
        assert_eq!(EspProposal::parse(&proposal.to_string()), Ok(proposal));
    }
    if let Ok(identity) = text.parse::<Identity>() {
        assert_eq!(identity.to_string().parse(), Ok(identity));
    }
});
