//! The stranger: ten users and twenty HTTP connections of one address. An open loop: it sends at a fixed rate, reads only
//! to make room, and connects again when it is closed, so that it does the same at a sink as at Noom.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use noom::protocol::Command;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::Outcome;
use crate::fanout::socket::{upgrade_request, write_text};

/// The users of the stranger, each of which sends the whole burst at once and then twice what a user may send.
const USERS: usize = 10;
const BURST: usize = 200;
const FRAMES_PER_SECOND: u64 = 100;
/// The connections over which requests are sent, together twice what an address may send.
const SENDERS: usize = 20;
const REQUESTS_PER_SECOND: u64 = 10;

/// The time after which a connection that takes nothing is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// The work of the generator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Frames and requests.
    pub(crate) count: u64,
    /// Connections.
    pub(crate) connections: u64,
}

/// The frames that enter the room `square`, each with the part of its answer to wait for.
pub(crate) fn arrival() -> [(&'static str, &'static str); 2] {
    [
        (r#"{"type":"hello","payload":{"protocol":2},"id":1}"#, r#""id":1}"#),
        (r#"{"type":"enter_room","payload":{"name":"square"},"id":2}"#, r#""id":2}"#),
    ]
}

/// Sends each command and each request for a while, from an address of its own, so that each begins with whole budgets.
/// `room` is the id of the room, because the sink tells none.
pub(crate) fn run(target: SocketAddr, room: &str, stage: Duration) -> Outcome<Sent> {
    let mut sent = Sent::default();
    let mut addresses = (1..).map(|n| Ipv4Addr::new(127, 0, 1, n));
    for kind in Command::NAMES {
        let own = addresses.next().ok_or("no address is left")?;
        sent += in_threads(USERS, || User::connect(own, target, room, kind)?.run(stage))?;
    }
    for request in requests(target) {
        let own = addresses.next().ok_or("no address is left")?;
        sent += in_threads(SENDERS, || Sender { own, target, request: &request }.run(stage))?;
    }
    Ok(sent)
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.connections += other.connections;
    }
}

fn in_threads(count: usize, run: impl Fn() -> Outcome<Sent> + Sync) -> Outcome<Sent> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| run().map_err(|error| error.to_string()))).collect();
        let mut all = Sent::default();
        for thread in threads {
            all += thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(all)
    })
}

/// A connection from this address, which writes without waiting.
fn open(own: Ipv4Addr, target: SocketAddr) -> Outcome<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrV4::new(own, 0))?;
    connect(&socket, &target)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Reads what has arrived. Returns false if the connection has ended.
fn drain(stream: &mut TcpStream, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => into.extend(&buffer[..length]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Writes all of it, and reads meanwhile. Returns false if the connection has ended, or takes nothing for a while.
fn write(stream: &mut TcpStream, mut bytes: &[u8], received: &mut Vec<u8>) -> bool {
    let begin = Instant::now();
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == ErrorKind::WouldBlock && begin.elapsed() < PATIENCE => {
                if !drain(stream, received) {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return false,
        }
    }
    true
}

/// One user of the stranger.
struct User<'a> {
    own: Ipv4Addr,
    target: SocketAddr,
    /// The id of the room.
    room: &'a str,
    kind: &'static str,
    stream: TcpStream,
    /// Another peer in the call.
    peer: String,
    sent: Sent,
}

impl<'a> User<'a> {
    fn connect(own: Ipv4Addr, target: SocketAddr, room: &'a str, kind: &'static str) -> Outcome<Self> {
        let stream = open(own, target)?;
        let peer = "0ddba11c0ffee000".to_owned();
        let mut user = Self { own, target, room, kind, stream, peer, sent: Sent::default() };
        user.enter();
        Ok(user)
    }

    fn enter(&mut self) {
        self.sent.connections += 1;
        let mut bytes = upgrade_request(self.target, "/ws").into_bytes();
        arrival().iter().for_each(|(text, _)| write_text(&mut bytes, text));
        let join = format!(r#"{{"type":"join_call","payload":{{"room":"{}"}},"id":3}}"#, self.room);
        write_text(&mut bytes, &join);
        write(&mut self.stream, &bytes, &mut Vec::new());
    }

    fn run(mut self, stage: Duration) -> Outcome<Sent> {
        let (begin, mut received) = (Instant::now(), Vec::new());
        while begin.elapsed() < stage {
            let due = BURST as u64 + begin.elapsed().as_millis() as u64 * FRAMES_PER_SECOND / 1_000;
            let mut bytes = Vec::new();
            while self.sent.count < due {
                write_text(&mut bytes, &self.frame());
                self.sent.count += 1;
            }
            let is_open = write(&mut self.stream, &bytes, &mut received) && drain(&mut self.stream, &mut received);
            self.find_peer(&received);
            received.clear();
            if !is_open {
                self.stream = open(self.own, self.target)?;
                self.enter();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(self.sent)
    }

    fn find_peer(&mut self, received: &[u8]) {
        const BEFORE: &[u8] = br#""peers":[{"peer":""#;
        if let Some(at) = memchr::memmem::find(received, BEFORE)
            && let Some(peer) = received.get(at + BEFORE.len()..at + BEFORE.len() + 16)
        {
            self.peer = String::from_utf8_lossy(peer).into_owned();
        }
    }

    fn frame(&self) -> String {
        let (number, peer) = (self.sent.count, &self.peer);
        // Differs between the users of an address.
        let port = self.stream.local_addr().map_or(0, |own| own.port());
        let room = format!(r#""room":"{}""#, self.room);
        let sdp = format!(r"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{}", r"a=x\r\n".repeat(500));
        // Commands that undo each other take turns.
        let kind = match (self.kind, number % 2) {
            ("enter_room", 1) => "leave_room",
            ("leave_room", 1) => "enter_room",
            ("join_call", 1) => "leave_call",
            ("leave_call", 1) => "join_call",
            (kind, _) => kind,
        };
        let payload = match kind {
            "hello" => r#""protocol":2"#.to_owned(),
            "enter_room" => r#""name":"square""#.to_owned(),
            "ping" | "watch_rooms" | "unwatch_rooms" => String::new(),
            "nickname" => format!(r#""nickname":"S{port} {number}""#),
            "new_message" => {
                format!(r#"{room},"key":"{port:08x}-0000-4000-8000-{number:012x}","text":"{}""#, "x".repeat(2_000))
            }
            // Of another history: refused, and paid like the others.
            "edit_message" | "delete_message" | "react" => {
                let fields = match kind {
                    "edit_message" => r#","edits":0,"text":"x""#,
                    "react" => r#","emoji":"👍","on":true"#,
                    _ => "",
                };
                format!(r#"{room},"target":{{"epoch":"e","seq":1}}{fields}"#)
            }
            "history" => format!(r#"{room},"before":100000,"limit":100"#),
            "offer" | "answer" => {
                format!(r#"{room},"peer":"{peer}","description":{{"type":"{kind}","sdp":"{sdp}"}}"#)
            }
            "ice" => format!(r#"{room},"peer":"{peer}""#),
            "media" => format!(r#"{room},"audio":{},"video":true,"screen":false"#, number % 2 == 0),
            _ => room,
        };
        format!(r#"{{"type":"{kind}","payload":{{{payload}}}}}"#)
    }
}

/// Sends one request again and again.
struct Sender<'a> {
    own: Ipv4Addr,
    target: SocketAddr,
    request: &'a str,
}

impl Sender<'_> {
    fn run(self, stage: Duration) -> Outcome<Sent> {
        let mut stream = open(self.own, self.target)?;
        let mut sent = Sent { count: 0, connections: 1 };
        let (begin, mut received) = (Instant::now(), Vec::new());
        while begin.elapsed() < stage {
            let due = 1 + begin.elapsed().as_millis() as u64 * REQUESTS_PER_SECOND / 1_000;
            let mut is_open = true;
            while sent.count < due {
                is_open &= write(&mut stream, self.request.as_bytes(), &mut received);
                sent.count += 1;
            }
            is_open &= drain(&mut stream, &mut received);
            received.clear();
            if !is_open {
                stream = open(self.own, self.target)?;
                sent.connections += 1;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(sent)
    }
}

/// One request for each route.
fn requests(target: SocketAddr) -> Vec<String> {
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: {target}\r\n{headers}\r\n");
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {target}\r\nOrigin: http://{target}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            body.len()
        )
    };
    vec![
        get("/", ""),
        get("/r/square", ""),
        get("/r/square?before=100", ""),
        upgrade_request(target, "/ws"),
        get("/events", "Sec-Fetch-Site: same-origin\r\n"),
        post("/events/0123", ""),
        post("/api/post", "room=square&key=7&text=x"),
        post("/api/nickname", "nickname=Stranger&back=%2F"),
        post("/api/room", "name=square"),
        get("/health/live", ""),
        get("/nowhere", ""),
    ]
}
