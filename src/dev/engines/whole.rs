//! Whether an installed folder is whole: the last thing an installation writes is a list of its files and their sizes.
//!
//! A copy that was broken off, a full disk, files that others tidied up: each shows as a file that is not as listed.
//! Sizes and not digests: every start looks, and has no time to read 400 MB.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The list's own name.
const LIST: &str = "files";

/// The last line of a list: one that is cut ends otherwise.
const END: &str = "end";

/// What was found of an installed folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All is there.
    Whole,
    /// There is no such folder.
    Absent,
    /// This file is missing or has another size.
    Broken(PathBuf),
}

/// Tells whether all that is listed in `folder` is there.
pub(super) fn is_whole(folder: &Path) -> bool {
    check(folder) == State::Whole
}

/// Holds `folder` against its list.
pub(super) fn check(folder: &Path) -> State {
    if !folder.exists() {
        return State::Absent;
    }
    let list = folder.join(LIST);
    let text = fs::read_to_string(&list).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next_back() != Some(END) {
        return State::Broken(list);
    }
    for line in lines {
        let Some((size, name)) = line.split_once(' ') else {
            return State::Broken(list);
        };
        // Joining takes a path that is absolute as it is.
        let file = folder.join(name);
        let there = fs::metadata(&file).is_ok_and(|file| size == file.len().to_string());
        if !there {
            return State::Broken(file);
        }
    }
    State::Whole
}

/// Lists all files in `folder`, and those `outside` that belong to it.
pub(super) fn seal(folder: &Path, outside: &[PathBuf]) -> io::Result<()> {
    let list = folder.join(LIST);
    let mut text = String::new();
    let mut files = outside.to_vec();
    collect(folder, &mut files)?;
    files.retain(|file| *file != list);
    for file in files {
        let size = fs::metadata(&file)?.len();
        let name = file.strip_prefix(folder).unwrap_or(&file);
        let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        writeln!(text, "{size} {name}").map_err(io::Error::other)?;
    }
    fs::write(list, text + END + "\n")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sealed folder with a file in it and one outside.
    fn sealed() -> (PathBuf, PathBuf, PathBuf) {
        let root = std::env::temp_dir().join(format!("genflow-whole-{}", uuid::Uuid::new_v4()));
        let (folder, outside) = (root.join("engine"), root.join("outside.jar"));
        fs::create_dir_all(folder.join("lib")).unwrap();
        let inside = folder.join("lib/a file.jar");
        fs::write(&inside, "inside").unwrap();
        fs::write(&outside, "outside").unwrap();
        seal(&folder, std::slice::from_ref(&outside)).unwrap();
        assert_eq!(check(&folder), State::Whole);
        (folder, inside, outside)
    }

    #[test]
    fn a_file_that_is_cut_or_missing_is_noticed() {
        let (folder, inside, outside) = sealed();

        fs::write(&outside, "out").unwrap();
        assert_eq!(check(&folder), State::Broken(outside.clone()));
        fs::write(&outside, "outside").unwrap();
        fs::remove_file(&inside).unwrap();
        assert_eq!(check(&folder), State::Broken(inside));

        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
        assert_eq!(check(&folder), State::Absent);
    }

    #[test]
    fn a_list_that_is_cut_at_any_byte_or_missing_makes_nothing_whole() {
        let (folder, _, _) = sealed();
        let list = folder.join(LIST);
        let text = fs::read_to_string(&list).unwrap();

        for end in 0..text.trim_end().len() {
            fs::write(&list, &text.as_bytes()[..end]).unwrap();
            assert_eq!(check(&folder), State::Broken(list.clone()), "{end}");
        }
        fs::remove_file(&list).unwrap();
        assert!(!is_whole(&folder));

        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
}
