//! TLS: the server's certificate, read again when its files change, and the certificates that clients must show.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use corten_core::{Error, Result};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::serve::Protocol;

/// Largest file of certificates or of a key.
const MAX_FILE: u64 = 1 << 20;

/// When the files were written: certificate, key, authorities.
type Times = [Option<SystemTime>; 3];

/// What a server shows its clients, and what it asks of them.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    authorities: Option<PathBuf>,
    current: RwLock<Configs>,
    read: Mutex<Times>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads a chain of certificates and its key, both as PEM; with a file of authorities, clients must show a
    /// certificate that one of them has signed.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that can't be read; [`Error::Value`] that names the file for one that holds no
    /// certificate or key, or a key of another certificate; [`Error::Limit`] for one that is too long.
    pub fn load(certificate: &Path, key: &Path, authorities: Option<&Path>) -> Result<Self> {
        let read = times(certificate, key, authorities);
        let config = config(certificate, key, authorities)?;
        Ok(Self {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
            authorities: authorities.map(Path::to_path_buf),
            current: RwLock::new(config),
            read: Mutex::new(read),
        })
    }

    /// Reads the files again; connections that are there keep what they began with.
    ///
    /// # Errors
    /// Those of [`Tls::load`]; what was served is served on then.
    pub(crate) fn reload(&self) -> Result<()> {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = self.times();
        let config = config(&self.certificate, &self.key, self.authorities.as_deref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// Reads the files again if one of them has changed since.
    ///
    /// # Errors
    /// Those of [`Tls::reload`], once for each change.
    pub(crate) fn look(&self) -> Result<()> {
        let changed = *self.read.lock().unwrap_or_else(PoisonError::into_inner) != self.times();
        if changed { self.reload() } else { Ok(()) }
    }

    fn times(&self) -> Times {
        times(&self.certificate, &self.key, self.authorities.as_deref())
    }

    /// What the next connection is met with.
    pub(crate) fn acceptor(&self, protocol: Protocol) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(if protocol == Protocol::Grpc { &current.grpc } else { &current.http }).into()
    }
}

fn times(certificate: &Path, key: &Path, authorities: Option<&Path>) -> Times {
    let time = |p: &Path| std::fs::metadata(p).and_then(|m| m.modified()).ok();
    [time(certificate), time(key), authorities.and_then(time)]
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::Io {
        path: path.display().to_string(),
        problem: format!("can't be read: {e}"),
        not_found: e.kind() == std::io::ErrorKind::NotFound,
    };
    if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE {
        return Err(Error::Limit(format!("{}: a PEM file may have {MAX_FILE} bytes", path.display())));
    }
    std::fs::read(path).map_err(io)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(&bytes_of(path)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|e| Error::value(format!("{}: is no PEM file: {e}", path.display())))?;
    if found.is_empty() {
        return Err(Error::value(format!("{}: holds no certificate (BEGIN CERTIFICATE)", path.display())));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let bytes = bytes_of(path)?;
    if bytes.windows(17).any(|w| w == b"ENCRYPTED PRIVATE") || bytes.windows(15).any(|w| w == b"4,ENCRYPTED\nDEK") {
        return Err(Error::value(format!(
            "{}: the key is encrypted; one without a password is needed",
            path.display()
        )));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| match e {
        PemError::NoItemsFound => Error::value(format!("{}: holds no key (BEGIN PRIVATE KEY)", path.display())),
        e => Error::value(format!("{}: is no PEM file: {e}", path.display())),
    })
}

/// The same certificate for what each port speaks.
struct Configs {
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
}

fn config(certificate: &Path, key: &Path, authorities: Option<&Path>) -> Result<Configs> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let internal = |e: rustls::Error| Error::Internal(format!("TLS: {e}"));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(internal)?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let fault = |e: &dyn std::fmt::Display| {
                Error::value(format!("{}: a certificate in it is no authority: {e}", path.display()))
            };
            let mut roots = RootCertStore::empty();
            for one in certificates(path)? {
                roots.add(one).map_err(|e| fault(&e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|e| fault(&e))?)
        }
    };
    let chain = certificates(certificate)?;
    let mut config = builder.with_single_cert(chain, private_key(key)?).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            Error::value(format!("{}: isn't the key of the certificate in {}", key.display(), certificate.display()))
        }
        e => Error::value(format!("{} and {}: can't be used: {e}", certificate.display(), key.display())),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut grpc = config.clone();
    grpc.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Configs { http: Arc::new(config), grpc: Arc::new(grpc) })
}

/// Takes every certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Encrypts a connection to `HOST:PORT`, whoever answers there.
///
/// # Errors
/// For an address that is none, and where the server doesn't agree.
pub(crate) async fn unverified(stream: TcpStream, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
