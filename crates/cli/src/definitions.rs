//! Man page and shell completions from the same definitions that parse the command line.

use clap::CommandFactory;

use crate::Cli;

/// The man page, troff.
pub fn man_page(out: &mut impl std::io::Write) -> std::io::Result<()> {
    clap_mangen::Man::new(Cli::command()).render(out)
}

/// Completions for one shell.
pub fn completions(shell: clap_complete::Shell, out: &mut impl std::io::Write) {
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
        for verb in ["run", "check", "demo", "show", "up", "down", "rekey", "clear", "reload", "capture"] {
            assert!(page.contains(&format!("causeway\\-{verb}")), "{verb} is missing");
        }
    }
}
