//! Delivers by mail: one event is one message, text and HTML, given to the mail server that `SMTP_URL` names.
//!
//! Every try has the same `Message-ID`, so a mailbox can tell a repeat. One connection is kept and used by one message
//! at a time. A try that is abandoned takes its connection along: what the server answers late is never taken for
//! the answer to another message. What the server says beside its code is its own to write, and is shown nowhere.

mod advice;
mod connection;
mod digest;
mod examples;
mod failures;
mod limits;
mod message;
mod templates;
mod view;

use std::path::Path;
use std::time::Duration;

use lettre::transport::smtp;

use self::connection::Connection;
use self::limits::Limits;
pub use self::templates::Fault as TemplateFault;
use self::templates::Templates;
use crate::contract::digest::Gathered;
use crate::contract::receipt::DeliveryError;
use crate::domain::email_address;
pub use crate::domain::email_address::{
    Domains, FromAddress, InvalidAddress, InvalidFrom, is_address,
};
use crate::engines::config;
pub use crate::engines::config::mail_server::{InvalidServer, Server};
use crate::roles::notifier::attempt::{Letter, Tried};

/// Why a try did not deliver.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The target is no address.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// `EMAIL_ALLOWED_DOMAINS` does not list its domain.
    #[error("mail to this domain is not allowed here")]
    NotAllowed,
    /// No message can be made of the event.
    #[error("the message cannot be written")]
    Unwritable(#[source] message::Error),
    /// The server does not take it, and never will.
    #[error("the mail server refused with code {0}")]
    Refused(u16),
    /// The server cannot be given such an address: it speaks ASCII only.
    #[error("the mail server takes no address of letters beyond ASCII")]
    AsciiOnly,
    /// The server does not take it now.
    #[error("the mail server failed with code {0}")]
    Failed(u16),
    /// The server does not encrypt, and `SMTP_URL` asks for it.
    #[error("the mail server offers no STARTTLS, and tls=required")]
    NotEncrypted,
    /// The server does not let us in: its fault or that of our settings, not that of the target.
    #[error("the mail server did not accept the login")]
    Login(#[source] smtp::Error),
    /// It did not answer in time.
    #[error("the mail server did not answer in time")]
    TimedOut,
    /// There was no connection to it, or none that held until the answer.
    #[error("the mail server cannot be reached")]
    Unreachable(#[source] smtp::Error),
}

/// Why no mail can be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A template is faulty.
    #[error(transparent)]
    Template(#[from] TemplateFault),
    /// The certificates that the server's is checked by cannot be read.
    #[error("no certificates to check the mail server's by: install ca-certificates")]
    Certificates(#[source] smtp::Error),
}

/// Delivers mails.
pub(super) struct Sender {
    connection: Connection,
    from: FromAddress,
    allowed: Domains,
    limits: Limits,
    templates: Templates,
}

/// Checks the templates in `folder`, which replace ours: each must render every kind of event.
///
/// # Errors
/// The first that is faulty, and where.
pub fn check_templates(folder: Option<&Path>) -> Result<(), TemplateFault> {
    Templates::load(folder).map(drop)
}

impl Sender {
    /// Makes a sender, if there is a mail server; makes no call.
    pub(super) fn new(config: &config::Notifier) -> Result<Option<Self>, Unusable> {
        let templates = Templates::load(config.templates.as_deref())?;
        let Some(email) = &config.email else {
            return Ok(None);
        };
        Ok(Some(Self {
            connection: Connection::new(&email.server).map_err(Unusable::Certificates)?,
            from: email.from.clone(),
            allowed: email.allowed_domains.clone(),
            limits: Limits::new(email.limits),
            templates,
        }))
    }

    /// Whether tenants may have mails sent at all.
    pub(super) fn serves_tenants(&self) -> bool {
        !self.allowed.are_none()
    }

    /// Counts a mail for `user` to `to`; returns what becomes of it where that is above their limits: it is tried later.
    pub(super) fn limited(&self, user: &str, to: &str) -> Option<Tried> {
        let wait = self.limits.take(user, to).err()?;
        let why = "the address or the user has had as many mails as EMAIL_ADDRESS_LIMIT or EMAIL_USER_LIMIT allows";
        Some(Tried::Later {
            status: None,
            error: DeliveryError::new("throttled", why),
            again_in: Some(wait),
        })
    }

    /// Whether the server was slower with the last message than a try of `limit` can wait.
    pub(super) fn is_slower_than(&self, limit: Duration) -> bool {
        self.connection.is_slower_than(limit)
    }

    /// Tries once to give the mail server a message about the letter's event for `to`, within `limit`.
    pub(super) async fn send(&self, letter: &Letter<'_>, to: &str, limit: Duration) -> Tried {
        match self.try_once(letter, to, limit).await {
            Ok(code) => Tried::Delivered(code),
            Err(error) => error.into(),
        }
    }

    async fn try_once(&self, letter: &Letter<'_>, to: &str, limit: Duration) -> Result<u16, Error> {
        let to = email_address::recipient(to)?;
        if !self.allowed.allow(&to) {
            return Err(Error::NotAllowed);
        }
        let mail = message::write(letter, &self.from, to, &self.templates);
        self.connection
            .send(&mail.map_err(Error::Unwritable)?, limit)
            .await
    }

    /// Tries once to tell the operators of what was gathered, within `limit`. `EMAIL_ALLOWED_DOMAINS` is for what tenants
    /// name.
    pub(super) async fn tell(&self, gathered: &Gathered, to: &str, limit: Duration) -> Tried {
        let telling = async {
            let to = email_address::recipient(to)?;
            let mail = digest::write(gathered, &self.from, to, &self.templates);
            self.connection
                .send(&mail.map_err(Error::Unwritable)?, limit)
                .await
        };
        match telling.await {
            Ok(code) => Tried::Delivered(code),
            Err(error) => error.into(),
        }
    }
}

impl Error {
    /// Returns the word of receipts and `dlq.reason`; a closed list, which the README has.
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
        let told = DeliveryError {
            code: error.code().to_owned(),
            message: error.to_string(),
        };
        let refused = |status| Self::Refused {
            status,
            error: told.clone(),
        };
        let later = |status| Self::Later {
            status,
            error: told.clone(),
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
