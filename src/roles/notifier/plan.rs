//! Which notifications an event causes: a pure function of the event, its opened targets, and the settings.
//!
//! A notification is one target of one event, on one channel. The target is used only in the request that
//! delivers it; logs and receipts show [`Notification::shown`] and [`Notification::hash`].

use ring::digest::{SHA256, digest};
use url::Url;

use super::endpoints::{self, Endpoint};
use crate::contract::receipt::{Channel, DeliveryError};
use crate::contract::seal::{self, NotifyKey, Sealer};
use crate::domain::{ErrorCode, Event, EventType, Notify, Targets, hex};

/// A target that is notified of an event.
#[derive(Clone, PartialEq)]
pub(super) struct Notification {
    pub(super) target: Target,
    /// First 16 hex digits of the target's SHA-256.
    pub(super) hash: String,
}

#[derive(Clone, PartialEq)]
pub(super) enum Target {
    /// A tenant's endpoint.
    Webhook(Url),
    /// A mailbox.
    Email(String),
    /// A Slack incoming webhook.
    Slack(Url),
}

/// Returns the sealed targets of an event, if the request asked for notifications of its type.
pub(super) fn wanted(event: &Event) -> Option<&Notify> {
    event
        .notify
        .as_ref()
        .filter(|notify| may_be_notified(event) && notify.on.contains(&event.event_type))
}

/// Returns whether anyone may be notified of an event.
fn may_be_notified(event: &Event) -> bool {
    match event.event_type {
        // A type of a later version. All of them read as `Unknown`, so `on` cannot show whether the request asked
        // for this one.
        EventType::Unknown => false,
        EventType::Rejected => event
            .error
            .as_ref()
            .is_none_or(|error| may_be_answered(error.code)),
        EventType::Started
        | EventType::Progress
        | EventType::Completed
        | EventType::Failed
        | EventType::Cancelled => true,
    }
}

/// Returns a notification for each target. `targets` are those of [`wanted`], opened; `default_slack` is the Slack target
/// for requests that name none.
pub(super) fn plan(
    event: &Event,
    targets: Option<&Targets>,
    default_slack: Option<&Url>,
) -> Vec<Notification> {
    let of = |target: fn(&Targets) -> Option<Target>| targets.and_then(target);
    let slack = of(|targets| targets.slack.clone().map(Target::Slack));
    let default_slack = default_slack.filter(|_| uses_default_slack(event));
    let slack = slack.or_else(|| default_slack.cloned().map(Target::Slack));
    let all = [
        of(|targets| targets.webhook.clone().map(Target::Webhook)),
        of(|targets| targets.email.clone().map(Target::Email)),
        slack,
    ];
    let mut planned: Vec<Notification> = Vec::new();
    for notification in all.into_iter().flatten().map(Notification::new) {
        // A target that is named twice is notified once; two targets of one channel are both notified.
        if !planned.contains(&notification) {
            planned.push(notification);
        }
    }
    planned
}

/// Returns the target with this hash as a receipt shows it, if the event's seal opens and contains it.
pub fn shown(event: &Event, channel: Channel, hash: &str, keys: &[NotifyKey]) -> Option<String> {
    let found = sealed(event, channel, hash, keys)?;
    Some(found.shown())
}

/// Returns the URL of the webhook with this hash, if the event's seal opens and contains it.
pub fn webhook(event: &Event, hash: &str, keys: &[NotifyKey]) -> Option<Url> {
    match sealed(event, Channel::Webhook, hash, keys)?.target {
        Target::Webhook(url) => Some(url),
        Target::Email(_) | Target::Slack(_) => None,
    }
}

fn sealed(event: &Event, channel: Channel, hash: &str, keys: &[NotifyKey]) -> Option<Notification> {
    let sealed = &wanted(event)?.sealed;
    let targets = Sealer::new(keys)
        .ok()?
        .open(sealed, seal::context(event))
        .ok()?;
    let planned = plan(event, Some(&targets), None);
    let mut planned = planned.into_iter();
    planned.find(|found| found.channel() == channel && found.hash == hash)
}

/// Returns whether the default Slack target is notified of the event. Items of a batch are left out: there may
/// be thousands, and the batch has events of its own.
fn uses_default_slack(event: &Event) -> bool {
    let on = event
        .notify
        .as_ref()
        .map_or(&EventType::NOTIFIED_BY_DEFAULT[..], |notify| &notify.on);
    may_be_notified(event) && event.batch_id.is_none() && on.contains(&event.event_type)
}

/// Returns whether the targets of a rejected record are notified. They are not if the record does not prove its
/// sender, or is too old.
fn may_be_answered(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::Undecodable | ErrorCode::Unauthorized | ErrorCode::TooOld
    )
}

/// Why a mail is not sent.
pub(super) fn not_mailed() -> DeliveryError {
    let why = "no email is sent about a request that was rejected as invalid";
    DeliveryError::new("not_mailed", why)
}

impl Notification {
    /// Returns whether this target is notified of an event. No email is sent about a request rejected as
    /// invalid: such a request costs its sender nothing, and its error quotes the sender's text, so it could carry
    /// spam.
    pub(super) fn notifies(&self, event: &Event) -> bool {
        let is_mail = self.channel() == Channel::Email;
        let code = event.error.as_ref().map(|error| error.code);
        !(is_mail && event.event_type == EventType::Rejected && code == Some(ErrorCode::Invalid))
    }

    /// Creates the notification of a target, with its hash.
    pub(super) fn new(target: Target) -> Self {
        let text = match &target {
            Target::Webhook(url) | Target::Slack(url) => url.as_str(),
            Target::Email(address) => address,
        };
        let mut hash = hex(digest(&SHA256, text.as_bytes()).as_ref());
        hash.truncate(16);
        Self { target, hash }
    }

    /// Returns the endpoint of its attempts; all email goes through one server.
    pub(super) fn endpoint(&self) -> Endpoint {
        let target = self.hash.clone();
        match &self.target {
            Target::Webhook(url) | Target::Slack(url) => Endpoint {
                origin: url.origin().ascii_serialization(),
                target,
                most: endpoints::MOST,
                ours: false,
            },
            // There is one connection to the mail server.
            Target::Email(_) => Endpoint {
                origin: "mail".to_owned(),
                target,
                most: 1,
                ours: true,
            },
        }
    }

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
    use crate::roles::notifier::testing::event;

    #[test]
    fn only_the_types_asked_for_are_notified() {
        let on = |kinds: &[EventType], kind| {
            let notify = Notify {
                on: kinds.to_vec(),
                sealed: Sealed(Vec::new()),
            };
            wanted(&Event {
                event_type: kind,
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
    fn all_mail_is_one_endpoint_with_one_slot_and_a_web_server_has_more() {
        let mail = |to: &str| Notification::new(Target::Email(to.to_owned())).endpoint();
        let webhook = Target::Webhook("https://a.example:8443/x".parse().unwrap());
        let webhook = Notification::new(webhook).endpoint();

        assert_eq!(mail("a@b.example").origin, mail("c@d.example").origin);
        assert_eq!(mail("a@b.example").most, 1);
        assert_eq!(webhook.origin, "https://a.example:8443");
        assert_eq!(webhook.most, endpoints::MOST);
    }

    #[test]
    fn a_refused_record_without_a_proven_sender_is_not_answered() {
        for (code, reported) in [
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
                event_type: EventType::Rejected,
                error: Some(EventError::new(code, "why", false)),
                notify: Some(notify),
                ..event()
            };

            assert_eq!(wanted(&rejected).is_some(), reported, "{code:?}");
        }
    }

    #[test]
    fn no_mail_is_written_about_an_invalid_request() {
        let rejected = |code| Event {
            event_type: EventType::Rejected,
            error: Some(EventError::new(code, "why", false)),
            ..event()
        };
        let mail = Notification::new(Target::Email("a@b.example".to_owned()));
        let webhook = Notification::new(Target::Webhook("https://b.example/".parse().unwrap()));

        assert!(!mail.notifies(&rejected(ErrorCode::Invalid)));
        assert!(webhook.notifies(&rejected(ErrorCode::Invalid)));
        assert!(mail.notifies(&rejected(ErrorCode::RequestIdConflict)));
        assert!(mail.notifies(&event()));
    }

    #[test]
    fn each_target_gets_a_notification_that_shows_none_of_its_secrets() {
        let targets = Targets::parse(
            Some("https://user:pw@example.com/hook?token=topsecret"),
            Some("someone@example.org"),
            Some("https://hooks.slack.com/services/topsecret"),
        )
        .unwrap();

        let shown: Vec<_> = plan(&event(), Some(&targets), None)
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
        let planned = plan(&event(), Some(&targets), None);
        assert_eq!(planned[0].hash, "19f1352238b91533");
    }

    const OURS: &str = "https://hooks.slack.com/services/ours";

    /// Returns the Slack targets that are notified of an event if there is a default.
    fn slacks(event: &Event, own: Option<&str>) -> Vec<String> {
        let targets = Targets::parse(Some("https://example.com/hook"), None, own).unwrap();
        let default = OURS.parse().unwrap();
        let targets = wanted(event).map(|_| &targets);
        let planned = plan(event, targets, Some(&default)).into_iter();
        let slacks = planned.filter_map(|notification| match notification.target {
            Target::Slack(url) => Some(url.to_string()),
            Target::Webhook(_) | Target::Email(_) => None,
        });
        slacks.collect()
    }

    #[test]
    fn the_default_slack_is_notified_where_the_request_names_none() {
        let own = "https://hooks.slack.com/services/own";
        let asking = |on: &[EventType]| Event {
            notify: Some(Notify {
                on: on.to_vec(),
                sealed: Sealed(Vec::new()),
            }),
            ..event()
        };
        let completed = asking(&[EventType::Completed]);

        assert_eq!(slacks(&completed, Some(own)), [own]);
        assert_eq!(slacks(&completed, None), [OURS]);
        assert_eq!(slacks(&event(), None), [OURS], "there is no other target");
        assert_eq!(slacks(&asking(&[EventType::Failed]), None), [""; 0]);
        let started = Event {
            event_type: EventType::Started,
            ..event()
        };
        assert_eq!(slacks(&started, None), [""; 0]);
        let item = Event {
            batch_id: Some("batch".to_owned()),
            ..event()
        };
        assert_eq!(slacks(&item, None), [""; 0]);
    }

    #[test]
    fn targets_of_one_host_share_its_slots_and_have_circuits_of_their_own() {
        let endpoint =
            |url: &str| Notification::new(Target::Webhook(url.parse().unwrap())).endpoint();

        let [one, other] = ["https://a.example/x?t=1", "https://a.example:443/y"].map(endpoint);

        assert_eq!(
            (&*one.origin, &*other.origin),
            ("https://a.example", "https://a.example")
        );
        assert_ne!(one.target, other.target);
        assert_ne!(endpoint("https://a.example:8443/x").origin, one.origin);
    }
}
