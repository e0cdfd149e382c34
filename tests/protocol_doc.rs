//! PROTOCOL.md and the code agree: every example in it decodes and encodes to itself, and every frame, error code and
//! close code is documented.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test with its location")]

use std::collections::{BTreeMap, BTreeSet};

use noom::protocol::peer::{PeerFrame, REACTIONS};
use noom::protocol::{AckKind, ClientFrame, CloseCode, Command, ErrorCode, Reading, ServerFrame};
use serde_json::Value;

const TEXT: &str = include_str!("../PROTOCOL.md");

/// Returns the fenced examples: the words after `json` on the fence, and the frame.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = TEXT.split("```json ").skip(1);
    blocks
        .map(|block| block.split_once('\n').unwrap())
        .map(|(kind, rest)| (kind, rest.split("\n```").next().unwrap()))
        .collect()
}

fn assert_same_json(a: &str, b: &str) {
    let parse = |text| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parse(a), parse(b));
}

#[test]
fn protocol_examples_decode_and_encode_to_themselves() {
    let mut commands = BTreeMap::<&str, AckKind>::new();
    let (mut acked, mut count) = (BTreeSet::new(), 0);
    for (kind, text) in examples() {
        count += 1;
        let encoded = match kind {
            "client" => {
                let frame = ClientFrame::decode(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
                commands.insert(frame.command.name(), frame.command.ack_kind());
                frame.encode()
            }
            "peer" => PeerFrame::decode(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).encode(),
            _ => {
                let expected = kind.strip_prefix("ack ").map(|name| {
                    acked.insert(name);
                    commands[name]
                });
                assert!(expected.is_some() || kind == "server", "unknown kind of example: {kind}");
                let frame = ServerFrame::decode(text, Reading::Strict, |_| expected);
                frame.unwrap_or_else(|error| panic!("{text}: {error:?}")).encode()
            }
        };
        assert_same_json(&encoded, text);
    }
    assert!(count > 20);
    for name in Command::NAMES {
        assert!(acked.contains(name), "{name} has no example of its ack");
    }
}

#[test]
fn protocol_documents_every_frame() {
    let shown = |wanted: &str| -> BTreeSet<String> {
        let of_kind = examples().into_iter().filter(|(kind, _)| kind.split(' ').next() == Some(wanted));
        of_kind.map(|(_, text)| serde_json::from_str::<Value>(text).unwrap()["type"].as_str().unwrap().into()).collect()
    };
    let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|&name| name.into()).collect() };
    assert_eq!(shown("client"), names(Command::NAMES), "examples of commands");
    assert_eq!(shown("peer"), names(PeerFrame::NAMES), "examples of frames between peers");
    let from_server = shown("server").into_iter().chain(shown("ack")).collect::<BTreeSet<_>>();
    assert_eq!(from_server, names(ServerFrame::NAMES), "examples of frames from the server");
}

#[test]
fn protocol_summary_lists_every_frame() {
    let summary = TEXT.split("\n## ").find(|section| section.starts_with("Summary")).unwrap();
    for name in Command::NAMES.iter().chain(ServerFrame::NAMES).chain(PeerFrame::NAMES) {
        assert!(summary.contains(&format!("`{name}`")), "{name} is not in the summary");
    }
}

#[test]
fn protocol_documents_every_code_and_reaction() {
    for emoji in REACTIONS {
        assert!(TEXT.contains(emoji), "{emoji} is not documented");
    }
    for code in ErrorCode::ALL {
        assert!(TEXT.contains(&format!("`{code}`")), "{code} is not documented");
    }
    for code in CloseCode::ALL {
        assert!(TEXT.contains(&format!("| {} |", code.number())), "{code:?} is not documented");
    }
}
