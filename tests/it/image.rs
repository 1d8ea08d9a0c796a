//! Checks that the Dockerfile copies all files that cargo needs. There is no Docker where tests run, so this test
//! copies the same files and runs cargo on them.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// Returns the instructions of the first stage, with continued lines joined.
fn steps() -> Vec<String> {
    let joined = read("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.starts_with('#'));
    let stages = lines.map(str::to_owned).collect::<Vec<_>>();
    let mut froms = (0..stages.len()).filter(|&at| stages[at].starts_with("FROM "));
    let (first, second) = (froms.next().unwrap(), froms.next().unwrap());
    stages[first + 1..second].to_vec()
}

/// Copies the sources of a step; asserts that the build's context contains each.
fn copy(sources: &[&str], to: &Path) {
    let ignore = read(".dockerignore");
    let sent = |source: &str| ignore.lines().any(|line| line == format!("!{source}"));
    for source in sources {
        assert!(sent(source), "{source} is not in the context");
        let copied = Command::new("cp")
            .arg("-r")
            .arg(root().join(source))
            .arg(to)
            .status();
        assert!(copied.unwrap().success(), "{source}");
    }
}

/// Runs a step's commands, with `cargo fetch` instead of a build: it needs no compiler and no network.
fn run(commands: &str, folder: &Path) {
    // Unlike `cargo metadata`, `cargo fetch` fails if a file that the manifest names is missing.
    let fetch = "cargo fetch --locked --offline --target \"$(rustc -vV | sed -n 's/^host: //p')\"";
    let build = r#"cargo auditable build --release --locked --bin genflow --no-default-features --features "$FEATURES""#;
    assert!(commands.contains(build), "{commands}");
    let commands = commands.replace(build, fetch);
    let ran = Command::new("sh")
        .args(["-euc", &commands])
        .current_dir(folder)
        .output();
    let ran = ran.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{commands}\n{said}");
}

/// Returns the files that become part of the program, by `include_str!` and `include_bytes!` outside of tests.
fn included(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            files.extend(included(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = std::fs::read_to_string(&path).unwrap();
            let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let included = ["include_str!(", "include_bytes!("]
                .into_iter()
                .flat_map(|call| program.split(call).skip(1))
                .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
            files.extend(included.map(|file| folder.join(file)));
        }
    }
    files
}

#[test]
fn cargo_takes_what_each_build_of_the_image_has() {
    let name = format!("image-{}", std::process::id());
    let folder: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let mut builds = 0;

    for step in steps() {
        if let Some(words) = step.strip_prefix("COPY ") {
            let words: Vec<_> = words.split_whitespace().collect();
            let (_, sources) = words.split_last().unwrap();
            copy(sources, &folder);
        } else if let Some(commands) = step.strip_prefix("RUN ")
            && commands.contains("cargo auditable build")
        {
            run(commands, &folder);
            builds += 1;
        }
    }

    let missing: Vec<_> = included(&folder.join("src"))
        .into_iter()
        .filter(|file| !file.exists())
        .collect();
    assert!(missing.is_empty(), "not copied: {missing:?}");
    assert_eq!(
        builds, 2,
        "that of the dependencies and that of the program"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_image_runs_as_a_numbered_user_and_group_that_owns_its_folders() {
    let dockerfile = read("Dockerfile");

    assert!(dockerfile.lines().any(|line| line == "USER 10001:10001"));
    let folders = "COPY --from=build --chown=10001:10001 /out/genflow /var/lib/genflow";
    assert!(dockerfile.lines().any(|line| line == folders));
}

#[test]
fn labels_are_those_of_the_package() {
    let dockerfile = read("Dockerfile");
    for (label, expected) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", "Apache-2.0"),
    ] {
        let label = format!("org.opencontainers.image.{label}=\"{expected}\"");
        assert!(dockerfile.contains(&label), "{label}");
    }
}
