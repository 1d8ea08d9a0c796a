//! A group member as Kafka sees it, and the invariants that must hold after any steps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const PARTITIONS: i32 = 3;
const BOUND: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// A record is written; offsets before it may be missing.
    Take {
        partition: i32,
        gap: i64,
        key: u8,
    },
    /// All records that may run start.
    Start,
    /// One of the running records ends.
    End {
        which: usize,
        settled: Settled,
    },
    /// A few deferred records are read again.
    DeferredReader,
    /// The partition is about to be revoked; `Lose`: it is revoked, with or without a `Close` before.
    Close(i32),
    Lose(i32),
    /// The partition is assigned, and read from the committed offset on.
    Gain(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..PARTITIONS, 1..4_i64, 0..5_u8)
            .prop_map(|(partition, gap, key)| Step::Take { partition, gap, key }),
        4 => Just(Step::Start),
        6 => (0..BOUND, settled()).prop_map(|(which, settled)| Step::End { which, settled }),
        3 => Just(Step::DeferredReader),
        1 => (0..PARTITIONS).prop_map(Step::Close),
        1 => (0..PARTITIONS).prop_map(Step::Lose),
        2 => (0..PARTITIONS).prop_map(Step::Gain),
    ]
}

fn settled() -> impl Strategy<Value = Settled> {
    prop_oneof![
        8 => Just(Settled::Done),
        1 => Just(Settled::Abandoned),
        2 => Just(Settled::Deferred),
    ]
}

/// Returns the partition, the offset and the key of a record.
fn identity(ticket: &Ticket) -> (i32, i64, u8) {
    let Record { position, key, .. } = &ticket.record;
    (
        position.partition,
        position.offset,
        key.as_ref().unwrap()[0],
    )
}

struct Member {
    schedule: Schedule,
    running: Vec<Ticket>,
    /// The records written so far by partition: offset and key.
    log: BTreeMap<i32, Vec<(i64, u8)>>,
    /// How many records of each assigned partition the member has read.
    read: BTreeMap<i32, usize>,
    closed: BTreeSet<i32>,
    /// Keys with an abandoned record; they go on when the partition is assigned again.
    abandoned: BTreeSet<(i32, u8)>,
    committed: BTreeMap<i32, i64>,
    done: BTreeSet<(i32, i64)>,
}

impl Member {
    fn new() -> Self {
        Self {
            schedule: new_schedule(),
            running: Vec::new(),
            log: (0..PARTITIONS).map(|it| (it, Vec::new())).collect(),
            read: BTreeMap::new(),
            closed: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            committed: BTreeMap::new(),
            done: BTreeSet::new(),
        }
    }

    fn gain(&mut self, partition: i32) {
        if self.read.contains_key(&partition) {
            return;
        }
        self.schedule.gain([partition].into_iter());
        let committed = self.committed.get(&partition).copied().unwrap_or(-1);
        let from = self.log[&partition].partition_point(|&(offset, _)| offset <= committed);
        self.read.insert(partition, from);
        self.read_on();
    }

    fn lose(&mut self, partition: i32) {
        self.schedule.lose(&[partition]);
        self.read.remove(&partition);
        self.closed.remove(&partition);
        self.abandoned.retain(|(lost, _)| *lost != partition);
    }

    fn read_on(&mut self) {
        for (&partition, read) in &mut self.read {
            for &(offset, key) in &self.log[&partition][*read..] {
                self.schedule.take(record(partition, offset, Some(&[key])));
            }
            *read = self.log[&partition].len();
        }
    }

    /// Reads again like the second reader: from the first deferred record on, skipping those that are done.
    fn reread(&mut self) {
        let Some((partition, _)) = self.schedule.next_deferred(None) else {
            return;
        };
        while let Some(first) = self.schedule.first_deferred(partition) {
            let log = &self.log[&partition];
            let at = log.binary_search_by_key(&first, |&(offset, _)| offset);
            let (offset, key) = log[at.unwrap()];
            self.schedule
                .resume(record(partition, offset, Some(&[key])));
        }
    }

    fn start(&mut self) {
        while self.running.len() < BOUND {
            let Some(ticket) = self.schedule.next() else {
                return;
            };
            let (partition, offset, key) = identity(&ticket);
            let earlier = self.log[&partition].iter().find(|&&(at, of)| {
                at < offset && of == key && !self.done.contains(&(partition, at))
            });
            let skipped = earlier.filter(|_| !self.abandoned.contains(&(partition, key)));
            assert_eq!(skipped, None, "started before an earlier record of its key");
            assert!(
                !self
                    .running
                    .iter()
                    .map(identity)
                    .any(|(at, _, of)| (at, of) == (partition, key)),
                "two records of a key at once"
            );
            assert!(
                !self.closed.contains(&partition),
                "started on a partition that is being revoked"
            );
            self.running.push(ticket);
        }
    }

    fn end(&mut self, which: usize, settled: Settled) {
        if self.running.is_empty() {
            return;
        }
        let ticket = self.running.swap_remove(which % self.running.len());
        let (partition, offset, key) = identity(&ticket);
        match settled {
            Settled::Done => drop(self.done.insert((partition, offset))),
            Settled::Abandoned => drop(self.abandoned.insert((partition, key))),
            Settled::Deferred => {}
        }
        if settled == Settled::Deferred {
            self.schedule.hold(&ticket);
        }
        if let Some((partition, reached)) = self.schedule.finish(&ticket, settled) {
            let before = self.committed.insert(partition, reached);
            assert!(before.is_none_or(|before| before < reached), "went back");
            let skipped = self.log[&partition].iter().find(|&&(offset, _)| {
                offset <= reached && !self.done.contains(&(partition, offset))
            });
            assert_eq!(skipped, None, "committed past an unfinished record");
        }
    }
}

proptest! {
    #[test]
    fn never_past_an_unfinished_record_never_a_key_twice_never_stalled(
        steps in prop::collection::vec(step(), 1..200)
    ) {
        let mut member = Member::new();
        for step in steps {
            match step {
                Step::Take { partition, gap, key } => {
                    let log = member.log.get_mut(&partition).unwrap();
                    let last = log.last().map_or(-1, |&(offset, _)| offset);
                    log.push((last + gap, key));
                    if !member.closed.contains(&partition) {
                        member.read_on();
                    }
                }
                Step::Start => member.start(),
                Step::End { which, settled } => member.end(which, settled),
                Step::DeferredReader => member.reread(),
                Step::Close(partition) => {
                    if member.read.contains_key(&partition) {
                        member.schedule.close(&[partition]);
                        member.closed.insert(partition);
                    }
                }
                Step::Lose(partition) => member.lose(partition),
                Step::Gain(partition) => member.gain(partition),
            }
        }
        // All partitions are assigned again, and then every record gets done.
        for partition in 0..PARTITIONS {
            member.lose(partition);
            member.gain(partition);
        }
        while { member.reread(); member.start(); !member.running.is_empty() } {
            member.end(0, Settled::Done);
        }
        let Schedule { taken, .. } = member.schedule;
        prop_assert_eq!(taken, Amount::default());
        prop_assert_eq!((member.schedule.unfinished(), member.schedule.deferred_by_fuse()), (0, 0));
        for (partition, log) in &member.log {
            let last = log.last().map(|&(offset, _)| offset);
            prop_assert_eq!(member.committed.get(partition).copied(), last);
        }
    }
}
