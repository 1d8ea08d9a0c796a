//! The `genflow` binary: parses arguments, loads settings, starts telemetry, runs the command.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use genflow::app::{self, Roles, settings};
use genflow::dev;
use genflow::dev::simulator::{Options, Simulator};
use genflow::dev::{Dev, child_guard as guard, engines, mock};
use genflow::engines::config::{Config, Faults};
use genflow::engines::telemetry;
use genflow::operate::cli;
use genflow::operate::cli::{Cli, Command, Here, Ports, UNAVAILABLE, USAGE};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    // A missing .env is fine; a malformed one is a fault. Only the .env of this folder is read: one of a parent folder
    // may belong to another program.
    match dotenvy::from_path(".env") {
        Err(error) if !error.not_found() => return fault(USAGE, &unread(&error)),
        Ok(_) | Err(_) => {}
    }
    match Box::pin(run(cli)).await {
        Ok(code) => code.into(),
        Err(error) => fault(exit_code(&error), &format!("{error:#}")),
    }
}

/// Describes a fault of `.env` without showing a value, which may be a secret.
fn unread(error: &dotenvy::Error) -> String {
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

async fn run(cli: Cli) -> anyhow::Result<u8> {
    let stop = CancellationToken::new();
    let roles = match cli.command {
        Command::Guard { parent, command } => {
            let parent = parent.unwrap_or_else(std::os::unix::process::parent_id);
            return Err(guard::run(parent, command).into());
        }
        Command::Dev { once, here } => return start_all(once, here, stop).await,
        Command::Test { here } => return start_all(true, here, stop).await,
        Command::ProviderSim { listen, job_time } => {
            stop_at_signal(&stop)?;
            let simulator = Simulator::bind(Options { listen, job_time })
                .await
                .context("--listen")?;
            writeln!(
                std::io::stdout(),
                "provider simulator on http://{}",
                simulator.address()
            )?;
            simulator.run(stop).await?;
            return Ok(0);
        }
        Command::Secrets => {
            cli::secrets::print(&mut std::io::stdout())?;
            return Ok(0);
        }
        Command::Status { id, json } => {
            return Ok(cli::status::show(
                &Config::load(variable)?,
                &id,
                json,
                &mut std::io::stdout(),
            )
            .await?);
        }
        Command::Operator(command) => {
            return Ok(cli::run::operate(
                &Config::load(variable)?,
                &command,
                &mut std::io::stdout(),
            )
            .await?);
        }
        Command::Dlq(command) => {
            stop_at_signal(&stop)?;
            let config = Config::load(variable)?;
            return Ok(cli::dlq::run(&config, &command, &stop, &mut std::io::stdout()).await?);
        }
        Command::Intake => Roles {
            intake: true,
            ..Roles::default()
        },
        Command::Worker => Roles {
            worker: true,
            ..Roles::default()
        },
        Command::Notifier => Roles {
            notifier: true,
            ..Roles::default()
        },
        Command::All => Roles::ALL,
    };
    stop_at_signal(&stop)?;
    let config = settings::load(roles, variable)?;
    let metrics = telemetry::init(&config.log)?;
    let listener = TcpListener::bind(config.http_addr)
        .await
        .with_context(|| format!("HTTP_ADDR: cannot listen on {}", config.http_addr))?;
    if config.mock_external_apis {
        mock::run(config, roles, listener, metrics, stop).await?;
    } else {
        app::run(config, roles, listener, metrics, stop).await?;
    }
    Ok(0)
}

/// Starts engines and roles; with `once`, sends sample requests, checks their outcomes, and stops.
async fn start_all(once: bool, here: Here, stop: CancellationToken) -> anyhow::Result<u8> {
    stop_at_signal(&stop)?;
    let ports = match here.ports {
        Ports::Fixed => engines::Ports::Fixed,
        Ports::Free => engines::Ports::Free,
    };
    let dev = Dev {
        once,
        ports,
        use_existing: here.use_existing,
        samples: here.samples,
    };
    Box::pin(dev::run(dev, variable, stop)).await?;
    Ok(0)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
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

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Faults>() {
        return USAGE;
    }
    match (
        error.downcast_ref::<cli::Error>(),
        error.downcast_ref::<engines::Error>(),
    ) {
        (Some(error), _) => error.exit_code(),
        (_, Some(engines::Error::Missing(_))) => UNAVAILABLE,
        (None, Some(_) | None) => 1,
    }
}

fn fault(code: u8, text: &str) -> ExitCode {
    // If standard error is closed, there is nowhere left to report to.
    writeln!(std::io::stderr(), "{text}").ok();
    code.into()
}
