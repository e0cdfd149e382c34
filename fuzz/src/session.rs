//! Fuzzes the browser's session. Each line of the input is an event; a line that is not one of the keywords below is a
//! frame of the server.

use std::collections::BTreeMap;

use noom::client::session::{Action, Event, Intent, MessageCommand, Search, Session, UnsentMessage, Update};
use noom::protocol::change::DeleteMessage;
use noom::protocol::{ClientFrame, MessageKey, MessageRef, RoomId};

/// The connection of the browser.
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
    /// The number of frames sent over this connection.
    sent: usize,
    posts: u128,
    /// The position of the last message shown, by room.
    shown: BTreeMap<RoomId, u64>,
    /// The revision of the last change shown, by room.
    revs: BTreeMap<RoomId, u64>,
    /// The rooms that were entered, by name.
    ids: BTreeMap<String, RoomId>,
}

/// Whatever the server sends, a page sends only valid frames, `hello` first, shows the messages and changes of a room
/// without gap or repetition, and does not wake up repeatedly without reason.
pub fn session(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (session, shown, revs, ids) = (Session::new(1), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut page = Page { session, now: 0, socket: Socket::None, sent: 0, posts: 0, shown, revs, ids };
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
            "slept" => Event::Slept,
            "offline" => Event::Offline,
            "yield" => Event::Yield,
            "suspend" => Event::Suspend,
            "start" => Event::Start,
            "reconnect" => Event::Intent(Intent::ReconnectNow),
            "enter" => Event::Intent(Intent::Enter { room: room(), after: None }),
            "leave" => {
                if let Some(id) = self.ids.remove(&room()) {
                    self.shown.remove(&id);
                }
                Event::Intent(Intent::Leave { room: room() })
            }
            "post" => {
                self.posts += 1;
                let key = MessageKey::from_random(self.posts);
                Event::Intent(Intent::Post(UnsentMessage::of_text(room(), key, rest.into())))
            }
            "delete" => {
                let target = MessageRef { epoch: rest.into(), seq: rest.len() as u64 };
                let room = self.ids.get(&room()).copied().unwrap_or_default();
                Event::Intent(Intent::Change(MessageCommand::Delete(DeleteMessage { room, target })))
            }
            "delete-own" => Event::Intent(Intent::DeleteOwn { room: room() }),
            "rename" => Event::Intent(Intent::Rename { nickname: rest.into() }),
            "older" => Event::Intent(Intent::Older { room: room(), before: 100, limit: 50 }),
            "search" => {
                let in_all = rest.is_empty();
                Event::Intent(Intent::Search(Search { room: room(), in_all, text: rest.into(), before: None }))
            }
            "members" => Event::Intent(Intent::Members { room: room(), after: rest.len() as u64 }),
            "watch" => Event::Intent(Intent::WatchRooms(rest.is_empty())),
            "my-rooms" => Event::Intent(Intent::WatchMyRooms),
            "mark" => {
                let target = MessageRef { epoch: "e".into(), seq: rest.len() as u64 };
                Event::Intent(Intent::MarkRead { room: room(), target })
            }
            "join" => Event::Intent(Intent::JoinCall { room: room() }),
            "hang-up" => Event::Intent(Intent::LeaveCall { room: room() }),
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
            assert!(wake.is_none_or(|wake| wake > self.now), "after a tick at {} the next wake is {wake:?}", self.now);
        }
    }

    fn handle(&mut self, event: Event) {
        self.session.handle(self.now, event);
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Connect(_) => self.socket = Socket::Opening,
                Action::Drop => self.socket = Socket::None,
                Action::Send(text) => {
                    let frame = ClientFrame::decode(&text).expect("the session sends valid frames");
                    assert_eq!(
                        frame.command.name() == "hello",
                        self.sent == 0,
                        "hello is the first frame, and only the first"
                    );
                    self.sent += 1;
                }
                Action::Emit(Update::Entered(ack)) => {
                    self.revs.insert(ack.room, ack.rev);
                    self.shown.insert(ack.room, ack.head);
                    self.ids.insert(ack.name, ack.room);
                }
                Action::Emit(Update::Changed(change)) => {
                    let rev = self.revs.get_mut(&change.room).expect("changes arrive only for entered rooms");
                    assert_eq!(change.state.rev, *rev + 1);
                    *rev = change.state.rev;
                }
                Action::Emit(Update::Message(message)) => {
                    let shown = self.shown.get_mut(&message.room).expect("messages arrive only for entered rooms");
                    assert_eq!(message.seq, *shown + 1);
                    *shown = message.seq;
                }
                Action::Emit(
                    Update::Connection(_)
                    | Update::Me(_)
                    | Update::Build(_)
                    | Update::NotUnderstood
                    | Update::ChangeEnded { .. }
                    | Update::OwnDeletion { .. }
                    | Update::Expired(_)
                    | Update::Named { .. }
                    | Update::Unsent(_)
                    | Update::NotEntered { .. }
                    | Update::Older { .. }
                    | Update::Welcome(_)
                    | Update::Bye(_)
                    | Update::Crowd(_)
                    | Update::Found { .. }
                    | Update::Pins { .. }
                    | Update::Members { .. }
                    | Update::Typing { .. }
                    | Update::Renamed(_)
                    | Update::NotRenamed(_)
                    | Update::Posted { .. }
                    | Update::Rooms(_)
                    | Update::MyRooms(_)
                    | Update::Call { .. },
                )
                | Action::Probe(_)
                | Action::StoreUnsent(_)
                | Action::RemoveUnsent(_) => {}
            }
        }
    }
}
