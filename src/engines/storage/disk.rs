//! Disk operations that an object store lacks: a finished file is renamed into its place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use object_store::local::LocalFileSystem;

use super::fault;

/// Creates the folder, and opens it as two stores: the first syncs each file to disk, the second does not.
pub(super) fn open(root: &Path) -> io::Result<(PathBuf, [LocalFileSystem; 2])> {
    fs::create_dir_all(root)?;
    let root = fs::canonicalize(root)?;
    let store = LocalFileSystem::new_with_prefix(&root).map_err(fault::of_store)?;
    Ok((root, [store.clone().with_fsync(true), store]))
}

/// Renames a file within one file system; `false` if the two paths are on different ones.
///
/// The bytes are synced to disk before the name appears, and the name before this returns.
pub(super) async fn rename(from: PathBuf, to: PathBuf) -> io::Result<bool> {
    blocking(move || {
        let folder = to.parent().unwrap_or(Path::new("/"));
        File::open(&from)?.sync_all()?;
        fs::create_dir_all(folder)?;
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => return Ok(false),
            Err(error) => return Err(error),
        }
        for folder in to.ancestors().skip(1).take(2) {
            File::open(folder)?.sync_all()?;
        }
        Ok(true)
    })
    .await
}

/// Removes what killed uploads to `name` left beside it: `object_store` stages them as `name#1` and so on.
pub(super) async fn tidy(name: PathBuf) -> io::Result<()> {
    blocking(move || {
        let (Some(folder), Some(name)) = (name.parent(), name.file_name()) else {
            return Ok(());
        };
        let staged = format!("{}#", name.to_string_lossy());
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&staged) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}
