//! The folder of `genflow dev --keep`: one dev at a time, and only a folder that dev has created.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::engines;

/// The folder of a run.
pub(super) enum Data {
    /// Removed at the end.
    New(PathBuf),
    /// Kept, and locked as long as the file is open.
    Kept { folder: PathBuf, _lock: File },
}

/// The file that shows that dev has created the folder; it has the versions of the engines, whose data is there.
const MARK: &str = "genflow-dev";

/// How often the removal of a folder is tried again, and the pause before.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

impl Data {
    /// Chooses a new folder for this process; an engine creates it.
    pub(super) fn new() -> std::io::Result<Self> {
        let temp = std::path::absolute(std::env::temp_dir())?;
        Ok(Self::New(
            temp.join(format!("genflow-dev-{}", std::process::id())),
        ))
    }

    /// Opens a folder that keeps its state, or creates it. With `reset`, its state may be of other versions of the engines:
    /// [`Self::empty`] removes it.
    ///
    /// # Errors
    /// The folder has other files, another dev uses it, or its state is of other versions of the engines.
    pub(super) fn keep(folder: &Path, reset: bool) -> anyhow::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let shown = folder.display();
        fs::create_dir_all(&folder).with_context(|| format!("--keep: cannot create {shown}"))?;
        let mark = folder.join(MARK);
        let is_empty = fs::read_dir(&folder)?.next().is_none();
        if !is_empty && !mark.exists() {
            bail!(
                "--keep: {shown} has other files; expected a new folder, or one that genflow dev has kept"
            );
        }
        let mut options = File::options();
        let opened = options.read(true).write(true).create(true).truncate(false);
        let mut lock = opened.open(&mark)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("--keep: another genflow dev uses {shown}; stop it, or choose another folder")
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let (found, versions) = (fs::read_to_string(&mark)?, engines::versions());
        if !found.is_empty() && !found.starts_with("Kafka ") {
            bail!(
                "--keep: {shown} has a file {MARK} that genflow dev did not write; choose another folder"
            );
        }
        if !reset && !found.is_empty() && found != versions {
            bail!(
                "--keep: the state in {shown} is of {found}, but this genflow starts {versions}; add --reset to begin anew"
            );
        }
        lock.set_len(0)?;
        lock.write_all(versions.as_bytes())?;
        Ok(Self::Kept {
            folder,
            _lock: lock,
        })
    }

    /// Removes all of a kept folder but the mark.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub(super) fn empty(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name == MARK) {
                continue;
            }
            let removed = match path.is_dir() && !path.is_symlink() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.with_context(|| format!("--reset: cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::New(folder) | Self::Kept { folder, .. } => folder,
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }

    /// Removes the folder if it is not kept.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) async fn end(&self) -> anyhow::Result<()> {
        let Self::New(folder) = self else {
            return Ok(());
        };
        let mut tries = 0;
        loop {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                // An engine that was killed may still be about to create a file.
                Err(_) if tries < TRIES => tries += 1,
                Err(error) => {
                    let folder = folder.display();
                    let problem = format!(
                        "the folder of this run, {folder}, could not be removed; delete it"
                    );
                    return Err(anyhow::Error::new(error).context(problem));
                }
                Ok(()) => return Ok(()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        std::env::temp_dir().join(format!("genflow-kept-{}", uuid::Uuid::new_v4()))
    }

    fn fault(folder: &Path, reset: bool) -> String {
        match Data::keep(folder, reset) {
            Ok(_) => "no fault".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn a_kept_folder_is_used_again_by_one_at_a_time() {
        let folder = folder();

        let first = Data::keep(&folder, false).unwrap();
        fs::write(folder.join("state"), "x").unwrap();
        let meanwhile = fault(&folder, true);
        first.end().await.unwrap();
        drop(first);
        let second = Data::keep(&folder, false).unwrap();
        let kept = folder.join("state").exists();
        drop(second);
        let third = Data::keep(&folder, true).unwrap();
        third.empty().unwrap();

        assert!(
            meanwhile.contains("another genflow dev uses"),
            "{meanwhile}"
        );
        assert!(kept);
        assert!(third.is_kept() && !folder.join("state").exists());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_with_other_files_is_not_touched() {
        let folder = folder();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("thesis"), "x").unwrap();

        let refused = fault(&folder, true);
        fs::write(folder.join(MARK), "a script of that name").unwrap();
        let refused_too = fault(&folder, true);

        assert!(refused.contains("has other files"), "{refused}");
        assert!(refused_too.contains("did not write"), "{refused_too}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn state_of_other_versions_needs_a_reset() {
        let folder = folder();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(MARK), "Kafka 1.0").unwrap();

        let refused = fault(&folder, false);

        assert!(
            refused.contains("is of Kafka 1.0") && refused.contains("--reset"),
            "{refused}"
        );
        assert!(Data::keep(&folder, true).is_ok());
        assert!(Data::keep(&folder, false).is_ok());
        fs::remove_dir_all(&folder).unwrap();
    }
}
