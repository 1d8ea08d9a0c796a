//! The command line: roles and the operator's commands.
//!
//! This module parses the arguments and reports a fault in one line. The modules below run the operator's commands;
//! `launch` starts the roles.

mod api_key;
mod budget;
mod bulk;
mod check;
pub mod command;
mod costs;
pub mod dlq;
pub mod doctor;
mod follow;
mod form;
mod get;
mod health;
pub mod init;
mod list;
#[cfg(feature = "dev")]
pub mod local;
mod local_files;
pub mod manual;
mod models;
mod notifications;
pub mod pages;
mod period;
#[cfg(all(test, feature = "dev"))]
mod reference;
mod replay;
pub mod run;
pub mod secrets;
pub mod settings;
pub mod status;
mod submit;
mod table;
mod temporal;
pub mod terminal;
mod watch;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

pub use self::api_key::ApiKey;
pub use self::budget::Budget;
pub use self::bulk::Ask;
pub use self::costs::Costs;
pub use self::dlq::Dlq;
pub use self::get::Get;
pub use self::health::HealthArgs;
pub use self::list::List;
pub use self::models::Models;
pub use self::notifications::Notifications;
pub use self::replay::Replay;
pub use self::submit::SubmitArgs;
use crate::domain::{ErrorCode, Kind, ProviderName};
use crate::engines::kafka::{admin, producer, tail};
use crate::engines::registry;
use crate::engines::temporal::{admin as temporal_admin, client};

/// Turns generation requests on Kafka into Temporal workflows, and reports their progress and outcome.
#[derive(Debug, Parser)]
#[command(name = "genflow", version)]
pub struct Cli {
    /// Print only results and errors, without notes and progress bars
    #[arg(short, long, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: CliCommand,
}

/// What genflow is started for.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Consume requests and commands from Kafka, and start workflows
    Intake,
    /// Run workflows and their activities
    Worker,
    /// Notify users of events by webhook, email and Slack
    Notifier,
    /// Run intake, worker, notifier and the console in this process
    All {
        #[command(flatten)]
        key: ApiKey,
    },
    /// Show requests, notifications and dead letters on a web page
    Console {
        #[command(flatten)]
        key: ApiKey,
    },
    /// A command of the module `dev`.
    #[cfg(feature = "dev")]
    #[command(flatten)]
    Local(local::Local),
    /// Decode what Temporal stores, for Temporal's web UI and command line
    CodecServer,
    /// Print new secrets as lines for .env
    Secrets(secrets::Secrets),
    /// Write a .env with fresh secrets; asks for each setting that no flag gives
    Init(init::Init),
    /// Show each setting, its value and its source, or validate all settings
    #[command(subcommand)]
    Config(settings::Settings),
    /// List, show and redrive dead letters
    #[command(subcommand)]
    Dlq(Dlq),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a man page of each command to a folder
    Man {
        /// The folder; created if it is missing
        folder: PathBuf,
    },
    /// Run a command that ends when the parent process does
    #[cfg(feature = "dev")]
    #[command(hide = true)]
    Guard {
        /// Process id of the parent
        #[arg(long, value_name = "PID")]
        parent: u32,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    #[command(flatten)]
    Operator(Operator),
}

/// The operator's commands, which [`run::operate`] runs.
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// Create topics, register schemas and prepare the Temporal namespace; may be run again
    Setup {
        /// Add partitions to existing input topics; records of one key lose their order at that moment
        #[arg(long)]
        grow: bool,
        /// Replicas of each new topic [default: 3 with three or more brokers, else 1]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        replication: Option<u16>,
        /// Print each completed step as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Check everything that genflow depends on, change nothing, and print advice
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Test whether Temporal's fairness is on: start some workflows on a queue of their own, and terminate them
        #[arg(long)]
        try_fairness: bool,
    },
    /// Ask the genflow process with these settings whether it runs; exit code 0 if it does, else 1
    Health(HealthArgs),
    /// Show the state of a request
    Status {
        /// ID for the newest run of a request, ID~n for its n-th retry, ID~0 for its first run
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy the files of a request from the result store to a folder
    Get(Get),
    /// List runs from Temporal, the newest first
    List(List),
    /// Add up what completed runs cost, by model, user, day, kind or provider, from the results topic
    Costs(Costs),
    /// Show what is spent and reserved on the budget of a user, or of all users
    Budget(Budget),
    /// Check whether runs can continue under this build: replay their histories, change nothing
    Replay(Replay),
    /// Show what models accept, and what genflow would send them for a request
    #[command(subcommand)]
    Models(Models),
    /// Send requests
    Submit(Box<SubmitArgs>),
    /// Cancel requests: one, several, or all that match a filter
    Cancel(Ask),
    /// Run failed or cancelled requests again: one, several, or all that match a filter
    Retry(Ask),
    /// List notification outcomes, resend notifications, and test a webhook
    #[command(subcommand)]
    Notifications(Notifications),
    /// Follow events as they arrive; with an ID, those of one request from its start to its end
    Watch(Watch),
    /// Print what verifies a user's webhooks: secrets (v1), then public keys (v1a), each with the current one first
    WebhookSecret {
        /// User id
        user: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `genflow watch`.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Request or batch id [default: all requests]
    pub id: Option<String>,
    /// Print each event as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// A failure of a command that has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments or their input are wrong.
    #[error("{0}")]
    Usage(String),
    /// An engine does not answer in time.
    #[error("{0}")]
    Unavailable(String),
}

/// Exit code of a fault in the command line, its input or the settings (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// Exit code when an engine does not answer (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;

/// Returns the exit code of a command that failed, by which scripts distinguish the causes.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(Error::Usage(_)) => USAGE,
        Some(Error::Unavailable(_)) => UNAVAILABLE,
        None if error.chain().any(is_unavailable) => UNAVAILABLE,
        None => 1,
    }
}

/// Returns whether an error means that an engine does not answer, or refuses a call that every command needs.
fn is_unavailable(error: &(dyn std::error::Error + 'static)) -> bool {
    use temporal_admin::Error as Server;

    matches!(
        error.downcast_ref(),
        Some(admin::Error::Unreachable { .. } | admin::Error::NotConnected(_))
    ) || matches!(error.downcast_ref(), Some(producer::Error::Refused { .. }))
        || matches!(
            error.downcast_ref(),
            Some(tail::Error::Unreachable { .. } | tail::Error::NotConnected(_))
        )
        || matches!(error.downcast_ref(), Some(registry::Error::Call(_)))
        || matches!(
            error.downcast_ref(),
            Some(Server::Unreachable { .. } | Server::Late(_))
        )
        || error.is::<client::Error>()
}

/// Parses the arguments, of which the first is the program's name. Prints help, version and faults itself.
///
/// # Errors
/// The exit code: 0 for help and version, [`USAGE`] for a fault. A fault is printed as one line on standard error; if
/// the command is missing, the help is printed there.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, u8> {
    let matches = command::command().try_get_matches_from(arguments);
    let parsed = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let kind = error.kind();
        let help = || terminal::wrapped(&error.render().ansi().to_string(), terminal::text_width());
        // If a write fails, there is nowhere left to report it.
        if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            write!(anstream::stdout().lock(), "{}", help()).ok();
            return 0;
        }
        let mut stderr = anstream::stderr().lock();
        if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            write!(stderr, "{}", help()).ok();
        } else {
            writeln!(stderr, "genflow: {}", one_line(&error)).ok();
        }
        USAGE
    })
}

/// Returns clap's message without the usage, which follows after an empty line, and with the name that was probably meant.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim);
    let first: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let joined = first.join(" ");
    let message = joined.strip_prefix("error: ").unwrap_or(&joined);
    let tips = lines.filter_map(|line| line.strip_prefix("tip: "));
    let tip = tips
        .filter(|tip| tip.contains("similar"))
        .map(|tip| format!("; {tip}"));
    format!("{message}{}", tip.collect::<String>())
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    crate::engines::config::duration(text)
        .ok_or("expected a time above 0 such as 500ms, 30s, 5m, 2h or 7d")
}

fn provider(text: &str) -> Result<ProviderName, String> {
    ProviderName::parse("the provider", text).map_err(|error| error.problem)
}

/// Reads a word from a list, in any case. Help, completions and faults show the list.
fn word<T: Clone + Send + Sync + 'static>(
    known: Vec<(&'static str, T)>,
) -> impl TypedValueParser<Value = T> {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    PossibleValuesParser::new(names).try_map(move |text| {
        let found = known
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&text));
        found
            .map(|(_, value)| value.clone())
            .ok_or("expected one of the listed values")
    })
}

/// Reads a kind of request or run.
fn kind() -> impl TypedValueParser<Value = Kind> {
    word(vec![
        ("video", Kind::Video),
        ("image", Kind::Image),
        ("batch", Kind::Batch),
    ])
}

/// Reads the code of an error.
fn error_code() -> impl TypedValueParser<Value = ErrorCode> {
    let known = ErrorCode::ALL
        .into_iter()
        .filter(|(code, _)| *code != ErrorCode::Unknown);
    word(known.map(|(code, name)| (name, code)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command::command().debug_assert();
    }

    #[test]
    fn a_fault_is_one_line() {
        for (arguments, reported) in [
            (&["genflow", "fly"][..], "unrecognized subcommand 'fly'"),
            (
                &["genflow", "status"],
                "the following required arguments were not provided: <ID>",
            ),
            (
                &["genflow", "watch", "--fast"],
                "unexpected argument '--fast' found",
            ),
            (
                &["genflow", "doctr"],
                "unrecognized subcommand 'doctr'; a similar subcommand exists: 'doctor'",
            ),
        ] {
            let error = Cli::try_parse_from(arguments).unwrap_err();

            assert_eq!(one_line(&error), reported);
        }
    }

    #[cfg(feature = "dev")]
    #[test]
    fn a_guarded_command_keeps_its_own_flags() {
        let line = [
            "genflow", "guard", "--parent", "7", "--", "kafka", "--parent", "-x",
        ];
        let cli = Cli::try_parse_from(line).unwrap();

        let CliCommand::Guard { parent, command } = cli.command else {
            panic!("not a guard");
        };
        assert_eq!(parent, 7);
        assert_eq!(command, ["kafka", "--parent", "-x"]);
    }
}
