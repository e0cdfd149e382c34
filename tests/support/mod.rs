//! A real server process and a client that knows nothing but JSON, over WebSocket or what stands in
//! for it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

mod events;
pub mod random;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub use events::Events;

/// Nothing that is expected takes longer; what does not happen is waited for this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of the project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// How to start one.
pub struct Setup {
    data: PathBuf,
    config: PathBuf,
    variables: Vec<(String, String)>,
}

impl Setup {
    /// A server that keeps its data in this folder.
    pub fn in_folder(data: &Path) -> Self {
        Self { data: data.to_owned(), config: project().join("Leptos.toml"), variables: Vec::new() }
    }

    /// With the files of this folder as its site.
    pub fn site(mut self, site: &Path) -> Self {
        let config = std::fs::read_to_string(&self.config).unwrap();
        let line = config.lines().find(|line| line.starts_with("site-root = ")).unwrap();
        self.config = self.data.join("Leptos.toml");
        std::fs::write(&self.config, config.replace(line, &format!("site-root = {site:?}"))).unwrap();
        self
    }

    /// With a limit other than the default.
    pub fn limit(self, key: &str, value: u64) -> Self {
        self.variable(&format!("NOOM_LIMITS_{}", key.to_uppercase()), &value.to_string())
    }

    /// With a variable set.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The command, on a free port.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_noom"));
        command
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&self.data)
            .arg("--config")
            .arg(&self.config)
            .env("RUST_LOG", "warn")
            .envs(self.variables.iter().cloned())
            .stdout(Stdio::piped());
        command
    }

    /// Starts it and waits until it listens.
    pub fn start(&self) -> Server {
        Server::spawn(self.command())
    }
}

impl Server {
    /// Starts a command and waits until it listens.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the server starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("Noom is at ").and_then(|url| url.split_once("://"));
        let (_, address) = url.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { address: address.parse().unwrap(), child }
    }

    /// A server with limits that do not matter to the test, in this folder.
    pub fn generous(data: &Path) -> Self {
        Setup::in_folder(data)
            .limit("messages_per_second", 100_000)
            .limit("message_burst", 100_000)
            .limit("connections_per_address", 10_000)
            .limit("guests_per_minute", 10_000)
            .limit("joins_per_minute", 10_000)
            .limit("rooms_per_minute", 1_000)
            .limit("rooms_per_hour", 10_000)
            .limit("rooms_per_connection", 10_000)
            .limit("requests_per_address", 10_000)
            .start()
    }

    /// Its origin.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The memory it really uses, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a loss of power would end the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not end");
    }

    /// Sends bytes over a fresh connection and returns all that comes back until it closes.
    pub fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request without a body; `headers` end with CRLF each.
    pub fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let host = self.address;
        Answer::parse(
            &self.raw(
                format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
            ),
        )
    }

    /// The head of the answer to an upgrade; what follows is not waited for.
    pub fn raw_upgrade(&self, headers: &str) -> String {
        self.head("/ws", headers)
    }

    /// The head of an answer; what follows is not waited for.
    pub fn head(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address).as_bytes()).unwrap();
        let mut answer = vec![0; 4_096];
        let read = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    /// A GET as a browser sends it.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "Accept: text/html\r\n")
    }

    /// Posts a form as a browser without script does from a page of this server.
    pub fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        self.post_with(path, &format!("Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n"), form)
    }

    /// Posts a form with these headers.
    pub fn post_with(&self, path: &str, headers: &str, form: &str) -> Answer {
        let (host, length) = (self.address, form.len());
        Answer::parse(
            &self.raw(
                format!(
                    "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: text/html\r\n{headers}\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
                )
                .as_bytes(),
            ),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP answer, taken apart.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body, chunked or not.
    pub body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers =
            lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// All headers of a name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The cookie that it sets, as a later request sends it.
    pub fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    }
}

/// What a test got from the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A frame.
    Frame(Value),
    /// A close frame with this code.
    Closed(u16),
    /// The connection ended without one.
    Cut,
}

/// What carries a connection's frames.
enum Wire {
    Socket(Box<WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>>),
    Events(Box<Events>),
}

/// One connection.
pub struct Client {
    wire: Wire,
    next_id: u64,
    /// Frames that came while something else was waited for.
    pub heard: Vec<Value>,
}

impl Client {
    /// Connects without a word.
    pub async fn silent(server: &Server) -> Self {
        Self::with_cookie(server, "").await
    }

    /// Connects without a word, with a cookie.
    pub async fn with_cookie(server: &Server, cookie: &str) -> Self {
        Self::connect(server.address, cookie).await.expect("the upgrade succeeds")
    }

    /// The same where a server may be or not.
    pub async fn connect(address: SocketAddr, cookie: &str) -> Option<Self> {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("http://{address}").parse().unwrap());
        if !cookie.is_empty() {
            request.headers_mut().insert("cookie", cookie.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await.ok()?;
        Some(Self::over(Wire::Socket(Box::new(socket))))
    }

    /// Connects without a word, with a cookie, where WebSocket is blocked.
    pub async fn over_events(server: &Server, cookie: &str) -> Self {
        Self::over(Wire::Events(Box::new(Events::open(server, cookie).await)))
    }

    fn over(wire: Wire) -> Self {
        Self { wire, next_id: 1, heard: Vec::new() }
    }

    /// The event stream that carries it.
    pub fn events(&mut self) -> &mut Events {
        match &mut self.wire {
            Wire::Events(events) => events,
            Wire::Socket(_) => panic!("a WebSocket carries this one"),
        }
    }

    /// Connects as a new guest and says hello.
    pub async fn greeted(server: &Server) -> Self {
        let mut client = Self::silent(server).await;
        client.ask("hello", json!({"protocol": 1})).await;
        client
    }

    /// Connects, says hello, and enters a room.
    pub async fn in_room(server: &Server, room: &str) -> Self {
        let mut client = Self::greeted(server).await;
        client.ask("enter_room", json!({"room": room})).await;
        client
    }

    /// The same, as a task of its own.
    pub fn in_room_as_guest(server: &Server, room: String) -> impl Future<Output = Self> + Send + use<> {
        let address = server.address;
        async move {
            let mut client = Self::connect(address, "").await.expect("the upgrade succeeds");
            client.ask("hello", json!({"protocol": 1})).await;
            client.ask("enter_room", json!({"room": room})).await;
            client
        }
    }

    /// Sends a message of WebSocket itself.
    pub async fn send(&mut self, message: Message) {
        let Wire::Socket(socket) = &mut self.wire else { panic!("an event stream carries this one") };
        // A server that closed meanwhile is what some tests look for.
        let _ = socket.send(message).await;
    }

    /// Says that it closes, with this code, as a page does that is left.
    pub async fn close(&mut self, code: u16) {
        self.send(Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))).await;
    }

    /// Sends a text.
    pub async fn say(&mut self, text: &str) {
        match &self.wire {
            Wire::Socket(_) => self.send(Message::text(text)).await,
            Wire::Events(events) => drop(events.post(text.as_bytes()).await),
        }
    }

    /// Sends a command and returns its id.
    pub async fn command(&mut self, kind: &str, payload: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.say(&json!({"type": kind, "payload": payload, "id": id}).to_string()).await;
        id
    }

    /// Sends a command and returns the frame that answers it.
    pub async fn answer(&mut self, kind: &str, payload: Value) -> Value {
        let id = self.command(kind, payload).await;
        self.until(|frame| frame["id"] == id).await
    }

    /// Sends a command that must succeed and returns its `ack`'s payload.
    pub async fn ask(&mut self, kind: &str, payload: Value) -> Value {
        let answer = self.answer(kind, payload).await;
        assert_eq!(answer["type"], "ack", "{kind} was refused: {answer}");
        answer["payload"].clone()
    }

    /// Sends a command that must be refused and returns the code.
    pub async fn refusal(&mut self, kind: &str, payload: Value) -> String {
        let answer = self.answer(kind, payload).await;
        assert_eq!(answer["type"], "error", "{kind} was not refused: {answer}");
        answer["payload"]["code"].as_str().unwrap().to_owned()
    }

    /// Posts a message under a fresh key and returns the `ack`'s payload.
    pub async fn post(&mut self, room: &str, text: &str) -> Value {
        self.ask("new_message", json!({"room": room, "key": fresh_key(), "text": text})).await
    }

    /// Posts so many messages, numbered from 1, not waiting for each.
    pub async fn flood(&mut self, room: &str, count: u64, text: &str) {
        for first in (1..=count).step_by(100) {
            let mut last = 0;
            for n in first..=count.min(first + 99) {
                let text = if text.is_empty() { n.to_string() } else { text.to_owned() };
                last = self.command("new_message", json!({"room": room, "key": fresh_key(), "text": text})).await;
            }
            self.until(|frame| frame["id"] == last).await;
        }
    }

    /// What comes next.
    pub async fn hear(&mut self) -> Heard {
        let socket = match &mut self.wire {
            Wire::Socket(socket) => socket,
            Wire::Events(events) => return timeout(PATIENCE, events.hear()).await.expect("the server says something"),
        };
        loop {
            match timeout(PATIENCE, socket.next()).await.expect("the server says something") {
                Some(Ok(Message::Text(text))) => return Heard::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Heard::Closed(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(Error::Protocol(_) | Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed))
                | None => return Heard::Cut,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }

    /// The next frame that is wanted; others are kept in `heard`.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.hear().await {
                Heard::Frame(frame) if wanted(&frame) => return frame,
                Heard::Frame(frame) => self.heard.push(frame),
                other => panic!(
                    "the connection ended: {other:?}; before: {:?}",
                    self.heard.iter().rev().take(3).collect::<Vec<_>>()
                ),
            }
        }
    }

    /// The next frame of a type.
    pub async fn until_type(&mut self, kind: &str) -> Value {
        self.until(|frame| frame["type"] == kind).await
    }

    /// Reads until the connection ends, and says how.
    pub async fn end(&mut self) -> Heard {
        loop {
            match self.hear().await {
                Heard::Frame(frame) => self.heard.push(frame),
                end => return end,
            }
        }
    }
}

/// A key that nobody used.
pub fn fresh_key() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    noom::protocol::MessageKey::from_random(u128::from_ne_bytes(bytes)).to_string()
}

/// Keeps what a test measured, where `NOOM_TRUST` names a folder for it.
pub fn keep_figures(name: &str, figures: &Value) {
    if let Some(folder) = std::env::var_os("NOOM_TRUST") {
        std::fs::write(Path::new(&folder).join(name), format!("{figures:#}\n")).unwrap();
    }
}
