//! Chooses the replication factor of new topics. It is never changed later, so it must not be derived from a cluster
//! whose brokers are still starting.

use std::fmt;
use std::time::Duration;

use super::plan::{FULL, for_brokers};
use super::{Error, Lookup, wait_ready};
use crate::engines::config;

/// The replication factor of new topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// The operator asked for it.
    Asked(usize),
    /// Derived from the number of brokers.
    Chosen { copies: usize, brokers: usize },
}

impl Replication {
    pub(super) fn copies(self) -> usize {
        match self {
            Self::Asked(copies) | Self::Chosen { copies, .. } => copies,
        }
    }
}

/// Pause between two counts of the brokers.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// A cluster whose number of brokers is the same in this many counts, that is for ten seconds, counts as complete.
const LOOKS: usize = 40;

/// Decides the replication factor of new topics, after waiting for a starting cluster to become complete.
///
/// # Errors
/// Brokers do not answer, or there are fewer than the replication factor that was asked for.
pub async fn replication(
    kafka: &config::Kafka,
    asked: Option<usize>,
    patience: Duration,
) -> Result<Replication, Error> {
    let first = wait_ready(kafka, patience).await?;
    let lookup = Lookup::new(kafka, "setup")?;
    let enough = asked.unwrap_or(FULL);
    let look = async || {
        tokio::time::sleep(LOOK_PAUSE).await;
        Ok(lookup.metadata(None).await?.brokers().len())
    };
    let brokers = settled(first, enough, look).await?;
    match asked {
        Some(wanted) if brokers < wanted => Err(Error::TooFewBrokers {
            there: brokers,
            wanted,
        }),
        Some(wanted) => Ok(Replication::Asked(wanted)),
        None => Ok(Replication::Chosen {
            copies: for_brokers(brokers),
            brokers,
        }),
    }
}

/// Counts brokers until there are `enough` or their number has been stable for [`LOOKS`] counts.
async fn settled(
    first: usize,
    enough: usize,
    mut look: impl AsyncFnMut() -> Result<usize, Error>,
) -> Result<usize, Error> {
    let (mut brokers, mut same) = (first, 1);
    while brokers < enough && same < LOOKS {
        let seen = look().await?;
        same = if seen == brokers { same + 1 } else { 1 };
        brokers = seen;
    }
    Ok(brokers)
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(copies) => write!(f, "replication of new topics: {copies}, as asked"),
            Self::Chosen { copies: 1, brokers } => write!(
                f,
                "warning: new topics have replication 1, because the number of brokers is {brokers}: the loss of a disk loses acknowledged records. Run {FULL} brokers, or confirm with --replication 1"
            ),
            Self::Chosen { copies, brokers } => {
                write!(
                    f,
                    "replication of new topics: {copies}, on {brokers} brokers"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the brokers of a starting cluster. `looks` lists broker counts and how often each is seen; the last one
    /// repeats without end. Returns the decided number of brokers and the number of counts.
    async fn counted(enough: usize, looks: &[(usize, usize)]) -> (usize, usize) {
        let starting = looks
            .iter()
            .flat_map(|&(brokers, times)| std::iter::repeat_n(brokers, times));
        let mut starting = starting
            .chain(std::iter::repeat(looks.last().unwrap().0))
            .skip(1);
        let mut count = 0;
        let look = async || {
            count += 1;
            Ok(starting.next().unwrap())
        };
        let brokers = settled(looks[0].0, enough, look).await.unwrap();
        (brokers, count)
    }

    #[tokio::test]
    async fn a_cluster_that_is_starting_is_waited_for() {
        assert_eq!(
            counted(FULL, &[(1, LOOKS - 1), (2, 1), (3, 1)]).await,
            (3, LOOKS)
        );
        assert_eq!(counted(FULL, &[(5, 1)]).await, (5, 0), "enough at once");
        assert_eq!(counted(1, &[(1, 1)]).await, (1, 0), "as asked");
    }

    #[tokio::test]
    async fn a_cluster_that_stays_small_is_taken_as_it_is() {
        assert_eq!(counted(FULL, &[(1, LOOKS)]).await, (1, LOOKS - 1));
        assert_eq!(counted(FULL, &[(1, 5), (2, LOOKS)]).await, (2, LOOKS + 4));
    }

    #[test]
    fn replication_1_is_warned_of_unless_it_was_asked_for() {
        let one = Replication::Chosen {
            copies: 1,
            brokers: 2,
        };
        assert!(one.to_string().starts_with("warning: "));
        let asked = Replication::Asked(1).to_string();
        assert_eq!(asked, "replication of new topics: 1, as asked");
    }
}
