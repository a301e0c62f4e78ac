//! Encryption: one certificate, one crypto provider, and the stream that is or is not encrypted.
//!
//! The certificate also binds SCRAM to the channel (SCRAM-SHA-256-PLUS), when its signature algorithm has a hash that
//! the binding defines.

use pgwire::api::auth::sasl::scram::ScramServerAuth;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The protocol's name in ALPN (RFC-registered; PostgreSQL 17 insists on it for direct TLS).
const ALPN: &[u8] = b"postgresql";

/// What is wrong with a certificate or its key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file has no readable certificate.
    #[error("the TLS certificate is not a PEM file with a certificate")]
    Certificate,
    /// The key file has no readable key.
    #[error("the TLS key is not a PEM file with a private key")]
    Key,
    /// They do not fit together, or are of a kind that is not supported.
    #[error("the TLS certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A certificate with its key, ready to serve.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    scram: ScramServerAuth,
}

impl Tls {
    /// Reads a certificate chain and its key, both PEM.
    ///
    /// # Errors
    /// When one is unreadable or they do not fit together.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::Certificate)?;
        if chain.is_empty() {
            return Err(TlsError::Certificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let mut scram = ScramServerAuth::new();
        if let Err(error) = scram.configure_certificate(certificates) {
            tracing::info!(%error, "this certificate's signature algorithm allows no SCRAM channel binding");
        }
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), scram })
    }

    /// The login's SCRAM with the channel bound to the certificate.
    pub(crate) fn scram(&self) -> &ScramServerAuth {
        &self.scram
    }

    /// The handshake. A client that began with it instead of asking (`direct`) must have named the protocol: another
    /// protocol's client could be tricked into talking to us otherwise.
    pub(crate) async fn accept(&self, stream: TcpStream, direct: bool) -> io::Result<Socket> {
        let stream = self.acceptor.accept(stream).await?;
        if direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "direct TLS without ALPN \"postgresql\""));
        }
        Ok(Socket::Encrypted(Box::new(stream)))
    }
}

/// A client's stream.
pub(crate) enum Socket {
    /// In the clear.
    Plain(TcpStream),
    /// Under TLS.
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Encrypted(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Encrypted(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
