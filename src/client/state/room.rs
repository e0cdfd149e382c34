//! The room that a page shows.

use std::collections::BTreeSet;

use leptos::prelude::*;

use crate::client::session::{CallUpdate, MessageCommand, Search, SendStatus, UnsentMessage};
use crate::client::timeline::{Entry, Gap, Timeline};
use crate::protocol::call::CallPresence;
use crate::protocol::{
    EnterRoomAck, ErrorCode, Media, MembersAck, Message, MessageChange, MessageKey, MessageRef, Peer, Position,
    Refusal, RoomId, SearchAck, User,
};

/// The room that a page shows. Copies are handles to the same room.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The id; that of no room until one with this name was created.
    pub id: StoredValue<RoomId>,
    /// The canonical name, once the server has answered.
    pub name: StoredValue<String>,
    /// The history to which the positions of messages belong.
    epoch: StoredValue<String>,
    /// The revision of the last change that the messages contain.
    rev: StoredValue<u64>,
    /// The changes that have come while older messages are being loaded, which may not contain them.
    pub(super) late_changes: StoredValue<Vec<MessageChange>>,
    /// The changes of this user that have ended. The page takes them.
    pub changes_ended: RwSignal<Vec<ChangeEnded>>,
    /// The answer to the last request to delete all messages of this user. The refusal is `None` if there was no
    /// connection.
    pub own_deletion: RwSignal<Option<Result<(), Option<Refusal>>>>,
    /// The latest answer to a search in the room, or to a request for its pinned messages.
    pub search_answer: RwSignal<Option<SearchAnswer>>,
    /// The pinned messages that were loaded last, by their positions; `None` if they were not.
    pub(super) pinned: StoredValue<Option<BTreeSet<u64>>>,
    /// The pinned messages are others than those that were loaded, or have other texts.
    pub pins_changed: Trigger,
    /// The members that are loaded, in the order in which they entered.
    pub members: RwSignal<Vec<User>>,
    /// The number of members.
    pub count: RwSignal<u64>,
    /// The members that are not loaded.
    pub more_members: RwSignal<MoreMembers>,
    /// The messages and notices.
    pub timeline: Timeline,
    /// The position of the oldest message that the server keeps.
    pub floor: RwSignal<u64>,
    /// The user's messages that the timeline does not show yet.
    pub pending: RwSignal<Vec<Pending>>,
    /// The availability of messages older than the oldest one shown.
    pub older: RwSignal<Older>,
    /// The chunk of the timeline in view; `None` while the reader follows the newest message.
    pub reading: StoredValue<Option<u64>>,
    /// The first message in view; `None` while the reader follows the newest message.
    pub in_view: StoredValue<Option<u64>>,
    /// The positions before which messages of a gap are being loaded.
    pub(super) filling: RwSignal<BTreeSet<u64>>,
    /// The reason why the room could not be entered.
    pub refusal: RwSignal<Option<Refusal>>,
    /// The number of messages of others that have arrived.
    pub arrived: RwSignal<u64>,
    /// The position of the newest message; 0 if there is none.
    pub newest: RwSignal<u64>,
    /// The position of the first message that the user has not read, for as long as a line is shown above it.
    pub first_unread: RwSignal<Option<u64>>,
    /// The peers in the room's call.
    pub call: RwSignal<Vec<Peer>>,
    /// The other users who are typing.
    pub typing: RwSignal<Vec<User>>,
}

/// The availability of messages older than the oldest one shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// There are none.
    None,
    /// There are more.
    More,
    /// They are being loaded.
    Loading,
    /// They could not be loaded. Scrolling or clicking tries again.
    Failed,
}

/// The end of a change that this user has asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeEnded {
    /// The change.
    pub command: MessageCommand,
    /// The refusal; `None`: there was no connection, or it was lost before the answer.
    pub result: Result<(), Option<Refusal>>,
}

/// The answer to a search, or to a request for the pinned messages.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchAnswer {
    /// The search; `None`: the pinned messages were requested.
    pub search: Option<Search>,
    /// The refusal is `None` if there was no connection.
    pub result: Result<SearchAck, Option<Refusal>>,
}

/// Returns whether a message was refused because of the one that it replies to.
fn is_about_target(code: ErrorCode) -> bool {
    code == ErrorCode::MessageNotFound || code == ErrorCode::EpochChanged
}

impl Older {
    pub(super) fn when(more: bool) -> Self {
        if more { Self::More } else { Self::None }
    }
}

/// The members that the list does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoreMembers {
    /// There are none.
    None,
    /// There are more after this position. 0: the room is crowded, and the list, as it was when it was loaded, may be
    /// out of date.
    After(u64),
    /// Those after this position are being loaded.
    Loading(u64),
}

impl MoreMembers {
    /// The members after a page of the list.
    pub(super) fn after(position: Option<u64>, crowded: Option<bool>) -> Self {
        match position {
            Some(position) => Self::After(position),
            None if crowded == Some(true) => Self::After(0),
            None => Self::None,
        }
    }
}

/// A message of the user that the timeline does not show yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// The message as posted.
    pub post: UnsentMessage,
    /// Its position, once it is stored.
    pub seq: Option<u64>,
    /// The refusal, if it was refused.
    pub failed: Option<Refusal>,
}

impl Room {
    /// Creates a room as the server has rendered it. `read`: the position up to which the user has read, if the room is
    /// one of theirs.
    pub fn new(ack: EnterRoomAck, read: Option<u64>) -> Self {
        let first_unread = read.filter(|read| *read < ack.head).map(|read| read + 1);
        Self {
            newest: RwSignal::new(ack.messages.last().map_or(0, |message| message.seq)),
            first_unread: RwSignal::new(first_unread),
            id: StoredValue::new(ack.room),
            name: StoredValue::new(ack.name),
            epoch: StoredValue::new(ack.epoch),
            rev: StoredValue::new(ack.rev),
            late_changes: StoredValue::new(Vec::new()),
            changes_ended: RwSignal::new(Vec::new()),
            search_answer: RwSignal::new(None),
            pinned: StoredValue::new(None),
            pins_changed: Trigger::new(),
            members: RwSignal::new(ack.members),
            count: RwSignal::new(ack.count),
            more_members: RwSignal::new(MoreMembers::after(ack.members_after, ack.crowded)),
            timeline: Timeline::new(ack.messages),
            floor: RwSignal::new(ack.floor.unwrap_or(1)),
            own_deletion: RwSignal::new(None),
            pending: RwSignal::new(Vec::new()),
            older: RwSignal::new(Older::when(ack.more)),
            reading: StoredValue::new(None),
            in_view: StoredValue::new(None),
            filling: RwSignal::new(BTreeSet::new()),
            refusal: RwSignal::new(None),
            arrived: RwSignal::new(0),
            call: RwSignal::new(ack.call.unwrap_or_default()),
            typing: RwSignal::new(Vec::new()),
        }
    }

    /// The position of the newest message shown, to resume from.
    pub fn position(self) -> Position {
        let seq = self.timeline.newest_seq().unwrap_or(0);
        Position { epoch: self.epoch.get_value(), seq, rev: self.rev.get_value() }
    }

    /// A reference to a message for a command.
    pub fn reference(self, seq: u64) -> MessageRef {
        MessageRef { epoch: self.epoch.get_value(), seq }
    }

    /// Marks a failed message as waiting again, and returns it.
    pub fn retry(self, key: MessageKey) -> Option<UnsentMessage> {
        self.pending.try_update(|pending| {
            let failed = pending.iter_mut().find(|pending| pending.post.key == key)?;
            let refusal = failed.failed.take();
            if refusal.is_some_and(|refusal| is_about_target(refusal.code)) {
                // The message that it replies to is gone. It is sent without.
                failed.post.reply_to = None;
            }
            Some(failed.post.clone())
        })?
    }

    /// Removes a failed message.
    pub fn discard(self, key: MessageKey) {
        self.settle(|pending| pending.post.key == key && pending.failed.is_some());
    }

    /// The server has told the room's canonical name. Pending messages move with it, so that a retry finds the room.
    pub(super) fn named(self, name: String) {
        self.pending.update(|pending| {
            pending.iter_mut().for_each(|pending| pending.post.room.clone_from(&name));
        });
        self.name.set_value(name);
    }

    /// A message waits to be sent.
    pub(super) fn unsent(self, post: UnsentMessage) {
        let key = post.key;
        let is_pending = self.pending.with_untracked(|pending| pending.iter().any(|other| other.post.key == key));
        // It may be stored and shown already, if only its `ack` was lost.
        if !is_pending && !self.timeline.has(key) {
            self.pending.update(|pending| pending.push(Pending { post, seq: None, failed: None }));
        }
    }

    pub(super) fn message(self, message: Message, is_own: bool) {
        self.settle(|pending| is_own && pending.post.key == message.key);
        if is_own {
            self.first_unread.set(None);
        }
        // It may have expired before it was delivered.
        if message.seq >= self.floor.get_untracked() {
            self.append(vec![message.into()]);
        }
        if !is_own {
            self.arrived.update(|count| *count += 1);
        }
    }

    pub(super) fn changed(self, change: MessageChange) {
        self.timeline.apply(&change);
        self.pin_changed(&change);
        self.rev.set_value(change.state.rev);
        if untrack(|| self.loads_history()) {
            self.late_changes.update_value(|changes| changes.push(change));
        }
    }

    pub(super) fn entered(self, ack: EnterRoomAck) {
        let newest = self.timeline.newest_seq().unwrap_or(0);
        let other_history =
            self.epoch.try_update_value(|epoch| std::mem::replace(epoch, ack.epoch.clone()) != ack.epoch);
        self.settle(|pending| {
            let is_stored = pending.seq.is_some_and(|seq| seq <= ack.head);
            is_stored || ack.messages.iter().any(|message| message.key == pending.post.key)
        });
        let known = self.id.try_update_value(|id| std::mem::replace(id, ack.room)).unwrap_or_default();
        let other_room = known != RoomId::default() && known != ack.room;
        self.rev.set_value(ack.rev);
        if other_history == Some(true) || other_room || newest > ack.head {
            self.first_unread.set(None);
            self.floor.set(1);
            self.show_latest(ack.messages, ack.more);
            if newest > 0 {
                self.timeline.append(vec![Entry::OtherHistory]);
            }
        } else if newest > 0 && ack.changes.is_none() {
            // Too much was changed: what is shown may be out of date.
            self.show_latest(ack.messages, ack.more);
        } else {
            ack.changes.iter().flatten().for_each(|change| self.timeline.apply(change));
            ack.changes.iter().flatten().for_each(|change| self.pin_changed(change));
            if newest == 0 {
                self.older.set(Older::when(ack.more));
            } else if self.older.get_untracked() == Older::Failed {
                self.older.set(Older::More);
            }
            self.append_missed(newest, ack.recovered, ack.messages);
        }
        self.expired(ack.floor.unwrap_or(1));
        self.refusal.set(None);
        let EnterRoomAck { count, members, members_after, crowded, you, call, .. } = ack;
        self.members_known(MembersAck { count, members, members_after, crowded }, you);
        self.call.set(call.unwrap_or_default());
    }

    /// Shows the latest messages and nothing else. `more`: there are older ones.
    fn show_latest(self, messages: Vec<Message>, more: bool) {
        self.pins_changed.notify();
        self.older.set(Older::when(more));
        self.reading.set_value(None);
        self.in_view.set_value(None);
        self.timeline.replace(messages);
        self.update_newest();
    }

    /// Appends the messages that are not shown yet, after a gap if they do not continue the timeline.
    fn append_missed(self, newest: u64, recovered: bool, messages: Vec<Message>) {
        let missed: Vec<_> = messages.into_iter().filter(|message| message.seq > newest).collect();
        let continues = recovered || missed.first().is_none_or(|message| message.seq == newest + 1);
        let gap = (!continues && newest > 0).then_some(Entry::Gap(Gap::Open));
        let entries = missed.into_iter().map(Entry::from);
        self.append(gap.into_iter().chain(entries).collect());
    }

    fn append(self, entries: Vec<Entry>) {
        self.timeline.append(entries);
        self.update_newest();
        self.let_go();
    }

    pub(super) fn update_newest(self) {
        let newest = self.timeline.newest_seq().unwrap_or(0);
        if self.newest.try_get_untracked().is_some_and(|known| known != newest) {
            self.newest.set(newest);
        }
    }

    /// Keeps the timeline small. What it drops can be loaded again.
    pub(super) fn let_go(self) {
        if self.timeline.trim(self.reading.try_get_value().flatten()) {
            self.older.set(Older::More);
        }
    }

    pub(super) fn posted(self, key: MessageKey, status: SendStatus) {
        match status {
            SendStatus::Shown => self.settle(|pending| pending.post.key == key),
            SendStatus::Stored(seq) => self.with_pending(key, |pending| pending.seq = Some(seq)),
            SendStatus::Refused(refusal) => self.with_pending(key, |pending| pending.failed = Some(refusal)),
        }
    }

    fn with_pending(self, key: MessageKey, change: impl FnOnce(&mut Pending)) {
        self.pending.try_update(|pending| pending.iter_mut().find(|pending| pending.post.key == key).map(change));
    }

    /// Removes pending messages. Notifies readers of the signal only if there are any.
    fn settle(self, settled: impl Fn(&Pending) -> bool) {
        if self.pending.try_with_untracked(|pending| pending.iter().any(&settled)) == Some(true) {
            self.pending.update(|pending| pending.retain(|pending| !settled(pending)));
        }
    }

    pub(super) fn update_call(self, update: &CallUpdate) {
        self.call.try_update(|call| match update {
            CallUpdate::PeerJoined(CallPresence { peer, user, .. }) => {
                if !call.iter().any(|known| known.peer == *peer) {
                    call.push(Peer { peer: *peer, user: user.clone(), media: Media::default() });
                }
            }
            CallUpdate::Joined(ack) => call.clone_from(&ack.peers),
            CallUpdate::PeerLeft(left) => call.retain(|peer| peer.peer != left.peer),
            CallUpdate::NotJoined(_) | CallUpdate::Signal(_) => {}
        });
    }
}
