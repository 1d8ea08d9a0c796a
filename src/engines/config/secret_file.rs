//! Files that hold secrets: read at the start, and those of keys again while genflow runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use crate::domain::Credential;

/// How long the content of a file is used before it is read again.
pub(crate) const REREAD: Duration = Duration::from_secs(3);

/// Reads a secret from a file, without the space around it.
///
/// # Errors
/// What is wrong with the file, beginning with its path.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => Err(format!(
            "the empty file {shown}, expected one that holds the value"
        )),
        Err(error) => Err(format!("{shown}, which cannot be read: {error}")),
    }
}

/// Returns a credential that reads its file again when it is used and its content is older than [`REREAD`]. If the file
/// cannot be read then, or `is_good` refuses its content, the last good content stays.
pub(super) fn followed(
    variable: &str,
    path: PathBuf,
    first: String,
    is_good: fn(&str) -> bool,
) -> Credential {
    let file = Followed {
        variable: variable.to_owned(),
        path,
        is_good,
        last_good: RwLock::new(first),
        reads: Mutex::new(Reads {
            last: Instant::now(),
            failed: false,
        }),
    };
    Credential::followed(move || file.current(Instant::now()))
}

struct Followed {
    /// The variable that names the file.
    variable: String,
    path: PathBuf,
    is_good: fn(&str) -> bool,
    last_good: RwLock<String>,
    /// Held while the file is read: a slow disk delays one caller, and the others get the last good content.
    reads: Mutex<Reads>,
}

struct Reads {
    last: Instant,
    failed: bool,
}

impl Followed {
    fn current(&self, now: Instant) -> String {
        if let Some(mut reads) = self.reads.try_lock()
            && now.saturating_duration_since(reads.last) >= REREAD
        {
            reads.last = now;
            let failed = self.renew();
            // Once for each time that the file becomes bad, not at each read.
            if let Err(problem) = &failed
                && !reads.failed
            {
                tracing::warn!(
                    "{} names {problem}; the last good value stays in use",
                    self.variable
                );
            }
            reads.failed = failed.is_err();
        }
        self.last_good.read().clone()
    }

    fn renew(&self) -> Result<(), String> {
        let value = read(&self.path)?;
        if !(self.is_good)(&value) {
            return Err(format!("{}, which holds no key", self.path.display()));
        }
        if *self.last_good.read() != value {
            *self.last_good.write() = value;
            tracing::info!(
                "{} names a file with a new value, which is used now",
                self.variable
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_and_its_last_good_content_stays() {
        let path = std::env::temp_dir().join(format!("genflow-key-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, "first\n").unwrap();
        let start = Instant::now();
        let file = Followed {
            variable: "FAL_API_KEY_FILE".to_owned(),
            path: path.clone(),
            is_good: |text| !text.contains(' '),
            last_good: RwLock::new(read(&path).unwrap()),
            reads: Mutex::new(Reads {
                last: start,
                failed: false,
            }),
        };
        let after = |reads: u32| file.current(start + REREAD * reads);

        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(file.current(start + REREAD / 2), "first");
        assert_eq!(after(1), "second");
        for (at, bad) in [(2, ""), (3, "not a key")] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(after(at), "second", "{bad:?}");
            assert!(file.reads.lock().failed);
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(after(4), "second");
        std::fs::write(&path, "third").unwrap();
        assert_eq!(after(5), "third");
        assert!(!file.reads.lock().failed);
        std::fs::remove_file(&path).unwrap();
    }
}
