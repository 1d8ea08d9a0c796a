//! The mail server from `SMTP_URL`.

use std::fmt;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use percent_encoding::percent_decode_str;
use url::Url;

/// A mail server: its address, the encryption, the login, and the name that we greet it with.
#[derive(Clone)]
pub struct MailServer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) login: Option<Credentials>,
    pub(crate) hello: ClientId,
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// Not encrypted.
    Plain,
    /// STARTTLS if the server offers it.
    Opportunistic,
    /// STARTTLS, or nothing is sent.
    Starttls,
    /// TLS from the first byte.
    Tls,
}

/// Why a text does not name a mail server. The messages do not quote it, because it may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServer {
    /// It is not an `smtp` or `smtps` URL.
    #[error(
        "is not the URL of a mail server; expected smtp://[user:password@]host[:port] or smtps://…, with user and password percent-encoded"
    )]
    Url,
    /// Its `tls` has an unknown value, or the URL is `smtps`, which has no such parameter.
    #[error(
        "has a wrong parameter tls; expected ?tls=required, ?tls=opportunistic or ?tls=none, and only with smtp://"
    )]
    Tls,
    /// It has a parameter other than `tls`.
    #[error("has an unknown parameter; expected only tls")]
    Parameter,
}

impl MailServer {
    /// Parses `smtp://` or `smtps://`, user, password, host, port and `?tls=`; a path is the name that we greet with.
    ///
    /// Without `?tls=`, a URL with a password requires STARTTLS, and one without a password uses it if the
    /// server offers it.
    ///
    /// # Errors
    /// What is wrong, without quoting the text.
    pub fn parse(text: &str) -> Result<Self, InvalidServer> {
        let url = Url::parse(text).map_err(|_| InvalidServer::Url)?;
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(InvalidServer::Url)?;
        let login = login(&url)?;
        let security = security(&url, login.is_some())?;
        let port = match security {
            Security::Tls => 465,
            Security::Plain | Security::Opportunistic | Security::Starttls if login.is_some() => {
                587
            }
            Security::Plain | Security::Opportunistic | Security::Starttls => 25,
        };
        let name = url.path().trim_matches('/');
        if name.chars().any(|c| !is_of_host(c)) {
            return Err(InvalidServer::Url);
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(port),
            security,
            login,
            hello: if name.is_empty() {
                ClientId::default()
            } else {
                ClientId::Domain(name.to_owned())
            },
        })
    }

    /// Returns the part that may be shown: host and port.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn security(url: &Url, has_login: bool) -> Result<Security, InvalidServer> {
    let mut tls = None;
    for (name, value) in url.query_pairs() {
        if name != "tls" {
            return Err(InvalidServer::Parameter);
        }
        tls = Some(value.into_owned());
    }
    match (url.scheme(), tls.as_deref()) {
        ("smtps", None) => Ok(Security::Tls),
        ("smtp", Some("required")) => Ok(Security::Starttls),
        ("smtp", Some("opportunistic")) => Ok(Security::Opportunistic),
        ("smtp", Some("none")) => Ok(Security::Plain),
        ("smtp", None) if has_login => Ok(Security::Starttls),
        ("smtp", None) => Ok(Security::Opportunistic),
        ("smtp" | "smtps", Some(_)) => Err(InvalidServer::Tls),
        _ => Err(InvalidServer::Url),
    }
}

fn login(url: &Url) -> Result<Option<Credentials>, InvalidServer> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return Ok(None);
    }
    let password = password.ok_or(InvalidServer::Url)?;
    Ok(Some(Credentials::new(decoded(user)?, decoded(password)?)))
}

/// Undoes percent-encoding. Rejects control characters: a line break would begin another command to the server.
fn decoded(text: &str) -> Result<String, InvalidServer> {
    let text = percent_decode_str(text).decode_utf8_lossy();
    if text.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return Err(InvalidServer::Url);
    }
    Ok(text.into_owned())
}

fn is_of_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-')
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailServer")
            .field("at", &self.shown())
            .field("security", &self.security)
            .field("login", &self.login.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_port_and_encryption() {
        for (url, at, security) in [
            ("smtp://mail.test", "mail.test:25", Security::Opportunistic),
            (
                "smtp://mail.test:2525?tls=none",
                "mail.test:2525",
                Security::Plain,
            ),
            (
                "smtp://mail.test?tls=required",
                "mail.test:25",
                Security::Starttls,
            ),
            ("smtp://u:p@mail.test", "mail.test:587", Security::Starttls),
            (
                "smtp://u:p@mail.test?tls=opportunistic",
                "mail.test:587",
                Security::Opportunistic,
            ),
            (
                "smtps://u:p@mail.test/me.test",
                "mail.test:465",
                Security::Tls,
            ),
            ("smtp://[::1]:2525", "::1:2525", Security::Opportunistic),
        ] {
            let server = MailServer::parse(url).unwrap();

            assert_eq!(
                (server.shown().as_str(), server.security),
                (at, security),
                "{url}"
            );
        }
        let named = MailServer::parse("smtps://mail.test/me.test").unwrap();
        assert_eq!(named.hello, ClientId::Domain("me.test".to_owned()));
    }

    #[test]
    fn user_and_password_are_decoded_and_never_shown() {
        let server =
            MailServer::parse("smtps://me%40mail.test:top%2Fsecret+%26%25@mail.test").unwrap();

        let expected = Credentials::new("me@mail.test".to_owned(), "top/secret+&%".to_owned());
        assert_eq!(server.login, Some(expected));
        assert!(!format!("{server:?}").contains("secret"));
    }

    #[test]
    fn a_text_that_names_no_server_is_refused_and_not_shown() {
        for (url, error) in [
            ("mail.test:25", InvalidServer::Url),
            ("http://mail.test", InvalidServer::Url),
            ("smtp://", InvalidServer::Url),
            ("smtp://topsecret@mail.test", InvalidServer::Url),
            ("smtp://u:topsecret%0d%0aQUIT@mail.test", InvalidServer::Url),
            ("smtp://u:p@mail.test/a%0d%0aQUIT", InvalidServer::Url),
            ("smtp://mail.test?tls=maybe", InvalidServer::Tls),
            ("smtps://mail.test?tls=none", InvalidServer::Tls),
            ("smtp://mail.test?starttls=yes", InvalidServer::Parameter),
        ] {
            let refused = MailServer::parse(url).unwrap_err();

            assert_eq!(refused, error, "{url}");
            assert!(!refused.to_string().contains("topsecret"));
        }
    }
}
