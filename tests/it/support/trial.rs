//! A separate `genflow dev` for one test, and actions on its engines.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use genflow::dev::engines::default_cache;
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use super::eventually;
use super::process::Process;

/// A separate `genflow dev`, without existing engines, in its own folder.
pub(crate) struct Trial {
    pub(crate) folder: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
}

/// A process that belongs to a trial.
#[derive(Debug)]
pub(crate) struct Running {
    pid: i32,
    /// Its command line, separated by spaces.
    command: String,
}

impl Running {
    /// Returns whether there is a process with this id.
    pub(crate) fn exists(&self) -> bool {
        Path::new(&format!("/proc/{}", self.pid)).exists()
    }
}

impl Trial {
    pub(crate) fn new() -> Self {
        let mark = Uuid::new_v4().simple().to_string();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("dev-{mark}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // The engines' command lines and working folders contain TMPDIR, by which this test finds them.
        let mut variables = BTreeMap::from([("TMPDIR".to_owned(), folder.display().to_string())]);
        for name in ["PATH", "HOME", "JAVA_HOME", "XDG_CACHE_HOME"] {
            if let Ok(value) = std::env::var(name) {
                variables.insert(name.to_owned(), value);
            }
        }
        Self { folder, variables }
    }

    /// Like [`Self::new`], with its own cache of links to the installed engines; also returns the cache.
    pub(crate) async fn with_cache() -> (Self, PathBuf) {
        let installed = installed().await;
        let mut trial = Self::new();
        let home = trial.folder.join("cache");
        link(&installed, &home.join("genflow"));
        trial.set("XDG_CACHE_HOME", &home.display().to_string());
        let cache = home.join("genflow");
        std::fs::remove_file(cache.join("lock")).ok();
        (trial, cache)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Puts a program with that name first in PATH.
    pub(crate) fn shadow(&mut self, name: &str, script: &str) {
        let folder = self.folder.join("bin");
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", folder.display(), self.variables["PATH"]);
        self.set("PATH", &path);
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::start(arguments, &self.variables, self.folder.join("dev.log"))
    }

    /// Like [`Self::start`], on a terminal on which a person types `typed`.
    pub(crate) fn start_on_terminal(&self, arguments: &[&str], typed: &str) -> Process {
        let script = "import pty, sys\n\
            typed = iter([sys.argv[1].encode()])\n\
            read = lambda fd: next(typed, b'')\n\
            sys.exit(pty.spawn(sys.argv[2:], stdin_read=read) >> 8)";
        let through = ["python3", "-c", script, typed];
        let log = self.folder.join("dev.log");
        Process::start_through(&through, arguments, &self.variables, log)
    }

    /// Returns the processes whose command line, folder or variables contain this trial's folder.
    pub(crate) fn processes(&self) -> Vec<Running> {
        let mark = self.folder.display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let path = entry.path();
            let read = |name: &str| {
                let bytes = std::fs::read(path.join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let folder = std::fs::read_link(path.join("cwd")).unwrap_or_default();
            let command = read("cmdline");
            let ours = command.contains(&mark)
                || read("environ").contains(&mark)
                || folder.starts_with(&self.folder);
            if let Ok(pid) = entry.file_name().to_string_lossy().parse()
                && ours
            {
                found.push(Running { pid, command });
            }
        }
        found
    }

    /// Kills the process whose command line contains `words`.
    pub(crate) fn kill(&self, words: &str) {
        let processes = self.processes();
        let found = processes.iter().find(|it| it.command.contains(words));
        let pid = Pid::from_raw(found.unwrap().pid).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    pub(crate) async fn nothing_is_left(&self) {
        eventually("no process is left", async || {
            self.processes().is_empty().then_some(())
        })
        .await;
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// Returns the folder in `within` whose name starts with `name`.
pub(crate) fn folder(within: &Path, name: &str) -> PathBuf {
    let entries = std::fs::read_dir(within).unwrap().flatten();
    let mut folders = entries.filter(|entry| entry.path().is_dir());
    let found = folders.find(|entry| entry.file_name().to_string_lossy().starts_with(name));
    found.unwrap().path()
}

/// Replaces a file by its first half.
pub(crate) fn cut(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::remove_file(file).unwrap(); // replaces the link, so the installed file does not change
    std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

/// Returns the shared cache of engines, after installing any that are missing.
async fn installed() -> PathBuf {
    let cache = default_cache();
    let is_there = |name: &str| {
        let entries = std::fs::read_dir(&cache).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|found| found.starts_with(name) && !found.ends_with(".part"))
    };
    if !["kafka-", "apicurio-", "temporal-", "aiosmtpd-"]
        .into_iter()
        .all(is_there)
    {
        let trial = Trial::new();
        let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);
        assert!(dev.ended().await.success(), "{}", dev.output());
    }
    cache
}

/// Creates a copy of the folder tree `from`, in which each file is a link.
fn link(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            link(&entry.path(), &target);
        } else {
            symlink(entry.path(), target).unwrap();
        }
    }
}
