//! PROTOCOL.md says what the program does: its examples are frames, and nothing is left out.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use noom::protocol::call::{PeerFrame, REACTIONS};
use noom::protocol::{AckKind, ClientFrame, CloseCode, ErrorCode, ServerFrame};
use serde_json::Value;

const TEXT: &str = include_str!("../PROTOCOL.md");

/// The fenced examples: what stands behind `json` on the fence, and the frame.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = TEXT.split("```json ").skip(1);
    blocks
        .map(|block| block.split_once('\n').unwrap())
        .map(|(kind, rest)| (kind, rest.split("\n```").next().unwrap()))
        .collect()
}

fn same_json(a: &str, b: &str) {
    let parse = |text| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parse(a), parse(b));
}

#[test]
fn every_example_decodes_and_encodes_to_itself() {
    let mut commands = std::collections::BTreeMap::<&str, AckKind>::new();
    let (mut acked, mut count) = (Vec::new(), 0);
    for (kind, text) in examples() {
        count += 1;
        if kind == "client" {
            let frame = ClientFrame::decode(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            commands.insert(frame.command.name(), frame.command.ack_kind());
            same_json(&frame.encode(), text);
        } else if kind == "peer" {
            let frame = PeerFrame::decode(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            same_json(&frame.encode(), text);
        } else {
            let expected = kind.strip_prefix("ack ").map(|name| {
                acked.push(name);
                commands[name]
            });
            let frame = ServerFrame::decode(text, |_| expected).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            same_json(&frame.encode(), text);
        }
    }
    assert!(count > 20);
    for name in commands.keys() {
        assert!(acked.contains(name), "{name} has an example of its answer");
    }
}

#[test]
fn every_frame_and_code_is_documented() {
    let shown: Vec<_> =
        examples().into_iter().map(|(_, text)| serde_json::from_str::<Value>(text).unwrap()["type"].clone()).collect();
    let types = [
        "hello",
        "ping",
        "nickname",
        "enter_room",
        "leave_room",
        "new_message",
        "history",
        "watch_rooms",
        "unwatch_rooms",
        "ack",
        "error",
        "welcome",
        "bye",
        "room_change",
        "going_away",
        "join_call",
        "leave_call",
        "call_joined",
        "call_left",
        "offer",
        "answer",
        "ice",
        "media",
        "speaking",
        "hand",
        "reaction",
    ];
    for name in types {
        assert!(shown.iter().any(|shown| shown == name), "{name} has an example");
    }
    for emoji in REACTIONS {
        assert!(TEXT.contains(emoji), "{emoji} stands there");
    }
    for code in ErrorCode::ALL {
        assert!(TEXT.contains(&format!("`{code}`")), "{code} stands there");
    }
    let codes = [
        CloseCode::Protocol,
        CloseCode::Binary,
        CloseCode::NotUtf8,
        CloseCode::TooBig,
        CloseCode::Internal,
        CloseCode::Restarting,
        CloseCode::Overloaded,
        CloseCode::BadFrames,
        CloseCode::UnsupportedVersion,
        CloseCode::Replaced,
        CloseCode::RateAbuse,
        CloseCode::HelloTimeout,
        CloseCode::HeartbeatTimeout,
        CloseCode::SlowConsumer,
    ];
    for code in codes {
        assert!(TEXT.contains(&format!("| {} |", code.number())), "{code:?} stands there");
    }
}
