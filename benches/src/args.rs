//! Arguments of the bench programs: `--name value` and `--flag`, nothing more.

use std::collections::BTreeMap;

/// What the command line said.
#[derive(Clone, Debug, Default)]
pub struct Args {
    named: BTreeMap<String, String>,
}

/// An argument that is missing or no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadArgument(String);

impl std::fmt::Display for BadArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "argument --{} is missing or not a number", self.0)
    }
}

impl std::error::Error for BadArgument {}

impl Args {
    /// This process's arguments.
    #[must_use]
    pub fn from_env() -> Self {
        Self::of(std::env::args().skip(1))
    }

    /// These arguments; a flag is a name without a value.
    #[must_use]
    pub fn of(words: impl IntoIterator<Item = String>) -> Self {
        let mut named = BTreeMap::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else { continue };
            let value = words.next_if(|next| !next.starts_with("--")).unwrap_or_default();
            named.insert(name.to_owned(), value);
        }
        Self { named }
    }

    /// Is the flag there?
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn need(&self, name: &str) -> Result<&str, BadArgument> {
        self.named.get(name).map(String::as_str).ok_or_else(|| BadArgument(name.to_owned()))
    }

    /// A number, or `default` where the argument is not there.
    ///
    /// # Errors
    /// It is there and no number.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, BadArgument> {
        match self.named.get(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| BadArgument(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_flags_are_told_apart() {
        let args = Args::of(["--esp", "--rate", "5", "--to", "a:1"].map(str::to_owned));
        assert!(args.has("esp") && !args.has("udp"));
        assert_eq!((args.number("rate", 1), args.number("size", 9)), (Ok(5), Ok(9)));
        assert_eq!((args.need("to"), args.number("to", 0).is_err()), (Ok("a:1"), true));
        assert!(args.need("nothing").is_err());
    }
}
