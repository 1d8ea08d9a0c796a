//! A copy of the examples of one language, built once in the target folder: nothing is installed in the source tree.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::program::Program;
use crate::support::Space;

/// How the examples of a language are built and run: commands of a shell, all in `examples/README.md`.
pub(crate) struct Language {
    pub(super) name: &'static str,
    /// Programs that must be installed, each with its Debian package.
    tools: &'static [(&'static str, &'static str)],
    /// Downloads the libraries.
    fetch: &'static str,
    /// Makes the types from the schemas.
    types: &'static str,
    /// The folder of the types; none if each build makes them.
    made: Option<&'static str>,
    build: &'static str,
    /// Runs a program, in place of `NAME`.
    run: &'static str,
    /// Held while they are built: several stories use Python.
    building: Mutex<()>,
}

pub(crate) static PYTHON: Language = Language {
    name: "python",
    tools: &[("python3", "python3-venv")],
    fetch: "python3 -m venv .venv && .venv/bin/pip install --quiet -r requirements-dev.txt",
    types: "PATH=.venv/bin:$PATH ./generate-types",
    made: Some("genflow_types"),
    build: "true",
    run: ".venv/bin/python NAME.py",
    building: Mutex::new(()),
};

pub(super) static TYPESCRIPT: Language = Language {
    name: "typescript",
    tools: &[("node", "nodejs"), ("npm", "npm")],
    fetch: "npm ci --silent",
    types: "npm run --silent types",
    made: Some("genflow-types"),
    build: "npm run build",
    run: "node build/NAME.js",
    building: Mutex::new(()),
};

pub(super) static JAVA: Language = Language {
    name: "java",
    tools: &[("java", "openjdk-17-jdk-headless"), ("mvn", "maven")],
    fetch: "mvn -B -q dependency:resolve",
    types: "true",
    made: None,
    build: "mvn -q compile dependency:build-classpath -Dmdep.outputFile=target/classpath",
    run: "java -cp target/classes:$(cat target/classpath) example.NAME",
    building: Mutex::new(()),
};

pub(super) static GO: Language = Language {
    name: "go",
    tools: &[("go", "golang, 1.26 or later")],
    fetch: "go mod download",
    types: "go generate",
    made: Some("genflow"),
    build: "go build -o bin/ ./...",
    run: "bin/NAME",
    building: Mutex::new(()),
};

/// Built examples.
pub(crate) struct Workshop {
    language: &'static Language,
    folder: PathBuf,
    programs: AtomicUsize,
}

impl Workshop {
    /// Returns the built examples of a language. Says so and returns `None` if its tools are not installed, or its libraries
    /// cannot be downloaded.
    pub(crate) fn open(language: &'static Language) -> Option<Self> {
        let building = &language.building;
        let _building = building.lock().unwrap_or_else(PoisonError::into_inner);
        let readme = std::fs::read_to_string(source().join("README.md")).unwrap();
        for command in [language.build, language.run] {
            let command = command.split("NAME").next().unwrap();
            assert!(
                readme.contains(command),
                "examples/README.md lacks {command}"
            );
        }
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "{}.examples.{}",
            fingerprint(language),
            language.name
        ));
        let workshop = Self {
            language,
            folder: root.join("examples").join(language.name),
            programs: AtomicUsize::new(0),
        };
        let built = root.join("built");
        if !built.exists() {
            std::fs::remove_dir_all(&root).ok();
            if let Err(why) = workshop.build(&root) {
                // Not by eprintln!, which shows nothing if the test passes.
                let mut terminal = std::io::stderr();
                writeln!(
                    terminal,
                    "SKIPPED: the examples in {}: {why}",
                    language.name
                )
                .unwrap();
                return None;
            }
            std::fs::write(built, "").unwrap();
        }
        Some(workshop)
    }

    /// Returns the folder of the built examples.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Copies and builds the examples. An error is a reason to skip them; examples that do not build are a fault.
    fn build(&self, root: &Path) -> Result<(), String> {
        for (tool, package) in self.language.tools {
            let version = Command::new("sh")
                .args(["-c", "command -v \"$0\"", tool])
                .output();
            if !version.unwrap().status.success() {
                return Err(format!(
                    "{tool} is not installed: apt-get install {package}"
                ));
            }
        }
        copy(&source().with_file_name("schemas"), &root.join("schemas"));
        copy(&source().join(self.language.name), &self.folder);
        let fetched = self.run(self.language.fetch);
        if !fetched.status.success() {
            let why = String::from_utf8_lossy(&fetched.stderr);
            let last = why.lines().last().unwrap_or_default();
            return Err(format!("{} failed: {last}", self.language.fetch));
        }
        for command in [self.language.types, self.language.build] {
            let Output {
                status,
                stdout,
                stderr,
            } = self.run(command);
            let said = [stdout, stderr].concat();
            assert!(
                status.success(),
                "{command}: {}",
                String::from_utf8_lossy(&said)
            );
        }
        Ok(())
    }

    fn run(&self, command: &str) -> Output {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(&self.folder);
        shell.output().unwrap()
    }

    /// Compares the types in the source tree with those that the generator makes of today's schemas.
    pub(super) fn check_types(&self) {
        let Some(made) = self.language.made else {
            return;
        };
        let old = files(&source().join(self.language.name).join(made));
        let new = files(&self.folder.join(made));
        assert!(!old.is_empty());
        for (path, text) in &old {
            let (name, run) = (self.language.name, self.language.types);
            let is_current = new.iter().any(|(other, now)| other == path && now == text);
            assert!(
                is_current,
                "{made}/{path} is not current: run {run} in examples/{name}"
            );
        }
    }

    /// Starts a program against the engines of a space.
    pub(super) fn start(
        &self,
        space: &Space,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Program {
        let names = [
            "KAFKA_BROKERS",
            "SCHEMA_REGISTRY_URL",
            "TOPIC_REQUESTS",
            "TOPIC_EVENTS",
        ];
        let given = variables.iter().copied().chain([("GROUP", space.name())]);
        let ours = names.map(|name| (name, space.variables[name].as_str()));
        let variables = given
            .chain(ours)
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Classes of Java begin with a capital letter.
        let name = match self.language.name {
            "java" => format!("{}{}", program[..1].to_uppercase(), &program[1..]),
            _ => program.to_owned(),
        };
        let quoted = arguments.iter().map(|argument| format!(" '{argument}'"));
        let command = self.language.run.replace("NAME", &name) + &quoted.collect::<String>();
        let number = self.programs.fetch_add(1, Ordering::Relaxed);
        let log = space.folder().join(format!("{program}{number}"));
        Program::start(&command, &self.folder, &variables.collect(), &log)
    }
}

/// Returns the folder of the examples.
fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Returns the files of a folder in a checkout: their paths in it, and their contents.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    const MADE: [&str; 6] = [
        ".venv",
        "__pycache__",
        "node_modules",
        "build",
        "target",
        "bin",
    ];
    let mut found = Vec::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if MADE.iter().any(|name| path.ends_with(name)) {
                continue;
            }
            if path.is_dir() {
                ahead.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            found.push((name, std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for (name, _) in files(from) {
        let target = to.join(&name);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        // With its permissions: one is a script.
        std::fs::copy(from.join(name), target).unwrap();
    }
}

/// Returns a name for these examples, and the schemas that they are built of.
fn fingerprint(language: &Language) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let schemas = source().with_file_name("schemas");
    for (name, text) in [files(&source().join(language.name)), files(&schemas)].concat() {
        context.update(name.as_bytes());
        context.update(&text);
    }
    context.update(language.fetch.as_bytes());
    context.update(language.types.as_bytes());
    context.update(language.build.as_bytes());
    let digest = context.finish();
    digest
        .as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
