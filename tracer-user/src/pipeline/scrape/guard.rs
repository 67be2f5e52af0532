//! Who may read the metrics: TLS for the way, a bearer token for the reader. Both are files that are replaced while
//! loiter runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use hyper::Request;
use hyper::header::AUTHORIZATION;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use super::super::send::{Reread, Secret, secret};

/// A certificate with its chain, and its key: PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate first, then what signed it.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Checks tokens, and knows the certificate.
pub struct Guard {
    token: Option<Reread<Secret>>,
    tls: Option<Reread<Arc<ServerConfig>>>,
}

impl Guard {
    /// Reads the files.
    ///
    /// # Errors
    /// If they cannot be read, or are not what they are to be.
    pub fn new(token: Option<&PathBuf>, tls: Option<&TlsFiles>) -> anyhow::Result<Self> {
        let token = token.map(|path| secret(path)).transpose()?;
        let certificate = |files: &TlsFiles| {
            Reread::new(vec![files.cert.clone(), files.key.clone()], |contents| {
                let [cert, key] = contents else { anyhow::bail!("two files are needed") };
                server_config(cert, key)
            })
        };
        let tls = tls.map(certificate).transpose()?;
        Ok(Self { token, tls })
    }

    /// How to accept a connection; None = without TLS.
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(|tls| Arc::clone(&*tls.get()))
    }

    /// Whether a request may read the metrics.
    pub fn lets_in<B>(&self, request: &Request<B>) -> bool {
        let Some(token) = &self.token else { return true };
        let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.split_at_checked(BEARER.len()));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(BEARER));
        given.is_some_and(|(_, given)| same(given, token.get().expose().as_bytes()))
    }
}

const BEARER: &[u8] = b"Bearer ";

/// In a time that tells nothing of where they differ: digests are compared, all of both.
fn same(one: &[u8], other: &[u8]) -> bool {
    let (one, other) = (Sha256::digest(one), Sha256::digest(other));
    let differences = one.iter().zip(&other).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0
}

fn server_config(cert: &[u8], key: &[u8]) -> anyhow::Result<Arc<ServerConfig>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.map_err(anyhow::Error::msg).context("the certificate is not PEM")?;
    anyhow::ensure!(!chain.is_empty(), "no certificate in the first file");
    let key = PrivateKeyDer::from_pem_slice(key).map_err(anyhow::Error::msg);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS")?
        .with_no_client_auth()
        .with_single_cert(chain, key.context("no key in the second file")?)
        .context("certificate and key do not go together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_lets_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let guard = Guard::new(Some(&path), None).unwrap();
        let of = |value: &str| {
            guard.lets_in(&Request::builder().header(AUTHORIZATION, value).body(()).unwrap())
        };
        assert!(of("Bearer s3cret") && of("bearer s3cret"));
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer ", "Basic s3cret", "s3cret", ""] {
            assert!(!of(wrong), "{wrong}");
        }
        assert!(!guard.lets_in(&Request::new(())));
        assert!(Guard::new(None, None).unwrap().lets_in(&Request::new(())));
    }
}
