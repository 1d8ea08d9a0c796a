//! Temp folders: one for each attempt, gone when the attempt ends; what a crash left is swept at the next start.
//!
//! Each worker has an instance folder under `TEMP_DIR` and holds an exclusive lock on the file beside it. The kernel
//! gives the lock up when the process dies, so a lock that can be taken belongs to nobody. The lock file gets its
//! final name only when it is locked: the sweep of another worker never sees one that is not.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::domain::WorkflowId;
use crate::telemetry::events::TempSwept;

/// The instance folder of this worker.
#[derive(Clone, Debug)]
pub struct TempFolders {
    instance: Arc<Instance>,
}

#[derive(Debug)]
struct Instance {
    folder: PathBuf,
    lock_path: PathBuf,
    /// Held, not read: closing it gives the folder up.
    _lock: File,
}

/// The folder of one attempt; dropped, it is removed.
#[derive(Debug)]
pub struct Attempt {
    path: PathBuf,
}

/// A lock that is not taken so long after it was made never will be.
const STALE: Duration = Duration::from_secs(3600);

impl TempFolders {
    /// Removes what dead workers left under `root` and makes a folder for this one.
    ///
    /// # Errors
    /// When `root` cannot be written.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let folders = sweep(root)?;
        if folders > 0 {
            TempSwept { folders }.emit();
        }
        let name = format!("worker-{}", Uuid::new_v4().simple());
        let unlocked = root.join(format!("{name}.new"));
        let lock_path = root.join(format!("{name}.lock"));
        let lock = File::create(&unlocked)?;
        lock.lock()?;
        fs::rename(&unlocked, &lock_path)?;
        let folder = root.join(name);
        fs::create_dir(&folder)?;
        Ok(Self {
            instance: Arc::new(Instance {
                folder,
                lock_path,
                _lock: lock,
            }),
        })
    }

    /// Makes the folder of one attempt.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn attempt(&self, workflow: &WorkflowId) -> io::Result<Attempt> {
        let path = self
            .instance
            .folder
            .join(format!("{workflow}-{}", Uuid::new_v4().simple()));
        fs::create_dir(&path)?;
        Ok(Attempt { path })
    }
}

impl Attempt {
    /// Returns where the attempt may write.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        remove(&self.folder);
        if let Err(error) = fs::remove_file(&self.lock_path) {
            tracing::warn!(%error, "lock file not removed");
        }
    }
}

/// A write that was given up may still be on its way in another thread, and make its file amidst this: once more, then.
fn remove(folder: &Path) {
    let removed = fs::remove_dir_all(folder).or_else(|error| {
        if error.kind() == io::ErrorKind::DirectoryNotEmpty {
            fs::remove_dir_all(folder)
        } else {
            Err(error)
        }
    });
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "temp folder not removed");
    }
}

/// A start that died before it had its lock leaves an empty file, which one that goes on renames at once.
fn is_stale(path: &Path) -> bool {
    let made = fs::metadata(path).and_then(|file| file.modified());
    let age = made.ok().and_then(|made| made.elapsed().ok());
    path.extension().is_some_and(|extension| extension == "new")
        && age.is_some_and(|age| age > STALE)
}

/// Removes the folders whose lock nobody holds; returns how many.
fn sweep(root: &Path) -> io::Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(root)? {
        let lock_path = entry?.path();
        if is_stale(&lock_path) && fs::remove_file(&lock_path).is_ok() {
            continue;
        }
        if lock_path
            .extension()
            .is_none_or(|extension| extension != "lock")
        {
            continue;
        }
        // Another sweep may be faster: what is gone is gone.
        let Ok(lock) = File::open(&lock_path) else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        remove(&lock_path.with_extension(""));
        if fs::remove_file(&lock_path).is_ok() {
            swept += 1;
        }
    }
    Ok(swept)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::domain::RequestId;

    /// Makes a folder for one test.
    pub(crate) fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("genflow-test-{}", Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn entries(root: &Path) -> usize {
        fs::read_dir(root).unwrap().count()
    }

    #[test]
    fn an_attempts_folder_goes_with_the_attempt_and_the_instance_with_the_worker() {
        let root = folder();
        let temp = TempFolders::open(&root).unwrap();
        let workflow = RequestId::try_from("r".to_owned()).unwrap().run(0);
        let attempt = temp.attempt(&workflow).unwrap();
        fs::write(attempt.path().join("f"), b"x").unwrap();
        let path = attempt.path().to_owned();

        drop(attempt);
        assert!(!path.exists());
        drop(temp);
        assert_eq!(entries(&root), 0);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_dead_workers_folder_is_swept_and_a_living_ones_is_not() {
        let root = folder();
        let living = TempFolders::open(&root).unwrap();
        fs::create_dir(root.join("worker-dead")).unwrap();
        fs::write(root.join("worker-dead/left"), b"x").unwrap();
        fs::write(root.join("worker-dead.lock"), b"").unwrap();
        fs::write(root.join("worker-young.new"), b"").unwrap();
        let unborn = File::create(root.join("worker-unborn.new")).unwrap();
        let long_ago = SystemTime::now() - 2 * STALE;
        unborn.set_modified(long_ago).unwrap();

        let started = TempFolders::open(&root).unwrap();

        assert!(!root.join("worker-dead").exists());
        assert!(!root.join("worker-unborn.new").exists());
        assert!(root.join("worker-young.new").exists(), "about to be locked");
        assert!(living.instance.folder.exists());
        drop((living, started));
        fs::remove_dir_all(root).unwrap();
    }
}
