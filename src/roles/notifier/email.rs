//! Delivers email: one message per event, as text and HTML, through the mail server in `SMTP_URL`.
//!
//! Every attempt has the same `Message-ID`, so a mailbox can detect a repeat. One connection is kept, and one message
//! uses it at a time. An abandoned attempt drops its connection, so a late answer of the server is never read as the
//! answer to another message. Of the server's answers only the code is shown, because the server controls the text.

mod advice;
mod connection;
mod limits;
mod message;
mod templates;
mod view;

use std::path::Path;
use std::time::Duration;

use lettre::transport::smtp;

use self::connection::Connection;
use self::limits::Limits;
pub use self::templates::TemplateFault;
use self::templates::Templates;
use crate::contract::receipt::DeliveryError;
use crate::domain::email_address;
use crate::domain::email_address::{Domains, FromAddress, InvalidAddress};
use crate::engines::config;
use crate::roles::notifier::attempt::{Notice, Tried};
use crate::roles::notifier::digest_text::DigestText;

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    #[error("EMAIL_ALLOWED_DOMAINS does not allow the target's domain")]
    NotAllowed,
    #[error("the message cannot be built")]
    Unwritable(#[source] message::Error),
    /// The server refused the message for good.
    #[error("the mail server refused with code {0}")]
    Refused(u16),
    #[error("the mail server accepts only addresses in ASCII")]
    AsciiOnly,
    /// The server does not accept the message now.
    #[error("the mail server failed with code {0}")]
    Failed(u16),
    #[error("the mail server does not offer STARTTLS, which SMTP_URL requires")]
    NotEncrypted,
    /// The server did not accept the login: the fault is the server's or in our settings, not the target's.
    #[error("the mail server did not accept the login")]
    Login(#[source] smtp::Error),
    #[error("the mail server did not answer in time")]
    TimedOut,
    /// There was no connection, or it broke before the answer.
    #[error("the mail server cannot be reached")]
    Unreachable(#[source] smtp::Error),
}

/// Why no mail can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum UnusableEmail {
    #[error(transparent)]
    Template(#[from] TemplateFault),
    /// The CA certificates to verify the server with cannot be read.
    #[error("cannot read the CA certificates for the mail server; install ca-certificates")]
    Certificates(#[source] smtp::Error),
}

pub(super) struct Sender {
    connection: Connection,
    from: FromAddress,
    allowed: Domains,
    limits: Limits,
    templates: Templates,
}

/// Checks the templates in `folder`, which replace the built-in ones.
///
/// # Errors
/// The first fault, and where it is.
pub fn check_templates(folder: Option<&Path>) -> Result<(), TemplateFault> {
    Templates::load(folder).map(drop)
}

impl Sender {
    /// Creates a sender, if there is a mail server; makes no network call.
    pub(super) fn new(config: &config::Notifier) -> Result<Option<Self>, UnusableEmail> {
        let templates = Templates::load(config.templates.as_deref())?;
        let Some(email) = &config.email else {
            return Ok(None);
        };
        Ok(Some(Self {
            connection: Connection::new(&email.server).map_err(UnusableEmail::Certificates)?,
            from: email.from.clone(),
            allowed: email.allowed_domains.clone(),
            limits: Limits::new(email.limits),
            templates,
        }))
    }

    /// Whether email to addresses that tenants name is allowed at all.
    pub(super) fn serves_tenants(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Counts a mail of `user` to `to`; returns its result, a later attempt, if it exceeds their limits.
    pub(super) fn limited(&self, user: &str, to: &str) -> Option<Tried> {
        let wait = self.limits.take(user, to).err()?;
        let why = "the address is at EMAIL_ADDRESS_LIMIT, or the user is at EMAIL_USER_LIMIT";
        Some(Tried::Later {
            status: None,
            error: DeliveryError::new("throttled", why),
            again_in: Some(wait),
        })
    }

    /// Whether the last message took longer than an attempt of `limit` may.
    pub(super) fn is_slower_than(&self, limit: Duration) -> bool {
        self.connection.is_slower_than(limit)
    }

    /// Makes one attempt to send an event to `to`, within `limit`.
    pub(super) async fn send(&self, notice: &Notice<'_>, to: &str, limit: Duration) -> Tried {
        match self.try_once(notice, to, limit).await {
            Ok(code) => Tried::Delivered(code),
            Err(error) => error.into(),
        }
    }

    async fn try_once(&self, notice: &Notice<'_>, to: &str, limit: Duration) -> Result<u16, Error> {
        let to = email_address::recipient(to)?;
        if !self.allowed.allow(&to) {
            return Err(Error::NotAllowed);
        }
        let mail = message::about_event(notice, &self.from, to, &self.templates);
        let mail = mail.map_err(Error::Unwritable)?;
        self.connection.send(&mail, limit).await
    }

    /// Makes one attempt to send a digest to the operators, within `limit`. `EMAIL_ALLOWED_DOMAINS` does not
    /// apply: it is for addresses that tenants name.
    pub(super) async fn send_digest(&self, text: &DigestText, to: &str, limit: Duration) -> Tried {
        let sending = async {
            let to = email_address::recipient(to)?;
            let mail = message::about_failures(text, &self.from, to);
            let mail = mail.map_err(Error::Unwritable)?;
            self.connection.send(&mail, limit).await
        };
        match sending.await {
            Ok(code) => Tried::Delivered(code),
            Err(error) => error.into(),
        }
    }
}

impl Error {
    /// Returns the code for receipts and `dlq.reason`; a closed list, documented in `docs/email.md`.
    fn code(&self) -> &'static str {
        match self {
            Self::Address(_) | Self::AsciiOnly => "invalid_address",
            Self::NotAllowed => "address_refused",
            Self::Unwritable(_) => "unwritable",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "target_failed",
            Self::NotEncrypted => "not_encrypted",
            Self::Login(_) => "login_refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

impl From<Error> for Tried {
    fn from(error: Error) -> Self {
        let reported = DeliveryError {
            code: error.code().to_owned(),
            message: error.to_string(),
        };
        let refused = |status| Self::Refused {
            status,
            error: reported.clone(),
        };
        let later = |status| Self::Later {
            status,
            error: reported.clone(),
            again_in: None,
        };
        match error {
            Error::Refused(code) => refused(Some(code)),
            Error::Address(_) | Error::NotAllowed | Error::Unwritable(_) | Error::AsciiOnly => {
                refused(None)
            }
            Error::Failed(code) => later(Some(code)),
            Error::Login(error) => later(error.status().map(u16::from)),
            Error::NotEncrypted | Error::TimedOut | Error::Unreachable(_) => later(None),
        }
    }
}

#[cfg(test)]
mod tests;
