//! A hostile stranger: sends each command and each request as fast as the limits allow, and faster, from one address
//! and as ten users. Meanwhile two ordinary people talk in the same room, and nothing of theirs is lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{SinkExt, StreamExt};
use noom::protocol::Command;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::start;
use crate::support::{Client, Server, connect_from, fresh_key};

/// The users of a stranger: an address has the budgets of this many.
const USERS: usize = 10;
/// The frames that each user sends without waiting for an answer. More than every burst and the tolerance after it.
const FRAMES: usize = 320;
/// The connections over which a stranger sends requests, and for how long.
const SENDERS: usize = 20;
const SENDING: Duration = Duration::from_millis(250);

/// The payload of a command that reaches as many others as it can. `target` is an own message.
fn payload(kind: &str, n: usize, room: &str, peer: &Value, target: &Value) -> Value {
    let sdp = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n{}", "a=x\r\n".repeat(200));
    match kind {
        "hello" => json!({"protocol": 2}),
        "nickname" => json!({"nickname": format!("Stranger {:x} {n}", rand())}),
        "enter_room" if n.is_multiple_of(4) => json!({"name": format!("r{}", n % 40)}),
        "enter_room" => json!({"name": "r"}),
        "new_message" => {
            // The most that a message can do to the writer and to pages: it mentions as many as it may.
            let mentions: Vec<_> = (0..20).map(|_| format!("{:016x}", rand())).collect();
            json!({"room": room, "key": fresh_key(), "text": "@ ".repeat(2_000), "mentions": mentions})
        }
        "edit_message" => {
            json!({"room": room, "target": target, "edits": n, "text": format!("{n} {}", "x".repeat(3_900))})
        }
        "delete_message" => json!({"room": room, "target": target}),
        "pin_message" => json!({"room": room, "target": target, "on": n.is_multiple_of(2)}),
        "react" => json!({"room": room, "target": target, "emoji": "👍", "on": n.is_multiple_of(2)}),
        "history" => json!({"room": room, "before": 1_000, "limit": 100}),
        "offer" => json!({"room": room, "peer": peer, "description": {"type": "offer", "sdp": sdp}}),
        "answer" => json!({"room": room, "peer": peer, "description": {"type": "answer", "sdp": sdp}}),
        "ice" => json!({"room": room, "peer": peer}),
        "media" => json!({"room": room, "audio": n.is_multiple_of(2), "video": true, "screen": false}),
        "ping" | "watch_rooms" | "unwatch_rooms" => json!({}),
        _ => json!({"room": room}),
    }
}

/// A number that differs between users.
fn rand() -> u32 {
    fresh_key().as_bytes()[..8].iter().fold(0, |hash: u32, byte| hash.wrapping_mul(31).wrapping_add((*byte).into()))
}

/// One of the stranger's users: enters the room and sends. Commands that undo each other alternate.
async fn send_frames(own: Ipv4Addr, address: SocketAddr, kind: &'static str) {
    // Refused connections are the limit of the address.
    let Some(mut client) = Client::connect_from(own, address, "").await else { return };
    client.ask("hello", json!({"protocol": 2})).await;
    let entered = client.answer("enter_room", json!({"room": "r"})).await;
    let own = client.answer("new_message", json!({"room": "r", "key": fresh_key(), "text": "x"})).await;
    let target = json!({"epoch": entered["payload"]["epoch"], "seq": own["payload"]["seq"]});
    let peer = client.answer("join_call", json!({"room": "r"})).await["payload"]["peers"][0]["peer"].clone();
    let before = match kind {
        "enter_room" => "leave_room",
        "leave_room" => "enter_room",
        "join_call" => "leave_call",
        "leave_call" => "join_call",
        other => other,
    };
    let room = client.room_id("r");
    let (mut sending, mut receiving) = client.into_socket().split();
    let send = async {
        for n in 0..FRAMES {
            let kind = if n % 2 == 0 { kind } else { before };
            let frame = json!({"type": kind, "payload": payload(kind, n, &room, &peer, &target), "id": n + 10});
            if sending.send(Message::text(frame.to_string())).await.is_err() {
                return;
            }
        }
        let _ = sending.send(Message::text(r#"{"type":"ping","payload":{},"id":9999}"#)).await;
    };
    // Everything is answered, or the connection is closed.
    let receive = async {
        while let Some(Ok(message)) = receiving.next().await {
            match message {
                Message::Text(text) if text.contains(r#""id":9999}"#) => return,
                Message::Close(Some(frame)) => {
                    let code = u16::from(frame.code);
                    return assert!(matches!(code, 4400 | 4429 | 4452), "{kind}: {code}");
                }
                _ => {}
            }
        }
    };
    tokio::join!(send, receive);
}

/// Sends one request after the other over one connection, for a while.
async fn send_requests(own: Ipv4Addr, address: SocketAddr, request: String) {
    let until = Instant::now() + SENDING;
    while Instant::now() < until {
        let Ok(mut stream) = connect_from(own, address).await else { return };
        let sending = async {
            let mut answer = [0; 16 * 1024];
            while stream.write_all(request.as_bytes()).await.is_ok() {
                if !matches!(stream.read(&mut answer).await, Ok(1..)) {
                    return;
                }
            }
        };
        let _ = timeout(until.saturating_duration_since(Instant::now()), sending).await;
    }
}

/// Every route, with the answers that it gives and refuses.
fn requests(address: SocketAddr) -> Vec<String> {
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            body.len()
        )
    };
    let upgrade = format!(
        "Origin: http://{address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    vec![
        get("/", ""),
        get("/r/r", ""),
        get("/r/r?before=100", ""),
        get("/r/not%20created", ""),
        get("/r/r/export?format=jsonl", ""),
        get("/r/r/export?format=html", ""),
        get("/r/not%20created/export?format=html", ""),
        get("/ws", &upgrade),
        get("/ws", ""),
        get("/events", "Sec-Fetch-Site: same-origin\r\n"),
        post("/events/0123", ""),
        post("/api/post", &format!("room=r&key={}&text=x", fresh_key())),
        post("/api/post", "room=r&key=7&text=x"),
        post("/api/nickname", "nickname=Stranger&back=%2F"),
        post("/api/enter", "room=r"),
        post("/api/language", "lang=ko&back=%2F"),
        post("/api/room", "name=r"),
        post("/api/lobby", ""),
        get("/health/live", ""),
        get("/health/ready", ""),
        get("/pkg/none", ""),
        get("/robots.txt", ""),
        get("/nowhere", ""),
        "BAD\r\n\r\n".to_owned(),
    ]
}

/// A person in the room whose page shows changes of messages.
async fn person(server: &Server) -> Client {
    let mut client = Client::connected(server).await;
    client.ask("hello", json!({"protocol": 2})).await;
    client.ask("enter_room", json!({"room": "r"})).await;
    client
}

/// Two people who talk until they are told to stop. Returns what each has received of the other's.
struct Talk {
    stop: Arc<AtomicBool>,
    people: JoinHandle<u64>,
}

impl Talk {
    async fn begin(server: &Server) -> Self {
        let (mut ann, mut bob) = (person(server).await, person(server).await);
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = stop.clone();
        let people = tokio::spawn(async move {
            let mut said = 0;
            while !is_over.load(Relaxed) {
                said += 1;
                let text = format!("ordinary {said}");
                ann.ask("typing", json!({"room": "r"})).await;
                ann.post("r", &text).await;
                bob.until(|frame| frame["payload"]["text"] == text.as_str()).await;
                tokio::time::sleep(Duration::from_millis(110)).await;
                std::mem::swap(&mut ann, &mut bob);
            }
            for person in [&mut ann, &mut bob] {
                person.ask("ping", json!({})).await;
                let frames = std::mem::take(&mut person.skipped);
                assert!(frames.iter().all(|frame| frame["type"] != "error"), "ordinary people meet no limit");
                let history = person.ask("enter_room", json!({"room": "r"})).await;
                assert!(history["head"].as_u64().unwrap() >= said);
            }
            said
        });
        Self { stop, people }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.people.await.unwrap()
    }
}

/// Each stage has an address of its own, with whole budgets.
fn stranger(stage: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, 1 + stage as u8)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranger_who_sends_each_command_at_full_rate_costs_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    let talk = Talk::begin(&server).await;
    for (stage, kind) in Command::NAMES.iter().enumerate() {
        let users = (0..USERS).map(|_| tokio::spawn(send_frames(stranger(stage), server.address, kind)));
        for user in join_all(users).await {
            user.unwrap();
        }
    }
    assert!(talk.end().await > Command::NAMES.len() as u64);
    assert!(server.get("/health/live").body.contains("panics 0\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranger_who_sends_each_request_at_full_rate_costs_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    let talk = Talk::begin(&server).await;
    for (stage, request) in requests(server.address).into_iter().enumerate() {
        let senders =
            (0..SENDERS).map(|_| tokio::spawn(send_requests(stranger(stage), server.address, request.clone())));
        for sender in join_all(senders).await {
            sender.unwrap();
        }
    }
    assert!(talk.end().await > 20);
    assert!(server.get("/health/live").body.contains("panics 0\n"));
}
