//! TLS by the host: who the other end must be, and who we are.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tidegate_permission::Secret;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::endpoint::Endpoint;
use crate::bindings::tcp::Tls;
use crate::bindings::types::FaultDomain;
use crate::bytes::on_thread;
use crate::refusal::{Asked, Refusal};

const MAX_AUTHORITIES: usize = 256 << 10;

/// What a handshake needs, made before anything is dialled.
pub(super) struct Security {
    connector: TlsConnector,
    name: ServerName<'static>,
    pub(super) verified: bool,
}

impl Security {
    /// `None` where nothing is encrypted. `identity` is PEM with a certificate and its key; `verified` says that a
    /// person chose whose word counts.
    pub(super) async fn new(
        endpoint: &Endpoint,
        tls: Tls,
        authorities: Option<&str>,
        identity: Option<&Secret>,
        verified: bool,
    ) -> Asked<Option<Self>> {
        if authorities.is_some() && tls != Tls::VerifyFull {
            return Err(Refusal::invalid("`authorities` verify nobody without `verify-full`"));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let verifier: Arc<dyn ServerCertVerifier> = match tls {
            Tls::Off => return Ok(None),
            Tls::Require => Arc::new(AnyCertificate(algorithms)),
            Tls::VerifyFull => {
                let roots = match authorities {
                    Some(pem) => Arc::new(named_roots(pem)?),
                    None => on_thread(system_roots).await??,
                };
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                    .build()
                    .map_err(|error| Refusal::invalid(format!("the authorities: {error}")))?
            }
        };
        let config = config(provider, verifier, identity)?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Some(Self { connector, name: endpoint.server_name()?, verified }))
    }

    pub(super) async fn shake(
        self,
        endpoint: &Endpoint,
        plain: TcpStream,
        deadline: Instant,
    ) -> Asked<TlsStream<TcpStream>> {
        let Self { connector, name, .. } = self;
        match timeout_at(deadline.into(), connector.connect(name, plain)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(explain(endpoint, &error)),
            Err(_) => Err(Refusal::unavailable(format!("{endpoint}: no TLS handshake in time"))),
        }
    }
}

/// A certificate that does not fit is the author's to mend, and trying again does not help.
fn explain(endpoint: &Endpoint, error: &std::io::Error) -> Refusal {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => Refusal::told(
            FaultDomain::User,
            "denied",
            format!(
                "the certificate of {endpoint} is not trusted: {why}; name the authority that issued it, if it is the right one"
            ),
        ),
        Some(rustls::Error::AlertReceived(alert)) => Refusal::told(
            FaultDomain::External,
            "denied",
            format!("{endpoint} refused the TLS handshake: {alert:?}"),
        ),
        Some(rustls::Error::InvalidMessage(why)) => Refusal::told(
            FaultDomain::External,
            "invalid",
            format!("{endpoint} answered a TLS handshake with something else: {why:?}"),
        ),
        _ => Refusal::unavailable(format!("{endpoint}: the TLS handshake failed: {error}")),
    }
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&Secret>,
) -> Asked<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Refusal::invalid(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(identity) = identity else { return Ok(config.with_no_client_auth()) };
    // Nothing of what the parser says is passed on: it has read a secret.
    let unusable = || {
        let why = "the secret for the client's certificate is not PEM with a certificate and its private key";
        Refusal::told(FaultDomain::User, "invalid", why)
    };
    let pem = identity.expose();
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| unusable())?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| unusable())?;
    config.with_client_auth_cert(chain, key).map_err(|_| unusable())
}

fn named_roots(pem: &str) -> Asked<RootCertStore> {
    if pem.len() > MAX_AUTHORITIES {
        return Err(Refusal::limit(format!("authorities of {} bytes are larger than 256 KiB", pem.len())));
    }
    let wrong = |why: String| {
        Refusal::told(FaultDomain::User, "invalid", format!("the authorities to be trusted: {why}"))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(format!("this is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate in them".to_owned()));
    }
    Ok(roots)
}

/// Those of the system, read once in the life of a worker.
fn system_roots() -> Asked<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        let why = "this machine trusts no authority: install its `ca-certificates`, or name the authorities";
        return Err(Refusal::told(FaultDomain::User, "unavailable", why));
    }
    Ok(Arc::clone(roots))
}

/// Anybody who has the key of the certificate that they show, whoever that is.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
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
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
