//! Tests the schedule with examples, and with random steps of a group member.

mod random;

use super::*;
use crate::domain::RecordPosition;

const SHARE: Amount = Amount {
    records: 2,
    bytes: 100,
};

fn new_schedule() -> Schedule {
    let bounds = Bounds {
        key: SHARE,
        read_again: SHARE,
        ..Bounds::of(1)
    };
    Schedule::new(bounds, CancellationToken::new())
}

fn schedule(partitions: std::ops::Range<i32>) -> Schedule {
    let mut schedule = new_schedule();
    schedule.gain(partitions);
    schedule
}

fn record(partition: i32, offset: i64, key: Option<&[u8]>) -> Record {
    let mut record = Record::of(offset, &[]);
    record.position.partition = partition;
    record.key = key.map(<[u8]>::to_vec);
    record
}

/// Returns the partition and the offset of the next record that may run.
fn next(schedule: &mut Schedule) -> Option<(i32, i64)> {
    let RecordPosition {
        partition, offset, ..
    } = schedule.next()?.record.position;
    Some((partition, offset))
}

#[test]
fn a_result_of_an_older_assignment_moves_nothing() {
    let mut schedule = schedule(0..1);
    schedule.take(record(0, 5, Some(b"a")));
    let old = schedule.next().unwrap();
    schedule.lose(&[0]);
    schedule.gain(0..1);
    schedule.take(record(0, 5, Some(b"a")));

    assert!(
        schedule.next().is_none(),
        "the key's older record still runs"
    );
    assert_eq!(schedule.finish(&old, Settled::Done), None);
    let new = schedule.next().unwrap();
    assert_eq!(schedule.finish(&new, Settled::Done), Some((0, 5)));
}

#[test]
fn a_record_that_waited_on_a_lost_partition_never_runs() {
    let mut schedule = schedule(0..2);
    schedule.take(record(0, 1, Some(b"a")));
    schedule.take(record(1, 1, Some(b"b")));

    schedule.close(&[0]);

    assert_eq!(next(&mut schedule), Some((1, 1)));
    assert!(schedule.next().is_none());
    assert_eq!(schedule.taken(), 1);
}

#[test]
fn a_record_that_runs_on_a_closing_partition_may_still_finish() {
    let mut schedule = schedule(0..1);
    schedule.take(record(0, 1, None));
    let runs = schedule.next().unwrap();

    schedule.close(&[0]);

    assert!(runs.leave.is_cancelled());
    assert_eq!(schedule.running(&[0]), 1);
    assert_eq!(schedule.finish(&runs, Settled::Done), Some((0, 1)));
    assert_eq!(schedule.running(&[0]), 0);
}

#[test]
fn nothing_is_taken_from_a_partition_that_is_not_ours() {
    let mut schedule = schedule(0..0);
    schedule.take(record(0, 5, None));
    assert!(schedule.next().is_none());
}

#[test]
fn a_topic_that_was_recreated_is_committed_from_its_start() {
    let mut schedule = schedule(0..1);
    schedule.take(record(0, 7, None));
    let old = schedule.next().unwrap();

    schedule.take(record(0, 0, None));

    assert!(old.leave.is_cancelled());
    assert_eq!(schedule.finish(&old, Settled::Done), None);
    let new = schedule.next().unwrap();
    assert_eq!(schedule.finish(&new, Settled::Done), Some((0, 0)));
}

#[test]
fn records_above_a_keys_share_are_deferred_and_take_no_room() {
    let mut schedule = schedule(0..1);
    for offset in 0..10 {
        schedule.take(record(0, offset, Some(b"flood")));
    }
    schedule.take(record(0, 10, Some(b"other")));

    assert_eq!((schedule.taken(), schedule.deferred()), (3, 8));
    let [flood, other] = [(); 2].map(|()| schedule.next().unwrap());
    let offsets = [&flood, &other].map(|ticket| ticket.record.position.offset);
    assert_eq!(offsets, [0, 10]);
    assert_eq!(schedule.finish(&other, Settled::Done), None);
    assert_eq!(schedule.finish(&flood, Settled::Done), Some((0, 0)));
    assert_eq!(schedule.next_deferred(None), Some((0, 2)));
}

#[test]
fn a_held_record_is_deferred_with_all_of_its_key_and_comes_back_in_order() {
    let mut schedule = schedule(0..1);
    schedule.take(record(0, 1, Some(b"held")));
    schedule.take(record(0, 2, Some(b"held")));
    schedule.take(record(0, 3, Some(b"other")));
    let held = schedule.next().unwrap();
    schedule.hold(&held);
    assert_eq!(schedule.finish(&held, Settled::Deferred), None);
    schedule.take(record(0, 4, Some(b"held")));
    assert_eq!(schedule.deferred_by_fuse(), 3);
    let other = schedule.next().unwrap();
    assert_eq!(other.record.position.offset, 3);
    assert_eq!(schedule.finish(&other, Settled::Done), None);
    assert_eq!((schedule.taken(), schedule.deferred()), (0, 3));

    assert_eq!(schedule.next_deferred(None), Some((0, 1)));
    schedule.resume(record(0, 2, Some(b"held")));
    assert!(schedule.next().is_none(), "1 comes first");
    schedule.resume(record(0, 1, Some(b"held")));
    schedule.resume(record(0, 2, Some(b"held")));
    assert_eq!(schedule.first_deferred(0), None, "two are back: no room");
    let first = schedule.next().unwrap();
    assert!(first.is_back && schedule.next().is_none());
    assert_eq!(schedule.finish(&first, Settled::Done), Some((0, 1)));
    assert_eq!(
        schedule.deferred_by_fuse(),
        0,
        "its key has passed the fuse"
    );
    assert_eq!(schedule.first_deferred(0), Some(4));
    assert_eq!(next(&mut schedule), Some((0, 2)));
    assert_eq!(
        schedule.taken(),
        0,
        "records read again do not use up the window"
    );
}

#[test]
fn a_record_that_is_gone_from_its_topic_is_not_waited_for() {
    let mut schedule = schedule(0..1);
    for offset in [1, 2, 3, 9] {
        schedule.take(record(0, offset, Some(b"a")));
    }
    for _ in 0..2 {
        let ticket = schedule.next().unwrap();
        schedule.finish(&ticket, Settled::Done);
    }

    assert_eq!(schedule.gone(0, 3..9), (1, Some(8)));
    assert_eq!(schedule.next_deferred(None), Some((0, 9)));
}

#[test]
fn partitions_are_read_again_in_turn() {
    let mut schedule = schedule(0..3);
    for partition in [0, 2] {
        for offset in 0..3 {
            schedule.take(record(partition, offset, Some(b"a")));
        }
    }

    let turns = [None, Some(0), Some(1), Some(2)].map(|last| schedule.next_deferred(last));
    assert_eq!(turns, [0, 2, 2, 0].map(|partition| Some((partition, 2))));
    schedule.close(&[0, 2]);
    assert_eq!(schedule.next_deferred(None), None);
}
