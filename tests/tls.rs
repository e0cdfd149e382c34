//! HTTPS by the program itself.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use support::{Server, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Writes a certificate for localhost and its key into a folder; returns it as a client trusts it.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn setup(folder: &Path) -> Setup {
    let path = |name| folder.join(name).to_str().unwrap().to_owned();
    Setup::in_folder(folder).variable("NOOM_TLS_CERT", &path("cert.pem")).variable("NOOM_TLS_KEY", &path("key.pem"))
}

async fn connect(server: &Server, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(server.address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

#[tokio::test]
async fn pages_and_conversations_are_encrypted_and_the_cookie_is_bound_to_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let server = setup(folder.path()).start();
    let mut stream = connect(&server, &trusted).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    // A server that closes TCP before TLS is no affair of this test.
    let _ = stream.read_to_string(&mut page).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page:.80}");
    let cookie = page.lines().find(|line| line.to_lowercase().starts_with("set-cookie: __host-noom=")).unwrap();
    assert!(cookie.contains("Secure") && cookie.contains("HttpOnly"), "{cookie}");

    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://localhost".parse().unwrap());
    let stream = connect(&server, &trusted).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let hello = r#"{"type":"hello","payload":{"protocol":1},"id":1}"#;
    socket.send(Message::text(hello)).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("resume"));

    // Whoever speaks no TLS learns nothing and disturbs nobody.
    assert!(!server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").contains("200 OK"));
    assert!(connect(&server, &trusted).await.is_ok());

    // A renewed certificate greets whoever comes next; who is there stays.
    let renewed = certificate(folder.path());
    server.signal("HUP");
    until(async || connect(&server, &renewed).await.is_ok()).await;
    assert!(connect(&server, &trusted).await.is_err());
    socket.send(Message::text(r#"{"type":"ping","payload":{},"id":2}"#)).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("ack"));

    // One that cannot be used changes nothing.
    std::fs::write(folder.path().join("cert.pem"), "not a certificate").unwrap();
    server.signal("HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(connect(&server, &renewed).await.is_ok());
}

async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..300 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came true");
}

#[test]
fn what_cannot_be_used_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |hint: &str| {
        let mut command: Command = setup(folder.path()).command();
        let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(hint) && text.lines().count() == 1, "{text}");
    };
    fails("cert.pem");
    certificate(folder.path());
    std::fs::write(folder.path().join("key.pem"), "").unwrap();
    fails("key.pem");
    // A key of another certificate.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("key.pem"), other.signing_key.serialize_pem()).unwrap();
    fails("key.pem");
}
