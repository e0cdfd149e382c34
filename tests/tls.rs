//! HTTPS and HTTP/2 without a proxy.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Server, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Writes a self-signed certificate for localhost and its key into a folder. Returns the certificate for clients to trust.
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
    connect_with(server, trusted, &[]).await
}

/// Connects as a client that offers these protocols (ALPN).
async fn connect_with(
    server: &Server,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(server.address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

const HELLO: &str = r#"{"type":"hello","payload":{"protocol":2},"id":1}"#;

/// Opens a WebSocket and sends hello.
async fn open_websocket(stream: TlsStream<TcpStream>) -> WebSocketStream<TlsStream<TcpStream>> {
    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://localhost".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text(HELLO)).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("resume"));
    socket
}

/// An HTTP/2 connection.
struct Http2 {
    requests: SendRequest<String>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    async fn connect(server: &Server, trusted: &CertificateDer<'static>) -> Self {
        let stream = connect_with(server, trusted, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (requests, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.requests.clone().send_request(request.body(body.to_owned()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.request("GET", path, &[], "").await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Opens an event stream. Returns its body and its token.
    async fn events(&self, cookies: &[&str]) -> (Incoming, String) {
        let headers: Vec<_> =
            cookies.iter().map(|cookie| ("cookie", *cookie)).chain([("origin", "https://localhost")]).collect();
        let mut down = self.request("GET", "/events", &headers, "").await.into_body();
        let first = next_event(&mut down).await;
        let token = first.split("data: ").nth(1).unwrap_or_else(|| panic!("not a token event: {first}")).trim();
        (down, token.to_owned())
    }
}

async fn next_event(down: &mut Incoming) -> String {
    let frame = down.frame().await.expect("the stream is open").unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn http2_client_gets_pages_files_and_events_over_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("pkg")).unwrap();
    std::fs::write(site.join("pkg/noom.css"), "style").unwrap();
    let server = setup(folder.path()).site(&site).start();
    let browser = Http2::connect(&server, &trusted).await;

    let response = browser.request("GET", "/r/garden", &[], "").await;
    assert_eq!((response.status().as_u16(), response.version()), (200, hyper::Version::HTTP_2));
    let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let style = page.split('"').find(|part| part.ends_with("/noom.css")).expect("the page names its style");
    assert_eq!(browser.get(style).await, (200, "style".to_owned()));
    // WebSockets need HTTP/1.1.
    assert!(browser.get("/ws").await.0 >= 400);

    // HTTP/2 clients may send each cookie in a header of its own.
    let (mut down, token) = browser.events(&["lang=en", &cookie]).await;
    let own = [("cookie", "lang=en"), ("cookie", cookie.as_str()), ("origin", "https://localhost")];
    let path = format!("/events/{token}");
    assert_eq!(browser.request("POST", &path, &own, HELLO).await.status(), 204);
    assert!(next_event(&mut down).await.contains("resume"));
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    assert_eq!(browser.request("POST", &path, &foreign, HELLO).await.status(), 403);
    // Closing the stream closes the connection of the protocol.
    drop(down);
    until(async || browser.request("POST", &path, &own, "").await.status() == 404).await;
    assert_eq!(browser.get("/health/live").await.0, 200, "other requests are not affected");
}

#[tokio::test]
async fn http1_only_client_gets_http1() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let server = setup(folder.path()).start();
    let mut stream = connect_with(&server, &trusted, &["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    open_websocket(connect_with(&server, &trusted, &["http/1.1"]).await.unwrap()).await;
}

#[tokio::test]
async fn http2_connection_has_the_limits_of_http1() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let mut server = setup(folder.path()).limit("requests_per_address", 3).limit("header_seconds", 3).start();
    let browser = Http2::connect(&server, &trusted).await;
    // Together with the TCP connection these are three.
    let (first, _) = browser.events(&[]).await;
    let (mut second, _) = browser.events(&[]).await;
    assert_eq!(browser.get("/health/live").await.0, 429);
    drop(first);
    until(async || browser.get("/health/live").await.0 == 200).await;
    let long = "x".repeat(20_000);
    assert_eq!(browser.request("GET", "/health/live", &[("x-long", &long)], "").await.status(), 431);

    // No new request comes for longer than the timeout of a head, but one response is still running.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!browser.connection.is_finished());
    // The server announces the drain, closes the streams, and does not wait for idle connections.
    server.terminate();
    let mut end = String::new();
    while let Some(Ok(frame)) = second.frame().await {
        end += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
    }
    assert!(end.contains("event: close"), "{end}");
    assert!(server.wait().success());
}

#[tokio::test]
async fn idle_http2_connection_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let server = setup(folder.path()).limit("header_seconds", 1).start();
    let browser = Http2::connect(&server, &trusted).await;
    assert_eq!(browser.get("/health/live").await.0, 200);
    let _ = tokio::time::timeout(Duration::from_secs(30), browser.connection)
        .await
        .expect("the server closes the connection");
}

#[tokio::test]
async fn https_serves_pages_and_websockets_and_reloads_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let server = setup(folder.path()).start();
    let mut stream = connect(&server, &trusted).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    // Whether the server closes TLS before TCP is not tested here.
    let _ = stream.read_to_string(&mut page).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page:.80}");
    let cookie = page.lines().find(|line| line.to_lowercase().starts_with("set-cookie: __host-noom-")).unwrap();
    assert!(cookie.contains("Secure") && cookie.contains("HttpOnly"), "{cookie}");

    let mut socket = open_websocket(connect(&server, &trusted).await.unwrap()).await;

    // A client without TLS gets no response and does not affect others.
    assert!(!server.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").contains("200 OK"));
    assert!(connect(&server, &trusted).await.is_ok());

    // New connections get the renewed certificate; existing connections stay open.
    let renewed = certificate(folder.path());
    server.signal("HUP");
    until(async || connect(&server, &renewed).await.is_ok()).await;
    assert!(connect(&server, &trusted).await.is_err());
    socket.send(Message::text(r#"{"type":"ping","payload":{},"id":2}"#)).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("ack"));

    // An unusable certificate changes nothing.
    std::fs::write(folder.path().join("cert.pem"), "not a certificate").unwrap();
    server.signal("HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(connect(&server, &renewed).await.is_ok());
}

#[tokio::test]
async fn own_certificate_requires_https_and_names_the_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "noom.example".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let trusted = made.cert.der().clone();
    let server = setup(folder.path()).start();
    let get = async |path: &str, headers: &str| {
        let mut stream = connect_with(&server, &trusted, &["http/1.1"]).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 2_048];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).to_lowercase()
    };
    let named = get("/", "Host: noom.example\r\n").await;
    assert!(named.starts_with("http/1.1 200"), "{named}");
    assert!(named.contains("strict-transport-security: max-age=15552000\r\n"), "{named}");
    assert!(get("/", "Host: evil.example\r\n").await.starts_with("http/1.1 403"), "a name of another certificate");
    for host in ["localhost", "127.0.0.1"] {
        let answer = get("/", &format!("Host: {host}\r\n")).await;
        assert!(answer.starts_with("http/1.1 200") && !answer.contains("strict-transport-security"), "{answer}");
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (origin, status) in [("https://noom.example", "101"), ("http://noom.example", "403")] {
        let answer = get("/ws", &format!("Host: noom.example\r\nOrigin: {origin}\r\n{upgrade}")).await;
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{origin}: {answer}");
    }
}

#[tokio::test]
async fn http2_connection_with_unread_response_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("pkg")).unwrap();
    std::fs::write(site.join("pkg/large"), vec![b'x'; 16 << 20]).unwrap();
    let server = setup(folder.path()).site(&site).limit("request_seconds", 1).start();
    let browser = Http2::connect(&server, &trusted).await;
    // Its window is smaller than the file, and it reads nothing. The connection itself answers pings.
    let unread = browser.request("GET", "/pkg/large", &[], "").await;
    assert_eq!(unread.status(), 200);
    let _ = tokio::time::timeout(Duration::from_secs(30), browser.connection)
        .await
        .expect("the server closes the connection");
    // A client that reads gets all of it.
    assert_eq!(Http2::connect(&server, &trusted).await.get("/pkg/large").await.1.len(), 16 << 20);
}

async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..300 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the condition did not become true in 15 seconds");
}

#[test]
fn unusable_certificate_or_key_is_reported_in_one_line() {
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
    // The key of a different certificate.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("key.pem"), other.signing_key.serialize_pem()).unwrap();
    fails("key.pem");
}
