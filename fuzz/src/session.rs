//! The browser's session: each line is what happens to it. A line that is no word of the page's is a
//! frame of the server's.

use std::collections::BTreeMap;

use noom::client::session::{Action, Ask, Change, Event, Session};
use noom::protocol::frame::Post;
use noom::protocol::{ClientFrame, MessageKey};

/// The connection, as the browser has it.
#[derive(Clone, Copy, PartialEq)]
enum Socket {
    None,
    Opening,
    Open,
}

struct Page {
    session: Session,
    now: u64,
    socket: Socket,
    /// Frames sent over this connection.
    sent: usize,
    posts: u128,
    /// The last message that was shown, by room.
    shown: BTreeMap<String, u64>,
}

/// Whatever a server says, a page sends only frames that can be read, `hello` first, shows a room's
/// messages without gap or repetition, and does not wake up again and again for nothing.
pub fn session(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut page =
        Page { session: Session::new(1), now: 0, socket: Socket::None, sent: 0, posts: 0, shown: BTreeMap::new() };
    page.handle(Event::Start);
    text.lines().for_each(|line| page.line(line));
}

impl Page {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let room = || rest.split(' ').next().unwrap_or_default().to_owned();
        let event = match word {
            "open" if self.socket == Socket::Opening => {
                self.socket = Socket::Open;
                self.sent = 0;
                Event::Opened
            }
            "close" if self.socket != Socket::None => {
                self.socket = Socket::None;
                Event::Closed(rest.parse().unwrap_or(1006))
            }
            "wait" => return self.wait(rest.parse::<u64>().unwrap_or(1_000) % 1_000_000),
            "awake" => Event::Awake,
            "offline" => Event::Offline,
            "reconnect" => Event::Ask(Ask::ReconnectNow),
            "enter" => Event::Ask(Ask::Enter { room: room(), after: None }),
            "leave" => {
                self.shown.remove(&room());
                Event::Ask(Ask::Leave { room: room() })
            }
            "post" => {
                self.posts += 1;
                Event::Ask(Ask::Post(Post {
                    room: room(),
                    key: MessageKey::from_random(self.posts),
                    text: rest.into(),
                }))
            }
            "rename" => Event::Ask(Ask::Rename { nickname: rest.into() }),
            "older" => Event::Ask(Ask::Older { room: room(), before: 100, limit: 50 }),
            "watch" => Event::Ask(Ask::WatchRooms(rest.is_empty())),
            "join" => Event::Ask(Ask::JoinCall { room: room() }),
            "hang-up" => Event::Ask(Ask::LeaveCall { room: room() }),
            _ if self.socket == Socket::Open => Event::Received(line.to_owned()),
            _ => return,
        };
        self.handle(event);
    }

    fn wait(&mut self, time: u64) {
        self.now += time;
        if self.session.next_wake().is_some_and(|wake| wake <= self.now) {
            self.handle(Event::Tick);
            let wake = self.session.next_wake();
            assert!(wake.is_none_or(|wake| wake > self.now), "woken at {}, it wants to be at {wake:?}", self.now);
        }
    }

    fn handle(&mut self, event: Event) {
        self.session.handle(self.now, event);
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect(_) => self.socket = Socket::Opening,
                Action::Drop => self.socket = Socket::None,
                Action::Send(text) => {
                    let frame = ClientFrame::decode(&text).expect("it sends what can be read");
                    assert_eq!(frame.command.name() == "hello", self.sent == 0, "hello is the first, and only that");
                    self.sent += 1;
                }
                Action::Tell(Change::Entered(ack)) => drop(self.shown.insert(ack.room, ack.head)),
                Action::Tell(Change::Message(message)) => {
                    let shown = self.shown.get_mut(&message.room).expect("only what one is in");
                    assert_eq!(message.seq, *shown + 1);
                    *shown = message.seq;
                }
                Action::Probe(_) | Action::Keep(_) | Action::Forget(_) | Action::Tell(_) => {}
            }
        }
    }
}
