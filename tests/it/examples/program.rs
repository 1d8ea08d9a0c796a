//! A program in another language, as a process whose output is read line by line.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::eventually;

/// A running program; it ends with the test.
pub(super) struct Program {
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Program {
    /// Starts the command of a shell in `folder`, with these variables beside those of this process. `log`: where its
    /// output goes, without the ending.
    pub(super) fn start(
        command: &str,
        folder: &Path,
        variables: &BTreeMap<String, String>,
        log: &Path,
    ) -> Self {
        let (output, errors) = (log.with_extension("out"), log.with_extension("err"));
        let child = Command::new(env!("CARGO_BIN_EXE_genflow"))
            .args(["guard", "--parent", &std::process::id().to_string(), "--"])
            .args(["sh", "-c", &format!("exec {command}")])
            .current_dir(folder)
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            output,
            errors,
        }
    }

    /// Returns the complete lines that it has printed.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.output).unwrap();
        let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        complete.lines().map(str::to_owned).collect()
    }

    /// Waits until it has printed this line.
    pub(super) async fn prints(&mut self, line: &str) {
        eventually(&format!("{line:?} is printed"), async || {
            self.still_runs();
            self.lines().iter().any(|one| one == line).then_some(())
        })
        .await;
    }

    /// Waits until it has printed where it listens, and returns that.
    pub(super) async fn listens(&mut self) -> String {
        eventually("the program listens", async || {
            self.still_runs();
            let first = self.lines().into_iter().next()?;
            Some(first.strip_prefix("listening on ")?.to_owned())
        })
        .await
    }

    /// Waits until it has ended well.
    pub(super) async fn succeeds(&mut self) {
        let child = &mut self.child;
        let status = eventually("the program ends", async || child.try_wait().unwrap()).await;
        assert!(status.success(), "{status}: {}", self.complaints());
    }

    fn still_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the program has ended with {status}: {}", self.complaints());
        }
    }

    fn complaints(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.errors.display(), self.complaints());
        }
    }
}
