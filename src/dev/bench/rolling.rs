//! Rolling restarts: two processes of each role are replaced under a steady load, one after the other. How long does the
//! slowest request or webhook wait, beside the slowest one while nothing is replaced?

mod load;

use std::time::Duration;

use tokio::time::sleep;

use self::load::Load;
use super::provider::Provider;
use super::report::Report;
use super::stage::{Role, Stage, Stages};
use crate::operate::cli::local::Bench;

const ROW: &str = "rolling";
const ROLES: [&str; 3] = ["intake", "worker", "notifier"];
/// How long the load runs while nothing is replaced, and after the second process is.
const STEADY: Duration = Duration::from_secs(15);

/// Whether the processes are static members of their consumer groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    Dynamic,
    Static,
}

/// Two processes of each role, in the order of [`ROLES`].
struct Fleet<'a> {
    stage: &'a Stage,
    membership: Membership,
    processes: Vec<Vec<Role>>,
}

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    for _ in 0..bench.rounds {
        for membership in [Membership::Dynamic, Membership::Static] {
            let stage = stages.open(&provider.settings()).await?;
            let fleet = Fleet::start(&stage, membership).await?;
            Box::pin(fleet.measure(report)).await?;
        }
    }
    Ok(())
}

impl<'a> Fleet<'a> {
    async fn start(stage: &'a Stage, membership: Membership) -> anyhow::Result<Self> {
        let mut fleet = Self {
            stage,
            membership,
            processes: Vec::new(),
        };
        for role in ROLES {
            let both = vec![fleet.process(role, 0).await?, fleet.process(role, 1).await?];
            fleet.processes.push(both);
        }
        Ok(fleet)
    }

    /// Starts a process and waits until it is ready.
    async fn process(&self, role: &'static str, number: usize) -> anyhow::Result<Role> {
        let instance = format!("pod-{number}");
        let settings = match self.membership {
            Membership::Dynamic => Vec::new(),
            Membership::Static => vec![("KAFKA_GROUP_INSTANCE_ID", instance.as_str())],
        };
        self.stage.role_with(role, &settings).await
    }

    async fn measure(mut self, report: &mut Report) -> anyhow::Result<()> {
        let members = match self.membership {
            Membership::Dynamic => "dynamic members",
            Membership::Static => "static members",
        };
        let load = Load::open(self.stage).await?;
        let steady = load.during(rest(STEADY)).await?;
        for (at, role) in ROLES.into_iter().enumerate() {
            let longest = Box::pin(load.during(self.replace(at, role))).await?;
            let of = format!("{role}, {members}");
            report.add(ROW, &of, "longest s, steady", steady.of(role));
            report.add(ROW, &of, "longest s, replaced", longest.of(role));
        }
        if self.membership == Membership::Static {
            let longest = load.during(self.leave_one()).await?;
            let of = "intake, a static member that stays away";
            report.add(ROW, of, "longest s", longest.of("intake"));
        }
        for role in self.processes.into_iter().flatten() {
            role.stop().await;
        }
        Ok(())
    }

    /// Replaces both processes of a role.
    async fn replace(&mut self, at: usize, role: &'static str) -> anyhow::Result<()> {
        for number in 0..2 {
            self.processes[at].remove(number).stop().await;
            let new = self.process(role, number).await?;
            self.processes[at].insert(number, new);
        }
        rest(STEADY).await
    }

    /// Stops an intake and starts no other, until its partitions have gone to the one that is left.
    async fn leave_one(&mut self) -> anyhow::Result<()> {
        self.processes[0].remove(0).stop().await;
        rest(self.stage.config.kafka.session_timeout + STEADY).await
    }
}

async fn rest(time: Duration) -> anyhow::Result<()> {
    sleep(time).await;
    Ok(())
}
