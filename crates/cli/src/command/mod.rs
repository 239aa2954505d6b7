//! The verbs that ask the daemon.

mod capture;
mod change;
mod show;

use std::io::{self, Write};

use control::{Answer, Client, ClientError, Request};

use crate::args::{ClientOptions, Verb};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The daemon could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon said no, and why.
    #[error("{0}")]
    Refused(String),
    /// Output or file failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An answer of another kind than the question asks for.
    #[error("the daemon gave an answer of another kind: is it of another version?")]
    Unexpected,
    /// The words do not make a command.
    #[error("{0}")]
    Usage(String),
}

/// Carries out a client verb; `None` for the verbs that are not the client's.
pub fn execute(verb: &Verb, out: &mut impl Write) -> Option<Result<(), CommandError>> {
    match verb {
        Verb::Run { .. } | Verb::Check { .. } | Verb::Demo { .. } | Verb::Man | Verb::Completions { .. } => {
            None
        }
        Verb::Show(page) => Some(show::show(page, out)),
        Verb::Up { tunnel, client } => Some(change::up(tunnel, client, out)),
        Verb::Down { tunnel, client } => Some(change::down(tunnel, client, out)),
        Verb::Rekey { tunnel, ike, child, client } => Some(change::rekey(tunnel, *ike, *child, client, out)),
        Verb::Clear(what) => Some(change::clear(what, out)),
        Verb::Reload { client } => Some(change::reload(client, out)),
        Verb::Capture { tunnel, write, count, daemon } => {
            Some(capture::capture(tunnel, write.as_deref(), *count, daemon, out))
        }
    }
}

fn ask(options: &ClientOptions, request: &Request) -> Result<Answer, CommandError> {
    match Client::connect(&options.daemon.socket)?.ask(request)? {
        Answer::Refused(why) => Err(CommandError::Refused(why)),
        answer => Ok(answer),
    }
}
