//! Call signalling through a real server.

#![allow(clippy::unwrap_used, reason = "a failing test shows where")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Client, Server, Setup};

/// A browser's offer for a data channel, shortened.
const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
    c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\n\
    a=fingerprint:sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n";

fn offer(peer: &Value) -> Value {
    json!({"room": "r", "peer": peer, "description": {"type": "offer", "sdp": SDP}})
}

fn answer(peer: &Value) -> Value {
    json!({"room": "r", "peer": peer, "description": {"type": "answer", "sdp": SDP}})
}

async fn join(client: &mut Client) -> Value {
    client.ask("join_call", json!({"room": "r"})).await
}

/// All frames received up to now: the answer to a ping comes last.
async fn received_until_now(client: &mut Client) -> Vec<Value> {
    client.ask("ping", json!({})).await;
    std::mem::take(&mut client.skipped)
}

fn types(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn signals_reach_peers_and_room_sees_call_members() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, mut bob) = (Client::in_room(&server, "r").await, Client::in_room(&server, "r").await);
    let mut listener = Client::in_room(&server, "r").await;
    received_until_now(&mut ann).await;
    let first = join(&mut ann).await;
    assert_eq!(
        (&first["peers"], &first["ice_servers"]),
        (&json!([]), &json!([])),
        "no third party is involved by default"
    );
    let second = join(&mut bob).await;
    assert_eq!(second["peers"][0]["peer"], first["peer"]);
    assert_eq!(second["peers"][0]["media"], json!({"audio": false, "video": false, "screen": false}));
    let joined = ann.until_type("call_joined").await;
    assert_eq!(joined["payload"]["peer"], second["peer"]);

    bob.ask("offer", offer(&first["peer"])).await;
    let offered = ann.until_type("offer").await;
    assert_eq!(
        offered["payload"],
        json!({"room": "r", "peer": second["peer"], "description": {"type": "offer", "sdp": SDP}})
    );
    ann.ask("answer", answer(&second["peer"])).await;
    bob.until_type("answer").await;
    let candidate = json!({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0});
    ann.ask("ice", json!({"room": "r", "peer": second["peer"], "candidate": candidate})).await;
    assert_eq!(bob.until_type("ice").await["payload"]["candidate"], candidate);
    ann.ask("ice", json!({"room": "r", "peer": second["peer"]})).await;
    assert_eq!(bob.until_type("ice").await["payload"].get("candidate"), None);
    ann.ask("media", json!({"room": "r", "audio": true, "video": false, "screen": false})).await;
    let media = bob.until_type("media").await;
    assert_eq!(
        media["payload"],
        json!({"room": "r", "peer": first["peer"], "audio": true, "video": false, "screen": false})
    );

    // A member of the room who is not in the call receives its joins, but no signals.
    let heard = received_until_now(&mut listener).await;
    assert_eq!(types(&heard), ["call_joined", "call_joined"]);
    // A later client learns of the call when it enters, and from the list of rooms.
    let mut late = Client::greeted(&server).await;
    let entered = late.ask("enter_room", json!({"room": "r"})).await;
    let peers: Vec<_> = entered["call"].as_array().unwrap().iter().map(|peer| peer["media"]["audio"].clone()).collect();
    assert_eq!(peers, [true, false]);
    assert_eq!(late.ask("watch_rooms", json!({})).await["rooms"][0]["call"], 2);

    // Leaving the room leaves the call.
    ann.ask("leave_room", json!({"room": "r"})).await;
    assert_eq!(bob.until_type("call_left").await["payload"]["peer"], first["peer"]);
    bob.ask("leave_call", json!({"room": "r"})).await;
    assert_eq!(late.ask("enter_room", json!({"room": "r"})).await.get("call"), None);
}

#[tokio::test]
async fn clean_close_leaves_call_at_once_and_lost_connection_can_return() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut ann = Client::in_room(&server, "r").await;
    join(&mut ann).await;
    let mut bob = Client::in_room(&server, "r").await;
    let left = join(&mut bob).await["peer"].clone();
    bob.close(1001).await;
    let started = std::time::Instant::now();
    assert_eq!(ann.until_type("call_left").await["payload"]["peer"], left);
    let at_once = started.elapsed();

    let mut cleo = Client::connected(&server).await;
    let resume = cleo.ask("hello", json!({"protocol": 2})).await["resume"].clone();
    cleo.ask("enter_room", json!({"room": "r"})).await;
    let slot = join(&mut cleo).await["peer"].clone();
    ann.until_type("call_joined").await;
    drop(cleo);
    let mut back = Client::connected(&server).await;
    back.ask("hello", json!({"protocol": 2, "resume": resume})).await;
    back.ask("enter_room", json!({"room": "r"})).await;
    let again = back.ask("join_call", json!({"room": "r", "peer": slot})).await;
    assert_eq!(again["peer"], slot);
    let joined = ann.until(|frame| frame["type"].as_str().unwrap().starts_with("call_")).await;
    assert_eq!(
        (&joined["type"], &joined["payload"]["peer"]),
        (&json!("call_joined"), &slot),
        "the others did not see it leave"
    );

    // A peer that does not come back leaves after the grace period, not before.
    drop(back);
    let started = std::time::Instant::now();
    assert_eq!(ann.until_type("call_left").await["payload"]["peer"], slot);
    assert!(started.elapsed() > at_once + Duration::from_secs(1));
    // The slot was released: it is not given out again.
    let mut late = Client::in_room(&server, "r").await;
    assert_ne!(late.ask("join_call", json!({"room": "r", "peer": slot})).await["peer"], slot);
}

#[tokio::test]
async fn outsiders_cannot_signal_into_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, mut outsider) = (Client::in_room(&server, "r").await, Client::in_room(&server, "r").await);
    let mut elsewhere = Client::in_room(&server, "other").await;
    let (me, them) = (join(&mut ann).await["peer"].clone(), json!("00000000000000ff"));
    elsewhere.ask("join_call", json!({"room": "other"})).await;
    received_until_now(&mut ann).await;
    for stranger in [&mut outsider, &mut elsewhere] {
        let not_there = if stranger.refusal("leave_call", json!({"room": "r"})).await == "NOT_IN_CALL" {
            "NOT_IN_CALL"
        } else {
            "NOT_IN_ROOM"
        };
        for (kind, payload) in [
            ("offer", offer(&me)),
            ("answer", answer(&me)),
            ("ice", json!({"room": "r", "peer": me})),
            ("media", json!({"room": "r", "audio": true, "video": true, "screen": true})),
        ] {
            assert_eq!(stranger.refusal(kind, payload).await, not_there, "{kind}");
        }
    }
    assert_eq!(ann.refusal("offer", offer(&them)).await, "NOT_IN_CALL");
    assert_eq!(ann.refusal("offer", offer(&me)).await, "BAD_CALL_STATE");
    assert_eq!(received_until_now(&mut ann).await, [] as [Value; 0]);
    assert_eq!(Client::greeted(&server).await.refusal("join_call", json!({"room": "r"})).await, "NOT_IN_ROOM");
}

#[tokio::test]
async fn invalid_signals_are_refused_and_not_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let (mut ann, mut bob) = (Client::in_room(&server, "r").await, Client::in_room(&server, "r").await);
    join(&mut ann).await;
    let peer = join(&mut bob).await["peer"].clone();
    received_until_now(&mut bob).await;
    let described =
        |kind: &str, sdp: &str| json!({"room": "r", "peer": peer, "description": {"type": kind, "sdp": sdp}});
    let ice = |candidate: Value| json!({"room": "r", "peer": peer, "candidate": candidate});
    let long = format!("{SDP}{}", "a=x\r\n".repeat(8_000));
    let cases = [
        ("answer", described("answer", SDP), "BAD_CALL_STATE"),
        ("offer", described("answer", SDP), "SDP_INVALID"),
        ("offer", described("rollback", SDP), "SDP_INVALID"),
        ("offer", described("offer", "hello"), "SDP_INVALID"),
        ("offer", described("offer", &long), "SDP_TOO_LARGE"),
        ("offer", json!({"room": "r", "peer": peer}), "MISSING_FIELD"),
        ("offer", json!({"room": "r", "peer": "x", "description": {"type": "offer", "sdp": SDP}}), "BAD_TYPE"),
        (
            "offer",
            json!({"room": "r", "peer": peer, "description": {"type": "offer", "sdp": SDP, "x": 1}}),
            "UNKNOWN_FIELD",
        ),
        ("ice", ice(json!({"candidate": "rm -rf", "sdpMid": "0"})), "SDP_INVALID"),
        ("ice", ice(json!({"candidate": "x".repeat(2_000)})), "SDP_TOO_LARGE"),
        ("ice", ice(json!({"candidate": "", "sdpMLineIndex": -1})), "BAD_NUMBER"),
        ("ice", ice(json!({"candidate": "", "usernameFragment": "x"})), "UNKNOWN_FIELD"),
        ("media", json!({"room": "r", "audio": 1, "video": true, "screen": true}), "BAD_TYPE"),
        ("join_call", json!({"room": "r", "peer": 7}), "BAD_TYPE"),
    ];
    for (kind, payload, code) in cases {
        let shown = payload.to_string().chars().take(120).collect::<String>();
        assert_eq!(ann.refusal(kind, payload).await, code, "{kind} {shown}");
    }
    assert_eq!(received_until_now(&mut bob).await, [] as [Value; 0]);
}

#[tokio::test]
async fn seventh_peer_is_refused_until_one_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::generous(folder.path());
    let mut talkers = Vec::new();
    for _ in 0..6 {
        let mut talker = Client::in_room(&server, "r").await;
        join(&mut talker).await;
        talkers.push(talker);
    }
    let mut seventh = Client::in_room(&server, "r").await;
    assert_eq!(seventh.refusal("join_call", json!({"room": "r"})).await, "CALL_FULL");
    // A peer in the call may join again.
    assert_eq!(join(&mut talkers[0]).await["peers"].as_array().unwrap().len(), 5);
    talkers.pop().unwrap().ask("leave_call", json!({"room": "r"})).await;
    assert_eq!(join(&mut seventh).await["peers"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn signals_are_rate_limited() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path()).limit("signals_per_second", 1).limit("signal_burst", 20).start();
    let (mut ann, mut bob) = (Client::in_room(&server, "r").await, Client::in_room(&server, "r").await);
    let peer = join(&mut ann).await["peer"].clone();
    join(&mut bob).await;
    let mut refused = Value::Null;
    for _ in 0..20 {
        let answer = bob.answer("ice", json!({"room": "r", "peer": peer})).await;
        if answer["type"] == "error" {
            refused = answer["payload"].clone();
        }
    }
    assert_eq!(refused["code"], "RATE_LIMITED");
    assert!(refused["retry_after_ms"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn turn_servers_have_expiring_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path())
        .variable("NOOM_ICE_STUN", "stun:stun.example:3478")
        .variable("NOOM_ICE_TURN", "turn:turn.example:3478,turns:turn.example:5349")
        .variable("NOOM_ICE_TURN_SECRET", "north")
        .variable("NOOM_ICE_TURN_TTL_SECONDS", "600")
        .start();
    let servers = join(&mut Client::in_room(&server, "r").await).await["ice_servers"].clone();
    assert_eq!(servers[0], json!({"urls": ["stun:stun.example:3478"]}));
    assert_eq!(servers[1]["urls"].as_array().unwrap().len(), 2);
    let (expires, _user) = servers[1]["username"].as_str().unwrap().split_once(':').unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let left = expires.parse::<u64>().unwrap() - now;
    assert!((590..=600).contains(&left), "{left} s");
    assert!(!servers[1]["credential"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn lifetime_of_credentials_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Setup::in_folder(folder.path())
        .variable("NOOM_ICE_TURN", "turn:turn.example:3478")
        .variable("NOOM_ICE_TURN_SECRET", "north")
        .variable("NOOM_ICE_TURN_TTL_SECONDS", "600")
        .start();
    let joined = join(&mut Client::in_room(&server, "r").await).await;
    assert_eq!(joined["ice_seconds"], 600);
}
