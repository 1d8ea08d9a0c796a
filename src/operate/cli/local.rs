//! The commands that run things on this machine, in builds with the feature `dev`.

use std::net::SocketAddr;
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
#[derive(Clone, Copy, Debug, clap::Args)]
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
}

/// The ports that the engines listen on; always on the loopback address only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EnginePorts {
    /// The usual ports: Kafka 9092, registry 8081, Temporal 7233, its page 8233, mail 1025.
    Fixed,
    /// Any free ports, so several runs fit on one machine.
    Free,
}
