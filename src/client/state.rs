//! What pages show, as signals, and how the session's updates change it.
//!
//! Updates are applied one by one: a signal that only kept the latest would lose messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use leptos::prelude::*;

use super::call::Listener;
use super::session::{CallChange, Change, Fate, Link};
use super::timeline::{Entry, Gap, Timeline};
use crate::protocol::call::CallPresence;
use crate::protocol::frame::{Post, Presence};
use crate::protocol::{
    BUILD, EnterRoomAck, ErrorCode, Media, MessageKey, Peer, Position, Refusal, RoomCount, User, UserId,
};

/// What is the same on every page.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The connection.
    pub link: RwSignal<Link>,
    /// Who one is, once the server said so.
    pub me: RwSignal<Option<User>>,
    /// The rooms with people in them, once the server said so.
    pub rooms: RwSignal<Option<Vec<RoomCount>>>,
    /// What became of the name last asked for.
    pub naming: RwSignal<Naming>,
    /// The build that the server runs, when the page is of another.
    pub other_build: RwSignal<Option<String>>,
    /// Hears what happens in the call that one is in.
    pub calls: Listener,
    /// The room that is shown.
    room: RwSignal<Option<Room>>,
}

/// What became of a name that one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Nothing is asked, or not answered yet.
    Open,
    /// One has it.
    Done,
    /// It was refused.
    Refused(ErrorCode),
    /// There is no connection to ask over.
    Unreachable,
}

/// The room that a page shows. A handle: copies show the same.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Its canonical name.
    pub name: StoredValue<String>,
    /// The history that its positions count in.
    epoch: StoredValue<String>,
    /// Who is there, in the order they came.
    pub members: RwSignal<Vec<User>>,
    /// What was said.
    pub timeline: Timeline,
    /// What one has said and the room has not shown yet.
    pub pending: RwSignal<Vec<Pending>>,
    /// What is known of older messages than the oldest shown.
    pub older: RwSignal<Older>,
    /// The places before which missing messages are on their way.
    pub(super) filling: StoredValue<BTreeSet<u64>>,
    /// Why one cannot be in the room.
    pub refusal: RwSignal<Option<ErrorCode>>,
    /// Goes up with every message of others that is appended.
    pub arrived: RwSignal<u64>,
    /// Who is in the room's call.
    pub call: RwSignal<Vec<Peer>>,
    /// Who of the others is writing.
    pub typing: RwSignal<Vec<User>>,
}

/// What is known of older messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// There are none.
    None,
    /// There are some.
    More,
    /// They are on their way.
    Loading,
    /// There are some, but they could not be had; a scroll or a click tries again.
    Failed,
}

impl Older {
    fn when(more: bool) -> Self {
        if more { Self::More } else { Self::None }
    }
}

/// A message that was posted here.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// What was posted.
    pub post: Post,
    /// Where it will stand, once stored.
    pub seq: Option<u64>,
    /// Why it was refused.
    pub failed: Option<Refusal>,
}

impl State {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self {
            link: RwSignal::new(Link::Idle),
            me: RwSignal::new(None),
            rooms: RwSignal::new(None),
            naming: RwSignal::new(Naming::Open),
            other_build: RwSignal::new(None),
            calls: Listener::new(),
            room: RwSignal::new(None),
        }
    }

    /// Directs updates about its room to this handle.
    pub fn show(&self, room: Room) {
        self.room.set(Some(room));
    }

    /// The page with this room is gone.
    pub fn hide(&self, room: Room) {
        self.room.try_update(|shown| {
            if shown.is_some_and(|shown| shown.name == room.name) {
                *shown = None;
            }
        });
    }

    /// Applies what the session tells.
    pub fn apply(&self, change: Change) {
        match change {
            Change::Link(link) => self.link.set(link),
            Change::Me(me) => {
                self.naming.set(Naming::Done);
                if let Some(room) = self.room.get_untracked() {
                    room.rename(&me);
                }
                self.me.set(Some(me));
            }
            Change::Build(build) => self.other_build.set(Some(build).filter(|build| build != BUILD)),
            Change::Rooms(list) => self.rooms.set(Some(list.rooms)),
            Change::NotRenamed(Some(refusal)) => self.naming.set(Naming::Refused(refusal.code)),
            Change::NotRenamed(None) => self.naming.set(Naming::Unreachable),
            Change::Entered(ack) => {
                if let Some(room) = self.shown(&ack.room) {
                    let me = self.me.get_untracked().map(|me| me.id);
                    if let Some(renamed) = ack.members.iter().find(|member| Some(member.id) == me) {
                        self.me.set(Some(renamed.clone()));
                    }
                    room.entered(ack);
                }
            }
            Change::Named { asked, room } => {
                if let Some(shown) = self.shown(&asked) {
                    shown.pending.update(|pending| {
                        pending.iter_mut().for_each(|pending| pending.post.room.clone_from(&room));
                    });
                    shown.name.set_value(room);
                }
            }
            Change::Unsent(post) => {
                if let Some(room) = self.shown(&post.room) {
                    let key = post.key;
                    let waits =
                        room.pending.with_untracked(|pending| pending.iter().any(|other| other.post.key == key));
                    // It may be stored and shown, and only its answer was never heard.
                    if !waits && !room.timeline.has(key) {
                        room.pending.update(|pending| pending.push(Pending { post, seq: None, failed: None }));
                    }
                }
            }
            Change::NotEntered { room, refusal } => {
                if let Some(room) = self.shown(&room) {
                    room.refusal.set(Some(refusal.code));
                }
            }
            Change::Message(message) => {
                if let Some(room) = self.shown(&message.room) {
                    let from_me = self.me.get_untracked().is_some_and(|me| me.id == message.user.id);
                    room.settle(|pending| from_me && pending.post.key == message.key);
                    room.timeline.append(vec![Entry::Message(Arc::new(message))]);
                    if !from_me {
                        room.arrived.update(|count| *count += 1);
                    }
                }
            }
            Change::Older { room, before, history } => {
                if let Some(room) = self.shown(&room) {
                    let oldest = room.timeline.oldest_seq();
                    match history {
                        _ if oldest.is_some_and(|oldest| before > oldest) => {
                            room.filling.try_update_value(|filling| filling.remove(&before));
                            room.timeline.fill(before, history.map(|history| history.messages));
                        }
                        // Asked for when the room was shown before.
                        _ if oldest != Some(before) => {}
                        Some(history) => {
                            room.timeline.prepend(history.messages);
                            room.older.set(Older::when(history.more));
                        }
                        None => room.older.set(Older::Failed),
                    }
                }
            }
            Change::Welcome(Presence { room, user, .. }) => {
                if let Some(room) = self.shown(&room) {
                    room.came(user);
                }
            }
            Change::Bye(Presence { room, user, .. }) => {
                if let Some(room) = self.shown(&room) {
                    room.members.update(|members| members.retain(|member| member.id != user.id));
                    room.timeline.append(vec![Entry::Left(user.nickname)]);
                }
            }
            Change::Typing { room, users } => {
                if let Some(room) = self.shown(&room) {
                    room.typing.set(users);
                }
            }
            Change::Renamed(renamed) => {
                if let Some(room) = self.shown(&renamed.room) {
                    room.rename(&renamed.user);
                }
            }
            Change::Call { room, change } => {
                if let Some(room) = self.shown(&room) {
                    room.call_changed(&change);
                }
                self.calls.tell(change);
            }
            Change::Posted { room, key, fate } => {
                if let Some(room) = self.shown(&room) {
                    room.posted(key, fate);
                }
            }
        }
    }

    fn shown(&self, name: &str) -> Option<Room> {
        self.room.get_untracked().filter(|room| room.name.try_with_value(|own| own == name).unwrap_or(false))
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Room {
    /// A room as the server rendered it.
    pub fn new(ack: EnterRoomAck) -> Self {
        Self {
            name: StoredValue::new(ack.room),
            epoch: StoredValue::new(ack.epoch),
            members: RwSignal::new(ack.members),
            timeline: Timeline::new(ack.messages),
            pending: RwSignal::new(Vec::new()),
            older: RwSignal::new(Older::when(ack.more)),
            filling: StoredValue::new(BTreeSet::new()),
            refusal: RwSignal::new(None),
            arrived: RwSignal::new(0),
            call: RwSignal::new(ack.call.unwrap_or_default()),
            typing: RwSignal::new(Vec::new()),
        }
    }

    /// What the page shows up to now, to resume from.
    pub fn position(self) -> Position {
        Position { epoch: self.epoch.get_value(), seq: self.timeline.newest_seq().unwrap_or(0) }
    }

    /// Shows a failed message as about to be sent again; returns it.
    pub fn retry(self, key: MessageKey) -> Option<Post> {
        self.pending.try_update(|pending| {
            let failed = pending.iter_mut().find(|pending| pending.post.key == key)?;
            failed.failed = None;
            Some(failed.post.clone())
        })?
    }

    /// Shows a failed message no more.
    pub fn discard(self, key: MessageKey) {
        self.settle(|pending| pending.post.key == key && pending.failed.is_some());
    }

    fn entered(self, ack: EnterRoomAck) {
        let newest = self.timeline.newest_seq().unwrap_or(0);
        let other_history =
            self.epoch.try_update_value(|epoch| std::mem::replace(epoch, ack.epoch.clone()) != ack.epoch);
        let fresh: Vec<_> = ack.messages.iter().filter(|message| message.seq > newest).cloned().collect();
        let continues = ack.recovered || fresh.first().is_none_or(|message| message.seq == newest + 1);
        self.settle(|pending| {
            let stored = pending.seq.is_some_and(|seq| seq <= ack.head);
            stored || ack.messages.iter().any(|message| message.key == pending.post.key)
        });
        if other_history == Some(true) || newest > ack.head {
            self.older.set(Older::when(ack.more));
            self.timeline.replace(ack.messages);
            if newest > 0 {
                self.timeline.append(vec![Entry::OtherHistory]);
            }
        } else {
            let gap = (!continues && newest > 0).then_some(Entry::Gap(Gap::Open));
            if newest == 0 {
                self.older.set(Older::when(ack.more));
            } else if self.older.get_untracked() == Older::Failed {
                self.older.set(Older::More);
            }
            let entries = fresh.into_iter().map(|message| Entry::Message(Arc::new(message)));
            self.timeline.append(gap.into_iter().chain(entries).collect());
        }
        self.refusal.set(None);
        self.members.set(ack.members);
        self.call.set(ack.call.unwrap_or_default());
    }

    fn came(self, user: User) {
        let known = self.members.with_untracked(|members| members.iter().any(|member| member.id == user.id));
        if known {
            // A slow reader hears of a departure and a return at once.
            return self.rename(&user);
        }
        self.timeline.append(vec![Entry::Came(user.nickname.clone())]);
        self.members.update(|members| members.push(user));
    }

    fn posted(self, key: MessageKey, fate: Fate) {
        match fate {
            Fate::Shown => self.settle(|pending| pending.post.key == key),
            Fate::Stored(seq) => self.with_pending(key, |pending| pending.seq = Some(seq)),
            Fate::Refused(refusal) => self.with_pending(key, |pending| pending.failed = Some(refusal)),
        }
    }

    fn with_pending(self, key: MessageKey, change: impl FnOnce(&mut Pending)) {
        self.pending.try_update(|pending| pending.iter_mut().find(|pending| pending.post.key == key).map(change));
    }

    fn settle(self, settled: impl Fn(&Pending) -> bool) {
        if self.pending.try_with_untracked(|pending| pending.iter().any(&settled)) == Some(true) {
            self.pending.update(|pending| pending.retain(|pending| !settled(pending)));
        }
    }

    /// Keeps the list of those in the call.
    fn call_changed(self, change: &CallChange) {
        self.call.try_update(|call| match change {
            CallChange::Came(CallPresence { peer, user, .. }) => {
                if !call.iter().any(|known| known.peer == *peer) {
                    call.push(Peer { peer: *peer, user: user.clone(), media: Media::default() });
                }
            }
            CallChange::Joined(ack) => call.clone_from(&ack.peers),
            CallChange::Went(gone) => call.retain(|peer| peer.peer != gone.peer),
            _ => {}
        });
    }

    fn rename(self, user: &User) {
        let renamed = |id: UserId| move |member: &&mut User| member.id == id;
        self.members.try_update(|members| {
            if let Some(member) = members.iter_mut().find(renamed(user.id)) {
                member.nickname = user.nickname.clone();
            }
        });
    }
}
