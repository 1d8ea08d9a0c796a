//! Secrets in files, and the lists of them in `.env.example`.

use super::super::Config;

#[test]
fn a_secret_can_be_given_in_a_file() {
    let file = std::env::temp_dir().join(format!("genflow-secret-{}", uuid::Uuid::new_v4()));
    std::fs::write(&file, "in-a-file\n").unwrap();
    let path = file.to_str().unwrap();
    let problem = |variables: &[(&str, &str)]| Config::of(variables).unwrap_err().to_string();
    let named = ("TEMPORAL_API_KEY_FILE", path);

    let read = Config::of(&[named]).unwrap().temporal.api_key.unwrap();
    let twice = problem(&[named, ("TEMPORAL_API_KEY", "needle")]);
    std::fs::write(&file, "\n").unwrap();
    let empty = problem(&[named]);
    std::fs::remove_file(&file).unwrap();
    let absent = problem(&[named]);

    assert_eq!(read.expose(), "in-a-file");
    assert_eq!(
        twice,
        "TEMPORAL_API_KEY: TEMPORAL_API_KEY_FILE is set as well as TEMPORAL_API_KEY, expected only one"
    );
    assert!(empty.contains("names the empty file"), "{empty}");
    assert!(absent.contains("which cannot be read"), "{absent}");
}

#[test]
fn the_example_lists_the_secrets_that_can_be_in_files() {
    let manual = include_str!("../../../../.env.example");
    // The first list is of those whose files are read again.
    let lists = manual.split("# It reads the files of these only when it starts:");
    let listed = lists.map(|part| {
        let lines = part.lines().filter_map(|line| line.strip_prefix("#   "));
        let mut names: Vec<_> = lines.flat_map(str::split_whitespace).collect();
        names.sort_unstable();
        names
    });
    let mut secrets = Config::secret_names();
    secrets.renewed.sort_unstable();
    secrets.fixed.sort_unstable();

    let listed: Vec<_> = listed.collect();

    assert_eq!(listed, [secrets.renewed, secrets.fixed]);
}

#[test]
fn a_key_in_a_file_may_change() {
    let file = std::env::temp_dir().join(format!("genflow-key-{}", uuid::Uuid::new_v4()));
    std::fs::write(&file, "key").unwrap();
    let path = file.to_str().unwrap();
    let of = |pair| Config::of(&[pair]).unwrap().worker.image.api_key.unwrap();

    assert!(of(("IMAGE_API_KEY_FILE", path)).may_change());
    assert!(!of(("IMAGE_API_KEY", "key")).may_change());
    std::fs::remove_file(&file).unwrap();
}
