//! The commands that run things on this machine, in builds with the feature `dev`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;

/// A command of the module `dev`.
#[derive(Debug, clap::Subcommand)]
pub enum Local {
    /// Start everything on this machine: engines, roles, a provider simulator
    Dev {
        /// Send one request of each kind, check the outcomes, and stop
        #[arg(long)]
        once: bool,
        /// Options of `dev` and `test`.
        #[command(flatten)]
        here: Here,
    },
    /// Test everything on this machine: the same as dev --once
    Test {
        /// Options of `dev` and `test`.
        #[command(flatten)]
        here: Here,
    },
    /// Measure genflow beside bare loops on real engines of its own, and print a table
    Bench(Bench),
    /// Run a bare loop that `bench` compares genflow with.
    #[command(hide = true, subcommand)]
    Bare(Bare),
    /// Simulate the generation APIs, with faults on demand
    ProviderSim {
        /// Address to listen on; port 0 picks a free port
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8190")]
        listen: SocketAddr,
        /// How long a job takes
        #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
        job_time: Duration,
    },
}

/// Options of `genflow dev` and `genflow test`.
#[derive(Clone, Debug, clap::Args)]
pub struct Here {
    /// Ports of the engines: the usual ones, or any free ones
    #[arg(long, value_enum, default_value_t = EnginePorts::Fixed)]
    pub ports: EnginePorts,
    /// Use the engines that the settings name, with separate topics, groups and task queues
    #[arg(long)]
    pub use_existing: bool,
    /// Send the sample requests even if they cost money (MOCK_EXTERNAL_APIS=false)
    #[arg(long)]
    pub samples: bool,
    /// Make one real result with your provider key instead of the samples; shows the price and asks first
    #[arg(long, value_name = "KIND", value_enum, conflicts_with_all = ["samples", "keep", "use_existing"])]
    pub real: Option<Real>,
    /// Accept the price of --real without a prompt
    #[arg(long, requires = "real")]
    pub yes: bool,
    /// Folder that keeps the state of the engines for the next start [default: a new one, removed at the end]
    #[arg(long, value_name = "FOLDER", conflicts_with = "use_existing")]
    pub keep: Option<PathBuf>,
    /// Delete the state in the --keep folder, then start
    #[arg(long, requires = "keep")]
    pub reset: bool,
}

/// What `genflow dev --real` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Real {
    /// One image, by IMAGE_PROVIDER with IMAGE_API_KEY.
    Image,
    /// One video, by VIDEO_PROVIDER with VIDEO_API_KEY.
    Video,
}

/// Options of `genflow bench`.
#[derive(Clone, Debug, clap::Args)]
pub struct Bench {
    /// What to measure [default: everything]
    #[arg(value_enum, value_name = "ROW")]
    pub rows: Vec<BenchRow>,
    /// Number of rounds; the median is printed
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub rounds: usize,
    /// Requests in a round; events for `notifier`, items for `batches`, at most ten times as many for `backlog`
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub requests: usize,
    /// Jobs that wait at once in the row `in-flight`
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub jobs: usize,
    /// Items of a batch in the row `batches`
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [1, 100, 10_000])]
    pub batch_sizes: Vec<usize>,
    /// Python that has benches/peer/requirements.txt installed; measures the same path in Python too
    #[arg(long, value_name = "PATH")]
    pub peer: Option<PathBuf>,
    /// Also write all figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A row of the table that `genflow bench` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BenchRow {
    /// Whole requests beside a bare SDK worker.
    Requests,
    /// Starts of workflows beside a bare SDK loop.
    Starts,
    /// What each part of a run costs Temporal: a bare SDK worker with one of them at a time.
    Extras,
    /// Records that intake's consumer handles, without the start of workflows.
    Intake,
    /// How long a request and a webhook take while nothing else runs, beside the sum of the bare calls.
    Latency,
    /// Deliveries of webhooks beside a bare HTTP loop.
    Notifier,
    /// Batches of several sizes.
    Batches,
    /// One output of 2 GB.
    Download,
    /// Each role while it has nothing to do, and how long it and `genflow dev` take to start.
    Idle,
    /// Whole requests that wait in the topic when the roles start: a tenth of `--requests`, and 10 and 100 times as many.
    Backlog,
    /// Jobs that wait at the provider.
    InFlight,
    /// The longest pause of each role while its processes are replaced.
    Rolling,
}

/// A bare loop; it prints `ready`, and `seconds` when it is done.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Bare {
    /// Start workflows of empty activities, and run them
    Workflows(BareWorkflows),
    /// Post bodies to endpoints
    Posts(BarePosts),
}

/// Options of the bare SDK worker.
#[derive(Clone, Debug, clap::Args)]
pub struct BareWorkflows {
    /// Address of Temporal
    #[arg(long, value_name = "HOST:PORT")]
    pub temporal: String,
    /// Task queue; also the beginning of all workflow ids
    #[arg(long, value_name = "NAME")]
    pub queue: String,
    /// Number of workflows
    #[arg(long, value_name = "N")]
    pub workflows: usize,
    /// Activities of each workflow
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub activities: u32,
    /// Start each workflow when the one before has ended
    #[arg(long)]
    pub one_by_one: bool,
    /// Only start the workflows
    #[arg(long)]
    pub no_worker: bool,
    /// A part of a genflow run to add
    #[arg(long, value_enum)]
    pub extra: Option<Extra>,
}

/// Options of the bare HTTP loop.
#[derive(Clone, Debug, clap::Args)]
pub struct BarePosts {
    /// URLs, which get the posts in turn
    #[arg(long = "url", value_name = "URL", required = true)]
    pub urls: Vec<String>,
    /// Number of posts
    #[arg(long, value_name = "N")]
    pub number: usize,
    /// Posts at once
    #[arg(long, value_name = "N")]
    pub at_once: usize,
    /// Length of each body
    #[arg(long, value_name = "BYTES")]
    pub bytes: usize,
}

/// A part of a genflow run that the bare workflow lacks.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
pub enum Extra {
    /// A timer from the start to the end, as for a deadline.
    Timer,
    /// A heartbeat in each activity, answered by the server.
    Heartbeat,
    /// A task queue for each activity.
    Queues,
    /// 2 kB of input for each activity.
    Payload,
    /// Search attributes.
    Attributes,
    /// Static details.
    Details,
}

/// The ports that the engines listen on; always on the loopback address only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EnginePorts {
    /// The usual ports: Kafka 9092, registry 8081, Temporal 7233, its page 8233, mail 1025.
    Fixed,
    /// Any free ports, so several runs fit on one machine.
    Free,
}
