//! The browser's side: a session with the server that survives its connections, and the state that pages show.
//!
//! `session` is a pure state machine. `driver` runs it in the browser, over `websocket` or, where WebSocket is blocked,
//! over `fallback`. `tabs` keeps the fallback from using up the browser's connections. `state` holds what views read. All of it also compiles natively, where nothing starts it.

mod backoff;
pub mod call;
pub(crate) mod cookies;
mod driver;
pub(crate) mod event_listener;
mod fallback;
pub(crate) mod service_worker;
pub mod session;
pub mod state;
pub(crate) mod storage;
mod tabs;
pub mod timeline;
pub mod timer;
mod unsent;
mod websocket;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use leptos::ev;
use leptos::prelude::*;
use leptos::task::spawn_local;

use crate::protocol::change::{DeleteMessage, EditMessage, PinMessage, React};
use crate::protocol::{AttachmentId, MessageKey, MessageRef, Place, UserId};
use session::{Event, Intent, MessageCommand, Search, UnsentMessage};
use state::{Older, Room, State};

/// Messages per request for older ones.
const HISTORY_PAGE: u64 = 100;

/// The client that components use: the state to show, and methods for what the user does. It also exists while the
/// server renders a page, and does nothing there. Copies are handles to the same client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The state that views show.
    pub state: State,
    events: StoredValue<UnboundedSender<Event>>,
    inbox: StoredValue<Option<UnboundedReceiver<Event>>>,
}

impl Client {
    /// Creates a client that has not started.
    pub fn new() -> Self {
        let (events, inbox) = unbounded();
        Self { state: State::new(), events: StoredValue::new(events), inbox: StoredValue::new(Some(inbox)) }
    }

    /// Connects, and stays connected. Only in the browser; further calls do nothing.
    pub fn start(&self) {
        let Some(inbox) = self.inbox.try_update_value(Option::take).flatten() else { return };
        self.send(Event::Start);
        self.dispatch(Intent::WatchMyRooms);
        unsent::all().into_iter().for_each(|post| self.dispatch(Intent::Post(post)));
        for (name, event) in [
            ("online", Event::Awake),
            ("focus", Event::Awake),
            ("offline", Event::Offline),
            // Of a page that the browser froze to save power (Page Lifecycle).
            ("resume", Event::Slept),
        ] {
            let this = *self;
            let handle = window_event_listener_untyped(name, move |_| this.send(event.clone()));
            on_cleanup(move || handle.remove());
        }
        let this = *self;
        let handle = window_event_listener(ev::pagehide, move |event| {
            if event.persisted() {
                this.send(Event::Suspend);
            }
        });
        on_cleanup(move || handle.remove());
        let handle = window_event_listener(ev::pageshow, move |event| {
            if event.persisted() {
                this.send(Event::Start);
            }
        });
        on_cleanup(move || handle.remove());
        let handle = window_event_listener(ev::visibilitychange, move |_| {
            this.send(if document().hidden() { Event::Hidden } else { Event::Awake });
        });
        on_cleanup(move || handle.remove());
        spawn_local(driver::run(self.state, inbox));
    }

    /// Passes an intent to the session.
    pub fn dispatch(&self, intent: Intent) {
        self.send(Event::Intent(intent));
    }

    /// Shows a room, and stays in it until [`Client::leave`].
    pub fn enter(&self, room: Room) {
        self.state.show(room);
        self.dispatch(Intent::Enter { room: room.name.get_value(), after: Some(room.position()) });
    }

    /// Hides a room, and leaves it.
    pub fn leave(&self, room: Room) {
        self.state.hide(room);
        room.timeline.clear();
        if let Some(name) = room.name.try_get_value() {
            self.dispatch(Intent::Leave { room: name });
        }
    }

    /// Posts a message: now, or when there is a connection.
    pub fn post(&self, room: Room, message: NewMessage) {
        let NewMessage { text, reply_to, files, mentions } = message;
        let (room, attachments) = (room.name.get_value(), (!files.is_empty()).then_some(files));
        let mentions = (!mentions.is_empty()).then_some(mentions);
        self.dispatch(Intent::Post(UnsentMessage { room, key: new_key(), text, reply_to, attachments, mentions }));
    }

    /// Replaces the text of a message of this user. `edits`: the number of edits of the one that was changed; `mentions`: as
    /// in [`NewMessage`].
    pub fn edit(&self, room: Room, target: MessageRef, edits: u64, text: String, mentions: Vec<UserId>) {
        let (room, mentions) = (room.id.get_value(), (!mentions.is_empty()).then_some(mentions));
        self.change(MessageCommand::Edit(EditMessage { room, target, edits, text, mentions }));
    }

    /// Deletes a message of this user.
    pub fn delete(&self, room: Room, seq: u64) {
        let (room, target) = (room.id.get_value(), room.reference(seq));
        self.change(MessageCommand::Delete(DeleteMessage { room, target }));
    }

    /// Deletes all messages of this user in a room. The answer comes as [`Room::own_deletion`].
    pub fn delete_own(&self, room: Room) {
        self.dispatch(Intent::DeleteOwn { room: room.name.get_value() });
    }

    /// Adds a reaction to a message, or takes it back.
    pub fn react(&self, room: Room, seq: u64, emoji: &str, on: bool) {
        let (room, target) = (room.id.get_value(), room.reference(seq));
        self.change(MessageCommand::React(React { room, target, emoji: emoji.to_owned(), on }));
    }

    /// Pins a message, or unpins it.
    pub fn pin(&self, room: Room, seq: u64, on: bool) {
        let (room, target) = (room.id.get_value(), room.reference(seq));
        self.change(MessageCommand::Pin(PinMessage { room, target, on }));
    }

    fn change(&self, command: MessageCommand) {
        self.dispatch(Intent::Change(command));
    }

    /// Sends a failed message again.
    pub fn retry(&self, room: Room, key: MessageKey) {
        if let Some(post) = room.retry(key) {
            self.dispatch(Intent::Post(post));
        }
    }

    /// Gives up a failed message.
    pub fn discard(&self, room: Room, key: MessageKey) {
        room.discard(key);
        self.dispatch(Intent::Discard(key));
    }

    /// Announces a keystroke in the composer. Throttled by the session.
    pub fn typing(&self, room: Room) {
        self.dispatch(Intent::Typing { room: room.name.get_value() });
    }

    /// Notes that the user has read a room up to a position.
    pub fn mark_read(&self, room: Room, seq: u64) {
        self.dispatch(Intent::MarkRead { room: room.name.get_value(), target: room.reference(seq) });
    }

    /// Loads the messages of a gap: those before the position `before`.
    pub fn load_missing(&self, room: Room, before: u64) {
        if room.start_filling(before) {
            self.load_history(room, before);
        }
    }

    /// Loads the messages of a gap from its other side: those after the position `after`, which is shown.
    pub fn load_missing_after(&self, room: Room, after: u64, before: u64) {
        self.load_missing(room, before.min(after + 1 + HISTORY_PAGE));
    }

    /// Loads messages older than the oldest one shown, unless they are being loaded.
    pub fn load_older(&self, room: Room) {
        let available = matches!(room.older.get_untracked(), Older::More | Older::Failed);
        let Some(before) = room.timeline.oldest_seq().filter(|_| available) else { return };
        room.older.set(Older::Loading);
        self.load_history(room, before);
    }

    /// Searches the messages of a room, or of all rooms of the user; with `before`, those before a place. The answer comes
    /// as [`Room::search_answer`].
    pub fn search(&self, room: Room, in_all: bool, text: String, before: Option<Place>) {
        self.dispatch(Intent::Search(Search { room: room.name.get_value(), in_all, text, before }));
    }

    /// Loads the pinned messages of a room. The answer comes as
    /// [`Room::search_answer`], without words.
    pub fn load_pins(&self, room: Room) {
        self.dispatch(Intent::Pins { room: room.name.get_value() });
    }

    /// Loads more members of the room, or the current ones of a crowded room.
    pub fn load_members(&self, room: Room) {
        if let Some(after) = room.start_loading_members() {
            self.dispatch(Intent::Members { room: room.name.get_value(), after });
        }
    }

    fn load_history(&self, room: Room, before: u64) {
        self.dispatch(Intent::Older { room: room.name.get_value(), before, limit: HISTORY_PAGE });
    }

    fn send(&self, event: Event) {
        // Fails after the page is gone, when nothing is left to do.
        let _ = self.events.try_with_value(|events| events.unbounded_send(event).is_ok());
    }
}

/// A message to post.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// The text, checked.
    pub text: String,
    /// The message that it replies to.
    pub reply_to: Option<MessageRef>,
    /// Its files: finished uploads.
    pub files: Vec<AttachmentId>,
    /// The users whose nicknames follow an `@` in the text.
    pub mentions: Vec<UserId>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

/// Creates the key of a new message. `crypto.randomUUID` is missing on pages without HTTPS.
fn new_key() -> MessageKey {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("crypto.getRandomValues exists in every browser that runs WebAssembly");
    MessageKey::from_random(u128::from_be_bytes(bytes))
}
