//! The servers under test: how each is started, and the messages of its clients.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::machine::{node, peers, target};
use crate::server::{self, Server, noom_in, start};

/// The argument that makes this program the bare server, without the dashes.
pub(crate) const BARE_SERVER: &str = "bare-server";

/// A server under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// Noom with all features on; rate and connection limits are raised.
    Noom,
    /// Another build of Noom with the same protocol version, which `NOOM_BENCH_AGAINST` names.
    OtherNoom,
    /// Socket.IO on Node.js.
    SocketIo,
    /// The npm package `ws` on Node.js, with hand-written rooms.
    Ws,
    /// Bun's built-in publish/subscribe, which is µWebSockets.
    Bun,
    /// The Socket.IO protocol in Rust.
    Socketioxide,
    /// The baseline: a loop of `send()` without any server logic.
    Bare,
    /// The baseline with 16 messages in each `send()`.
    BareGathered,
}

/// One step of joining a room.
pub(crate) struct JoinStep {
    /// Text to send first, if any.
    pub(crate) send: Option<String>,
    /// Substring of the frame that completes the step.
    pub(crate) until: &'static str,
}

impl Subject {
    /// Name in tables and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noom => "Noom",
            Self::OtherNoom => "Noom, other build",
            Self::SocketIo => "socket.io",
            Self::Ws => "ws",
            Self::Bun => "Bun",
            Self::Socketioxide => "socketioxide",
            Self::Bare => "bare send()",
            Self::BareGathered => "bare send(), 16 messages each",
        }
    }

    /// Starts the server and waits until it listens. Noom stores its data in `data`.
    pub(crate) fn start(self, data: &Path) -> Outcome<Server> {
        let on_node = |file: &str| {
            let mut command = Command::new(node());
            command.arg(peers().join(file)).env("NODE_ENV", "production");
            command
        };
        let bare = |gather: &str| -> Outcome<Command> {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([&format!("--{BARE_SERVER}"), gather]);
            Ok(command)
        };
        start(match self {
            Self::Noom => noom_in(&server::noom(), data),
            Self::OtherNoom => noom_in(&server::other_noom().ok_or("no other build is named")?, data),
            Self::SocketIo => on_node("socketio.js"),
            Self::Ws => on_node("ws.js"),
            Self::Bun => {
                let mut command = Command::new(bun()?);
                command.arg(peers().join("bun.js")).env("NODE_ENV", "production");
                command
            }
            Self::Socketioxide => Command::new(target().join("peers/release/socketioxide-peer")),
            Self::Bare => bare("1")?,
            Self::BareGathered => bare("16")?,
        })
    }

    /// Path of the WebSocket endpoint.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Noom | Self::OtherNoom => "/ws",
            Self::SocketIo | Self::Socketioxide => "/socket.io/?EIO=4&transport=websocket",
            _ => "/",
        }
    }

    /// The steps that join a room after the upgrade.
    pub(crate) fn enter(self, room: &str) -> Vec<JoinStep> {
        let step = |send: String, until| JoinStep { send: Some(send), until };
        match self {
            Self::Noom | Self::OtherNoom => vec![
                step(r#"{"type":"hello","payload":{"protocol":2},"id":1}"#.into(), r#""id":1}"#),
                step(format!(r#"{{"type":"enter_room","payload":{{"name":"{room}"}},"id":2}}"#), r#""id":2}"#),
            ],
            Self::SocketIo | Self::Socketioxide => vec![
                JoinStep { send: None, until: "0{" },
                step("40".into(), "40{"),
                step(format!(r#"420["enter_room",{{"room":"{room}"}}]"#), "430["),
            ],
            Self::Ws | Self::Bun => {
                vec![step(format!(r#"{{"type":"enter_room","payload":{{"room":"{room}"}}}}"#), r#""ack""#)]
            }
            Self::Bare | Self::BareGathered => Vec::new(),
        }
    }

    /// The id by which messages name a room that was entered: its name, or in Noom the id in the answer to the last step of
    /// [`Self::enter`].
    pub(crate) fn room_id(self, name: &str, answer: &[u8]) -> Outcome<String> {
        if matches!(self, Self::Noom | Self::OtherNoom) { entered_room(answer) } else { Ok(name.to_owned()) }
    }

    /// The frame that posts a message in the room with a [`Self::room_id`]. Noom requires a unique key per message.
    pub(crate) fn post(self, room: &str, number: u64, text: &str) -> String {
        match self {
            Self::Noom | Self::OtherNoom => format!(
                r#"{{"type":"new_message","payload":{{"room":"{room}","key":"00000000-0000-4000-8000-{number:012x}","text":"{text}"}}}}"#
            ),
            Self::SocketIo | Self::Socketioxide => {
                format!(r#"42["new_message",{{"room":"{room}","text":"{text}"}}]"#)
            }
            Self::Ws | Self::Bun => {
                format!(r#"{{"type":"new_message","payload":{{"room":"{room}","text":"{text}"}}}}"#)
            }
            Self::Bare | Self::BareGathered => text.to_owned(),
        }
    }

    /// The bytes that every delivery begins with.
    pub(crate) fn delivery_prefix(self) -> &'static [u8] {
        match self {
            Self::Noom | Self::OtherNoom | Self::Ws | Self::Bun => br#"{"type":"new_message""#,
            Self::SocketIo | Self::Socketioxide => br#"42["new_message""#,
            Self::Bare | Self::BareGathered => b"#",
        }
    }

    /// The bytes before a delivery's sequence number, for servers that assign one.
    pub(crate) fn seq_prefix(self) -> Option<&'static [u8]> {
        matches!(self, Self::Noom | Self::OtherNoom).then_some(br#""seq":"#)
    }

    /// The heartbeat text and its answer, for servers that require one.
    pub(crate) fn heartbeat(self) -> Option<(&'static [u8], &'static str)> {
        matches!(self, Self::SocketIo | Self::Socketioxide).then_some((b"2", "3"))
    }

    /// The bytes that an error frame begins with.
    pub(crate) fn error_prefix(self) -> &'static [u8] {
        br#"{"type":"error""#
    }
}

/// Returns the id of the room from Noom's answer to `enter_room`.
pub(crate) fn entered_room(answer: &[u8]) -> Outcome<String> {
    const BEFORE: &[u8] = br#""room":""#;
    const DIGITS: usize = 16;
    let at = memchr::memmem::find(answer, BEFORE).ok_or("the answer names no room")? + BEFORE.len();
    let id = answer.get(at..at + DIGITS).ok_or("the answer has no room id")?;
    Ok(String::from_utf8(id.to_vec())?)
}

/// Finds the Bun binary in the npm package for this architecture.
fn bun() -> Outcome<PathBuf> {
    let folders = std::fs::read_dir(peers().join("node_modules/@oven")).map_err(|_| "Bun is not installed")?;
    let programs = folders.filter_map(|folder| Some(folder.ok()?.path().join("bin/bun")));
    programs.into_iter().find(|program| program.exists()).ok_or_else(|| "Bun is not installed".into())
}
