//! Finds a Java: which runtimes the machine has, and how new they are.
//!
//! The version comes from the installation's `release` file, which all current ones have: running
//! `java -version` would cost each start 50 ms per runtime.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Java runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Java {
    pub(super) program: PathBuf,
    pub(super) major: u32,
    /// The full version: a class archive works only with the version that created it.
    pub(super) version: String,
}

impl Java {
    /// Returns the first runtime that is at least `oldest`: JAVA_HOME, PATH, then the newest in the system's folders.
    pub(super) fn find(oldest: u32) -> Option<Self> {
        let chosen = env::var_os("JAVA_HOME")
            .filter(|home| !home.is_empty())
            .map(|home| Path::new(&home).join("bin/java"));
        let chosen = chosen
            .into_iter()
            .chain(super::install::find_program("java"));
        let fits = |java: &Self| java.major >= oldest;
        chosen
            .filter_map(|program| Self::at(&program))
            .find(fits)
            .or_else(|| installed().into_iter().find(fits))
    }

    /// Returns the runtime whose program is at `program`, if there is one.
    pub(super) fn at(program: &Path) -> Option<Self> {
        let real = program.canonicalize().ok()?;
        let release = real.parent()?.parent()?.join("release");
        let version = match std::fs::read_to_string(release) {
            Ok(release) => version_of_release(&release)?,
            Err(_) => version_of_banner(&banner(&real)?)?,
        };
        let major = major(&version)?;
        Some(Self {
            program: real,
            major,
            version,
        })
    }

    /// Returns the option that silences warnings about calls in the engines' libraries.
    ///
    /// `--enable-native-access` would silence some more, but with it each start logs errors about a
    /// class archive that does not match.
    pub(super) fn quiet(&self) -> Option<&'static str> {
        (self.major >= 24).then_some("--sun-misc-unsafe-memory-access=allow")
    }
}

/// Lists the runtimes in the system's own folders, newest first.
fn installed() -> Vec<Java> {
    let folders = [
        "/usr/lib/jvm",
        "/usr/java",
        "/Library/Java/JavaVirtualMachines",
    ];
    let homes = folders
        .into_iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    let programs = homes.flat_map(|home| {
        ["bin/java", "Contents/Home/bin/java"].map(|program| home.path().join(program))
    });
    let mut found: Vec<_> = programs.filter_map(|program| Java::at(&program)).collect();
    found.sort_by(|a, b| {
        b.major
            .cmp(&a.major)
            .then_with(|| a.program.cmp(&b.program))
    });
    found
}

fn banner(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("-version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn version_of_release(release: &str) -> Option<String> {
    let line = release
        .lines()
        .find_map(|line| line.strip_prefix("JAVA_RUNTIME_VERSION="));
    let line = line.or_else(|| {
        release
            .lines()
            .find_map(|line| line.strip_prefix("JAVA_VERSION="))
    });
    Some(line?.trim().trim_matches('"').to_owned())
}

fn version_of_banner(banner: &str) -> Option<String> {
    Some(
        banner
            .split_once(" version \"")?
            .1
            .split_once('"')?
            .0
            .to_owned(),
    )
}

/// Reads the major number: 8 of `1.8.0_402`, 17 of `17.0.15`, 26 of `26-ea`.
fn major(version: &str) -> Option<u32> {
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_old_and_new_give_their_major_number() {
        for (version, want) in [
            ("1.8.0_402", 8),
            ("17.0.15+6-Debian-1deb12u1", 17),
            ("25", 25),
            ("26-ea", 26),
        ] {
            assert_eq!(major(version), Some(want), "{version}");
        }
        assert_eq!(major("unknown"), None);
    }

    #[test]
    fn the_release_file_tells_the_version() {
        let release = "IMPLEMENTOR=\"Eclipse\"\nJAVA_RUNTIME_VERSION=\"25.0.3+9-LTS\"\nJAVA_VERSION=\"25.0.3\"\nJAVA_VERSION_DATE=\"2026\"\n";

        assert_eq!(version_of_release(release).as_deref(), Some("25.0.3+9-LTS"));
        assert_eq!(
            version_of_release("JAVA_VERSION=\"17\"").as_deref(),
            Some("17")
        );
        assert_eq!(version_of_release("JAVA_VERSION_DATE=\"2026\""), None);
    }

    #[test]
    fn the_banner_tells_the_version() {
        let banner = "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment\n";

        assert_eq!(version_of_banner(banner).as_deref(), Some("17.0.15"));
        assert_eq!(version_of_banner("no java here"), None);
    }
}
