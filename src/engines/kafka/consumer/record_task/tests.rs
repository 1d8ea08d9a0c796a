//! Tests how a record is decided, with a scripted handler.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::engines::config::Config;

/// The handler's script; when it is used up, the handler succeeds.
struct Acts(Mutex<VecDeque<Act>>);

#[derive(Clone, Copy)]
enum Act {
    Panic,
    Retry,
    Reject,
}

impl Handler for Acts {
    async fn handle(&self, _: &Record, _: &Slots) -> Result<(), Failure> {
        let act = self.0.lock().pop_front();
        match act {
            None => Ok(()),
            Some(Act::Panic) => panic!("scripted by the test"),
            Some(Act::Retry) => Err(Failure::Retry(Cause::Internal, "again".into())),
            Some(Act::Reject) => {
                let rejection = Rejection::new(ErrorCode::Undecodable, "no");
                Err(Failure::Reject(rejection))
            }
        }
    }
}

/// Handles one record for each of `holds`, in turn. Returns how each was decided, and how many times the fuse held it.
async fn decided(
    acts: impl IntoIterator<Item = Act>,
    holds: &[Hold],
) -> Vec<(Result<Option<Rejection>, Settled>, usize)> {
    let config = Config::of(&[]).unwrap();
    let producer = Arc::new(Producer::new(&config.kafka, "test").unwrap());
    let handler = Acts(Mutex::new(acts.into_iter().collect()));
    let tasks = RecordTasks::new(ConsumerOptions::of(1), producer, handler, Arc::default());
    let record = Record::of(0, &[]);
    let mut all = Vec::new();
    for hold in holds {
        let leave = CancellationToken::new();
        let held = AtomicUsize::new(0);
        let task = RecordTask {
            record: &record,
            hold: *hold,
            on_hold: &|| {
                held.fetch_add(1, Ordering::Relaxed);
            },
            leave: &leave,
        };
        all.push((
            tasks.until_decided(&task).await,
            held.load(Ordering::Relaxed),
        ));
        assert_eq!(*tasks.retried.lock(), 0);
    }
    all
}

#[tokio::test]
async fn a_panic_is_retried_and_a_record_that_always_panics_is_dead_lettered() {
    let panics = |count| vec![Act::Panic; count as usize];
    let passed = decided(panics(PANICS - 1), &[Hold::Later]).await.remove(0);
    assert!(passed.0.unwrap().is_none());

    let stayed = decided(panics(PANICS), &[Hold::Later]).await.remove(0);
    let rejection = stayed.0.unwrap().unwrap();
    assert_eq!(rejection.reason, ErrorCode::StartRefused);
    assert!(rejection.error.to_string().contains("panicked"));
}

#[tokio::test]
async fn attempts_that_fail_for_another_cause_do_not_count_as_panics() {
    let away = [Act::Retry; PANICS as usize];

    let decided = decided(away.into_iter().chain([Act::Panic]), &[Hold::Later]).await;

    assert!(decided[0].0.as_ref().unwrap().is_none());
}

#[tokio::test]
async fn a_record_that_a_blown_fuse_holds_is_deferred_or_waits_or_is_dead_lettered_at_the_bound() {
    let blown = async |hold| decided([Act::Reject; 2], &[Hold::Later, hold]).await;

    let mut later = blown(Hold::Later).await;
    let (rejected, held) = later.remove(0);
    assert_eq!(rejected.unwrap().unwrap().reason, ErrorCode::Undecodable);
    assert_eq!(held, 0);
    let (deferred, held) = later.remove(0);
    assert_eq!((deferred.unwrap_err(), held), (Settled::Deferred, 1));
    // It waits for its next attempt, which succeeds.
    let (waited, held) = blown(Hold::Here).await.remove(1);
    assert_eq!((waited.unwrap().is_none(), held), (true, 1));
    let (rejected, held) = blown(Hold::Never).await.remove(1);
    assert_eq!((rejected.unwrap().is_some(), held), (true, 0));
}

#[test]
fn the_fuse_holds_no_more_records_than_its_bound() {
    assert_eq!(Hold::of(false, MOST_HELD - 1), Hold::Later);
    assert_eq!(Hold::of(true, MOST_HELD - 1), Hold::Here);
    for is_back in [false, true] {
        assert_eq!(Hold::of(is_back, MOST_HELD), Hold::Never);
    }
}

#[test]
fn pauses_grow_to_ten_seconds_and_no_further() {
    assert!(pause(1) < Duration::from_millis(121));
    assert!((Duration::from_secs(8)..Duration::from_secs(12)).contains(&pause(40)));
}
