//! A person who follows a page: runs its commands one after the other, in one folder, against the engines of the tests.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use genflow::dev::simulator::{Simulator, SimulatorOptions};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::page::{blocks, commands};
use super::{NOT_RUN, OUTCOMES};
use crate::examples::workshop::{PYTHON, Workshop};
use crate::support::process::Process;
use crate::support::{Space, eventually, nowhere};

/// What a page has, and what is here instead: addresses, and names that other stories use too.
pub(super) type Instead = Vec<(&'static str, String)>;

/// A walk through a page.
pub(super) struct Walk {
    pub(super) space: Space,
    /// The checkout of the person.
    pub(super) folder: PathBuf,
    variables: BTreeMap<String, String>,
    /// The address of a provider of its own: its ledger has no requests of other walks.
    provider: String,
    /// What runs in the other terminal.
    roles: Option<Process>,
    /// The request that was sent last.
    last: String,
    processes: usize,
}

impl Walk {
    /// Creates a space with a Temporal namespace of its own, since all pages use the same ids, and an empty folder.
    pub(super) async fn new() -> Self {
        let namespace = format!("walk-{}", Uuid::new_v4().simple());
        let space = Space::with(&[("TEMPORAL_NAMESPACE", &namespace)]).await;
        let folder = space.folder().join("checkout");
        std::fs::create_dir(&folder).unwrap();
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        symlink(schemas, folder.join("schemas")).unwrap();
        let mut variables = space.variables.clone();
        // The defaults of these are what the pages show.
        for name in ["IMAGE_MODEL", "VIDEO_MODEL", "RESULTS_DIR"] {
            variables.remove(name);
        }
        let programs = Path::new(env!("CARGO_BIN_EXE_genflow")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let provider = provider().await;
        let set = [
            ("PATH", format!("{}:{path}", programs.display())),
            ("SMTP_URL", space.engines.smtp.clone()),
            ("HTTP_ADDR", nowhere().to_string()),
            ("IMAGE_API_BASE_URL", provider.clone()),
            ("VIDEO_API_BASE_URL", provider.clone()),
        ];
        variables.extend(set.map(|(name, value)| (name.to_owned(), value)));
        Self {
            space,
            folder,
            variables,
            provider,
            roles: None,
            last: String::new(),
            processes: 0,
        }
    }

    /// Runs all commands and programs of a page, but for those of [`NOT_RUN`].
    pub(super) async fn follow(&mut self, page: &str, instead: &Instead) {
        let mut used = vec![false; instead.len()];
        let mut replaced = |text: &str| {
            let mut text = text.to_owned();
            for ((written, here), used) in instead.iter().zip(&mut used) {
                *used |= text.contains(written);
                text = text.replace(written, here);
            }
            text
        };
        for block in blocks(page) {
            match &*block.language {
                "sh" => {
                    for command in commands(&block.text) {
                        self.step(&command, &replaced(&command)).await;
                    }
                }
                "python" => self.python(&replaced(&block.text)).await,
                "" => {
                    let is_command = |line: &str| {
                        ["genflow ", "cargo ", "$ "]
                            .iter()
                            .any(|it| line.starts_with(it))
                    };
                    let command = block.text.lines().find(|line| is_command(line));
                    assert_eq!(
                        command, None,
                        "{page}: a block with commands is not marked sh"
                    );
                }
                other => panic!("{page}: nothing runs blocks of {other}:\n{}", block.text),
            }
        }
        let unused = instead.iter().zip(used).filter(|(_, used)| !used);
        let unused: Vec<_> = unused.map(|((written, _), _)| written).collect();
        assert!(unused.is_empty(), "{page} no longer has {unused:?}");
    }

    /// Runs one command. `written`: as the page has it.
    async fn step(&mut self, written: &str, command: &str) {
        if NOT_RUN.iter().any(|(not_run, _)| *not_run == written) {
            if written.contains("cargo dev") {
                self.start_roles("genflow all").await;
            }
            return;
        }
        match written {
            "genflow init" => self.init(command).await,
            "genflow all" => self.start_roles(command).await,
            _ => self.run(written, command).await,
        }
    }

    /// Starts all roles, unless they run, and waits until they are ready, as a person does who reads what they print.
    async fn start_roles(&mut self, command: &str) {
        if self.roles.is_some() {
            return;
        }
        let mut roles = self.start(&["sh", "-c", &format!("exec {command}")]);
        let url = format!("http://{}/readyz", self.variables["HTTP_ADDR"]);
        eventually("all roles are ready", async || {
            assert_eq!(roles.has_ended(), None, "{}", roles.output());
            let page = reqwest::get(&url).await.ok()?;
            page.status().is_success().then_some(())
        })
        .await;
        self.roles = Some(roles);
    }

    /// Stops the roles, as both pages ask, then answers the questions of `genflow init`. What it writes applies from now
    /// on, so the same variables leave the environment.
    async fn init(&mut self, command: &str) {
        if let Some(mut roles) = self.roles.take() {
            assert!(roles.terminate().await.success(), "{}", roles.output());
        }
        let engines = self.space.engines;
        // The provider is the default one; the simulator takes any key.
        let answers = [
            &*engines.kafka,
            &engines.registry,
            &engines.temporal,
            &self.variables["TEMPORAL_NAMESPACE"],
            "",
            "r8_walk",
        ];
        let typed = answers.join("\n");
        let terminal = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/command_line/on_terminal.py"
        );
        let through = ["python3", terminal, "100", &typed, "/bin/sh", "-c", command];
        let mut asked = self.start(&through);
        assert!(asked.ended().await.success(), "{}", asked.output());
        let written = std::fs::read_to_string(self.folder.join(".env")).unwrap();
        let names = written.lines().filter_map(|line| line.split_once('='));
        for (name, _) in names {
            self.variables.remove(name);
        }
        for name in ["KAFKA_BROKERS", "TEMPORAL_NAMESPACE", "IMAGE_API_KEY"] {
            assert!(!self.variables.contains_key(name), "{written}");
        }
    }

    /// Runs a command to its end, and compares it with [`OUTCOMES`].
    async fn run(&mut self, written: &str, command: &str) {
        let command = match command.strip_suffix(" ID") {
            Some(rest) => format!("{rest} {}", self.last),
            None => command.to_owned(),
        };
        let mut process = self.start(&["sh", "-c", &command]);
        let code = process.ended().await.code();
        let printed = process.output();
        let outcome = OUTCOMES.iter().find(|it| written.starts_with(it.begins));
        let (expected, prints) = outcome.map_or((0, &[][..]), |it| (it.code, it.prints));
        assert_eq!(code, Some(expected), "{command}: {printed}");
        for words in prints {
            assert!(printed.contains(words), "{words} by {command}: {printed}");
        }
        if written.starts_with("genflow get ") {
            let files: Vec<_> = printed.lines().map(|line| self.folder.join(line)).collect();
            assert!(
                !files.is_empty() && files.iter().all(|file| file.is_file()),
                "{printed}"
            );
        }
        if written.starts_with("genflow submit ") && !written.ends_with(" --dry-run") {
            self.last = printed.lines().next().unwrap().to_owned();
            // A person is slower than intake.
            eventually("the request starts", async || {
                let events = self.space.all_events(&self.last).await;
                (!events.is_empty()).then_some(())
            })
            .await;
        }
        if written.ends_with(" --watch") {
            // Its last event comes just before its end.
            self.space.closed(&self.last).await;
        }
    }

    /// Runs a program in Python, with the packages of the examples.
    async fn python(&mut self, program: &str) {
        let workshop = tokio::task::spawn_blocking(|| Workshop::open(&PYTHON));
        let Some(workshop) = workshop.await.unwrap() else {
            return;
        };
        std::fs::write(self.folder.join("send.py"), program).unwrap();
        let python = workshop.folder().join(".venv/bin/python");
        let mut process = self.start(&[python.to_str().unwrap(), "send.py"]);
        assert!(process.ended().await.success(), "{}", process.output());
        self.last = "order-7".to_owned();
    }

    /// Returns how many submits of a request the provider has accepted.
    pub(super) async fn paid(&self, request: &str) -> Option<u64> {
        let url = format!("{}/_sim/ledger?key={request}", self.provider);
        let body = reqwest::get(url).await.unwrap().bytes().await.unwrap();
        let ledger: Value = serde_json::from_slice(&body).unwrap();
        ledger["entries"][0]["accepted"].as_u64()
    }

    /// Starts a command in the folder.
    fn start(&mut self, command: &[&str]) -> Process {
        self.processes += 1;
        let log = self.folder.join(format!("{}.log", self.processes));
        // The path of genflow, which comes last, is `$0` of a shell, and ignored.
        Process::start_through(command, &[], &self.variables, log)
    }
}

/// Starts a simulator of the provider, which runs as long as the test, and returns its address.
async fn provider() -> String {
    let options = SimulatorOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        job_time: Duration::from_millis(300),
    };
    let simulator = Simulator::bind(options).await.unwrap();
    let address = format!("http://{}", simulator.address());
    tokio::spawn(simulator.run(CancellationToken::new()));
    address
}
