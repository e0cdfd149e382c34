//! The edges of the process: logs that cannot be written, host names, file modes, search engines, proxies, and what
//! clients can occupy before they are known.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test with its location")]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use support::{Client, Received, Server, Setup};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const PATIENCE: Duration = Duration::from_secs(30);

/// The lines of a server's log, read in a thread until it ends.
fn log_of(command: &mut Command) -> std::sync::mpsc::Receiver<String> {
    let (reader, writer) = std::io::pipe().unwrap();
    command.stderr(writer);
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    lines
}

/// Returns whether the condition becomes true.
fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        condition()
    })
}

/// Sends bytes and returns everything until the server closes the connection.
fn until_closed(mut stream: TcpStream, request: &[u8]) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn server_whose_log_cannot_be_written_serves_and_drains() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let (reader, broken) = std::io::pipe().unwrap();
    drop(reader);
    // Nothing reads this pipe, and the log of the trace level does not fit into it.
    let (_reader, stuck) = std::io::pipe().unwrap();
    for (name, log, level) in [
        ("a full disk", full(), "info"),
        ("a closed pipe", broken.into(), "info"),
        ("a stuck pipe", stuck.into(), "trace"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Setup::in_folder(folder.path()).variable("RUST_LOG", level).command();
        command.stderr(log);
        let mut server = Server::spawn(command);
        let mut client = Client::in_room(&server, "r").await;
        client.post("r", "hello").await;
        for _ in 0..20 {
            assert_eq!(server.get("/r/r").status, 200, "{name}");
        }
        assert!(server.get("/health/live").body.starts_with("live\npanics 0\n"), "{name}");
        server.terminate();
        assert_eq!(client.end().await, Received::Closed(1012), "{name}");
        assert_eq!(server.wait().code(), Some(0), "{name}");
    }
}

#[test]
fn output_that_cannot_be_written_does_not_change_the_exit_code() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let folder = tempfile::tempdir().unwrap();
    drop(Setup::in_folder(folder.path()).start());
    let copy = folder.path().join("copy.sqlite3");
    let mut backup = Setup::in_folder(folder.path()).command();
    let done = backup.arg("backup").arg(&copy).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!((done.code(), copy.exists()), (Some(0), true));
    // The file exists now, so the second backup fails, and cannot say so.
    let mut backup = Setup::in_folder(folder.path()).command();
    assert_eq!(backup.arg("backup").arg(&copy).stdout(full()).stderr(full()).status().unwrap().code(), Some(1));
}

#[test]
fn rebound_host_name_gets_neither_pages_nor_connections() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).variable("NOOM_ALLOWED_HOSTS", "noom.lan").start();
    let port = server.address.port();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let get = |path: &str, host: &str, headers: &str| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").as_bytes()).unwrap();
        let mut answer = vec![0; 2_048];
        let length = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let status = |answer: &str| answer[9..12].to_owned();
    for (host, is_own) in [
        (format!("evil.example:{port}"), false),
        (format!("noom.lan.evil.example:{port}"), false),
        (format!("noom.lan:{port}"), true),
        (format!("localhost:{port}"), true),
        (format!("127.0.0.1:{port}"), true),
        (format!("[::1]:{port}"), true),
    ] {
        let websocket = get("/ws", &host, &format!("Origin: http://{host}\r\n{upgrade}"));
        assert_eq!(status(&websocket), if is_own { "101" } else { "403" }, "{host}: {websocket}");
        for (path, headers) in [
            ("/", String::new()),
            ("/r/secret", String::new()),
            ("/events", "Sec-Fetch-Site: same-origin\r\n".to_owned()),
            ("/events", format!("Referer: http://{host}/\r\n")),
        ] {
            let answer = get(path, &host, &headers);
            assert_eq!(status(&answer), if is_own { "200" } else { "403" }, "{host}{path}: {answer}");
            if !is_own {
                assert!(answer.contains("NOOM_ALLOWED_HOSTS"), "the answer says what to configure: {answer}");
            }
        }
        assert_eq!(status(&get("/health/live", &host, "")), "200", "a health check may use any name");
    }
}

#[test]
fn public_url_with_default_port_admits_browsers_and_refusal_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Setup::in_folder(folder.path()).variable("NOOM_PUBLIC_URL", "https://noom.test:443").command();
    let log = log_of(&mut command);
    let server = Server::spawn(command);
    let open = |origin: &str| {
        server.head(
            "/ws",
            &format!(
                "Origin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            ),
        )
    };
    assert!(open("https://noom.test").starts_with("HTTP/1.1 101"));
    for _ in 0..20 {
        let refused = open("https://other.test");
        assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("https://noom.test\n"), "{refused}");
    }
    drop(server);
    let lines: Vec<_> = log.iter().filter(|line| line.contains("origin")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("https://other.test") && lines[0].contains("https://noom.test"), "{}", lines[0]);
}

#[test]
fn invalid_boolean_ends_the_start_and_empty_variables_count_as_unset() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Setup::in_folder(folder.path()).variable("NOOM_TRUST_FORWARDED", "maybe").command();
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("NOOM_TRUST_FORWARDED") && text.contains("maybe") && text.lines().count() == 1, "{text}");

    let mut setup = Setup::in_folder(folder.path());
    for name in [
        "NOOM_PUBLIC_URL",
        "NOOM_TLS_CERT",
        "NOOM_TLS_KEY",
        "NOOM_TRUST_FORWARDED",
        "NOOM_JSON_LOGS",
        "NOOM_LISTEN",
        "NOOM_CONFIG",
        "NOOM_LIMITS_CONNECTIONS",
        "RUST_LOG",
    ] {
        setup = setup.variable(name, "");
    }
    assert_eq!(setup.start().get("/").status, 200);
}

#[test]
fn created_files_are_hidden_from_other_users_and_existing_folders_are_left_alone() {
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = tempfile::tempdir().unwrap();
    let (created, existing) = (folder.path().join("a/b"), folder.path().join("existing"));
    std::fs::create_dir(&existing).unwrap();
    std::fs::set_permissions(&existing, PermissionsExt::from_mode(0o755)).unwrap();
    for data in [&created, &existing] {
        let server = Setup::in_folder(data).start();
        server.get("/");
        for entry in std::fs::read_dir(data).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path) & 0o007, 0, "{}", path.display());
        }
    }
    assert_eq!((mode(&created), mode(&folder.path().join("a")), mode(&existing)), (0o700, 0o700, 0o755));
    let backup = folder.path().join("copy");
    assert!(Setup::in_folder(&created).command().arg("backup").arg(&backup).status().unwrap().success());
    assert_eq!(mode(&backup) & 0o077, 0);
}

#[test]
fn search_engines_do_not_index_rooms_unless_configured() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).start();
    let robots = server.get("/robots.txt");
    assert_eq!((robots.status, robots.header("content-type")), (200, "text/plain; charset=utf-8"));
    assert!(robots.body.contains("User-agent: *\nDisallow: /r/\n"), "{}", robots.body);
    for path in ["/r/a", "/r/a%2Fb", "/r", "/r/"] {
        assert!(server.get(path).header("x-robots-tag").contains("noindex"), "{path}");
    }
    assert_eq!(server.get("/").header("x-robots-tag"), "", "the start page may be found");
    drop(server);

    let server = Setup::in_folder(folder.path()).variable("NOOM_INDEX_ROOMS", "1").start();
    assert!(!server.get("/robots.txt").body.contains("/r/"));
    assert_eq!(server.get("/r/a").header("x-robots-tag"), "");
}

#[tokio::test]
async fn clients_behind_two_proxies_have_limits_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let setup = || Setup::in_folder(folder.path()).limit("connections_per_address", 1);
    let connect = async |server: &Server, forwarded: &str| {
        let mut request = format!("ws://{}/ws", server.address).into_client_request().unwrap();
        request.headers_mut().insert("origin", server.origin().parse().unwrap());
        request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        tokio_tungstenite::connect_async(request).await.ok()
    };
    for proxies in ["2", "127.0.0.0/8, 10.0.0.0/8"] {
        let server = setup().variable("NOOM_TRUSTED_PROXIES", proxies).start();
        // The outer proxy appends the client with its port, the inner one the outer proxy.
        let ann = connect(&server, "203.0.113.9:51234, 10.0.0.2:40000").await;
        let bob = connect(&server, "[2001:db8::1]:443, 10.0.0.2").await;
        assert!(ann.is_some() && bob.is_some(), "{proxies}");
        assert!(connect(&server, "6.6.6.6, 203.0.113.9:51235, 10.0.0.2:40001").await.is_none(), "a forged entry");
        assert_eq!(server.request("GET", "/health/live", "").status, 200);
    }

    let mut command = setup().command();
    let log = log_of(&mut command);
    let server = Server::spawn(command);
    let ann = connect(&server, "203.0.113.9").await;
    for n in 0..9 {
        assert!(connect(&server, &format!("203.0.113.{n}")).await.is_none(), "the header is not trusted");
    }
    drop((ann, server));
    let lines: Vec<_> = log.iter().filter(|line| line.contains("trusted_proxies")).collect();
    assert_eq!(lines.len(), 1, "one warning names the setting: {lines:?}");
}

#[test]
fn requests_of_one_client_behind_a_proxy_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        Setup::in_folder(folder.path()).limit("requests_per_address", 2).variable("NOOM_TRUST_FORWARDED", "1").start();
    let open = |client: &str| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = server.address;
        let request = format!(
            "GET /events HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: same-origin\r\nX-Forwarded-For: {client}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (String::from_utf8(status[9..].to_vec()).unwrap(), stream)
    };
    let open_streams = [open("192.0.2.1"), open("192.0.2.1"), open("192.0.2.2")];
    assert!(open_streams.iter().all(|(status, _)| status == "200"));
    assert_eq!(open("192.0.2.1").0, "429");
    assert_eq!(open("192.0.2.2").0, "200", "another client is not affected");
}

#[test]
fn slow_body_of_an_event_post_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("request_seconds", 1).start();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = server.address;
    stream
        .write_all(format!("GET /events HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: same-origin\r\n\r\n").as_bytes())
        .unwrap();
    let mut events = BufReader::new(stream).lines().map_while(Result::ok);
    let token = events.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).unwrap();
    let mut post = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /events/{token} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: 1000\r\n\r\n"
    );
    post.write_all(head.as_bytes()).unwrap();
    let mut trickle = post.try_clone().unwrap();
    // No pause exceeds the limit between two reads.
    std::thread::spawn(move || {
        while trickle.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    post.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut status = [0; 12];
    post.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
}

#[test]
fn unread_response_ends_its_connection() {
    let folder = tempfile::tempdir().unwrap();
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("pkg")).unwrap();
    // More than the kernel buffers between two sockets.
    let size = 16 << 20;
    std::fs::write(site.join("pkg/large"), vec![b'x'; size]).unwrap();
    let server = Setup::in_folder(folder.path())
        .site(&site)
        .limit("request_seconds", 1)
        .limit("requests_per_address", 1)
        .start();
    let mut unread = TcpStream::connect(server.address).unwrap();
    unread.write_all(format!("GET /pkg/large HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).as_bytes()).unwrap();
    // The only place of this address is taken until the server gives up.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.get("/health/live").status, 0, "closed without a response");
    assert!(eventually(|| server.get("/health/live").status == 200));
    assert!(until_closed(unread, b"").len() < size);
    assert!(eventually(|| server.get("/pkg/large").body.len() == size), "a client that reads gets all of it");
}

#[test]
fn server_without_file_descriptors_logs_seldom_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let direct = Setup::in_folder(folder.path()).limit("header_seconds", 30).command();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]).arg(direct.get_program()).args(direct.get_args());
    for (name, value) in direct.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.stdout(Stdio::piped());
    let log = log_of(&mut command);
    let server = Server::spawn(command);
    assert_eq!(server.get("/").status, 200);
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    std::thread::sleep(Duration::from_secs(2));
    drop(idle);
    assert!(eventually(|| server.get("/r/a").status == 200));
    assert!(server.get("/health/live").body.starts_with("live\npanics 0\n"));
    drop(server);
    let lines: Vec<_> = log.iter().filter(|line| line.contains("accept")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[tokio::test]
async fn http_connections_above_the_total_limit_wait() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path())
        .limit("http_connections", 2)
        .limit("connections", 2)
        .limit("header_seconds", 3)
        .start();
    // WebSockets do not count: three are open for a moment, and each leaves its place.
    let mut clients = [Client::connected(&server).await, Client::connected(&server).await];
    clients[0].ask("hello", json!({"protocol": 2})).await;
    let idle: Vec<_> = (0..4).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(200));
    clients[1].ask("hello", json!({"protocol": 2})).await;
    // It waits until one of the idle connections times out, and is then served.
    assert_eq!(server.get("/health/live").status, 200);
    drop(idle);
}
