//! The connection to the server: TLS, headers and the API key, also one that changes; and why it fails, in one sentence.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use temporalio_client::errors::ClientConnectError;
use temporalio_client::tonic::Code;
use temporalio_client::{
    ClientTlsOptions, Connection, ConnectionOptions, GrpcCompression, TlsOptions,
};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::domain::Credential;
use crate::engines::config;
use crate::engines::config::secret_file::REREAD;
use crate::engines::temporal::error::{innermost, root_message};
use crate::engines::temporal::meter;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects with this client identity and the present API key. [`unusable`] describes the error.
pub(crate) async fn connect(
    config: &config::Temporal,
    identity: String,
) -> Result<Connection, ClientConnectError> {
    let key = config.api_key.as_ref();
    let metadata = config.metadata.iter();
    let metadata = metadata.map(|(name, value)| (name.clone(), value.expose().to_owned()));
    let options = ConnectionOptions::new(config.url.clone())
        .identity(identity)
        .connect_timeout(CONNECT_TIMEOUT)
        .metrics_meter(meter::of_calls())
        .maybe_api_key(key.map(|key| key.expose().into_owned()))
        .headers(metadata.collect())
        // The SDK uses TLS only if it has TLS options, whatever the URL's scheme.
        .maybe_tls_options(config.tls.as_ref().map(tls))
        // The SDK's default, gzip, costs both sides more CPU than the few kilobytes of a call are worth.
        .grpc_compression(GrpcCompression::None)
        .build();
    Connection::connect(options).await
}

/// Starts to give the connection, and all that share it, the present API key. `None`: the key never changes.
pub(super) fn renewal(
    config: &config::Temporal,
    connection: &Connection,
) -> Option<AbortOnDropHandle<()>> {
    let key = config.api_key.clone().filter(Credential::may_change)?;
    let connection = connection.clone();
    Some(AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            sleep(REREAD).await;
            connection.set_api_key(Some(key.expose().into_owned()));
        }
    })))
}

fn tls(config: &config::Tls) -> TlsOptions {
    let identity = config.identity.as_ref().map(|identity| {
        ClientTlsOptions::builder()
            .client_cert(identity.chain.clone())
            .client_private_key(identity.key.expose().to_vec())
            .build()
    });
    // Without a verifier of ours, the SDK's verifies the name too.
    let any_name = config.ca.as_deref().filter(|_| config.any_name);
    let verifier = any_name.and_then(AnyName::trusting);
    let ca = config.ca.clone().filter(|_| verifier.is_none());
    TlsOptions::builder()
        .maybe_server_root_ca_cert(ca)
        .maybe_domain(config.server_name.clone())
        .maybe_client_tls_options(identity)
        .maybe_server_cert_verifier(verifier)
        .build()
}

/// Accepts a certificate of our own authority for any name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl AnyName {
    fn trusting(ca: &[u8]) -> Option<Arc<dyn ServerCertVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca).flatten());
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        Some(Arc::new(Self(verifier.build().ok()?)))
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let inner = &self.0;
        let verified =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        // The name is checked last.
        if let Err(rustls::Error::InvalidCertificate(problem)) = &verified
            && is_about_the_name(problem)
        {
            return Ok(ServerCertVerified::assertion());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Says why the server cannot be used, and which variable to check.
pub(crate) fn unusable(config: &config::Temporal, error: &ClientConnectError) -> String {
    let mut cause: &(dyn StdError + 'static) = error;
    let is_call = matches!(error, ClientConnectError::SystemInfoCallError(_));
    if let ClientConnectError::SystemInfoCallError(status) = error {
        match status.source() {
            Some(source) => cause = source,
            None if is_lost(status.code()) => return maybe_certificate(config, status.message()),
            None => return root_message(status),
        }
    }
    if let Some(problem) = find::<rustls::Error>(cause) {
        return tls_problem(config, problem);
    }
    let last = innermost(cause).to_string();
    let closed = [
        // A TLS alert of which h2 keeps only the text.
        io::ErrorKind::InvalidData,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::UnexpectedEof,
    ];
    let is_closed = match find::<io::Error>(cause).map(io::Error::kind) {
        Some(kind) => closed.contains(&kind),
        None => is_call || config.tls.is_none(),
    };
    match &config.tls {
        Some(_) if is_closed => maybe_certificate(config, &last),
        // The connection was made, and what the server says on it is not HTTP/2.
        None if is_closed => format!("{last}; if the server expects TLS, set TEMPORAL_TLS=true"),
        _ => last,
    }
}

/// Returns whether a call without an answer ends with this code.
fn is_lost(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown | Code::Unavailable | Code::Cancelled | Code::Internal
    )
}

/// Says that the server has closed the connection. With TLS 1.3 it judges the client certificate only after the
/// handshake, and the reason may be lost with the connection.
fn maybe_certificate(config: &config::Temporal, says: &str) -> String {
    match &config.tls {
        None => says.to_owned(),
        Some(tls) if tls.identity.is_none() => format!("{says}; {WANTS_CERTIFICATE}"),
        Some(_) => format!(
            "{says}; if the server refuses the client certificate: expected one of an authority that it trusts, not expired, \
             in TEMPORAL_TLS_CLIENT_CERT_PATH"
        ),
    }
}

const WANTS_CERTIFICATE: &str = "if the server expects a client certificate, set TEMPORAL_TLS_CLIENT_CERT_PATH and \
                                 TEMPORAL_TLS_CLIENT_KEY_PATH";

/// Finds an error among the causes, also inside of an I/O error, which does not show what it wraps as its source.
fn find<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    let wrapped = || {
        let io: &io::Error = error.downcast_ref()?;
        find(io.get_ref()?)
    };
    error
        .downcast_ref()
        .or_else(wrapped)
        .or_else(|| find(error.source()?))
}

fn is_about_the_name(problem: &CertificateError) -> bool {
    matches!(
        problem,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
    )
}

fn tls_problem(config: &config::Temporal, error: &rustls::Error) -> String {
    let has_identity = config
        .tls
        .as_ref()
        .is_some_and(|tls| tls.identity.is_some());
    if let rustls::Error::InvalidCertificate(problem) = error {
        certificate_problem(problem)
    } else if let rustls::Error::InvalidMessage(_) = error {
        format!(
            "it does not speak TLS at this port ({error}); for a server without TLS, set TEMPORAL_TLS=false or http:// in \
             TEMPORAL_HOST"
        )
    } else if let rustls::Error::AlertReceived(alert) = error {
        if *alert == AlertDescription::CertificateExpired {
            "the client certificate has expired; renew the one in TEMPORAL_TLS_CLIENT_CERT_PATH"
                .to_owned()
        } else if has_identity {
            format!(
                "it refuses the client certificate ({alert:?}); expected one of an authority that the server trusts in \
                 TEMPORAL_TLS_CLIENT_CERT_PATH"
            )
        } else {
            format!("it ends the TLS handshake ({alert:?}); {WANTS_CERTIFICATE}")
        }
    } else {
        error.to_string()
    }
}

fn certificate_problem(problem: &CertificateError) -> String {
    let expired = matches!(
        problem,
        CertificateError::Expired | CertificateError::ExpiredContext { .. }
    );
    if expired {
        "its certificate has expired; renew it on the server".to_owned()
    } else if is_about_the_name(problem) {
        format!(
            "{problem}; set TEMPORAL_HOST to a name in its certificate, or TEMPORAL_TLS_SERVER_NAME to that name"
        )
    } else if *problem == CertificateError::UnknownIssuer {
        "no authority that is trusted here has signed its certificate; set TEMPORAL_TLS_SERVER_CA_CERT_PATH to that of \
         its authority"
            .to_owned()
    } else {
        format!("its certificate is not valid: {problem}; check TEMPORAL_TLS_SERVER_CA_CERT_PATH")
    }
}
