//! `genflow dev` as a newcomer meets it, and what is left of it when it is killed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::Signal;
use uuid::Uuid;

use crate::support::eventually;
use crate::support::process::Process;

/// A `genflow dev` of its own: no engine named, free ports, a folder to run in.
struct Trial {
    folder: PathBuf,
    variables: BTreeMap<String, String>,
}

impl Trial {
    fn new() -> Self {
        let mark = Uuid::new_v4().simple().to_string();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("dev-{mark}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // The engines' command lines and working folders lie below TMPDIR: that is how they are found again.
        let mut variables = BTreeMap::from([("TMPDIR".to_owned(), folder.display().to_string())]);
        for name in ["PATH", "HOME", "JAVA_HOME", "XDG_CACHE_HOME"] {
            if let Ok(value) = std::env::var(name) {
                variables.insert(name.to_owned(), value);
            }
        }
        Self { folder, variables }
    }

    fn start(&self, arguments: &[&str]) -> Process {
        Process::start(arguments, &self.variables, self.folder.join("dev.log"))
    }

    /// The processes whose command line, folder or variables name this trial.
    fn processes(&self) -> Vec<String> {
        let mark = self.folder.display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let path = entry.path();
            let read = |name: &str| {
                let bytes = std::fs::read(path.join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let folder = std::fs::read_link(path.join("cwd")).unwrap_or_default();
            if read("cmdline").contains(&mark)
                || read("environ").contains(&mark)
                || folder.starts_with(&self.folder)
            {
                found.push(format!(
                    "{} {}",
                    entry.file_name().display(),
                    read("comm").trim()
                ));
            }
        }
        found
    }

    async fn nothing_is_left(&self) {
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

#[tokio::test]
async fn dev_once_completes_the_samples_and_leaves_nothing_running() {
    let trial = Trial::new();
    let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);

    let status = dev.ended().await;

    assert!(status.success(), "{}", dev.output());
    assert!(
        dev.output().contains("the sample requests completed"),
        "{}",
        dev.output()
    );
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn dev_killed_at_any_moment_leaves_no_process() {
    for moment in ["genflow dev:", "is ready at", "ready after"] {
        let trial = Trial::new();
        let mut dev = trial.start(&["dev", "--ports", "free"]);
        eventually(moment, async || dev.output().contains(moment).then_some(())).await;
        assert!(!trial.processes().is_empty());

        dev.signal(Signal::KILL);

        dev.ended().await;
        trial.nothing_is_left().await;
    }
}

#[tokio::test]
async fn dev_interrupted_during_the_start_leaves_no_process() {
    let trial = Trial::new();
    let mut dev = trial.start(&["dev", "--ports", "free"]);
    eventually("the first engine", async || {
        dev.output().contains("is ready at").then_some(())
    })
    .await;

    dev.signal(Signal::INT);

    dev.ended().await;
    trial.nothing_is_left().await;
}

#[tokio::test]
async fn a_missing_prerequisite_is_named() {
    let mut trial = Trial::new();
    trial
        .variables
        .insert("PATH".to_owned(), "/nonexistent".to_owned());
    trial.variables.remove("JAVA_HOME");
    trial.variables.insert(
        "XDG_CACHE_HOME".to_owned(),
        trial.folder.join("cache").display().to_string(),
    );
    let mut dev = trial.start(&["dev", "--once", "--ports", "free"]);

    let status = dev.ended().await;

    assert_eq!(status.code(), Some(69), "{}", dev.output());
    assert!(dev.output().contains("python3"), "{}", dev.output());
    assert!(
        dev.output().contains("mvn") || dev.output().contains("Maven"),
        "{}",
        dev.output()
    );
}
