//! Man page and shell completions from the same definitions that parse the command line.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::Cli;

/// The man page, troff: the whole command, then a section a verb.
pub fn man_page(out: &mut impl Write) -> io::Result<()> {
    let mut command = Cli::command();
    // Fills in each verb's full name.
    command.build();
    Man::new(command.clone()).render(out)?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        verb_section(verb, out)?;
    }
    Ok(())
}

/// One verb and, below it, what it is followed by.
fn verb_section(verb: &Command, out: &mut impl Write) -> io::Result<()> {
    let name = verb.get_bin_name().unwrap_or_else(|| verb.get_name());
    writeln!(out, ".SH {}", name.to_uppercase().replace('-', "\\-"))?;
    writeln!(out, ".nf")?;
    // The page's margin of seven columns comes before each line.
    for line in verb.clone().term_width(72).render_long_help().to_string().lines() {
        // A line that begins with a dot or a quote would be a request.
        writeln!(out, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-"))?;
    }
    writeln!(out, ".fi")?;
    verb.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| verb_section(sub, out))
}

/// Completions for one shell.
pub fn completions(shell: clap_complete::Shell, out: &mut impl Write) {
    clap_complete::generate(shell, &mut Cli::command(), "causeway", out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent_and_the_man_page_names_every_verb() {
        Cli::command().debug_assert();
        let mut page = Vec::new();
        man_page(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains(".SH CAUSEWAY SHOW BGP NEIGHBORS"), "the pages of show bgp are missing");
        for verb in ["run", "check", "demo", "show", "up", "down", "rekey", "clear", "reload", "capture"] {
            assert!(page.contains(&format!("causeway\\-{verb}")), "{verb} is missing");
            assert!(page.contains(&format!(".SH CAUSEWAY {}", verb.to_uppercase())), "{verb} has no section");
        }
    }
}
