//! Carries out the command line: one arm for each command.

use std::collections::BTreeSet;
use std::ffi::OsString;

use anstream::stdout;
use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{self, Roles, settings};
#[cfg(feature = "dev")]
use crate::dev;
use crate::domain::error_chain::causes;
use crate::engines::config::{Config, Fault, Faults};
use crate::engines::{health, telemetry};
use crate::operate::cli::settings::{CheckedRole, Environment, Settings};
use crate::operate::cli::{self, Cli, CliCommand, Dlq, USAGE};
use crate::operate::{codec_server, console};

/// Carries out a command; returns the exit code. `of_env_file` has the names that [`read_env_file`] has set.
///
/// # Errors
/// Why the command failed; [`exit_code`] has a code for it.
pub async fn run(cli: Cli, of_env_file: BTreeSet<String>) -> anyhow::Result<u8> {
    check_text(|name| std::env::var_os(name))?;
    if cli.quiet {
        cli::terminal::be_quiet();
    }
    let stop = CancellationToken::new();
    match cli.command {
        #[cfg(feature = "dev")]
        CliCommand::Guard { parent, command } => Err(dev::child_guard::run(parent, command).into()),
        #[cfg(feature = "dev")]
        CliCommand::Local(command) => {
            stop_at_signal(&stop)?;
            Box::pin(dev::run(command, variable, stop)).await?;
            Ok(0)
        }
        CliCommand::CodecServer => serve_codec(stop).await,
        CliCommand::Secrets(secrets) => {
            cli::secrets::print(secrets, &mut stdout())?;
            Ok(0)
        }
        CliCommand::Console { key } => Box::pin(serve_console(key.get()?, stop)).await,
        CliCommand::Init(init) => {
            cli::init::run(&init, &mut stdout())?;
            Ok(0)
        }
        CliCommand::Config(command) => configure(&command, of_env_file),
        CliCommand::Completions { shell } => {
            cli::manual::completions(shell, &mut stdout())?;
            Ok(0)
        }
        CliCommand::Man { folder } => {
            cli::manual::man(&folder)?;
            Ok(0)
        }
        CliCommand::Operator(command) => {
            let config = Config::load(variable)?;
            cli::run::operate(&config, &command, &mut stdout()).await
        }
        CliCommand::Dlq(command) => {
            let config = Config::load(variable)?;
            // The other `dlq` commands only read: a signal may end them at any time.
            if matches!(command, Dlq::Redrive(_)) {
                stop_at_signal(&stop)?;
            }
            cli::dlq::run(&config, &command, &stop, &mut stdout()).await
        }
        CliCommand::Intake => serve(Roles::INTAKE, None, stop).await,
        CliCommand::Worker => serve(Roles::WORKER, None, stop).await,
        CliCommand::Notifier => serve(Roles::NOTIFIER, None, stop).await,
        CliCommand::All { key } => serve(Roles::ALL, key.get()?, stop).await,
    }
}

/// Serves the console until a signal stops it.
async fn serve_console(key: Option<String>, stop: CancellationToken) -> anyhow::Result<u8> {
    stop_at_signal(&stop)?;
    let check = |config: &Config| config.console.check().err().into_iter().collect();
    let config = Config::load_for(variable, check)?;
    let metrics = telemetry::init(&config.log, None)?;
    let listener = console::listen(&config).await?;
    tokio::select! {
        ran = console::run(config, key, listener, stop) => ran?,
        () = health::keep_up(&metrics) => {}
    }
    Ok(0)
}

/// Shows or checks the settings.
fn configure(command: &Settings, of_env_file: BTreeSet<String>) -> anyhow::Result<u8> {
    let variables = std::env::vars_os();
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = Environment {
        variables: variables.filter_map(text).collect(),
        of_env_file,
    };
    match command {
        Settings::Show(asked) => cli::settings::show(&environment, asked, &mut stdout()),
        Settings::Check(asked) => {
            let roles = match asked.role {
                CheckedRole::All => Roles::ALL,
                CheckedRole::Intake => Roles::INTAKE,
                CheckedRole::Worker => Roles::WORKER,
                CheckedRole::Notifier => Roles::NOTIFIER,
                CheckedRole::Commands => Roles::default(),
            };
            let faults = settings::load(roles, variable).err();
            let faults = faults.map(|Faults(faults)| faults).unwrap_or_default();
            cli::settings::check(&environment, asked, &faults, &mut stdout())
        }
    }
}

/// Runs roles until a signal; all of them with the console beside, which sends `api_key` with commands.
async fn serve(
    roles: Roles,
    api_key: Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<u8> {
    stop_at_signal(&stop)?;
    let config = settings::load(roles, variable)?;
    let telemetry = telemetry::init(&config.log, config.traces.as_ref())?;
    let listener = TcpListener::bind(config.http_addr)
        .await
        .with_context(|| format!("HTTP_ADDR: cannot listen on {}", config.http_addr))?;
    let console = (roles == Roles::ALL)
        .then(|| tokio::spawn(console::beside_roles(config.clone(), api_key, stop.clone())));
    run_roles(config, roles, listener, telemetry, stop).await?;
    if let Some(console) = console {
        console.await?;
    }
    Ok(0)
}

async fn run_roles(
    config: Config,
    roles: Roles,
    listener: TcpListener,
    metrics: telemetry::Handle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    #[cfg(feature = "dev")]
    if config.mock_external_apis {
        return Box::pin(dev::mock::run(config, roles, listener, metrics, stop)).await;
    }
    Box::pin(app::run(config, roles, listener, metrics, stop)).await
}

/// Runs the codec server until a signal.
async fn serve_codec(stop: CancellationToken) -> anyhow::Result<u8> {
    stop_at_signal(&stop)?;
    let check = |config: &Config| config.codec_server.check().err().into_iter().collect();
    let config = Config::load_for(variable, check)?;
    let _metrics = telemetry::init(&config.log, None)?;
    let addr = config.codec_server.addr;
    let listener = TcpListener::bind(addr).await;
    let listener =
        listener.with_context(|| format!("CODEC_SERVER_ADDR: cannot listen on {addr}"))?;
    tracing::info!(%addr, "decoding what Temporal stores");
    codec_server::serve(&config, listener, &stop).await?;
    Ok(0)
}

/// Returns the value of a variable; for a name with `*` at its end, the names that begin so, separated by commas.
fn variable(name: &str) -> Option<String> {
    let Some(prefix) = name.strip_suffix('*') else {
        return std::env::var(name).ok();
    };
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    Some(names.join(","))
}

/// Checks that all settings are UTF-8: [`variable`] would take one that is not for one that is not set.
fn check_text(lookup: impl Fn(&str) -> Option<OsString>) -> Result<(), Faults> {
    let is_text = |name: &str| lookup(name).is_none_or(|value| value.to_str().is_some());
    let names = Config::variables().into_iter();
    let faults = names.filter(|name| !is_text(name)).map(|variable| Fault {
        variable,
        problem: "is not UTF-8, expected text in UTF-8".to_owned(),
    });
    let faults: Vec<_> = faults.collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Faults(faults))
}

/// Cancels `stop` at SIGINT or SIGTERM; a second signal ends the process at once.
fn stop_at_signal(stop: &CancellationToken) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let stop = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !first {
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(())
}

/// Returns the exit code of a command that failed.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Faults>() {
        return USAGE;
    }
    #[cfg(feature = "dev")]
    if let Some(dev::engines::Error::Missing(_)) = error.downcast_ref() {
        return cli::UNAVAILABLE;
    }
    cli::exit_code(error)
}

/// Describes why a command failed, on one line. Two errors may have more lines: that of faulty settings, one for each
/// fault, and that of an engine, which shows the end of its log.
pub fn description(error: &anyhow::Error) -> String {
    if let Some(faults) = error.downcast_ref::<Faults>() {
        return faults.to_string();
    }
    #[cfg(feature = "dev")]
    if error.is::<dev::engines::Error>() {
        return format!("{error:#}");
    }
    causes(error.as_ref())
}

/// Sets the variables of `.env` that the environment does not have; returns their names. A missing file is not an error; an
/// unreadable one is. Parent folders are not searched: their `.env` may belong to something else.
///
/// # Errors
/// The file cannot be read; [`unread`] describes it.
pub fn read_env_file() -> Result<BTreeSet<String>, dotenvy::Error> {
    let path = std::path::Path::new(".env");
    let lines = match dotenvy::from_path_iter(path) {
        Err(error) if error.not_found() => return Ok(BTreeSet::new()),
        lines => lines?,
    };
    let lines: Vec<_> = lines.collect::<Result<_, _>>()?;
    let names = lines.into_iter().map(|(name, _)| name);
    let is_new = |name: &String| std::env::var_os(name).is_none();
    let names = names.filter(is_new).collect();
    dotenvy::from_path(path)?;
    Ok(names)
}

/// Describes a fault of `.env` without showing a value, which may be a secret.
pub fn unread(error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(rest, _) = error else {
        return format!(".env: {error}");
    };
    let text = std::fs::read_to_string(".env").unwrap_or_default();
    let name = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.trim().bytes().all(is_of_a_name))
        .find(|(_, value)| !rest.trim().is_empty() && value.trim().ends_with(rest.trim()))
        .map_or("a line", |(name, _)| name.trim());
    format!(
        ".env: {name} cannot be read, expected NAME=value, with quotes if the value contains spaces, # or $"
    )
}

/// Only upper case counts as a variable's name: another line of a multi-line value may contain a `=` too.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_setting_that_is_not_utf_8_is_a_fault() {
        let value = |name: &str| match name {
            "KAFKA_GROUP" => Some(OsString::from_vec(vec![b'a', 0xff])),
            "TOPIC_EVENTS" => Some("events".into()),
            _ => None,
        };

        let faults = check_text(value).unwrap_err();

        let variables: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
        assert_eq!(variables, ["KAFKA_GROUP"]);
        assert!(check_text(|_| None).is_ok());
    }
}
