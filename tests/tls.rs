//! HTTPS by the program itself.

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
    connect_with(server, trusted, &[]).await
}

/// Connects as a client that speaks these protocols.
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

const HELLO: &str = r#"{"type":"hello","payload":{"protocol":1},"id":1}"#;

/// A conversation over a WebSocket, which has begun.
async fn greeted_over(stream: TlsStream<TcpStream>) -> WebSocketStream<TlsStream<TcpStream>> {
    let mut request = "wss://localhost/ws".into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://localhost".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    socket.send(Message::text(HELLO)).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("resume"));
    socket
}

/// A connection as browsers open it.
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

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Incoming> {
        let request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.requests.clone().send_request(request.body(body.to_owned()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask("GET", path, &[], "").await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// An event stream, whose body is returned with its token.
    async fn events(&self, cookies: &[&str]) -> (Incoming, String) {
        let headers: Vec<_> =
            cookies.iter().map(|cookie| ("cookie", *cookie)).chain([("origin", "https://localhost")]).collect();
        let mut down = self.ask("GET", "/events", &headers, "").await.into_body();
        let first = next_event(&mut down).await;
        let token = first.split("data: ").nth(1).unwrap_or_else(|| panic!("a token: {first}")).trim();
        (down, token.to_owned())
    }
}

async fn next_event(down: &mut Incoming) -> String {
    let frame = down.frame().await.expect("more comes").unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn who_speaks_http_2_gets_pages_files_and_a_conversation_over_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("pkg")).unwrap();
    std::fs::write(site.join("pkg/noom.css"), "style").unwrap();
    let server = setup(folder.path()).site(&site).start();
    let browser = Http2::connect(&server, &trusted).await;

    let answer = browser.ask("GET", "/r/garden", &[], "").await;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let style = page.split('"').find(|part| part.ends_with("/noom.css")).expect("the page names its style");
    assert_eq!(browser.get(style).await, (200, "style".to_owned()));
    // A WebSocket is for connections of HTTP/1.1.
    assert!(browser.get("/ws").await.0 >= 400);

    // Browsers send each cookie by itself.
    let (mut down, token) = browser.events(&["lang=en", &cookie]).await;
    let own = [("cookie", "lang=en"), ("cookie", cookie.as_str()), ("origin", "https://localhost")];
    let path = format!("/events/{token}");
    assert_eq!(browser.ask("POST", &path, &own, HELLO).await.status(), 204);
    assert!(next_event(&mut down).await.contains("resume"));
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    assert_eq!(browser.ask("POST", &path, &foreign, HELLO).await.status(), 403);
    // Whoever gives up the stream has given up the connection that it was.
    drop(down);
    until(async || browser.ask("POST", &path, &own, "").await.status() == 404).await;
    assert_eq!(browser.get("/health/live").await.0, 200, "the others go on");
}

#[tokio::test]
async fn who_speaks_http_1_only_gets_that() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let server = setup(folder.path()).start();
    let mut stream = connect_with(&server, &trusted, &["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    greeted_over(connect_with(&server, &trusted, &["http/1.1"]).await.unwrap()).await;
}

#[tokio::test]
async fn an_http_2_connection_has_the_limits_that_others_have() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let mut server = setup(folder.path()).limit("requests_per_address", 3).limit("header_seconds", 3).start();
    let browser = Http2::connect(&server, &trusted).await;
    // With the connection itself these are three.
    let (first, _) = browser.events(&[]).await;
    let (mut second, _) = browser.events(&[]).await;
    assert_eq!(browser.get("/health/live").await.0, 429);
    drop(first);
    until(async || browser.get("/health/live").await.0 == 200).await;
    let long = "x".repeat(20_000);
    assert_eq!(browser.ask("GET", "/health/live", &[("x-long", &long)], "").await.status(), 431);

    // Nothing is asked for longer than a head may take, but one answer is not over.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!browser.connection.is_finished());
    // The server says that it goes, closes what is open, and does not wait for who stays.
    server.terminate();
    let mut end = String::new();
    while let Some(Ok(frame)) = second.frame().await {
        end += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
    }
    assert!(end.contains("event: close"), "{end}");
    assert!(server.wait().success());
}

#[tokio::test]
async fn an_http_2_connection_on_which_nobody_asks_anything_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(folder.path());
    let server = setup(folder.path()).limit("header_seconds", 1).start();
    let browser = Http2::connect(&server, &trusted).await;
    assert_eq!(browser.get("/health/live").await.0, 200);
    let _ = tokio::time::timeout(Duration::from_secs(30), browser.connection).await.expect("it is closed");
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

    let mut socket = greeted_over(connect(&server, &trusted).await.unwrap()).await;

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
