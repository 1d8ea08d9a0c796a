//! `genflow init`, `secrets` and `config`, as a person uses them in a folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::terminal::{Terminal, folder};

/// Runs a command in a folder with these variables only; returns its exit code and what it prints.
fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_genflow"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap();
    let printed = [ran.stdout, ran.stderr].concat();
    (
        ran.status.code().unwrap(),
        String::from_utf8(printed).unwrap(),
    )
}

#[test]
fn init_asks_and_writes_a_file_that_only_its_user_can_read() {
    let folder = folder("init");
    let path = folder.join(".env");
    let mut terminal = Terminal::new(&folder);
    // The brokers, the registry, Temporal, its namespace, the provider, and the provider's key.
    terminal.typed = "kafka:9092\n\n\n\nfal\nneedle-of-a-key\n";

    let (code, shown) = terminal.run(&["init"]);

    assert_eq!(code, 0, "{shown}");
    assert!(
        shown.contains("Kafka's brokers, host:port[,host:port] [127.0.0.1:9092]: "),
        "{shown}"
    );
    assert!(
        shown.contains("next: genflow setup, genflow doctor, genflow all"),
        "{shown}"
    );
    let text = std::fs::read_to_string(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for line in [
        "KAFKA_BROKERS=kafka:9092",
        "IMAGE_PROVIDER=fal",
        "VIDEO_API_KEY=needle-of-a-key",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }
    assert_eq!(run(&folder, &["config", "check"], &[]).0, 0);

    let (again, printed) = run(&folder, &["init", "--provider", "fal"], &[]);
    assert_eq!(again, 64, "{printed}");
    assert!(printed.contains(".env exists already"), "{printed}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let (forced, printed) = run(
        &folder,
        &["init", "--provider", "replicate", "--force", "-q"],
        &[],
    );
    assert_eq!((forced, printed.as_str()), (0, ".env\n"));
    let fresh = std::fs::read_to_string(&path).unwrap();
    let secret = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("NOTIFY_KEYS="))
            .map(str::to_owned)
    };
    assert!(secret(&fresh).is_some() && secret(&fresh) != secret(&text));

    let (_, printed) = run(&folder, &["secrets"], &[]);
    std::fs::remove_dir_all(folder).unwrap();
    for name in [
        "NOTIFY_KEYS=",
        "WEBHOOK_SIGNING_SECRET=whsec_",
        "WEBHOOK_SIGNING_KEY=whsk_",
    ] {
        assert!(
            printed.lines().any(|line| line.starts_with(name)),
            "{printed}"
        );
    }
}

#[test]
fn settings_are_shown_with_where_they_come_from_and_checked() {
    let folder = folder("config");
    let file =
        "KAFKA_BROKERS=kafka:9092\nLOG_LEVEL=debug\nVIDEO_API_KEY=needle\nNOTIFY_SCHEDUL=1s\n";
    std::fs::write(folder.join(".env"), file).unwrap();
    std::fs::write(folder.join("key"), "needle\n").unwrap();
    let variables = [("LOG_LEVEL", "warn"), ("IMAGE_API_KEY_FILE", "key")];

    let (code, shown) = run(&folder, &["config", "show"], &variables);
    let (_, set) = run(&folder, &["config", "show", "--set"], &variables);
    let (worker, reported) = run(
        &folder,
        &["config", "check", "--role", "worker"],
        &variables,
    );
    let (all, faults) = run(&folder, &["config", "check"], &variables);

    std::fs::remove_dir_all(folder).unwrap();
    let row = |name: &str| {
        let line = shown
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap()
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(code, 0, "{shown}");
    assert_eq!(row("KAFKA_BROKERS"), ".env kafka:9092");
    assert_eq!(row("LOG_LEVEL"), "environment warn");
    assert_eq!(row("VIDEO_API_KEY"), ".env ****");
    assert_eq!(row("IMAGE_API_KEY"), "key ****");
    assert_eq!(row("HTTP_ADDR"), "default 127.0.0.1:9464");
    assert!(
        !format!("{shown}{reported}{faults}").contains("needle"),
        "{shown}"
    );
    assert_eq!(set.lines().count(), 5, "{set}");
    // The worker needs no secrets of its own; the other roles do not start with the public ones.
    assert_eq!(worker, 1, "{reported}");
    assert_eq!(
        reported,
        "unknown  NOTIFY_SCHEDUL: genflow has no such setting; did you mean NOTIFY_SCHEDULE?\n"
    );
    assert_eq!(all, 64, "{faults}");
    assert!(faults.contains("fault    NOTIFY_KEYS: "), "{faults}");
}
