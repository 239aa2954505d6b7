//! `causeway`: the one binary. It performs effects and decides nothing; what it decides lives in `gateway`.

mod bypass;
mod check;
mod demo;
mod host;
mod interfaces;
mod io;
mod logging;
mod pool;
mod run;
mod shell;
mod sockets;
mod start;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Verb};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = std::io::stdout().lock();
    if let Some(outcome) = cli::execute(&cli.verb, &mut out) {
        return match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("causeway: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match cli.verb {
        Verb::Run { config } => run::run(&config),
        Verb::Check { config, no_host } => check::check(&config, !no_host, &mut out),
        Verb::Demo { keep } => demo::demo(keep),
        Verb::Man => written(cli::man_page(&mut out)),
        Verb::Completions { shell } => {
            cli::completions(shell, &mut out);
            written(out.flush())
        }
        // `execute` took all others.
        _ => ExitCode::FAILURE,
    }
}

fn written(outcome: std::io::Result<()>) -> ExitCode {
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
