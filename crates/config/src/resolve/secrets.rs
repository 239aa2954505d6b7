//! Secrets: one source each, read once, never shown.

use std::sync::Arc;

use crypto::Secret;

use super::Resolver;
use crate::error::{At, Fault};
use crate::raw::{RawPsk, RawSecret, SecretText, Written};

/// The three places a secret may come from, as written.
struct Sources<'r> {
    file: Option<&'r Written<String>>,
    value: Option<&'r Written<SecretText>>,
    credential: Option<&'r Written<String>>,
}

impl Resolver<'_> {
    /// The secret that proves us and the one that proves the peer.
    pub(super) fn psk(&mut self, written: &Written<RawPsk>) -> Option<(Arc<Secret>, Arc<Secret>)> {
        let raw = &written.value;
        let sources = Sources {
            file: raw.file.as_ref(),
            value: raw.value.as_ref(),
            credential: raw.credential.as_ref(),
        };
        if raw.local.is_none() && raw.remote.is_none() {
            let secret = Arc::new(self.secret(&sources, &written.at)?);
            return Some((Arc::clone(&secret), secret));
        }
        if sources.count() > 0 {
            let why = "local and remote stand for both sides: file, value and credential go inside them";
            self.faults.contradiction(&written.at, why);
        }
        let (Some(local), Some(remote)) = (&raw.local, &raw.remote) else {
            let fault = Fault::Missing("local and remote go together: psk = { local = {…}, remote = {…} }");
            self.faults.error(&written.at, fault);
            return None;
        };
        let local = self.one_secret(local);
        let remote = self.one_secret(remote);
        Some((Arc::new(local?), Arc::new(remote?)))
    }

    /// A secret of its own.
    pub(super) fn one_secret(&mut self, written: &Written<RawSecret>) -> Option<Secret> {
        let raw = &written.value;
        let sources = Sources {
            file: raw.file.as_ref(),
            value: raw.value.as_ref(),
            credential: raw.credential.as_ref(),
        };
        self.secret(&sources, &written.at)
    }

    fn secret(&mut self, sources: &Sources<'_>, at: &At) -> Option<Secret> {
        match sources.count() {
            0 => self.faults.error(at, Fault::Missing("one of file, value and credential")),
            1 => {}
            _ => self.faults.contradiction(at, "want one of file, value and credential, not several"),
        }
        let (read, at) = match sources {
            Sources { value: Some(written), .. } => return Some(written.value.0.clone()),
            Sources { file: Some(written), .. } => (self.host.file(&written.value), &written.at),
            Sources { credential: Some(written), .. } => (self.host.credential(&written.value), &written.at),
            Sources { .. } => return None,
        };
        read.map_err(|error| self.faults.error(at, Fault::Secret(error))).ok()
    }
}

impl Sources<'_> {
    fn count(&self) -> usize {
        [self.file.is_some(), self.value.is_some(), self.credential.is_some()]
            .into_iter()
            .filter(|set| *set)
            .count()
    }
}
