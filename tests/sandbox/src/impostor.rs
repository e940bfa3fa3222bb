//! Somebody in between, with a certificate of the right authority for the right name, and its own key.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Postgres;

const ASK_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Passes everything on between a client and this server, decrypted and encrypted again, and gives the port
/// where it listens.
pub async fn impostor(server: &Postgres) -> u16 {
    let pem = |name: &str| server.file(name).into_bytes();
    let certificate = CertificateDer::from_pem_slice(&pem("impostor.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pem("impostor.key")).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let shown = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem("authority.pem")).unwrap()).unwrap();
    let upstream = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (acceptor, connector) = (TlsAcceptor::from(Arc::new(shown)), TlsConnector::from(Arc::new(upstream)));

    let real = server.port;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut victim, _)) = listener.accept().await {
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            tokio::spawn(async move {
                let mut asked = [0; 8];
                victim.read_exact(&mut asked).await?;
                victim.write_all(b"S").await?;
                let mut victim = acceptor.accept(victim).await?;
                let mut server = TcpStream::connect(("127.0.0.1", real)).await?;
                server.write_all(&ASK_FOR_TLS).await?;
                server.read_exact(&mut [0]).await?;
                let name = ServerName::try_from("localhost").unwrap();
                let mut server = connector.connect(name, server).await?;
                copy_bidirectional(&mut victim, &mut server).await
            });
        }
    });
    port
}
