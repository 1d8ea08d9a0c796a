//! Installs engines: one process at a time, completely or not at all, with visible progress.
//!
//! An installation is created in a staging folder, which is renamed when it is complete, under a lock that the system
//! releases when its holder ends. So a folder of an earlier run is either complete or ignored; the list of its files
//! ([`whole`]) shows later damage.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::error::{Error, LogEnd, Missing};
use super::options::{Options, Progress};
use super::process::{self, Process};
use super::{pins, whole};

/// How often a running step reports its progress.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Returns the program `name` that a shell would find on PATH.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The programs that an installation needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    pub(super) maven: bool,
    pub(super) tar: bool,
    pub(super) python: bool,
    pub(super) pip: bool,
}

impl Needs {
    /// Lists the programs that are missing.
    pub(super) async fn missing(self, guard: &Path) -> Vec<Missing> {
        let mut missing = Vec::new();
        if self.maven && find_program("mvn").is_none() {
            let advice = "Maven, to install Kafka and the schema registry: apt-get install maven";
            missing.push(Missing {
                program: "mvn",
                advice,
            });
        }
        if self.tar && find_program("tar").is_none() {
            missing.push(Missing {
                program: "tar",
                advice: "to unpack the schema registry: apt-get install tar gzip",
            });
        }
        if (self.python || self.pip) && find_program("python3").is_none() {
            missing.push(Missing {
                program: "python3",
                advice: "to install Temporal, Java and the mail catcher, and to run the mail catcher: apt-get install python3-pip",
            });
        } else if self.pip && !has_pip(guard).await {
            missing.push(Missing {
                program: "pip",
                advice: "a module of python3, to install Temporal, Java and the mail catcher: apt-get install python3-pip",
            });
        }
        missing
    }
}

async fn has_pip(guard: &Path) -> bool {
    let mut command = process::command(guard, "python3");
    command.args(["-m", "pip", "--version"]);
    match Process::start("pip", command, "/dev/null".into()).await {
        Ok(pip) => pip.ended().await.success(),
        Err(_) => false,
    }
}

/// The right to install into a cache folder; one process at a time holds it.
pub(super) struct Installer<'a> {
    options: &'a Options,
    _lock: File,
}

impl<'a> Installer<'a> {
    /// Waits until no other process installs.
    pub(super) async fn lock(options: &'a Options) -> Result<Self, Error> {
        std::fs::create_dir_all(&options.cache).map_err(Error::io("create", &options.cache))?;
        let path = options.cache.join("lock");
        let lock = File::create(&path).map_err(Error::io("open", &path))?;
        let mut reported = false;
        // Polls, because a thread that blocks in `File::lock` would keep genflow from ending at Ctrl-C.
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        options,
                        _lock: lock,
                    });
                }
                Err(TryLockError::WouldBlock) if reported => {}
                Err(TryLockError::WouldBlock) => {
                    let path = path.display();
                    (options.progress)(&Progress::Note(format!(
                        "waiting for another genflow that is installing: it holds {path}"
                    )));
                }
                Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
            }
            reported = true;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Reports what happens to `engine`.
    pub(super) fn report(&self, engine: &'static str, step: &str) {
        self.report_step(engine, step.into());
    }

    pub(super) fn report_installed(&self, engine: &'static str) {
        (self.options.progress)(&Progress::Installed(engine));
    }

    fn report_step(&self, engine: &'static str, Step { text: step, done }: Step) {
        (self.options.progress)(&Progress::Installing { engine, step, done });
    }

    /// Creates an empty staging folder for `name` in the cache.
    pub(super) fn stage(&self, name: &str) -> Result<Staging, Error> {
        let target = self.options.cache.join(name);
        let folder = self.options.cache.join(format!("{name}.part"));
        remove(&folder)?;
        std::fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
        Ok(Staging { folder, target })
    }

    /// Runs Maven's dependency plugin in `folder`, and reports how many of about `files` files are downloaded; of a single
    /// file, how much of it.
    pub(super) async fn maven(
        &self,
        what: &'static str,
        folder: &Path,
        goal: &str,
        settings: &[String],
        files: u64,
    ) -> Result<(), Error> {
        let mut command = process::command(&self.options.guard, "mvn");
        // Not in batch mode (-B), in which Maven does not log how much of a file is downloaded.
        command
            .current_dir(folder)
            .args(["-C", "-Dstyle.color=never"]);
        command
            .arg(format!("{}:{goal}", pins::DEPENDENCY_PLUGIN))
            .args(settings);
        let log = self.log(what);
        let progress = || fetched(&String::from_utf8_lossy(&std::fs::read(&log).ok()?), files);
        self.run(what, command, progress).await
    }

    /// Installs one package of PyPI into `folder`, and reports how much of its `size` in MB is downloaded.
    pub(super) async fn pip(
        &self,
        what: &'static str,
        folder: &Path,
        package: &str,
        size: u64,
    ) -> Result<(), Error> {
        let scratch = folder.join("scratch");
        std::fs::create_dir_all(&scratch).map_err(Error::io("create", &scratch))?;
        let mut command = process::command(&self.options.guard, "python3");
        command.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]);
        command
            .arg("--target")
            .arg(folder.join("package"))
            .arg(package)
            .current_dir(folder);
        // Overrides user settings that contradict --target.
        command.envs([
            ("PIP_USER", "0"),
            ("PIP_REQUIRE_VIRTUALENV", "0"),
            ("PIP_ROOT_USER_ACTION", "ignore"),
        ]);
        command
            .envs([
                ("PIP_NO_INPUT", "1"),
                ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ])
            .env("TMPDIR", &scratch);
        let progress = || match wheel_size(&scratch) >> 20 {
            0 => None,
            here if here < size => Some(Step::megabytes(here, size)),
            _ => Some("unpacking".into()),
        };
        self.run(what, command, progress).await?;
        remove(&scratch)
    }

    /// Unpacks a compressed archive into `folder`.
    pub(super) async fn unpack(
        &self,
        what: &'static str,
        archive: &Path,
        folder: &Path,
    ) -> Result<(), Error> {
        std::fs::create_dir(folder).map_err(Error::io("create", folder))?;
        let mut command = process::command(&self.options.guard, "tar");
        // The guard does not cover the gzip that tar forks, but gzip ends on its broken pipe when tar does.
        command.arg("-xzf").arg(archive).arg("-C").arg(folder);
        self.run(what, command, || None).await
    }

    async fn run(
        &self,
        what: &'static str,
        command: Command,
        progress: impl Fn() -> Option<Step>,
    ) -> Result<(), Error> {
        let process = Process::start(what, command, self.log(what)).await?;
        let mut last = None;
        let status = loop {
            tokio::select! {
                status = process.ended() => break status,
                () = tokio::time::sleep(REPORT_EVERY) => {}
            }
            let now = progress();
            if let Some(step) = now.clone().filter(|_| now != last) {
                self.report_step(what, step);
            }
            last = now;
        };
        if status.success() {
            return Ok(());
        }
        Err(Error::Install {
            what,
            reason: status.to_string(),
            log: LogEnd::of(process.log()),
        })
    }

    fn log(&self, what: &str) -> PathBuf {
        self.options.data.join(format!(
            "install-{}.log",
            what.to_lowercase().replace(' ', "-")
        ))
    }
}

/// What an installation does now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    text: String,
    /// How much of it is done, and of how much.
    done: Option<(u64, u64)>,
}

impl Step {
    fn megabytes(here: u64, size: u64) -> Self {
        Self {
            text: format!("{here} of {size} MB downloaded"),
            done: Some((here, size)),
        }
    }
}

impl From<&str> for Step {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            done: None,
        }
    }
}

/// A folder that is not complete yet.
pub(super) struct Staging {
    pub(super) folder: PathBuf,
    target: PathBuf,
}

impl Staging {
    /// Lists the folder's files and the files `outside` that it needs, and renames it to its target.
    pub(super) fn finish(self, outside: &[PathBuf]) -> Result<(), Error> {
        whole::write_list(&self.folder, outside).map_err(Error::io("list", &self.folder))?;
        remove(&self.target)?;
        std::fs::rename(&self.folder, &self.target).map_err(Error::io("create", &self.target))
    }
}

/// Removes a folder and its contents, if it exists.
pub(super) fn remove(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Reads from Maven's output how many of about `files` files it has downloaded; of a single file, how much of it. Maven's
/// own lines contain addresses of mirrors, which may contain passwords, so they stay in the log.
fn fetched(output: &str, files: u64) -> Option<Step> {
    if files == 1 {
        let (_, last) = output.rsplit_once("Progress (1): ")?;
        let (here, rest) = last.split_once('/')?;
        let (size, _) = rest.split_once(" MB")?;
        let whole = |text: &str| text.split('.').next()?.parse().ok();
        return Some(Step::megabytes(whole(here)?, whole(size)?));
    }
    let lines = output.split(['\n', '\r']);
    let here = lines
        .filter(|line| line.contains("Downloaded from "))
        .count();
    let here = u64::try_from(here).unwrap_or(files);
    (here > 0).then(|| Step {
        text: format!("{here} files downloaded"),
        done: Some((here.min(files), files)),
    })
}

/// Returns the size of the packages that pip has downloaded, or is downloading, below `folder`.
fn wheel_size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => wheel_size(&entry.path()),
        Ok(metadata) if entry.path().extension().is_some_and(|kind| kind == "whl") => {
            metadata.len()
        }
        _ => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_of_maven_is_a_number_without_addresses() {
        let output = "Downloading from central: https://repo.test/a.pom\n\
                      Downloaded from central: https://repo.test/a.pom (1 kB)\n\
                      Progress (1): 0.4/1.1 MB\rDownloaded from central: https://repo.test/a.jar (1 MB)\n";

        let step = fetched(output, 300).unwrap();

        assert_eq!(step.text, "2 files downloaded");
        assert_eq!(step.done, Some((2, 300)));
        assert_eq!(fetched("[INFO] Scanning for projects...\n", 300), None);
    }

    #[test]
    fn progress_of_a_single_file_is_in_megabytes() {
        let begun =
            "Progress (1): 65/78 kB\rDownloaded from central: https://repo.test/a.pom (78 kB)\n";
        let under_way = "Progress (1): 0.9/159 MB\rProgress (1): 43/159 MB\r";

        assert_eq!(fetched(begun, 1), None);
        assert_eq!(fetched(under_way, 1), Some(Step::megabytes(43, 159)));
    }

    #[test]
    fn the_shell_is_a_program_and_its_folder_is_not() {
        assert!(find_program("sh").is_some());
        assert!(!is_program(Path::new("/bin")));
        assert_eq!(find_program("no-such-program-of-genflow"), None);
    }
}
