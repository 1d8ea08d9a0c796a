//! Why the server did not do it, in a line that can be read, and where the cause lies.

use temporalio_client::errors::{ClientConnectError, WorkflowInteractionError};
use temporalio_client::tonic::{self, Code, Status};

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection to it.
    #[error("the Temporal server at {url} is unreachable: {cause}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What keeps us from it.
        cause: String,
    },
    /// It answered with an error; [`Error::blame`] says what to make of it.
    #[error("the Temporal server answered {code:?}")]
    Answered {
        /// Its status code.
        code: Code,
        /// What it says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// This build cannot read what it has of a workflow.
    #[error("this build cannot read what the Temporal server has of a workflow")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where the cause of an error lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The server does not answer, or not now.
    Connection,
    /// It asks for less.
    Load,
    /// It would refuse any call like this: its namespace, search attributes or permissions are not as they should be.
    System,
    /// It refuses what this call carries, and would again.
    Record,
}

impl Error {
    /// Says where the cause lies.
    pub fn blame(&self) -> Blame {
        let (code, source) = match self {
            Self::Answered { code, source } => (code, source),
            Self::Unreachable { .. } => return Blame::Connection,
            Self::Unreadable(_) => return Blame::System,
        };
        match code {
            Code::ResourceExhausted => Blame::Load,
            Code::InvalidArgument | Code::OutOfRange => {
                // The server says so of search attributes that nobody registered, too.
                let text = format!("{source:?}").to_lowercase();
                if text.contains("search attribute") || text.contains("namespace") {
                    Blame::System
                } else {
                    Blame::Record
                }
            }
            Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::Unimplemented => Blame::System,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Blame::Connection,
        }
    }
}

/// Makes an error of what the client says.
pub(crate) fn answered(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    match status_of(&error) {
        Some(status) => Error::Answered {
            code: status.code(),
            source: root_message(status).into(),
        },
        None => Error::Answered {
            code: Code::Unknown,
            source: error.into(),
        },
    }
}

/// Finds the server's answer; not every error of the client names it as its cause.
fn status_of<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e tonic::Status> {
    if let Some(
        WorkflowInteractionError::Rpc(status) | WorkflowInteractionError::NotFound(status),
    ) = error.downcast_ref()
    {
        return Some(status);
    }
    error
        .downcast_ref()
        .or_else(|| error.source().and_then(status_of))
}

/// Returns what keeps the client from the server; it wraps that in layers of debug text.
pub(crate) fn first_cause(error: &ClientConnectError) -> String {
    let mut cause: &dyn std::error::Error = error;
    if let ClientConnectError::SystemInfoCallError(status) = error {
        return root_message(status);
    }
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Returns what the server says, or what keeps it from being heard.
pub(crate) fn root_message(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| status_message(status), ToString::to_string)
}

pub(crate) fn status_message(status: &Status) -> String {
    match status.message() {
        "" => status.code().description().to_owned(),
        message => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_laid_at_the_right_door() {
        let blame = |code, text: &str| answered(tonic::Status::new(code, text)).blame();
        assert_eq!(blame(Code::ResourceExhausted, "slow down"), Blame::Load);
        assert_eq!(blame(Code::Unavailable, "gone"), Blame::Connection);
        assert_eq!(blame(Code::PermissionDenied, "no"), Blame::System);
        let unmapped = "Namespace default has no mapping defined for search attribute GenUser";
        assert_eq!(blame(Code::InvalidArgument, unmapped), Blame::System);
        let large = "Blob data size exceeds limit.";
        assert_eq!(blame(Code::InvalidArgument, large), Blame::Record);
    }
}
