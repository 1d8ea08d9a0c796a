//! The command line: roles and the operator's commands. Arguments are parsed here, and faults told in one line; the modules
//! below carry out what an operator asks, and the binary starts the roles.

pub mod dlq;
pub mod doctor;
mod follow;
mod form;
mod list;
mod replay;
pub mod run;
pub mod secrets;
mod sender;
pub mod status;
mod submit;
mod text;
mod watch;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

pub use self::dlq::Dlq;
pub use self::list::List;
pub use self::replay::Replay;
pub use self::submit::Submit;
use crate::domain::error_chain::causes;

/// Turns generation requests on Kafka into Temporal workflows, and tells what becomes of them.
#[derive(Debug, Parser)]
#[command(name = "genflow", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What genflow is started for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take requests and commands from Kafka and start workflows
    Intake,
    /// Run workflows and their activities
    Worker,
    /// Tell users of events: webhooks, email, Slack
    Notifier,
    /// Run intake, worker and notifier in this process
    All,
    /// Start everything on this machine: engines, roles, a provider simulator
    Dev {
        /// Send one request of each kind, check what comes of it and stop
        #[arg(long)]
        once: bool,
        /// Where engines are, and what is paid for.
        #[command(flatten)]
        here: Here,
    },
    /// Try everything on this machine: as dev --once
    Test {
        /// Where engines are, and what is paid for.
        #[command(flatten)]
        here: Here,
    },
    /// Serve the protocols of the outside APIs, with faults on demand
    ProviderSim {
        /// Where to listen; port 0 takes a free one
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8190")]
        listen: SocketAddr,
        /// How long a job takes
        #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
        job_time: Duration,
    },
    /// Show where a request stands
    Status {
        /// Request id, for its newest run; ID~n for its n-th retry, ID~0 for its first run
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print new secrets as lines for .env
    Secrets,
    /// Look at the dead letters of requests and commands, and send them again
    #[command(subcommand)]
    Dlq(Dlq),
    /// Run a command that ends when the parent process does
    #[command(hide = true)]
    Guard {
        /// Process id of the parent; the one that started this process if left out
        #[arg(long, value_name = "PID")]
        parent: Option<u32>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// What an operator asks of the engines.
    #[command(flatten)]
    Operator(Operator),
}

/// What `genflow dev` and `genflow test` have in common.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Here {
    /// Where the engines listen: on the usual ports, or wherever there is room
    #[arg(long, value_enum, default_value_t = Ports::Fixed)]
    pub ports: Ports,
    /// Use the engines that the settings name, wherever they are, with topics, groups and task queues of its own
    #[arg(long)]
    pub use_existing: bool,
    /// Send the sample requests even if they are paid for: with MOCK_EXTERNAL_APIS=false
    #[arg(long)]
    pub samples: bool,
}

/// The operator's commands that do not stay: see [`run::operate`].
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// Create topics, register schemas and prepare the Temporal namespace; may be run again
    Setup {
        /// Give existing input topics more partitions; the order of records by key is lost across the change
        #[arg(long)]
        grow: bool,
        /// Copies of each new topic; if left out, 3 where there are so many brokers, else 1
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        replication: Option<u16>,
    },
    /// Look at all that genflow needs, change nothing, and say what to do
    Doctor {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Try whether Temporal shares out fairly: starts some workflows on a queue of their own, and ends them
        #[arg(long)]
        try_fairness: bool,
    },
    /// List runs, the newest first, as Temporal has them
    List(List),
    /// Say whether runs go on under this build: replays their histories, and changes nothing
    Replay(Replay),
    /// Send requests
    Submit(Box<Submit>),
    /// Ask for the end of a request, by a command on Kafka
    Cancel(Ask),
    /// Ask for another run of a request that failed or was cancelled, by a command on Kafka
    Retry(Ask),
    /// Follow events as they come; of one request from its beginning to its end
    Watch(Watch),
    /// Print what verifies a user's webhooks: its secrets (v1), then its public keys (v1a); the current one first
    WebhookSecret {
        /// User id
        user: String,
    },
}

/// `genflow cancel` and `genflow retry`.
#[derive(Debug, clap::Args)]
pub struct Ask {
    /// Request id
    pub id: String,
    /// Why; kept with the run in Temporal
    #[arg(long)]
    pub reason: Option<String>,
    /// Who asks; stands in the command
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Sent as the header x-api-key
    #[arg(
        long,
        value_name = "KEY",
        env = "GENFLOW_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
}

/// `genflow watch`.
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Request or batch id; all requests if left out
    pub id: Option<String>,
    /// Print each event as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Where engines listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ports {
    /// On the usual ports.
    Fixed,
    /// Wherever there is room.
    Free,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be asked for.
    #[error("{0}")]
    Usage(String),
    /// An engine does not answer.
    #[error("{}", causes(.0.as_ref()))]
    Unavailable(anyhow::Error),
    /// Anything else.
    #[error("{}", causes(.0.as_ref()))]
    Failed(anyhow::Error),
}

/// Exit code of a fault in the command line, its input or the settings (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// Exit code when an engine does not answer (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;

impl Error {
    /// Returns the exit code that tells the cause to scripts.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Unavailable(_) => UNAVAILABLE,
            Self::Failed(_) => 1,
        }
    }
}

/// Parses the arguments, the program's name first. Help and faults are printed; then the exit code is the error.
///
/// # Errors
/// 0 for help and version, [`USAGE`] for a fault, which is told in one line on standard error.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, u8> {
    Cli::try_parse_from(arguments).map_err(|error| {
        let kind = error.kind();
        // Where a write fails, nobody is left to tell.
        if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            write!(std::io::stdout().lock(), "{error}").ok();
            return 0;
        }
        let mut stderr = std::io::stderr().lock();
        if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            write!(stderr, "{error}").ok();
        } else {
            writeln!(stderr, "genflow: {}", one_line(&error)).ok();
        }
        USAGE
    })
}

/// Returns what is wrong without usage and hints, which clap puts behind an empty line.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let first: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let joined = first.join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    crate::engines::config::duration(text).ok_or("want a time above 0 as 500ms, 30s, 5m, 2h or 7d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;

        Cli::command().debug_assert();
    }

    #[test]
    fn a_fault_is_told_in_one_line() {
        for (arguments, told) in [
            (&["genflow", "fly"][..], "unrecognized subcommand 'fly'"),
            (
                &["genflow", "status"],
                "the following required arguments were not provided: <ID>",
            ),
            (
                &["genflow", "watch", "--fast"],
                "unexpected argument '--fast' found",
            ),
        ] {
            let error = Cli::try_parse_from(arguments).unwrap_err();

            assert_eq!(one_line(&error), told);
        }
    }

    #[test]
    fn a_guarded_command_keeps_its_own_flags() {
        let line = [
            "genflow", "guard", "--parent", "7", "--", "kafka", "--parent", "-x",
        ];
        let cli = Cli::try_parse_from(line).unwrap();

        let Command::Guard { parent, command } = cli.command else {
            panic!("not a guard");
        };
        assert_eq!(parent, Some(7));
        assert_eq!(command, ["kafka", "--parent", "-x"]);
    }
}
