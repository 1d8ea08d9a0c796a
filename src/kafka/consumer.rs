//! Feeds the records of one topic to a handler, at least once.

use std::future::Future;

use super::Record;
use crate::domain::ErrorCode;

/// An error of any kind, to be told and not to be matched.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a record can never succeed.
#[derive(Debug)]
pub struct Rejection {
    /// From the closed list of `dlq.reason`.
    pub reason: ErrorCode,
    /// What is wrong, for a person.
    pub error: BoxError,
}

/// What to do with a record that was not handled.
#[derive(Debug)]
pub enum Failure {
    /// It can never succeed: park it on the dead-letter topic and move on.
    Reject(Rejection),
    /// It may succeed later: hold its key and try again after a pause, for as long as it takes.
    Retry(BoxError),
}

/// The work a role does on one record. Called again with the same record, it must do no harm.
pub trait Handler: Send + Sync + 'static {
    /// Handles one record.
    fn handle(&self, record: &Record) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Is told that the record stands on the dead-letter topic; an error holds the record and calls again.
    fn parked(
        &self,
        record: &Record,
        rejection: &Rejection,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}
