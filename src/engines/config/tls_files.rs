//! The PEM files of a TLS connection: the authorities that it trusts, and a client certificate with its key.
//!
//! They are checked when the settings are read, and read again at each connection, so that renewed files are used.

use std::path::{Path, PathBuf};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::vars::{Fault, Vars};

/// The names of the variables of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) authorities: &'static str,
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
}

/// Paths of PEM files; every one is optional.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    names: Names,
    /// Certificates of the only authorities that are trusted; `None`: those of the system.
    authorities: Option<PathBuf>,
    /// The client certificate with its chain, and its private key.
    identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// Reads the three variables. It is a fault if a file cannot be used, or if only one of certificate and key is set.
    pub(super) fn read(vars: &mut Vars<'_>, names: Names) -> Self {
        let path = |vars: &mut Vars<'_>, name| vars.optional(name).map(PathBuf::from);
        let authorities = path(vars, names.authorities);
        let certificate = path(vars, names.certificate);
        let key = path(vars, names.key);
        for (set, (missing, missing_name), name) in [
            (&certificate, (&key, names.key), names.certificate),
            (&key, (&certificate, names.certificate), names.key),
        ] {
            if set.is_some() && missing.is_none() {
                let problem = format!("is set without {missing_name}, expected both or neither");
                vars.fault(name, &problem);
            }
        }
        let files = Self {
            names,
            authorities,
            identity: certificate.zip(key),
        };
        let faults = [files.authorities().err(), files.identity().err()];
        for Fault { variable, problem } in faults.into_iter().flatten() {
            vars.fault(variable, &problem);
        }
        files
    }

    /// Returns the variables that are set.
    pub(super) fn set(&self) -> Vec<&'static str> {
        let authorities = self.authorities.iter().map(|_| self.names.authorities);
        let identity = self.identity.iter().map(|_| self.names.certificate);
        authorities.chain(identity).collect()
    }

    /// Returns whether there is a client certificate.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Reads the certificates of the trusted authorities, as PEM.
    ///
    /// # Errors
    /// The file cannot be read, or contains no certificate.
    pub fn authorities(&self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(path) = &self.authorities else {
            return Ok(None);
        };
        let name = self.names.authorities;
        let pem = content(name, path)?;
        chain(name, path, &pem)?;
        Ok(Some(pem))
    }

    /// Reads the client certificate with its chain, followed by its key, as PEM.
    ///
    /// # Errors
    /// A file cannot be read, contains no certificate or key, or the key belongs to another certificate.
    pub fn identity(&self) -> Result<Option<Vec<u8>>, Fault> {
        let Some((certificate_path, key_path)) = &self.identity else {
            return Ok(None);
        };
        let (certificate_name, key_name) = (self.names.certificate, self.names.key);
        let pem = content(certificate_name, certificate_path)?;
        let chain = chain(certificate_name, certificate_path, &pem)?;
        let key_pem = content(key_name, key_path)?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem);
        let key = key.map_err(|_| {
            let problem = "which contains no private key, expected one in PEM, not encrypted";
            fault(key_name, key_path, problem)
        })?;
        // An error of another kind, such as an algorithm that rustls does not know, is reported too.
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| {
            let problem = format!("which does not fit {certificate_name}: {error}");
            fault(key_name, key_path, &problem)
        })?;
        Ok(Some([pem, b"\n".to_vec(), key_pem].concat()))
    }
}

fn content(name: &'static str, path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path)
        .map_err(|error| fault(name, path, &format!("which cannot be read: {error}")))
}

fn chain(
    name: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    chain.ok_or_else(|| {
        let problem = "which contains no certificate, expected at least one in PEM";
        fault(name, path, problem)
    })
}

fn fault(variable: &'static str, path: &Path, problem: &str) -> Fault {
    Fault {
        variable,
        problem: format!("names {}, {problem}", path.display()),
    }
}
