//! The log file: lines are appended, and another file is begun when one is too large or too old. Several processes may
//! share it, and another program may rename it: a process that finds another file under the name opens that file, and one
//! that finds no file creates it. A new file has the owner and mode of the one before it, if this user may give it them:
//! otherwise the next line of another user's process could not be written, after a command of root rotated its file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;
use rustix::fs::{Access, FlockOperation, OFlags, access, flock};
use tracing_subscriber::fmt::MakeWriter;

use crate::engines::config;

/// A log file that is rotated.
pub(super) struct LogFile {
    settings: config::LogFile,
    file: Mutex<File>,
}

/// Writes whole lines: the subscriber writes each at once.
pub(super) struct Lines<'l>(&'l LogFile);

impl LogFile {
    pub(super) fn open(settings: &config::LogFile) -> io::Result<Self> {
        Ok(Self {
            settings: settings.clone(),
            file: Mutex::new(open(settings)?),
        })
    }

    /// Checks that this process could write to the file. Creates no file.
    pub(super) fn check(settings: &config::LogFile) -> io::Result<()> {
        match options().open(&settings.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(drop),
        }
        let folder = settings.path.parent();
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
    }

    fn write(&self, line: &[u8]) -> io::Result<usize> {
        let mut file = self.file.lock();
        // A line in the old file is better than none.
        if let Ok(next) = self.next(&file, line.len())
            && let Some(next) = next
        {
            *file = next;
        }
        // In append mode, one write of a line is not torn by other processes.
        file.write_all(line)?;
        Ok(line.len())
    }

    /// Returns the file to write to from now on, if it is another one.
    fn next(&self, file: &File, more: usize) -> io::Result<Option<File>> {
        let open_one = file.metadata()?;
        let named = match fs::metadata(&self.settings.path) {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return begin(&self.settings, &open_one).map(Some);
            }
            Err(error) => return Err(error),
        };
        if (named.dev(), named.ino()) != (open_one.dev(), open_one.ino()) {
            return open(&self.settings).map(Some);
        }
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        let size = open_one.len();
        let is_large = (self.settings.max_bytes)
            .is_some_and(|maximum| size > 0 && size.saturating_add(more) > maximum);
        let is_old = self.settings.max_age.is_some_and(|maximum| {
            let born = open_one.created().ok();
            let age = born.and_then(|born| SystemTime::now().duration_since(born).ok());
            size > 0 && age.is_some_and(|age| age > maximum)
        });
        if !(is_large || is_old) {
            return Ok(None);
        }
        // Of several processes, one rotates; the others find the new file at their next line.
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        self.rotate(&open_one)?;
        begin(&self.settings, &open_one).map(Some)
    }

    /// Renames the file to `path.1`, the one of that name to `path.2`, and so on; the last one is removed.
    fn rotate(&self, locked: &fs::Metadata) -> io::Result<()> {
        let path = &self.settings.path;
        // Another process may have rotated it before this one had the lock.
        if fs::metadata(path)?.ino() != locked.ino() {
            return Ok(());
        }
        for number in (1..self.settings.kept).rev() {
            match fs::rename(self.earlier(number), self.earlier(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(path, self.earlier(1))
    }

    fn earlier(&self, number: u32) -> PathBuf {
        let mut path = self.settings.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn open(settings: &config::LogFile) -> io::Result<File> {
    options().create(true).open(&settings.path)
}

/// Creates the next file, with the owner and mode of `before`. If another process has just created it, opens it without
/// changing either: it may be a hard link to a file of this process's user.
fn begin(settings: &config::LogFile, before: &fs::Metadata) -> io::Result<File> {
    match options().create_new(true).open(&settings.path) {
        Ok(file) => {
            // A file that others cannot read is better than none.
            hand_on(&file, before).ok();
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(settings),
        Err(error) => Err(error),
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .mode(0o600)
        // In a folder where others may write, a symlink could lead to any file of this user.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Gives a new file the owner and the mode of the one before it.
fn hand_on(file: &File, before: &fs::Metadata) -> io::Result<()> {
    fchown(file, Some(before.uid()), Some(before.gid()))?;
    file.set_permissions(before.permissions())
}

impl<'l> MakeWriter<'l> for LogFile {
    type Writer = Lines<'l>;

    fn make_writer(&'l self) -> Lines<'l> {
        Lines(self)
    }
}

impl Write for Lines<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    use std::time::Duration;

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("genflow-rotated-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn settings(&self, max_bytes: Option<u64>, max_age: Option<Duration>) -> config::LogFile {
            config::LogFile {
                max_bytes,
                max_age,
                kept: 2,
                ..config::LogFile::at(self.0.join("log"))
            }
        }

        /// Returns the names of the files with their contents.
        fn files(&self) -> Vec<(String, String)> {
            let entries = fs::read_dir(&self.0).unwrap().map(Result::unwrap);
            let mut files: Vec<_> = entries
                .map(|entry| {
                    let text = fs::read_to_string(entry.path()).unwrap();
                    (entry.file_name().into_string().unwrap(), text)
                })
                .collect();
            files.sort();
            files
        }
    }

    fn file(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn a_file_that_would_be_too_large_is_renamed_and_the_oldest_removed() {
        let folder = Folder::new("size");
        let log = LogFile::open(&folder.settings(Some(10), None)).unwrap();

        for line in [
            "1111\n",
            "2222\n",
            "3333\n",
            "44444444444\n",
            "5555\n",
            "6666\n",
            "7\n",
        ] {
            log.write(line.as_bytes()).unwrap();
        }

        assert_eq!(
            folder.files(),
            [
                file("log", "7\n"),
                file("log.1", "5555\n6666\n"),
                file("log.2", "44444444444\n")
            ]
        );
    }

    #[test]
    fn a_file_that_is_too_old_is_renamed() {
        let folder = Folder::new("age");
        let age = Duration::from_millis(50);
        let log = LogFile::open(&folder.settings(None, Some(age))).unwrap();

        log.write(b"1\n").unwrap();
        std::thread::sleep(age * 2);
        log.write(b"2\n").unwrap();

        assert_eq!(folder.files(), [file("log", "2\n"), file("log.1", "1\n")]);
    }

    #[test]
    fn a_new_file_has_the_owner_and_mode_of_the_one_before_it() {
        let folder = Folder::new("owner");
        let settings = folder.settings(Some(10), None);
        let log = LogFile::open(&settings).unwrap();
        let readable = fs::Permissions::from_mode(0o640);
        fs::set_permissions(&settings.path, readable).unwrap();
        // Only root may give a file to another user.
        let is_root = rustix::process::geteuid().is_root();
        let owner = is_root.then_some(65_534);
        chown(&settings.path, owner, owner).unwrap();

        log.write(b"1111111\n").unwrap();
        let moved = folder.0.join("moved");
        for (line, before) in [("2222222\n", "log.1"), ("3\n", "moved")] {
            if before == "moved" {
                fs::rename(&settings.path, &moved).unwrap();
            }
            log.write(line.as_bytes()).unwrap();

            let next = fs::metadata(&settings.path).unwrap();
            let before = fs::metadata(folder.0.join(before)).unwrap();
            assert_ne!(next.ino(), before.ino());
            assert_eq!(next.permissions().mode() & 0o777, 0o640);
            assert_eq!((next.uid(), next.gid()), (before.uid(), before.gid()));
            assert!(!is_root || next.uid() == 65_534);
        }
    }

    #[test]
    fn a_check_creates_no_file_and_finds_one_that_cannot_be_written() {
        let folder = Folder::new("check");
        let at = |path: &str| config::LogFile::at(folder.0.join(path));
        fs::write(folder.0.join("before"), "a line\n").unwrap();
        fs::create_dir(folder.0.join("folder")).unwrap();
        symlink(folder.0.join("target"), folder.0.join("link")).unwrap();

        LogFile::check(&at("log")).unwrap();
        LogFile::check(&at("before")).unwrap();
        for bad in ["missing/log", "folder", "link", "before/log"] {
            LogFile::check(&at(bad)).unwrap_err();
        }

        assert!(!folder.0.join("log").exists() && !folder.0.join("target").exists());
        fs::remove_dir(folder.0.join("folder")).unwrap();
        fs::remove_file(folder.0.join("link")).unwrap();
        assert_eq!(folder.files(), [file("before", "a line\n")]);
    }

    #[test]
    fn processes_that_share_a_file_and_one_that_renames_it_lose_no_line() {
        let folder = Folder::new("shared");
        let settings = folder.settings(Some(10), None);
        let (one, other) = (
            LogFile::open(&settings).unwrap(),
            LogFile::open(&settings).unwrap(),
        );

        one.write(b"1111\n").unwrap();
        other.write(b"2222\n").unwrap();
        one.write(b"3333\n").unwrap();
        other.write(b"4444\n").unwrap();
        fs::rename(&settings.path, folder.0.join("moved")).unwrap();
        one.write(b"5555\n").unwrap();
        other.write(b"6666\n").unwrap();

        assert_eq!(
            folder.files(),
            [
                file("log", "5555\n6666\n"),
                file("log.1", "1111\n2222\n"),
                file("moved", "3333\n4444\n")
            ]
        );
    }
}
