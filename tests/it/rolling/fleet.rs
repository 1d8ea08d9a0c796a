//! Two processes of each role, which are replaced one after the other.

use std::collections::BTreeMap;

use genflow::engines::kafka::admin;
use rustix::process::Signal;

use super::ROLES;
use crate::support::{Space, Watched, eventually};

/// Whether the processes are static members of their groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    Dynamic,
    Static,
}

/// How a process ends before it is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// SIGTERM, and exit code 0.
    Stopped,
    /// SIGKILL.
    Killed,
}

/// Two processes of each role.
pub(super) struct Fleet<'a> {
    space: &'a Space,
    membership: Membership,
    /// Settings that have changed since the start of the space.
    settings: BTreeMap<&'static str, String>,
    processes: BTreeMap<&'static str, Vec<Watched>>,
}

impl<'a> Fleet<'a> {
    pub(super) async fn start(space: &'a Space, membership: Membership) -> Self {
        let mut fleet = Self {
            space,
            membership,
            settings: BTreeMap::new(),
            processes: BTreeMap::new(),
        };
        for role in ROLES {
            let both = vec![fleet.process(role, 0).await, fleet.process(role, 1).await];
            fleet.processes.insert(role, both);
            fleet.are_all_members(role).await;
        }
        fleet
    }

    /// Changes a setting of the processes that start from now on.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.settings.insert(name, value.to_owned());
    }

    /// Replaces both processes of a role, one after the other.
    pub(super) async fn replace(&mut self, role: &'static str, end: End) {
        for number in 0..2 {
            self.replace_one(role, number, end).await;
        }
    }

    async fn replace_one(&mut self, role: &'static str, number: usize, end: End) {
        let before = self.rebalances(role, 1 - number).await;
        let old = &mut self.processes.get_mut(role).unwrap()[number].process;
        match end {
            End::Stopped => assert!(old.terminate().await.success(), "{}", old.output()),
            End::Killed => {
                old.signal(Signal::KILL);
                old.ended().await;
            }
        }
        let new = self.process(role, number).await;
        self.processes.get_mut(role).unwrap()[number] = new;
        self.are_all_members(role).await;
        if self.membership == Membership::Static {
            let after = self.rebalances(role, 1 - number).await;
            assert_eq!(after, before, "the other {role} kept its partitions");
        }
    }

    /// Starts a process and waits until it is ready.
    async fn process(&self, role: &'static str, number: usize) -> Watched {
        let instance = format!("pod-{number}");
        let changed = self.settings.iter();
        let mut settings: Vec<_> = changed
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        if self.membership == Membership::Static {
            settings.push(("KAFKA_GROUP_INSTANCE_ID", &instance));
        }
        let process = Watched::start(self.space, role, &settings);
        process.ready().await;
        process
    }

    /// Asserts that the groups of a role have exactly its two processes as members: the old one has left, and the new one
    /// has joined before it said that it is ready.
    async fn are_all_members(&self, role: &str) {
        let groups: &[&str] = match role {
            "intake" => &["intake", "commands"],
            "notifier" => &["notifier"],
            _ => &[],
        };
        let running = self.processes.get(role).map_or(0, Vec::len);
        for group in groups {
            let name = format!("{}-{group}", self.space.config.kafka.group);
            let members = eventually("the brokers name the members", async || {
                admin::members(&self.space.config.kafka, &name).await.ok()
            })
            .await;
            assert_eq!(members, running, "members of {name}");
        }
    }

    /// Returns how often the partitions of a process have changed.
    async fn rebalances(&self, role: &str, number: usize) -> f64 {
        let process = &self.processes[role][number];
        process.sum("genflow_rebalances_total").await
    }
}
