//! A full disk: a real file system of some hundred kilobytes, for the worker only.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use genflow::domain::ErrorCode;

use super::{outputs, sha256};
use crate::support::process::Process;
use crate::support::requests::image;
use crate::support::{Space, eventually, nowhere};

/// Mounts a small file system in a mount namespace and runs the command there; it vanishes with the last process.
const MOUNT: &str = r#"mount -t tmpfs -o size=512k,mode=700 none "$SMALL_DISK" && exec "$0" "$@""#;

/// A worker, and a folder that is a small disk for this worker only.
struct Small {
    worker: Process,
    /// The path of that disk for this process.
    folder: PathBuf,
    metrics: String,
}

impl Small {
    /// # Panics
    /// If this machine allows no mount in a namespace: then the test would prove nothing, so it must not pass.
    async fn start(space: &Space, folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let disk = folder.display().to_string();
        let address = nowhere().to_string();
        let settings = [("SMALL_DISK", &*disk), ("HTTP_ADDR", &address)];
        let mut through = vec!["unshare", "--mount"];
        if !rustix::process::geteuid().is_root() {
            through.extend(["--user", "--map-root-user"]);
        }
        through.extend(["--", "sh", "-c", MOUNT]);
        let mut worker = space.start_through(&through, &["worker"], &settings);
        let pid = worker.pid().as_raw_nonzero();
        eventually("the small disk is mounted", async || {
            if let Some(status) = worker.has_ended() {
                let said = worker.output();
                panic!("this machine cannot mount a tmpfs in a namespace ({status}): {said}");
            }
            let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).ok()?;
            mounts.contains(&format!(" {disk} tmpfs ")).then_some(())
        })
        .await;
        Self {
            worker,
            folder: PathBuf::from(format!("/proc/{pid}/root{disk}")),
            metrics: format!("http://{address}/metrics"),
        }
    }

    /// Fills the disk.
    fn fill(&self) {
        let mut filler = File::create(self.folder.join("filler")).unwrap();
        while filler.write_all(&[7; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.folder.join("filler")).unwrap();
    }

    /// Waits until the worker's metrics count that this place is full.
    async fn counts_full(&self, place: &str) {
        let counted = format!("genflow_store_failures_total{{place=\"{place}\",cause=\"full\"}} ");
        eventually("the full disk is counted", async || {
            let page = reqwest::get(&self.metrics).await.ok()?.text().await.ok()?;
            let mut lines = page.lines();
            lines.any(|line| line.starts_with(&counted)).then_some(())
        })
        .await;
    }

    /// Returns the names of all files at any depth.
    fn files(&self) -> Vec<String> {
        let (mut names, mut folders) = (Vec::new(), vec![self.folder.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.path().is_dir() {
                    // Schemas of models are kept, whatever happens to runs.
                    if entry.file_name() != "models" {
                        folders.push(entry.path());
                    }
                } else {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_full_temp_folder_fails_the_run_as_retryable_and_is_left_as_it_was() {
    let space = Space::with(&[("STORE_MAX_ATTEMPTS", "3")]).await;
    let _intake = space.start(&["intake"]);
    let small = Small::start(&space, &space.temp()).await;
    let lock = eventually("the worker has its folder", async || {
        let mut names = small.files().into_iter();
        names.find(|name| name.ends_with(".lock"))
    })
    .await;
    small.fill();
    let request = image("full");
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    let error = events.last().unwrap().error.clone().unwrap();
    assert_eq!(
        (error.code, error.retryable),
        (ErrorCode::StoreFailed, true)
    );
    assert!(error.message.contains("No space left"), "{}", error.message);
    small.counts_full("temp").await;
    assert_eq!(small.files(), ["filler", &lock]);
    let instance = small.folder.join(lock.trim_end_matches(".lock"));
    assert_eq!(std::fs::read_dir(instance).unwrap().count(), 0);

    small.make_room();
    let next = image("room");
    space.send(&next).await;
    let events = space.story(next.id.as_str()).await;
    assert_eq!(outputs(&events).len(), 1);
}

#[tokio::test]
async fn a_full_store_is_tried_again_and_the_run_completes_when_there_is_room() {
    let space = Space::with(&[("STORE_MAX_ATTEMPTS", "100")]).await;
    let _intake = space.start(&["intake"]);
    let small = Small::start(&space, &space.results()).await;
    small.fill();
    let request = image("later");
    space.send(&request).await;

    small.counts_full("disk").await;
    small.make_room();

    let events = space.story(request.id.as_str()).await;
    let output = &outputs(&events)[0];
    let name = output.uri.rsplit('/').next().unwrap();
    let files = small.files();
    assert_eq!(files, [name, "manifest.json"], "no partial file");
    let stored = small.folder.join(request.id.as_str()).join(name);
    assert_eq!(sha256(&std::fs::read(stored).unwrap()), output.sha256);
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
    let log = small.worker.output();
    assert!(log.contains("the disk is full"), "{log}");
}
