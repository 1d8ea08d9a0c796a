//! Holds the Dockerfile to what cargo asks for. There is no Docker where tests run: what its steps copy is copied here,
//! and cargo reads it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// Returns the instructions of the first stage, continued lines joined.
fn steps() -> Vec<String> {
    let joined = read("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.starts_with('#'));
    let stages = lines.map(str::to_owned).collect::<Vec<_>>();
    let mut froms = (0..stages.len()).filter(|&at| stages[at].starts_with("FROM "));
    let (first, second) = (froms.next().unwrap(), froms.next().unwrap());
    stages[first + 1..second].to_vec()
}

/// Copies what a step names, as far as the build's context holds it.
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

/// Runs a step's commands; a build becomes a look at the manifest, which needs no compiler and no network.
fn run(commands: &str, folder: &Path) {
    // cargo metadata would not miss a file that the manifest names; fetch does.
    let fetch = "cargo fetch --locked --offline --target \"$(rustc -vV | sed -n 's/^host: //p')\"";
    let commands = commands.replace("cargo build --release --locked --bin genflow", fetch);
    let ran = Command::new("sh")
        .args(["-euc", &commands])
        .current_dir(folder)
        .output();
    let ran = ran.unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{commands}\n{said}");
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
            && commands.contains("cargo build")
        {
            run(commands, &folder);
            builds += 1;
        }
    }

    assert_eq!(
        builds, 2,
        "that of the dependencies and that of the program"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_image_runs_as_a_numbered_user_and_group() {
    let dockerfile = read("Dockerfile");

    assert!(dockerfile.contains("--gid 10001 genflow"));
    assert!(dockerfile.contains("--uid 10001 --gid genflow"));
    assert!(dockerfile.lines().any(|line| line == "USER 10001:10001"));
}
