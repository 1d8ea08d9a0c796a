//! Whom an event is told to; pure.
//!
//! A notification is one event on one channel to one target. Its target goes nowhere but into the request that
//! delivers it: what logs and receipts show is [`Notification::shown`] and [`Notification::hash`].

use ring::digest::{SHA256, digest};
use url::Url;

use super::receipt::Channel;
use crate::domain::{ErrorCode, Event, EventType, Notify, Targets, hex};

/// One event to one target.
#[derive(Clone, PartialEq)]
pub(super) struct Notification {
    /// Where it goes.
    pub(super) target: Target,
    /// First 16 hex digits of the target's SHA-256.
    pub(super) hash: String,
}

/// Where a notification goes.
#[derive(Clone, PartialEq)]
pub(super) enum Target {
    /// A tenant's endpoint.
    Webhook(Url),
    /// A mailbox.
    Email(String),
    /// A Slack incoming webhook.
    Slack(Url),
}

/// Returns what the event says of whom to notify, if anybody is to hear of it.
pub(super) fn wanted(event: &Event) -> Option<&Notify> {
    let told = match event.kind_of_event {
        // A later version's type: `on` names it as unknown too, which does not make the two the same.
        EventType::Unknown => false,
        EventType::Rejected => event
            .error
            .as_ref()
            .is_none_or(|error| answered(error.code)),
        EventType::Started
        | EventType::Progress
        | EventType::Completed
        | EventType::Failed
        | EventType::Cancelled => true,
    };
    event
        .notify
        .as_ref()
        .filter(|notify| told && notify.on.contains(&event.kind_of_event))
}

/// Returns a notification for each target.
pub(super) fn plan(targets: &Targets) -> Vec<Notification> {
    let webhook = targets.webhook.clone().map(Target::Webhook);
    let email = targets.email.clone().map(Target::Email);
    let slack = targets.slack.clone().map(Target::Slack);
    [webhook, email, slack]
        .into_iter()
        .flatten()
        .map(Notification::new)
        .collect()
}

/// Tells whether whoever sent a refused record hears of it: not when nobody proved to be the tenant, and not of
/// what is long past.
fn answered(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::Undecodable | ErrorCode::Unauthorized | ErrorCode::TooOld
    )
}

impl Notification {
    fn new(target: Target) -> Self {
        let text = match &target {
            Target::Webhook(url) | Target::Slack(url) => url.as_str(),
            Target::Email(address) => address,
        };
        let mut hash = hex(digest(&SHA256, text.as_bytes()).as_ref());
        hash.truncate(16);
        Self { target, hash }
    }

    /// Returns the way it goes.
    pub(super) fn channel(&self) -> Channel {
        match self.target {
            Target::Webhook(_) => Channel::Webhook,
            Target::Email(_) => Channel::Email,
            Target::Slack(_) => Channel::Slack,
        }
    }

    /// Returns the target without its secret parts.
    pub(super) fn shown(&self) -> String {
        match &self.target {
            Target::Webhook(url) | Target::Slack(url) => {
                format!("{}://{}/…", url.scheme(), url.host_str().unwrap_or("…"))
            }
            Target::Email(address) => {
                let domain = address.rsplit_once('@').map_or("…", |(_, domain)| domain);
                format!("…@{domain}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventError, Sealed};
    use crate::notifier::testing::event;

    #[test]
    fn only_the_types_asked_for_are_told_of() {
        let on = |kinds: &[EventType], kind| {
            let notify = Notify {
                on: kinds.to_vec(),
                sealed: Sealed(Vec::new()),
            };
            wanted(&Event {
                kind_of_event: kind,
                notify: Some(notify),
                ..event()
            })
            .is_some()
        };

        assert!(on(&[EventType::Completed], EventType::Completed));
        assert!(on(&[EventType::Started], EventType::Started));
        assert!(on(&[EventType::Rejected], EventType::Rejected));
        assert!(!on(&[EventType::Completed], EventType::Failed));
        assert!(!on(&[], EventType::Completed));
        assert!(!on(&[EventType::Unknown], EventType::Unknown));
        assert_eq!(wanted(&event()), None);
    }

    #[test]
    fn a_record_that_nobody_can_be_held_to_is_refused_in_silence() {
        for (code, told) in [
            (ErrorCode::Undecodable, false),
            (ErrorCode::Unauthorized, false),
            (ErrorCode::TooOld, false),
            (ErrorCode::Invalid, true),
            (ErrorCode::RequestIdConflict, true),
        ] {
            let notify = Notify {
                on: vec![EventType::Rejected],
                sealed: Sealed(Vec::new()),
            };
            let rejected = Event {
                kind_of_event: EventType::Rejected,
                error: Some(EventError::new(code, "why", false)),
                notify: Some(notify),
                ..event()
            };

            assert_eq!(wanted(&rejected).is_some(), told, "{code:?}");
        }
    }

    #[test]
    fn each_target_gets_a_notification_that_shows_none_of_its_secrets() {
        let targets = Targets::parse(
            Some("https://user:pw@example.com/hook?token=topsecret"),
            Some("someone@example.org"),
            Some("https://hooks.slack.com/services/topsecret"),
        )
        .unwrap();

        let shown: Vec<_> = plan(&targets)
            .iter()
            .map(|notification| (notification.channel(), notification.shown()))
            .collect();

        assert_eq!(
            shown,
            [
                (Channel::Webhook, "https://example.com/…".to_owned()),
                (Channel::Email, "…@example.org".to_owned()),
                (Channel::Slack, "https://hooks.slack.com/…".to_owned()),
            ]
        );
    }

    #[test]
    fn the_hash_is_the_start_of_the_targets_sha256() {
        let targets = Targets::parse(Some("https://example.com/hook"), None, None).unwrap();

        // From: printf https://example.com/hook | sha256sum
        assert_eq!(plan(&targets)[0].hash, "19f1352238b91533");
    }
}
