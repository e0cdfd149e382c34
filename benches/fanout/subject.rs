//! The servers: how each is started, and what its clients say.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::machine::{node, peers, target};
use crate::server::{Server, noom_in, start};

/// The argument that makes this program the bare server, without its dashes.
pub(crate) const BARE_SERVER: &str = "bare-server";

/// A server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Subject {
    /// Noom, with everything on; limits on rates and connections are raised.
    Noom,
    /// Socket.IO on Node.
    SocketIo,
    /// The package `ws` on Node, with rooms of one's own.
    Ws,
    /// Bun's built-in publish and subscribe, which is µWebSockets.
    Bun,
    /// Socket.IO's protocol in Rust.
    Socketioxide,
    /// No server at all: a loop of `send()`, the floor.
    Bare,
    /// The same, with 16 messages in each `send()`.
    BareGathered,
}

/// How a client enters a room: what it says, and what the server says when that is done.
pub(crate) struct Exchange {
    /// What the client says, if it is its turn.
    pub(crate) say: Option<String>,
    /// Part of the frame that is waited for.
    pub(crate) until: &'static str,
}

impl Subject {
    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noom => "Noom",
            Self::SocketIo => "socket.io",
            Self::Ws => "ws",
            Self::Bun => "Bun",
            Self::Socketioxide => "socketioxide",
            Self::Bare => "bare send()",
            Self::BareGathered => "bare send(), 16 messages each",
        }
    }

    /// Starts it and waits until it listens. Noom keeps its data in `data`.
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
            Self::Noom => noom_in(data),
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

    /// Where its WebSocket is.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Noom => "/ws",
            Self::SocketIo | Self::Socketioxide => "/socket.io/?EIO=4&transport=websocket",
            _ => "/",
        }
    }

    /// How a client enters a room after the upgrade.
    pub(crate) fn enter(self, room: &str) -> Vec<Exchange> {
        let then = |say: String, until| Exchange { say: Some(say), until };
        match self {
            Self::Noom => vec![
                then(r#"{"type":"hello","payload":{"protocol":1},"id":1}"#.into(), r#""id":1}"#),
                then(format!(r#"{{"type":"enter_room","payload":{{"room":"{room}"}},"id":2}}"#), r#""id":2}"#),
            ],
            Self::SocketIo | Self::Socketioxide => vec![
                Exchange { say: None, until: "0{" },
                then("40".into(), "40{"),
                then(format!(r#"420["enter_room",{{"room":"{room}"}}]"#), "430["),
            ],
            Self::Ws | Self::Bun => {
                vec![then(format!(r#"{{"type":"enter_room","payload":{{"room":"{room}"}}}}"#), r#""ack""#)]
            }
            Self::Bare | Self::BareGathered => Vec::new(),
        }
    }

    /// What a client says to say something. Noom wants each message to have a key of its own.
    pub(crate) fn post(self, room: &str, number: u64, text: &str) -> String {
        match self {
            Self::Noom => format!(
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

    /// What every delivery begins with.
    pub(crate) fn delivery(self) -> &'static [u8] {
        match self {
            Self::Noom | Self::Ws | Self::Bun => br#"{"type":"new_message""#,
            Self::SocketIo | Self::Socketioxide => br#"42["new_message""#,
            Self::Bare | Self::BareGathered => b"#",
        }
    }

    /// What stands before a delivery's place in the room, where the server gives it one.
    pub(crate) fn place(self) -> Option<&'static [u8]> {
        (self == Self::Noom).then_some(br#""seq":"#)
    }

    /// The text that must be answered with another, or the connection is given up.
    pub(crate) fn heartbeat(self) -> Option<(&'static [u8], &'static str)> {
        matches!(self, Self::SocketIo | Self::Socketioxide).then_some((b"2", "3"))
    }

    /// What a refusal begins with.
    pub(crate) fn refusal(self) -> &'static [u8] {
        br#"{"type":"error""#
    }
}

/// Bun's program, from the package of this machine's kind.
fn bun() -> Outcome<PathBuf> {
    let folders = std::fs::read_dir(peers().join("node_modules/@oven")).map_err(|_| "Bun is not installed")?;
    let programs = folders.filter_map(|folder| Some(folder.ok()?.path().join("bin/bun")));
    programs.into_iter().find(|program| program.exists()).ok_or_else(|| "Bun is not installed".into())
}
