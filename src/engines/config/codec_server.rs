//! Settings of `genflow codec-server`.

use std::net::SocketAddr;

use url::Url;

use super::vars::{Fault, Vars};
use crate::domain::{Credential, parse_http_url};

/// Where payloads are decoded for Temporal's UI and command line, and for whom.
#[derive(Clone, Debug)]
pub struct CodecServer {
    pub addr: SocketAddr,
    /// The bearer token of every call, if one is required.
    pub token: Option<Credential>,
    /// The web pages that may call it, each as browsers send it: `https://host:port`.
    pub origins: Vec<String>,
}

impl CodecServer {
    /// Checks that not everyone can read the histories. Only the codec server itself needs this check.
    ///
    /// # Errors
    /// It can be reached from other machines, and requires no token.
    pub fn check(&self) -> Result<(), Fault> {
        if self.addr.ip().is_loopback() || self.token.is_some() {
            return Ok(());
        }
        Err(Fault {
            variable: "CODEC_SERVER_ADDR",
            problem: format!(
                "is {}, which other machines can reach, and nothing protects it; expected an address of this machine \
                 only, such as 127.0.0.1:9466, or a CODEC_SERVER_TOKEN",
                self.addr
            ),
        })
    }
}

pub(super) fn read(vars: &mut Vars<'_>) -> CodecServer {
    let origins = vars.read(
        "CODEC_SERVER_ORIGINS",
        "origins https://host:port",
        |text| text.split(',').map(str::trim).map(origin).collect(),
    );
    CodecServer {
        addr: vars.parsed(
            "CODEC_SERVER_ADDR",
            "127.0.0.1:9466",
            "host:port, the host as an IP address",
        ),
        token: vars.key("CODEC_SERVER_TOKEN"),
        origins: origins.unwrap_or_else(|| vec!["http://localhost:8233".to_owned()]),
    }
}

/// Returns a URL's origin; `None` if it has more than an origin.
fn origin(text: &str) -> Option<String> {
    let url: Url = parse_http_url(text)?;
    let origin = url.origin().ascii_serialization();
    (origin == text.trim_end_matches('/')).then_some(origin)
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn server(variables: &[(&str, &str)]) -> super::CodecServer {
        Config::of(variables).unwrap().codec_server
    }

    #[test]
    fn a_public_address_needs_a_token() {
        let public = ("CODEC_SERVER_ADDR", "0.0.0.0:9466");

        assert!(server(&[]).check().is_ok());
        let fault = server(&[public]).check().unwrap_err();
        assert_eq!(fault.variable, "CODEC_SERVER_ADDR");
        let guarded = server(&[public, ("CODEC_SERVER_TOKEN", "t")]);
        assert!(guarded.check().is_ok());
    }

    #[test]
    fn an_origin_has_no_path() {
        let given = "https://ui.test/, http://localhost:8233";

        let read = server(&[("CODEC_SERVER_ORIGINS", given)]).origins;

        assert_eq!(read, ["https://ui.test", "http://localhost:8233"]);
        for wrong in ["https://ui.test/path", "ui.test", "*"] {
            assert!(
                Config::of(&[("CODEC_SERVER_ORIGINS", wrong)]).is_err(),
                "{wrong}"
            );
        }
    }
}
