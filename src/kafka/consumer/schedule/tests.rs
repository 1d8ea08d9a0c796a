//! The schedule by example, and as a random member of a random group.

use super::*;

fn schedule(partitions: std::ops::Range<i32>) -> Schedule<u32> {
    let mut schedule = Schedule::new(CancellationToken::new());
    schedule.gain(partitions);
    schedule
}

#[test]
fn a_result_of_an_older_assignment_moves_nothing() {
    let mut schedule = schedule(0..1);
    schedule.take(0, 5, Some(b"a"), None, 1);
    let old = schedule.next().unwrap();
    schedule.lose(&[0]);
    schedule.gain(0..1);
    schedule.take(0, 5, Some(b"a"), None, 2);

    assert!(
        schedule.next().is_none(),
        "the key's older record still runs"
    );
    assert_eq!(schedule.finish(&old, true), None);
    let new = schedule.next().unwrap();
    assert_eq!(schedule.finish(&new, true), Some((0, 5)));
}

#[test]
fn what_waited_for_a_partition_that_went_never_runs() {
    let mut schedule = schedule(0..2);
    schedule.take(0, 1, Some(b"a"), None, 1);
    schedule.take(1, 1, Some(b"b"), None, 2);

    schedule.close(&[0]);

    assert_eq!(schedule.next().unwrap().item, 2);
    assert!(schedule.next().is_none());
    assert_eq!(schedule.taken(), 1);
}

#[test]
fn what_runs_on_a_partition_that_is_about_to_go_may_still_end_well() {
    let mut schedule = schedule(0..1);
    schedule.take(0, 1, None, None, 1);
    let runs = schedule.next().unwrap();

    schedule.close(&[0]);

    assert!(runs.leave.is_cancelled());
    assert_eq!(schedule.running(&[0]), 1);
    assert_eq!(schedule.finish(&runs, true), Some((0, 1)));
    assert_eq!(schedule.running(&[0]), 0);
}

#[test]
fn nothing_is_taken_from_a_partition_that_is_not_ours() {
    let mut schedule = schedule(0..0);
    schedule.take(0, 5, None, None, 1);
    assert!(schedule.next().is_none());
}

/// A group member as Kafka sees it, and what must hold of it whatever happens.
mod random {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const PARTITIONS: i32 = 3;
    const BOUND: usize = 4;

    #[derive(Clone, Debug)]
    enum Step {
        /// A record comes; offsets between may be missing.
        Take {
            partition: i32,
            gap: i64,
            key: u8,
        },
        /// As much as may run begins.
        Start,
        /// One of those that run ends.
        End {
            which: usize,
            done: bool,
        },
        /// The partition is about to go, or goes at once.
        Close(i32),
        Lose(i32),
        /// It comes, and is read from what was committed.
        Gain(i32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..PARTITIONS, 1..4_i64, 0..5_u8)
                .prop_map(|(partition, gap, key)| Step::Take { partition, gap, key }),
            4 => Just(Step::Start),
            6 => (0..BOUND, prop::bool::weighted(0.9))
                .prop_map(|(which, done)| Step::End { which, done }),
            1 => (0..PARTITIONS).prop_map(Step::Close),
            1 => (0..PARTITIONS).prop_map(Step::Lose),
            2 => (0..PARTITIONS).prop_map(Step::Gain),
        ]
    }

    /// Where a record stands, and its key.
    type Item = (i32, i64, u8);

    struct Member {
        schedule: Schedule<Item>,
        running: Vec<Ticket<Item>>,
        /// What was written so far, by partition: offset and key.
        log: BTreeMap<i32, Vec<(i64, u8)>>,
        /// What the member has read of each partition that it has.
        read: BTreeMap<i32, usize>,
        closed: BTreeSet<i32>,
        committed: BTreeMap<i32, i64>,
        done: BTreeSet<(i32, i64)>,
    }

    impl Member {
        fn new() -> Self {
            Self {
                schedule: Schedule::new(CancellationToken::new()),
                running: Vec::new(),
                log: (0..PARTITIONS).map(|it| (it, Vec::new())).collect(),
                read: BTreeMap::new(),
                closed: BTreeSet::new(),
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
        }

        fn read_on(&mut self) {
            for (&partition, read) in &mut self.read {
                for &(offset, key) in &self.log[&partition][*read..] {
                    let item = (partition, offset, key);
                    self.schedule
                        .take(partition, offset, Some(&[key]), None, item);
                }
                *read = self.log[&partition].len();
            }
        }

        fn start(&mut self) {
            while self.running.len() < BOUND {
                let Some(ticket) = self.schedule.next() else {
                    return;
                };
                let (partition, _, key) = ticket.item;
                assert!(
                    !self
                        .running
                        .iter()
                        .any(|other| (other.item.0, other.item.2) == (partition, key)),
                    "two records of a key at once"
                );
                assert!(
                    !self.closed.contains(&partition),
                    "began on what is about to go"
                );
                self.running.push(ticket);
            }
        }

        fn end(&mut self, which: usize, done: bool) {
            if self.running.is_empty() {
                return;
            }
            let ticket = self.running.swap_remove(which % self.running.len());
            let (partition, offset, _) = ticket.item;
            if done {
                self.done.insert((partition, offset));
            }
            if let Some((partition, reached)) = self.schedule.finish(&ticket, done) {
                let before = self.committed.insert(partition, reached);
                assert!(before.is_none_or(|before| before < reached), "fell back");
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
                    Step::End { which, done } => member.end(which, done),
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
            // All partitions come anew, and then everything gets done.
            for partition in 0..PARTITIONS {
                member.lose(partition);
                member.gain(partition);
            }
            while { member.start(); !member.running.is_empty() } {
                member.end(0, true);
            }
            prop_assert_eq!(member.schedule.taken(), 0);
            for (partition, log) in &member.log {
                let last = log.last().map(|&(offset, _)| offset);
                prop_assert_eq!(member.committed.get(partition).copied(), last);
            }
        }
    }
}
