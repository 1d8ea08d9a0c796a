//! Why a call to the server failed, in one readable line, and where the cause lies.

use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::tonic::{self, Code, Status};

/// Why a call to the server failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the Temporal server at {url} cannot be used: {cause}")]
    Unreachable { url: String, cause: String },
    /// The call failed with this gRPC code, also if the connection was lost; [`Error::blame`] classifies it.
    #[error("the call to the Temporal server failed with {code:?}")]
    Answered {
        code: Code,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot read what the Temporal server stores about a workflow")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where the cause of an error lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The server does not answer, or fails for now.
    Connection,
    /// The server asks for fewer calls.
    Load,
    /// The server would refuse every call like this one: its namespace, search attributes or permissions are wrong.
    System,
    /// The server refuses the content of this call, and would do so again.
    Record,
}

impl Error {
    pub fn blame(&self) -> Blame {
        let (code, source) = match self {
            Self::Answered { code, source } => (code, source),
            Self::Unreachable { .. } => return Blame::Connection,
            Self::Unreadable(_) => return Blame::System,
        };
        match code {
            Code::ResourceExhausted => Blame::Load,
            Code::InvalidArgument | Code::OutOfRange => {
                // The server uses these codes for unregistered search attributes, too.
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

/// Finds the server's status; not every error of the client has it as its source.
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

/// Returns the innermost cause of a failed call, or else the server's message.
pub(super) fn root_message(status: &Status) -> String {
    let cause = std::error::Error::source(status);
    cause.map_or_else(
        || status_message(status) + key_advice(status),
        |cause| innermost(cause).to_string(),
    )
}

/// Returns what to check if the server refuses the caller, else nothing.
pub(crate) fn key_advice(status: &Status) -> &'static str {
    let is_refused = matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied
    );
    if is_refused {
        " (expected TEMPORAL_API_KEY to be a valid key, or a client certificate, with access to the namespace)"
    } else {
        ""
    }
}

pub(super) fn innermost<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> &'e (dyn std::error::Error + 'static) {
    error.source().map_or(error, innermost)
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
    fn an_error_is_blamed_on_its_cause() {
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
