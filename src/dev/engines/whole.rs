//! Whether an installed folder is complete: an installation writes a list of its files and their sizes last.
//!
//! An interrupted copy, a full disk, or files that another program deleted show as a file that differs from the list.
//! The list has sizes, not digests, because every start checks it and has no time to read 400 MB.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// File name of the list.
const LIST: &str = "files";

/// The last line of a complete list; a truncated list does not end with it.
const END: &str = "end";

/// The state of an installed folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FolderState {
    /// All listed files exist with their sizes.
    Whole,
    /// The folder does not exist.
    Absent,
    /// This file is missing or has another size.
    Broken(PathBuf),
}

/// Returns whether `folder` is complete.
pub(super) fn is_whole(folder: &Path) -> bool {
    check(folder) == FolderState::Whole
}

/// Compares `folder` with its list.
pub(super) fn check(folder: &Path) -> FolderState {
    if !folder.exists() {
        return FolderState::Absent;
    }
    let list = folder.join(LIST);
    let text = fs::read_to_string(&list).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next_back() != Some(END) {
        return FolderState::Broken(list);
    }
    for line in lines {
        let Some((size, name)) = line.split_once(' ') else {
            return FolderState::Broken(list);
        };
        // `join` keeps an absolute path unchanged, for files outside of the folder.
        let file = folder.join(name);
        let there = fs::metadata(&file).is_ok_and(|file| size == file.len().to_string());
        if !there {
            return FolderState::Broken(file);
        }
    }
    FolderState::Whole
}

/// Writes the list of all files in `folder`, and of the files `outside` that belong to it.
pub(super) fn write_list(folder: &Path, outside: &[PathBuf]) -> io::Result<()> {
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

    /// Returns a folder with its list, a file in it, and a file outside that belongs to it.
    fn listed() -> (PathBuf, PathBuf, PathBuf) {
        let root = std::env::temp_dir().join(format!("genflow-whole-{}", uuid::Uuid::new_v4()));
        let (folder, outside) = (root.join("engine"), root.join("outside.jar"));
        fs::create_dir_all(folder.join("lib")).unwrap();
        let inside = folder.join("lib/a file.jar");
        fs::write(&inside, "inside").unwrap();
        fs::write(&outside, "outside").unwrap();
        write_list(&folder, std::slice::from_ref(&outside)).unwrap();
        assert_eq!(check(&folder), FolderState::Whole);
        (folder, inside, outside)
    }

    #[test]
    fn a_file_that_is_cut_or_missing_is_noticed() {
        let (folder, inside, outside) = listed();

        fs::write(&outside, "out").unwrap();
        assert_eq!(check(&folder), FolderState::Broken(outside.clone()));
        fs::write(&outside, "outside").unwrap();
        fs::remove_file(&inside).unwrap();
        assert_eq!(check(&folder), FolderState::Broken(inside));

        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
        assert_eq!(check(&folder), FolderState::Absent);
    }

    #[test]
    fn a_list_that_is_cut_at_any_byte_or_missing_makes_nothing_whole() {
        let (folder, _, _) = listed();
        let list = folder.join(LIST);
        let text = fs::read_to_string(&list).unwrap();

        for end in 0..text.trim_end().len() {
            fs::write(&list, &text.as_bytes()[..end]).unwrap();
            assert_eq!(check(&folder), FolderState::Broken(list.clone()), "{end}");
        }
        fs::remove_file(&list).unwrap();
        assert!(!is_whole(&folder));

        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    }
}
