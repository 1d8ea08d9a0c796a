//! What the commands that ask Temporal share: the connection, time limits, and `ID` or `ID~n` as the name of a run.

use std::io::Write as _;
use std::time::Duration;

use super::Error;
use crate::domain::{RequestId, WorkflowId};
use crate::engines::config;
use crate::engines::temporal::client;
use crate::engines::temporal::client::Temporal;

/// How long the server may take, including the two seconds that it waits for a worker's answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);
/// How long the server may take for a list or a history: many thousands of entries take some seconds, and a server that
/// hangs must not hold up the command longer.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

pub(super) async fn connect(server: &config::Temporal) -> anyhow::Result<Temporal> {
    within(PATIENCE, server, Temporal::connect(server)).await
}

/// Waits for the server, but no longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    server: &config::Temporal,
    answer: impl Future<Output = Result<T, client::Error>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(limit, Box::pin(answer)).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(Error::Unavailable(format!(
            "the Temporal server at {} did not answer within {limit:?}",
            server.url
        ))
        .into()),
    }
}

/// A run, as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunName {
    request: RequestId,
    /// The number of the retry; `None` for the newest run.
    retry: Option<u32>,
}

impl RunName {
    /// Reads `ID` or `ID~n`.
    pub(super) fn parse(id: &str) -> Result<Self, Error> {
        let (request, retry) = match id.split_once('~') {
            None => (id, None),
            Some((request, retry)) => (request, Some(retry)),
        };
        let request = RequestId::try_from(request.to_owned());
        let request = request.map_err(|error| Error::Usage(format!("request id {error}")))?;
        let retry = retry.map(str::parse).transpose();
        let retry = retry.map_err(|_| {
            Error::Usage(format!(
                "{id:?} is not the id of a run, expected ID or ID~n"
            ))
        })?;
        Ok(Self { request, retry })
    }

    /// Returns the workflow id of exactly this run; without a number, of the first one.
    pub(super) fn exact(&self) -> WorkflowId {
        self.request.run(self.retry.unwrap_or(0))
    }

    /// Returns the run's workflow id. Only the newest run is looked up: `None` if the request is unknown. A run with a
    /// number may not exist.
    pub(super) async fn workflow(
        &self,
        temporal: &Temporal,
    ) -> Result<Option<WorkflowId>, client::Error> {
        match self.retry {
            Some(retry) => Ok(Some(self.request.run(retry))),
            None => temporal.newest(&self.request).await,
        }
    }
}

/// Reports an unknown request on standard error, so that standard output has only results.
///
/// # Errors
/// The namespace does not exist, so that every request looks unknown; or the server does not answer.
pub(super) async fn not_found(
    id: &str,
    temporal: &Temporal,
    server: &config::Temporal,
) -> anyhow::Result<()> {
    within(PATIENCE, server, temporal.has_namespace()).await?;
    writeln!(std::io::stderr().lock(), "request {id} not found")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_request_and_its_number() {
        let name = |retry| RunName {
            request: "a".to_owned().try_into().unwrap(),
            retry,
        };

        assert_eq!(RunName::parse("a").unwrap(), name(None));
        assert_eq!(RunName::parse("a~0").unwrap(), name(Some(0)));
        for bad in ["", "a b", "a~", "a~x", "~1"] {
            assert!(matches!(RunName::parse(bad), Err(Error::Usage(_))), "{bad}");
        }
    }
}
