//! A generation request and a command. Ids and targets are parsed; [`Request::check`] checks the other bounds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::http_url::input_url;
use super::spec::check_metadata;
use super::{BatchItem, CommandId, EventType, Invalid, InvalidFields, RequestId, Spec, UserId};

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub id: RequestId,
    pub user: UserId,
    pub spec: Spec,
    pub priority: Priority,
    /// Deadline, counted from the workflow's start; `None` means the configured one.
    pub timeout: Option<Duration>,
    pub targets: Targets,
    pub notify_on: Vec<EventType>,
    /// Returned in every event.
    pub metadata: BTreeMap<String, String>,
    /// When the producer created the request, in milliseconds since the epoch.
    pub requested_at: Option<i64>,
}

/// Notification targets of a request. Never logged: `Debug` hides the values. Histories contain them, sealed:
/// add fields with a default, never remove or retype one.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// URL that receives signed events by POST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Slack incoming-webhook URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack: Option<Url>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Priority {
    /// Temporal priority 5.
    Low,
    /// Temporal priority 3.
    Normal,
    /// Temporal priority 1.
    High,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub id: CommandId,
    pub request: RequestId,
    pub action: Action,
    pub reason: Option<String>,
    /// Free text that names the issuer.
    pub issued_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    Cancel,
    /// Run a failed or cancelled request again.
    Retry,
}

const LONGEST_TARGET: usize = 2048;

impl Request {
    /// Checks the contract's bounds.
    ///
    /// # Errors
    /// Returns all fields that are out of bounds, with what is expected.
    pub fn check(self) -> Result<Self, InvalidFields> {
        let mut faults = InvalidFields::default();
        self.spec.check(&mut faults);
        if let Some(timeout) = self.timeout
            && !(1..=604_800).contains(&timeout.as_secs())
        {
            let out_of_bounds = Self::timeout_out_of_bounds(timeout.as_secs());
            faults.note(Err(out_of_bounds));
        }
        check_metadata(&mut faults, &self.metadata);
        if let Spec::Batch(batch) = &self.spec
            && batch.items.iter().any(|item| item.request_id == self.id)
        {
            faults.add(
                "spec.items",
                format!(
                    "names {}, which is the batch's own id; give the item another id",
                    self.id
                ),
            );
        }
        faults.or(self)
    }

    /// Returns the fault of a deadline that is out of bounds.
    pub(crate) fn timeout_out_of_bounds(seconds: impl std::fmt::Display) -> Invalid {
        Invalid::new(
            "timeout_seconds",
            format!("is {seconds}, expected 1 to 604800"),
        )
    }

    /// Returns an item of this batch as a request of its own.
    pub fn item(&self, item: &BatchItem) -> Self {
        let notify_on = match item.notify_on.is_empty() {
            true => &self.notify_on,
            false => &item.notify_on,
        };
        Self {
            id: item.request_id.clone(),
            user: self.user.clone(),
            spec: item.spec.clone().into(),
            priority: self.priority,
            timeout: None,
            targets: Targets {
                webhook: item.webhook_url.clone(),
                ..Targets::default()
            },
            notify_on: notify_on.clone(),
            metadata: item.metadata.clone(),
            requested_at: self.requested_at,
        }
    }
}

impl Targets {
    /// The fields of a request that hold its targets. Items have the first one only.
    pub(crate) const FIELDS: [&str; 3] = ["webhook_url", "notify_email", "notify_slack"];

    /// Parses the three targets.
    ///
    /// # Errors
    /// Returns the first target that is invalid. The message does not repeat the value, which may be a secret.
    pub fn parse(
        webhook: Option<&str>,
        email: Option<&str>,
        slack: Option<&str>,
    ) -> Result<Self, Invalid> {
        Ok(Self {
            webhook: webhook
                .map(|raw| http_url("webhook_url", raw))
                .transpose()?,
            email: email.map(email_address).transpose()?,
            slack: slack.map(|raw| http_url("notify_slack", raw)).transpose()?,
        })
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Parses an absolute http or https URL of at most 2,048 characters.
pub(crate) fn http_url(field: &'static str, raw: &str) -> Result<Url, Invalid> {
    let length = raw.chars().count();
    if length > LONGEST_TARGET {
        return Err(Invalid::new(
            field,
            format!("is {length} characters long, expected at most {LONGEST_TARGET}"),
        ));
    }
    input_url(field, raw)
}

/// Checks the form `local@domain`. Control characters, spaces and separators could add a mail header or a recipient.
fn email_address(raw: &str) -> Result<String, Invalid> {
    let parts = raw
        .rsplit_once('@')
        .filter(|(local, domain)| !local.is_empty() && !domain.is_empty());
    let clean = raw
        .chars()
        .all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, ',' | ';' | '<' | '>'));
    if parts.is_none() || !clean || raw.chars().count() > LONGEST_TARGET {
        return Err(Invalid::new(
            "notify_email",
            format!(
                "is not an email address, expected local@domain, at most {LONGEST_TARGET} characters"
            ),
        ));
    }
    Ok(raw.to_owned())
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            webhook,
            email,
            slack,
        } = self;
        let shown = |set: bool| if set { "set" } else { "none" };
        f.debug_struct("Targets")
            .field("webhook", &shown(webhook.is_some()))
            .field("email", &shown(email.is_some()))
            .field("slack", &shown(slack.is_some()))
            .finish()
    }
}

impl Priority {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Normal => "NORMAL",
            Self::Low => "LOW",
        }
    }

    /// Returns Temporal's priority key, from 1 (served first) to 5 (served last).
    pub fn key(self) -> u32 {
        match self {
            Self::High => 1,
            Self::Normal => 3,
            Self::Low => 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_target_is_named_without_its_value() {
        for (webhook, email, slack, field) in [
            (Some("ftp://host/x"), None, None, "webhook_url"),
            (Some("no url"), None, None, "webhook_url"),
            (None, Some("nobody"), None, "notify_email"),
            (None, Some("a@b\r\nBcc: c@d"), None, "notify_email"),
            (None, None, Some("hooks.example"), "notify_slack"),
        ] {
            let error = Targets::parse(webhook, email, slack).unwrap_err();

            assert_eq!(error.field, field);
            for secret in [webhook, email, slack].into_iter().flatten() {
                assert!(!error.to_string().contains(secret));
            }
        }
    }

    #[test]
    fn targets_are_not_shown() {
        let targets = Targets::parse(Some("https://example.com/secret-token"), None, None).unwrap();

        assert!(!format!("{targets:?}").contains("secret-token"));
    }
}
