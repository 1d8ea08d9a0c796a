//! Finds a Java: which runtimes the machine has, and how new they are.
//!
//! The version comes from the installation's `release` file, which all runtimes since Java 7 have: running
//! `java -version` would cost each start 50 ms per runtime.

use std::env;
use std::path::{Path, PathBuf};

/// A Java runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Java {
    pub(super) program: PathBuf,
    /// 17 of `17.0.15`.
    pub(super) major: u32,
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
        let major = major_of(&std::fs::read_to_string(release).ok()?)?;
        Some(Self {
            program: real,
            major,
        })
    }

    /// Returns the option that silences warnings about calls of `sun.misc.Unsafe`, which Java 24 and newer print.
    ///
    /// `--enable-native-access` would silence some more, but with it each start logs errors about a
    /// class archive that does not match.
    pub(super) fn unsafe_warnings_off(&self) -> Option<&'static str> {
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

/// Reads the major number from a `release` file.
fn major_of(release: &str) -> Option<u32> {
    let line = release
        .lines()
        .find_map(|line| line.strip_prefix("JAVA_VERSION="));
    major(line?.trim().trim_matches('"'))
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
    fn the_release_file_has_the_version() {
        let release = "IMPLEMENTOR=\"Eclipse\"\nJAVA_RUNTIME_VERSION=\"25.0.3+9-LTS\"\nJAVA_VERSION=\"25.0.3\"\nJAVA_VERSION_DATE=\"2026\"\n";

        assert_eq!(major_of(release), Some(25));
        assert_eq!(major_of("JAVA_VERSION_DATE=\"2026\""), None);
    }
}
