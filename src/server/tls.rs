//! HTTPS: certificate and key from files, reloaded after a renewal.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;

use super::config::TlsFiles;
use super::start_error::{Source, StartError};

/// The ALPN protocol id of HTTP/2 (RFC 9113, 3.1).
pub(super) const HTTP_2: &[u8] = b"h2";

/// The TLS configuration for new connections.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<Current>>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If a file cannot be read, or certificate and key do not match.
    pub(super) fn load(files: TlsFiles) -> Result<Self, StartError> {
        let current = RwLock::new(read(&files)?);
        Ok(Self { files, current })
    }

    /// Reads the files again. Existing connections keep their certificate.
    ///
    /// # Errors
    /// As [`Tls::load`]; then the earlier certificate stays in use.
    pub(super) fn reload(&self) -> Result<(), StartError> {
        let reloaded = read(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = reloaded;
        Ok(())
    }

    /// Performs the handshake of one connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current().config.clone().into()
    }

    /// Returns whether the certificate is valid for this host.
    pub(super) fn is_certificate_for(&self, host: &str) -> bool {
        let current = self.current();
        let (Ok(name), Ok(certificate)) =
            (ServerName::try_from(host), ParsedCertificate::try_from(&current.certificate))
        else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }

    fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(TlsFiles { cert, key }: &TlsFiles) -> Result<Arc<Current>, StartError> {
    let error = |path: &Path, source: Source| StartError::Tls { path: path.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| error(cert, source.into()))?;
    let certificate = chain.first().cloned().ok_or_else(|| error(cert, "the file contains no certificate".into()))?;
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|source| error(key, source.into()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .map_err(|source| error(key, source.into()))?;
    // In order of preference.
    config.alpn_protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(Current { config: Arc::new(config), certificate }))
}
