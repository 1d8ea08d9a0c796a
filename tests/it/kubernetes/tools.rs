//! Installs, beside the engines, what renders and checks the objects: kustomize and Helm, which Go builds from their
//! modules; a Python package with the schemas of Kubernetes; and the operators' modules, which have their CRDs.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use genflow::dev::engines::default_cache;
use serde_json::Value;

/// Modules with CRDs: their checksums, and the files of the CRDs that `deploy` uses.
const CRDS: [(&str, &str, &[&str]); 2] = [
    (
        "github.com/kedacore/keda/v2@v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        &["config/crd/bases/keda.sh_scaledobjects.yaml"],
    ),
    (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        &[
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        ],
    ),
];

/// What is installed.
#[derive(Debug)]
pub(super) struct Tools {
    /// Folder of the programs.
    bin: PathBuf,
    /// Folder of the Python packages.
    python: PathBuf,
    crds: Vec<PathBuf>,
}

impl Tools {
    /// Returns the tools, which the first call installs; `None` without Go, which the tests of `deploy` alone need.
    pub(super) fn get() -> Option<&'static Self> {
        static TOOLS: OnceLock<Option<Tools>> = OnceLock::new();
        let tools = TOOLS.get_or_init(|| {
            let there = Command::new("go")
                .arg("version")
                .stdout(Stdio::null())
                .status();
            there
                .is_ok_and(|status| status.success())
                .then(Self::install)
        });
        if tools.is_none() {
            // Not by eprintln!, which shows nothing if the test passes.
            let mut terminal = std::io::stderr();
            let why = "Go (1.26 or later) is not installed: apt-get install golang";
            writeln!(terminal, "SKIPPED: a story of Kubernetes, because {why}").unwrap();
        }
        tools.as_ref()
    }

    fn install() -> Self {
        let folder = default_cache().join(format!("kubernetes-{}", fingerprint()));
        if !folder.exists() {
            let part = folder.with_extension(format!("part-{}", std::process::id()));
            let mut go = Command::new("go");
            go.args(["build", "-C"]).arg(source(""));
            go.args(["-trimpath", "-mod=readonly", "-o"]);
            ended(go.arg(part.join("bin/")).arg("tool"));
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
            ended(
                pip.arg(part.join("python"))
                    .arg("--requirement")
                    .arg(source("../requirements.txt")),
            );
            // Another run of the tests may have been faster.
            std::fs::rename(&part, &folder).ok();
        }
        Self {
            bin: folder.join("bin"),
            python: folder.join("python"),
            crds: CRDS.iter().flat_map(crds).collect(),
        }
    }

    /// Runs Helm, as for a cluster of the newest version of Kubernetes that the schemas have.
    pub(super) fn helm(&self, arguments: &[&str]) -> String {
        self.run("helm", &[arguments, &["--kube-version", "1.37.0"]].concat())
    }

    /// Runs a program of these, and returns its output. It must report no error and no warning.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.bin.join(program));
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{command:?}: {said}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a program of these, which must fail, and returns what it reports.
    pub(super) fn refusal(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.bin.join(program))
            .args(arguments)
            .output();
        let output = output.unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Checks objects against the schemas of Kubernetes and of the CRDs, and returns what is wrong.
    pub(super) fn faults(&self, objects: &[Value]) -> Vec<String> {
        let mut python = Command::new("python3")
            .arg(source("../schemas.py"))
            .args(&self.crds)
            .env("PYTHONPATH", &self.python)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = python.stdin.take().unwrap();
        serde_json::to_writer(&mut stdin, objects).unwrap();
        drop(stdin);
        let ended = python.wait_with_output().unwrap();
        assert!(ended.status.success());
        serde_json::from_slice(&ended.stdout).unwrap()
    }
}

/// Returns the path of a file beside the Go module of the tools.
fn source(file: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/kubernetes");
    tests.join("tools").join(file)
}

/// Returns a name for these versions of the tools.
fn fingerprint() -> String {
    let files = ["go.mod", "go.sum", "../requirements.txt"]
        .map(|file| std::fs::read(source(file)).unwrap());
    let digest = ring::digest::digest(&ring::digest::SHA256, &files.concat());
    digest
        .as_ref()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Downloads a module, and returns the paths of its CRDs.
fn crds((module, sum, files): &(&str, &str, &[&str])) -> Vec<PathBuf> {
    let mut go = Command::new("go");
    let found: Value =
        serde_json::from_str(&ended(go.args(["mod", "download", "-json", module]))).unwrap();
    assert_eq!(found["Sum"], *sum, "{module}");
    let folder = Path::new(found["Dir"].as_str().unwrap());
    files.iter().map(|file| folder.join(file)).collect()
}

/// Runs a command to its end, and returns its output.
fn ended(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
