//! A real server process, and a client that knows only the JSON protocol: over WebSocket or over its
//! fallback, server-sent events.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

mod events;
pub mod random;
mod rooms;
pub mod store;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
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
use rooms::KnownRooms;

/// The timeout of everything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of the project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    /// The address that it listens on.
    pub address: SocketAddr,
}

/// Builds the command that starts a server.
pub struct Setup {
    data: PathBuf,
    config: PathBuf,
    variables: Vec<(String, String)>,
}

impl Setup {
    /// A server with this data folder.
    pub fn in_folder(data: &Path) -> Self {
        Self { data: data.to_owned(), config: project().join("Leptos.toml"), variables: Vec::new() }
    }

    /// A server with this data folder, and with limits so high that a test does not meet them.
    pub fn generous(data: &Path) -> Self {
        Self::in_folder(data)
            .limit("messages_per_second", 100_000)
            .limit("message_burst", 100_000)
            .limit("signals_per_second", 100_000)
            .limit("signal_burst", 100_000)
            .limit("announcements_per_second", 100_000)
            .limit("announcement_burst", 100_000)
            .limit("reads_per_second", 100_000)
            .limit("read_burst", 100_000)
            .limit("requests_per_second", 100_000)
            .limit("request_burst", 100_000)
            .limit("connections_per_address", 10_000)
            .limit("guests_per_minute", 10_000)
            .limit("joins_per_minute", 10_000)
            .limit("rooms_per_minute", 1_000)
            .limit("rooms_per_hour", 10_000)
            .limit("rooms_per_connection", 10_000)
            .limit("requests_per_address", 10_000)
    }

    /// Serves the files of this folder as its site.
    pub fn site(mut self, site: &Path) -> Self {
        let config = std::fs::read_to_string(&self.config).unwrap();
        let line = config.lines().find(|line| line.starts_with("site-root = ")).unwrap();
        self.config = self.data.join("Leptos.toml");
        std::fs::write(&self.config, config.replace(line, &format!("site-root = {site:?}"))).unwrap();
        self
    }

    /// Overrides a limit.
    pub fn limit(self, key: &str, value: u64) -> Self {
        self.variable(&format!("NOOM_LIMITS_{}", key.to_uppercase()), &value.to_string())
    }

    /// Sets an environment variable.
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

    /// Starts the server and waits until it listens.
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

    /// [`Setup::generous`], started.
    pub fn generous(data: &Path) -> Self {
        Setup::generous(data).start()
    }

    /// The origin of its pages.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The resident memory of the process, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process (SIGKILL), as a loss of power would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM: the server drains.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, named without `SIG`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until the process exits.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not exit");
    }

    /// Sends bytes over a new connection and returns everything received until it closes.
    pub fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request without a body; each of `headers` ends with CRLF.
    pub fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let host = self.address;
        Answer::parse(
            &self.raw(
                format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
            ),
        )
    }

    /// Sends a WebSocket upgrade and returns the head of the response.
    pub fn raw_upgrade(&self, headers: &str) -> String {
        self.head("/ws", headers)
    }

    /// Sends a GET and returns the head of the response, without waiting for the body.
    pub fn head(&self, path: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address).as_bytes()).unwrap();
        let mut answer = vec![0; 4_096];
        let read = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..read]).into_owned()
    }

    /// Sends a GET as a browser does.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "Accept: text/html\r\n")
    }

    /// Posts a form as a browser without JavaScript does from a page of this server.
    pub fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        self.post_with(path, &format!("Cookie: {cookie}\r\nAccept: text/html\r\nSec-Fetch-Site: same-origin\r\n"), form)
    }

    /// Posts a form with these headers.
    pub fn post_with(&self, path: &str, headers: &str, form: &str) -> Answer {
        let (host, length) = (self.address, form.len());
        Answer::parse(
            &self.raw(
                format!(
                    "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\
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

/// A parsed HTTP response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    /// As received: a chunked body still has its chunk sizes.
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

    /// The first header of this name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// All headers of this name.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The cookie that it sets, in the form of a `Cookie` header.
    pub fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    }
}

/// A frame from the server, or the end of the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    Frame(Value),
    /// A close frame with this code.
    Closed(u16),
    /// The connection ended without a close frame.
    Disconnected,
}

enum Transport {
    Socket(Box<WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>>),
    Events(Box<Events>),
}

/// One connection of a client. A test calls rooms by their names, also where frames have their ids ([`rooms`]).
pub struct Client {
    transport: Transport,
    next_id: u64,
    rooms: KnownRooms,
    /// Frames that were received while the test waited for another one.
    pub skipped: Vec<Value>,
}

impl Client {
    /// Opens a WebSocket, without a hello.
    pub async fn connected(server: &Server) -> Self {
        Self::with_cookie(server, "").await
    }

    /// Opens a WebSocket with a cookie, without a hello.
    pub async fn with_cookie(server: &Server, cookie: &str) -> Self {
        Self::connect(server.address, cookie).await.expect("the upgrade succeeds")
    }

    /// The same for a server that may have ended: `None` if the upgrade fails.
    pub async fn connect(address: SocketAddr, cookie: &str) -> Option<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, address, cookie).await
    }

    /// The same from this address of the loopback network, which has its own limits.
    pub async fn connect_from(own: Ipv4Addr, address: SocketAddr, cookie: &str) -> Option<Self> {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        request.headers_mut().insert("origin", format!("http://{address}").parse().unwrap());
        if !cookie.is_empty() {
            request.headers_mut().insert("cookie", cookie.parse().unwrap());
        }
        let stream = connect_from(own, address).await.ok()?;
        let (socket, _) = tokio_tungstenite::client_async(request, MaybeTlsStream::Plain(stream)).await.ok()?;
        Some(Self::over(Transport::Socket(Box::new(socket))))
    }

    /// Connects over server-sent events with a cookie, without a hello.
    pub async fn over_events(server: &Server, cookie: &str) -> Self {
        Self::over(Transport::Events(Box::new(Events::open(server, cookie).await)))
    }

    fn over(transport: Transport) -> Self {
        Self { transport, next_id: 1, rooms: KnownRooms::default(), skipped: Vec::new() }
    }

    /// Its event stream.
    pub fn events(&mut self) -> &mut Events {
        match &mut self.transport {
            Transport::Events(events) => events,
            Transport::Socket(_) => panic!("a WebSocket carries this one"),
        }
    }

    /// The id of a room that it has entered, for frames that a test writes itself.
    pub fn room_id(&self, name: &str) -> String {
        self.rooms.id(name).to_owned()
    }

    /// Its WebSocket, for a test that sends and receives at the same time.
    pub fn into_socket(self) -> WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>> {
        match self.transport {
            Transport::Socket(socket) => *socket,
            Transport::Events(_) => panic!("an event stream carries this one"),
        }
    }

    /// Connects as a new guest and sends hello.
    pub async fn greeted(server: &Server) -> Self {
        let mut client = Self::connected(server).await;
        client.ask("hello", json!({"protocol": 2})).await;
        client
    }

    /// Connects, sends hello, and enters a room.
    pub async fn in_room(server: &Server, room: &str) -> Self {
        let mut client = Self::greeted(server).await;
        client.ask("enter_room", json!({"room": room})).await;
        client
    }

    /// The same as a future that does not borrow the server, for a task of its own.
    pub fn in_room_as_guest(server: &Server, room: String) -> impl Future<Output = Self> + Send + use<> {
        let address = server.address;
        async move {
            let mut client = Self::connect(address, "").await.expect("the upgrade succeeds");
            client.ask("hello", json!({"protocol": 2})).await;
            client.ask("enter_room", json!({"room": room})).await;
            client
        }
    }

    /// Sends a WebSocket message.
    pub async fn send(&mut self, message: Message) {
        let Transport::Socket(socket) = &mut self.transport else { panic!("an event stream carries this one") };
        // It fails if the server has closed meanwhile, which some tests expect.
        let _ = socket.send(message).await;
    }

    /// Sends a close frame with this code, as a browser does when a page is closed.
    pub async fn close(&mut self, code: u16) {
        self.send(Message::Close(Some(CloseFrame { code: code.into(), reason: "".into() }))).await;
    }

    /// Sends a text frame.
    pub async fn send_text(&mut self, text: &str) {
        match &self.transport {
            Transport::Socket(_) => self.send(Message::text(text)).await,
            Transport::Events(events) => drop(events.post(text.as_bytes()).await),
        }
    }

    /// Sends a command and returns its id.
    pub async fn command(&mut self, kind: &str, payload: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let payload = self.rooms.outgoing(id, kind, payload);
        self.send_text(&json!({"type": kind, "payload": payload, "id": id}).to_string()).await;
        id
    }

    /// Sends a command and returns the frame that answers it, `ack` or `error`.
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

    /// Posts `count` messages, a hundred at a time without waiting for each. An empty `text` numbers them from 1.
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

    /// The next frame, or the end of the connection.
    pub async fn receive(&mut self) -> Received {
        match self.receive_raw().await {
            Received::Frame(frame) => Received::Frame(self.rooms.incoming(frame)),
            end => end,
        }
    }

    async fn receive_raw(&mut self) -> Received {
        let socket = match &mut self.transport {
            Transport::Socket(socket) => socket,
            Transport::Events(events) => {
                return timeout(PATIENCE, events.receive()).await.expect("the server sends something");
            }
        };
        loop {
            match timeout(PATIENCE, socket.next()).await.expect("the server sends something") {
                Some(Ok(Message::Text(text))) => return Received::Frame(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Received::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(Error::Protocol(_) | Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed))
                | None => return Received::Disconnected,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }

    /// The next frame that matches; others are kept in `skipped`.
    pub async fn until(&mut self, matches: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.receive().await {
                Received::Frame(frame) if matches(&frame) => return frame,
                Received::Frame(frame) => self.skipped.push(frame),
                other => panic!(
                    "the connection ended: {other:?}; before: {:?}",
                    self.skipped.iter().rev().take(3).collect::<Vec<_>>()
                ),
            }
        }
    }

    /// The next frame of a type.
    pub async fn until_type(&mut self, kind: &str) -> Value {
        self.until(|frame| frame["type"] == kind).await
    }

    /// Reads until the connection ends, and returns how.
    pub async fn end(&mut self) -> Received {
        loop {
            match self.receive().await {
                Received::Frame(frame) => self.skipped.push(frame),
                end => return end,
            }
        }
    }
}

/// Opens a TCP connection from this address of the loopback network.
pub async fn connect_from(own: Ipv4Addr, address: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    if own != Ipv4Addr::LOCALHOST {
        socket.bind((own, 0).into())?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A message key that was not used before.
pub fn fresh_key() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    noom::protocol::MessageKey::from_random(u128::from_ne_bytes(bytes)).to_string()
}

/// Writes the figures that a test measured to the folder `NOOM_TRUST`, if it is set.
pub fn record_figures(name: &str, figures: &Value) {
    if let Some(folder) = std::env::var_os("NOOM_TRUST") {
        std::fs::write(Path::new(&folder).join(name), format!("{figures:#}\n")).unwrap();
    }
}
