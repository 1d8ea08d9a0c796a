//! Errors of the store as [`io::Error`]: callers branch on the kind, and the text contains no address.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// Time-out of every operation except the upload of an output.
const ASK_TIME: Duration = Duration::from_secs(30);

/// An error of the store. Its source explains it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct StoreFault {
    what: &'static str,
    source: object_store::Error,
}

/// Converts an error of `object_store`.
pub(super) fn of_store(source: object_store::Error) -> io::Error {
    use object_store::Error as E;

    let kind = match &source {
        E::NotFound { .. } => ErrorKind::NotFound,
        E::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        E::Generic { .. }
        | E::InvalidPath { .. }
        | E::JoinError { .. }
        | E::NotSupported { .. }
        | E::Precondition { .. }
        | E::NotModified { .. }
        | E::NotImplemented { .. }
        | E::UnknownConfigurationKey { .. }
        | _ => inner_kind(&source).unwrap_or(ErrorKind::Other),
    };
    let what = match cause_of(kind) {
        "full" => "the disk is full",
        "denied" => "access to the store is denied",
        "missing" => "the store does not have the file",
        "taken" => "the store has a file of this name already",
        _ => "the store cannot be reached or reports an error",
    };
    io::Error::new(kind, StoreFault { what, source })
}

/// Returns the kind of the I/O error below `object_store`'s own errors, if there is one.
fn inner_kind(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<io::Error>()
            && error.kind() != ErrorKind::Other
        {
            return Some(error.kind());
        }
        cause = inner.source();
    }
    None
}

/// Awaits a short operation and converts its error. `object_store` itself limits and retries single requests.
pub(super) async fn ask<T>(asking: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(ASK_TIME, asking).await {
        Ok(done) => done.map_err(of_store),
        Err(_) => Err(io::Error::new(
            ErrorKind::TimedOut,
            "the store does not answer in time",
        )),
    }
}

/// Returns the cause of a failure, from a closed set. Metrics use it as a label.
pub(crate) fn cause(error: &io::Error) -> &'static str {
    cause_of(error.kind())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the standard library's list is long and open"
)]
fn cause_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "full",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "denied",
        ErrorKind::NotFound => "missing",
        ErrorKind::AlreadyExists => "taken",
        _ => "unavailable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognised_at_any_depth_of_the_error() {
        let full = io::Error::from(ErrorKind::StorageFull);
        let wrapped = io::Error::other(StoreFault {
            what: "layer",
            source: object_store::Error::Generic {
                store: "LocalFileSystem",
                source: Box::new(full),
            },
        });
        let error = of_store(object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(Layer(wrapped)),
        });

        assert_eq!(cause(&error), "full");
        assert_eq!(error.to_string(), "the disk is full");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("a layer")]
    struct Layer(#[source] io::Error);

    #[test]
    fn a_servers_message_is_in_the_source_and_not_in_the_text() {
        let error = of_store(object_store::Error::Generic {
            store: "S3",
            source: "http://10.0.0.7/media/key: 500".into(),
        });

        assert!(!error.to_string().contains("10.0.0.7"), "{error}");
        let source = error.get_ref().unwrap().source().unwrap();
        assert!(source.to_string().contains("10.0.0.7"), "{source}");
        assert_eq!(cause(&error), "unavailable");
    }
}
