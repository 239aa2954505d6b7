//! What is wrong with a file, where, and what would be right. All of it at once.

use std::fmt;
use std::ops::Range;

use crate::nearest::nearest;

/// One thing wrong, or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// 1 is the first line.
    pub line: usize,
    /// In characters; 1 is the first.
    pub column: usize,
    /// The key's whole path, as `tunnel.azure.ike.lifetime`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, and what would be right.
    pub fault: Fault,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.fault.fmt(f)
    }
}

/// A file that cannot be used, with every reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The file's name, as given.
    pub file: String,
    /// In the order of the file. Never empty.
    pub remarks: Vec<Remark>,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, remark) in self.remarks.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{remark}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// What is wrong, without the place. No variant ever carries a secret or a line of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A key that does not exist.
    #[error("unknown key{}{}", Suggest(.nearest.as_deref()), Elsewhere(.belongs.as_deref()))]
    UnknownKey {
        /// The known key nearest to it.
        nearest: Option<String>,
        /// The section that has a key of that name.
        belongs: Option<String>,
    },
    /// A key kept for later.
    #[error("reserved for a later version and not built yet; take it out")]
    Reserved,
    /// Another type of value.
    #[error("want {want}, found {found}")]
    Type {
        /// In words.
        want: &'static str,
        /// In words.
        found: &'static str,
    },
    /// A value of the right type that means nothing.
    #[error("{0}")]
    Value(String),
    /// A word that is not one of a few.
    #[error("'{word}' is not one of {}{}", Words(.known), Suggest(nearest(.word, .known.iter().copied()).as_deref()))]
    Word {
        /// What was written.
        word: String,
        /// What may be.
        known: &'static [&'static str],
    },
    /// A number or a time outside its bounds.
    #[error("{found} is out of range: want {min} to {max}")]
    Range {
        /// What was written.
        found: String,
        /// The least.
        min: String,
        /// The most.
        max: String,
    },
    /// A key that must be there.
    #[error("missing: {0}")]
    Missing(&'static str),
    /// A list with nothing in it where something is needed.
    #[error("must not be empty: {0}")]
    Empty(&'static str),
    /// A name that stands for nothing.
    #[error("there is no {kind} '{name}'{}", Suggest(.nearest.as_deref()))]
    NoSuch {
        /// "tunnel", "prefix list".
        kind: &'static str,
        /// The name.
        name: String,
        /// The known name nearest to it.
        nearest: Option<String>,
    },
    /// Two things that must differ and do not.
    #[error("{what} is also that of {other}")]
    Duplicate {
        /// What, with its value.
        what: String,
        /// The key of the other.
        other: String,
    },
    /// Settings that cannot both be.
    #[error("{0}")]
    Contradiction(String),
    /// The tunnel would carry its own outer packets.
    #[error("{0}: the tunnel would carry its own packets")]
    EatsItself(String),
    /// A secret that cannot be had.
    #[error("{0}")]
    Secret(crate::host::SecretError),
    /// The head-end is known not to take this.
    #[error("profile {profile}: {why}")]
    Profile {
        /// Its name.
        profile: &'static str,
        /// The limit.
        why: String,
    },
    /// A profile that is known of, but not built.
    #[error(
        "profile '{0}' is not built yet (built: generic, azure, aws); use \"generic\" and write its values"
    )]
    ProfileNotBuilt(String),
    /// Only ever a warning: an algorithm too weak for a new design.
    #[error("'{proposal}' is weak ({words}), named by {by}; use it only with a peer that has nothing better")]
    Weak {
        /// The proposal.
        proposal: String,
        /// Its weak words.
        words: String,
        /// "the file" or "profile azure".
        by: String,
    },
    /// Only ever a warning.
    #[error("{0}")]
    Doubt(String),
}

struct Suggest<'a>(Option<&'a str>);

impl fmt::Display for Suggest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |word| write!(f, " (did you mean '{word}'?)"))
    }
}

struct Elsewhere<'a>(Option<&'a str>);

impl fmt::Display for Elsewhere<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |section| write!(f, " here (it belongs in [{section}])"))
    }
}

struct Words<'a>(&'a [&'a str]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            write!(f, "{}\"{word}\"", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Where a key stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    /// Its whole path.
    pub(crate) key: String,
    /// Octets of the file.
    pub(crate) span: Range<usize>,
}

/// Gathers everything wrong and doubtful while the file is read.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    errors: Vec<(At, Fault)>,
    warnings: Vec<(At, Fault)>,
}

/// More than this many errors help no one.
const MAX_ERRORS: usize = 100;

impl Faults {
    pub(crate) fn error(&mut self, at: &At, fault: Fault) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push((at.clone(), fault));
        }
    }

    pub(crate) fn warn(&mut self, at: &At, fault: Fault) {
        if self.warnings.len() < MAX_ERRORS {
            self.warnings.push((at.clone(), fault));
        }
    }

    pub(crate) fn doubt(&mut self, at: &At, words: impl Into<String>) {
        self.warn(at, Fault::Doubt(words.into()));
    }

    pub(crate) fn contradiction(&mut self, at: &At, words: impl Into<String>) {
        self.error(at, Fault::Contradiction(words.into()));
    }

    /// Errors and warnings, placed in `text` and in its order.
    pub(crate) fn place(self, text: &str) -> (Vec<Remark>, Vec<Remark>) {
        let place = |mut list: Vec<(At, Fault)>| {
            list.sort_by_key(|(at, _)| at.span.start);
            list.dedup();
            let remarks = list.into_iter().map(|(at, fault)| {
                let (line, column) = line_and_column(text, at.span.start);
                Remark { line, column, key: at.key, fault }
            });
            remarks.collect()
        };
        (place(self.errors), place(self.warnings))
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default()).chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let text = "a\nbä = 1\n";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 2), (2, 1));
        assert_eq!(line_and_column(text, 5), (2, 3));
        assert_eq!(line_and_column(text, 500), (3, 1));
    }
}
