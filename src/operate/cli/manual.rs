//! `genflow completions` and `genflow man`: what a package of genflow brings along, made from the command line itself.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use clap_complete::Shell;

use super::command::command;

/// Prints the completions of a shell.
///
/// # Errors
/// The output is closed.
pub fn completions(shell: Shell, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "genflow", &mut script);
    out.write_all(&script)?;
    Ok(())
}

/// Writes a man page of each command to `folder`, which it creates if it is missing.
///
/// # Errors
/// The folder cannot be created, or a page in it cannot be written.
pub fn man(folder: &Path) -> anyhow::Result<()> {
    let named = || format!("cannot write man pages to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(named)?;
    clap_mangen::generate_to(command(), folder).with_context(named)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum as _;

    use super::*;

    /// The commands that users see, without `help`.
    fn commands() -> Vec<String> {
        let root = command();
        let shown = root
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        shown.map(|command| command.get_name().to_owned()).collect()
    }

    #[test]
    fn completions_of_every_shell_know_every_command() {
        for shell in Shell::value_variants() {
            let mut out = Vec::new();
            completions(*shell, &mut out).unwrap();
            let script = String::from_utf8(out).unwrap();
            for command in commands() {
                assert!(script.contains(&command), "{shell}: {command}");
            }
        }
    }

    #[test]
    fn every_command_has_a_man_page() {
        let folder = std::env::temp_dir().join(format!("genflow-man-{}", std::process::id()));
        man(&folder).unwrap();
        let files = std::fs::read_dir(&folder).unwrap();
        let names: BTreeSet<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        std::fs::remove_dir_all(&folder).unwrap();

        assert!(names.contains("genflow.1"), "{names:?}");
        assert!(names.contains("genflow-dlq-redrive.1"), "{names:?}");
        assert!(!names.contains("genflow-guard.1"), "{names:?}");
        for command in commands() {
            assert!(names.contains(&format!("genflow-{command}.1")), "{command}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = man(Path::new("/dev/null/pages")).unwrap_err();

        let text = error.to_string();
        assert_eq!(text, "cannot write man pages to /dev/null/pages");
    }
}
