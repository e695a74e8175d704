//! Configuration of the client side of a node, and what can be wrong with it.
//!
//! Invariant 1: a server that answers beyond loopback asks for a password. [`ServerConfig::check`] enforces it before
//! a socket is opened.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Everyone is who they say; for loopback only.
    Trust,
    /// SCRAM-SHA-256 (RFC 5802, RFC 7677) against the verifiers that the engine stores.
    Scram,
}

/// What the server offers after an SSLRequest.
#[derive(Clone)]
pub struct Tls(pub(crate) Arc<rustls::ServerConfig>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads a certificate chain and its private key from PEM files, as PostgreSQL's `ssl_cert_file` and `ssl_key_file`.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Tls, BindError> {
        let wrong = |path: &Path, message: String| BindError::Tls { path: path.to_owned(), message };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
            .map_err(|e| wrong(certificate, e.to_string()))?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, e.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(chain, secret))
            .map_err(|e| wrong(certificate, e.to_string()))?;
        Ok(Tls(Arc::new(config)))
    }
}

/// The client side of a node.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The way to the primary for `lockstep.route_writes`; default none.
    pub routing: Option<crate::route::Routing>,
    /// Addresses to listen on; default 127.0.0.1:5432. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Sessions at a time; the next client is told 53300. Default 500.
    pub max_connections: usize,
    /// Default trust.
    pub auth: Auth,
    /// Default none: SSLRequest is answered `N`.
    pub tls: Option<Tls>,
    /// Seconds from accept to authenticated, as PostgreSQL's `authentication_timeout`; default 60 s.
    pub authentication_timeout: Duration,
    /// Bytes of a message before authentication; default 10,000, PostgreSQL's limit.
    pub startup_message_bytes_max: usize,
    /// Bytes of a message after authentication; default 1 GiB - 1, PostgreSQL's limit.
    pub message_bytes_max: usize,
    /// Bytes of answers that are gathered before they are written to the socket; default 64 KiB. The socket's pace is
    /// the statement's pace from there on.
    pub output_buffer_bytes: usize,
    /// How long a statement may go on after its client was seen to be gone; then it is cancelled. Default 50 ms: a client
    /// that sends a short statement and leaves has it carried out.
    pub orphan_grace: Duration,
    /// How long open transactions get at shutdown before they are ended; default 5 s.
    pub drain_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            routing: None,
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5432))],
            max_connections: 500,
            auth: Auth::Trust,
            tls: None,
            authentication_timeout: Duration::from_secs(60),
            startup_message_bytes_max: 10_000,
            message_bytes_max: (1 << 30) - 1,
            output_buffer_bytes: 64 << 10,
            orphan_grace: Duration::from_millis(50),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl ServerConfig {
    /// Invariant 1 and what else can be said before a socket is opened.
    pub fn check(&self) -> Result<(), BindError> {
        if self.listen.is_empty() {
            return Err(BindError::NoAddress);
        }
        match self.listen.iter().find(|a| !a.ip().is_loopback()) {
            Some(address) if self.auth == Auth::Trust => Err(BindError::TrustBeyondLoopback { address: *address }),
            _ => Ok(()),
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("no address to listen on")]
    NoAddress,
    #[error(
        "refusing to listen on {address}: clients beyond loopback must authenticate, so set authentication to scram-sha-256 or listen on 127.0.0.1"
    )]
    TrustBeyondLoopback { address: SocketAddr },
    #[error("could not listen on {address}: {source}")]
    Address { address: SocketAddr, source: std::io::Error },
    #[error("could not use the TLS file {}: {message}", path.display())]
    Tls { path: PathBuf, message: String },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn trust_is_for_loopback_only() {
        let mut config = ServerConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()],
            ..ServerConfig::default()
        };
        assert!(config.check().is_ok());
        config.listen.push("0.0.0.0:0".parse().unwrap());
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with("refusing to listen on 0.0.0.0:0"), "{error}");
        config.auth = Auth::Scram;
        assert!(config.check().is_ok());
    }
}
