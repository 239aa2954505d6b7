//! The command line: arguments, one file a verb, tables and JSON.
//!
//! `run`, `check` and `demo` are carried out by the binary; every other verb is a client of the
//! daemon's control socket and lives here whole.

mod args;
mod command;
mod definitions;
mod render;

pub use args::{ClearWhat, Cli, ClientOptions, Show, ShowBgp, ShowNeighbors, Verb};
pub use command::{CommandError, execute};
pub use definitions::{completions, man_page};
