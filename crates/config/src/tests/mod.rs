//! Whole files: the shipped examples, the table of bad ones, mutations, reloads, and the reference page.

mod bad_files;
mod examples;
mod mutation;
mod reference;
mod reload;

use crypto::Secret;

use crate::host::{Host, SecretError};
use crate::{Errors, Plan, load};

/// A host whose secrets are all there, but for those of a name that asks for a fault.
pub(crate) struct TestHost;

impl Host for TestHost {
    fn file(&self, path: &str) -> Result<Secret, SecretError> {
        if path.contains("exposed") {
            return Err(SecretError::Exposed { path: path.into(), mode: 0o644 });
        }
        Ok(Secret::from("Abcdefgh1"))
    }

    fn credential(&self, name: &str) -> Result<Secret, SecretError> {
        if name == "none" {
            return Err(SecretError::NoCredentials);
        }
        Ok(Secret::from("Credential1"))
    }

    fn table(&self, name: &str) -> Option<u32> {
        (name == "cloud").then_some(100)
    }
}

pub(crate) const AZURE: &str = include_str!("../../../../examples/azure.toml");
pub(crate) const AWS: &str = include_str!("../../../../examples/aws.toml");

pub(crate) fn read(text: &str) -> Result<Plan, Errors> {
    load("t.toml", text, &TestHost)
}

/// A plan that must be good.
pub(crate) fn good(text: &str) -> Plan {
    read(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// One replacement in the Azure example, which must be there to be made.
pub(crate) fn azure(from: &str, to: &str) -> String {
    assert!(AZURE.contains(from), "the example has no {from:?}");
    AZURE.replacen(from, to, 1)
}

/// Every line of what is wrong.
pub(crate) fn errors(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(ToOwned::to_owned).collect(),
    }
}
