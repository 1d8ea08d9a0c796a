//! Temp folders: one per attempt, removed when the attempt ends. The next start of a worker removes
//! what a crash left.
//!
//! Each worker has an instance folder under `TEMP_DIR` and holds an exclusive lock on the file beside it. The
//! kernel releases the lock when the process dies, so a lock that can be acquired belongs to a dead worker. The
//! lock file gets its final name only when it is locked, so the sweep of another worker never sees it unlocked.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::statvfs;
use rustix::process::geteuid;
use uuid::Uuid;

use crate::domain::WorkflowId;
use crate::engines::storage::temp_budget::{Reservation, TempBudget};
use crate::engines::telemetry::events;

/// The instance folder of this worker.
#[derive(Clone, Debug)]
pub struct TempFolders {
    instance: Arc<Instance>,
    budget: TempBudget,
}

#[derive(Debug)]
struct Instance {
    folder: PathBuf,
    lock_path: PathBuf,
    /// Held, not read: closing it releases the lock.
    _lock: File,
}

/// The folder of one attempt. Dropping it removes the folder.
#[derive(Debug)]
pub struct AttemptFolder {
    path: PathBuf,
    budget: TempBudget,
}

/// A file of an attempt, and the disk space reserved for it. Dropping it releases the space.
#[derive(Debug)]
pub struct TempFile {
    path: PathBuf,
    space: Reservation,
}

/// An unlocked lock file of this age belongs to a worker that died while it started.
const STALE: Duration = Duration::from_secs(3600);

impl TempFolders {
    /// Removes what dead workers left under `root`, and creates a folder for this one. Its files
    /// may take `max_bytes` together; without it, half of the free space.
    ///
    /// # Errors
    /// If `root` cannot be written, or another user may write to it.
    pub fn open(root: &Path, max_bytes: Option<u64>) -> io::Result<Self> {
        private().recursive(true).create(root)?;
        check(root)?;
        let folders = sweep(root)?;
        if folders > 0 {
            events::temp_swept(folders);
        }
        let max_bytes = match max_bytes {
            Some(max_bytes) => max_bytes,
            None => {
                let disk = statvfs(root)?;
                disk.f_bavail.saturating_mul(disk.f_frsize) / 2
            }
        };
        events::temp_limited(max_bytes);
        let name = format!("worker-{}", Uuid::new_v4().simple());
        let unlocked = root.join(format!("{name}.new"));
        let lock_path = root.join(format!("{name}.lock"));
        let lock = File::create_new(&unlocked)?;
        lock.lock()?;
        fs::rename(&unlocked, &lock_path)?;
        let folder = root.join(name);
        private().create(&folder)?;
        Ok(Self {
            instance: Arc::new(Instance {
                folder,
                lock_path,
                _lock: lock,
            }),
            budget: TempBudget::of(max_bytes),
        })
    }

    pub fn attempt(&self, workflow: &WorkflowId) -> io::Result<AttemptFolder> {
        let name = format!("{workflow}-{}", Uuid::new_v4().simple());
        let path = self.instance.folder.join(name);
        private().create(&path)?;
        Ok(AttemptFolder {
            path,
            budget: self.budget.clone(),
        })
    }
}

/// Returns a builder of folders that no other user may enter.
fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Checks that no other user can create or replace a file in `root`.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] if one can; another kind if `root` does not exist.
pub fn check(root: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(root)?;
    let problem = if found.is_symlink() {
        "is a symbolic link"
    } else if found.uid() != geteuid().as_raw() {
        "belongs to another user"
    } else if found.mode() & 0o022 != 0 {
        "can be written by other users"
    } else {
        return Ok(());
    };
    let message = format!(
        "{} {problem}; expected a folder that only the user of this process can write; set TEMP_DIR to a folder that \
         does not exist yet, or fix this one (chown, chmod 700)",
        root.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

impl AttemptFolder {
    /// Returns the folder for outputs that came with the answer to a submit: they are paid for and time is short, so
    /// they do not wait for space.
    #[must_use]
    pub fn without_limit(mut self) -> Self {
        self.budget = TempBudget::of(u64::MAX);
        self
    }

    /// Returns the `index`-th file, which does not exist yet.
    pub fn file(&self, index: usize) -> TempFile {
        TempFile {
            path: self.path.join(index.to_string()),
            space: self.budget.reservation(),
        }
    }
}

impl TempFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reserves space for `bytes` in all; see [`Reservation::grow`].
    pub(super) async fn grow(&mut self, bytes: u64) -> io::Result<()> {
        self.space.grow(bytes).await
    }
}

impl Drop for AttemptFolder {
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

/// An abandoned write may still run in another thread and create its file during the removal, so a
/// folder that is not empty is removed once more.
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

/// Returns whether a worker died before it had locked this file. A live worker renames the file at once.
fn is_stale(path: &Path) -> bool {
    let made = fs::metadata(path).and_then(|file| file.modified());
    let age = made.ok().and_then(|made| made.elapsed().ok());
    has_extension(path, "new") && age.is_some_and(|age| age > STALE)
}

fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|found| found == expected)
}

/// Removes the instance folders whose lock is free, and stale lock files; returns the number of folders.
fn sweep(root: &Path) -> io::Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(root)? {
        let lock_path = entry?.path();
        if is_stale(&lock_path) && fs::remove_file(&lock_path).is_ok() {
            continue;
        }
        if !has_extension(&lock_path, "lock") {
            continue;
        }
        // The sweep of another worker may have removed it.
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

    /// Creates a folder for one test.
    pub(crate) fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("genflow-test-{}", Uuid::new_v4().simple()));
        private().create(&folder).unwrap();
        folder
    }

    /// Returns a file without a limit on its space.
    pub(crate) fn file(path: PathBuf) -> TempFile {
        TempFile {
            path,
            space: TempBudget::of(u64::MAX).reservation(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn entries(root: &Path) -> usize {
        fs::read_dir(root).unwrap().count()
    }

    #[test]
    fn an_attempts_folder_goes_with_the_attempt_and_the_instance_with_the_worker() {
        let root = folder();
        let temp = TempFolders::open(&root, None).unwrap();
        let workflow = RequestId::try_from("r".to_owned()).unwrap().run(0);
        let attempt = temp.attempt(&workflow).unwrap();
        let path = attempt.path.clone();
        fs::write(attempt.file(0).path(), b"x").unwrap();

        drop(attempt);
        assert!(!path.exists());
        drop(temp);
        assert_eq!(entries(&root), 0);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_dead_workers_folder_is_swept_and_a_living_ones_is_not() {
        let root = folder();
        let living = TempFolders::open(&root, None).unwrap();
        fs::create_dir(root.join("worker-dead")).unwrap();
        fs::write(root.join("worker-dead/left"), b"x").unwrap();
        fs::write(root.join("worker-dead.lock"), b"").unwrap();
        fs::write(root.join("worker-young.new"), b"").unwrap();
        let unborn = File::create(root.join("worker-unborn.new")).unwrap();
        let long_ago = SystemTime::now() - 2 * STALE;
        unborn.set_modified(long_ago).unwrap();

        let started = TempFolders::open(&root, None).unwrap();

        assert!(!root.join("worker-dead").exists());
        assert!(!root.join("worker-unborn.new").exists());
        assert!(root.join("worker-young.new").exists(), "about to be locked");
        assert!(living.instance.folder.exists());
        drop((living, started));
        fs::remove_dir_all(root).unwrap();
    }
    #[test]
    fn no_other_user_may_look_into_the_folders() {
        let root = folder().join("not/there/yet");

        let temp = TempFolders::open(&root, None).unwrap();

        let workflow = RequestId::try_from("r".to_owned()).unwrap().run(0);
        let attempt = temp.attempt(&workflow).unwrap();
        for path in [&root, &temp.instance.folder, &attempt.path] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
        drop((attempt, temp));
        fs::remove_dir_all(root.ancestors().nth(3).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn downloads_share_space_and_outputs_in_the_answer_to_a_submit_wait_for_none() {
        let root = folder();
        let temp = TempFolders::open(&root, Some(10)).unwrap();
        let workflow = RequestId::try_from("r".to_owned()).unwrap().run(0);
        let one = temp.attempt(&workflow).unwrap();
        let other = temp.attempt(&workflow).unwrap().without_limit();

        one.file(0).grow(10).await.unwrap();
        let full = one.file(1).grow(11).await.unwrap_err();
        other.file(0).grow(1 << 30).await.unwrap();

        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        drop((one, other, temp));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_folder_that_another_user_may_write_or_that_is_a_link_is_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let root = folder();
        let at = |name: &str| root.join(name);
        for (name, mode) in [("group", 0o770), ("all", 0o707), ("sticky", 0o1777)] {
            fs::create_dir(at(name)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(at("own")).unwrap();
        symlink(at("own"), at("link")).unwrap();
        for (name, problem) in [
            ("group", "can be written by other users"),
            ("all", "can be written by other users"),
            ("sticky", "can be written by other users"),
            ("link", "is a symbolic link"),
        ] {
            let error = TempFolders::open(&at(name), None).unwrap_err();

            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains(problem), "{name}: {error}");
        }
        assert_eq!(entries(&at("own")), 0);
        // Only if this process may give a folder to another user.
        if std::os::unix::fs::chown(at("own"), Some(12_345), None).is_ok() {
            let error = TempFolders::open(&at("own"), None).unwrap_err();
            assert!(error.to_string().contains("belongs to another user"));
        }
        fs::remove_dir_all(root).unwrap();
    }
}
