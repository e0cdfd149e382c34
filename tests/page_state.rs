//! The state of the page after updates of the session.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use leptos::prelude::{GetUntracked, GetValue, Owner, Set, WithUntracked};
use noom::client::session::{CallUpdate, SendStatus, UnsentMessage, Update};
use noom::client::state::{MoreMembers, Older, Room, State};
use noom::client::timeline::Entry;
use noom::protocol::call::CallPresence;
use noom::protocol::frame::{Crowd, MessagesExpired, Renamed, RoomPresence};
use noom::protocol::{
    EnterRoomAck, ErrorCode, HistoryAck, JoinCallAck, Media, MembersAck, Message, MessageChange, MessageKey,
    MessageRef, MessageState, Peer, PeerId, RoomId, Unrecovered, User, UserId,
};

fn user(id: u64) -> User {
    User { id: UserId(id), nickname: format!("user {id}") }
}

/// The id of a room in these tests.
fn id(name: &str) -> RoomId {
    RoomId(name.bytes().fold(1, |id: u64, byte| id.wrapping_mul(31).wrapping_add(byte.into())))
}

fn entered(room: &str, call: Option<Vec<Peer>>) -> EnterRoomAck {
    EnterRoomAck {
        room: id(room),
        name: room.into(),
        epoch: "e".into(),
        count: 1,
        members: vec![user(1)],
        call,
        ..EnterRoomAck::default()
    }
}

/// A page that shows a room. The owner keeps its signals.
fn page(room: &str) -> (Owner, State, Room) {
    let owner = Owner::new();
    owner.set();
    let (state, room) = (State::new(), Room::new(entered(room, None), None));
    state.show(room);
    (owner, state, room)
}

#[test]
fn failed_message_is_retried_under_the_canonical_room_name() {
    let (_owner, state, room) = page("Garden");
    let key = MessageKey(1);
    state.apply(Update::Unsent(UnsentMessage::of_text("Garden".into(), key, "hello".into())));
    state.apply(Update::Named { requested: "Garden".into(), room: "garden".into() });
    let status = SendStatus::Refused(ErrorCode::StoreUnavailable.into());
    state.apply(Update::Posted { room: "garden".into(), key, status });
    let retried = room.retry(key).unwrap();
    assert_eq!(retried.room, "garden", "a retry under the requested name would wait forever");
    assert!(room.pending.with_untracked(|all| all.iter().all(|pending| pending.post.room == "garden")));
}

#[test]
fn unsent_message_is_shown_once_and_not_beside_its_stored_copy() {
    let (_owner, state, room) = page("garden");
    let unsent = |key| Update::Unsent(UnsentMessage::of_text("garden".into(), MessageKey(key), "hello".into()));
    let stored = |seq| Update::Message(message(seq, "hello"));
    state.apply(stored(1));
    // From the storage of an earlier page, which lost the answer.
    state.apply(unsent(1));
    state.apply(unsent(2));
    state.apply(unsent(2));
    let waiting = || room.pending.with_untracked(|all| all.iter().map(|one| one.post.key.0).collect::<Vec<_>>());
    assert_eq!(waiting(), [2]);
    state.apply(Update::Me(user(1)));
    state.apply(stored(2));
    assert_eq!(waiting(), [0; 0]);
}

fn message(seq: u64, text: &str) -> Message {
    let (room, key, text) = (id("garden"), MessageKey(seq.into()), text.into());
    Message::of_text(room, seq, key, user(1), text, 0)
}

fn edit(seq: u64, rev: u64, text: &str) -> MessageChange {
    let state = MessageState { rev, edits: rev, edited_at: Some(1), ..MessageState::default() };
    MessageChange { room: id("garden"), seq, text: Some(text.into()), mentions: None, state }
}

fn entered_at(rev: u64, messages: Vec<Message>, changes: Option<Vec<MessageChange>>) -> EnterRoomAck {
    let head = 10.max(messages.last().map_or(0, |message| message.seq));
    EnterRoomAck { head, rev, messages, changes, more: true, ..entered("garden", None) }
}

fn shown_texts(room: Room) -> Vec<String> {
    let rows = room.timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
    rows.filter_map(|row| Some(row.message?.get_untracked().text.clone())).collect()
}

#[test]
fn change_is_shown_in_its_row_and_in_what_quotes_it() {
    let (_owner, state, room) = page("garden");
    state.apply(Update::Entered(entered_at(0, vec![message(9, "a"), message(10, "b")], None)));
    let rows = || room.timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked()).map(|row| row.id);
    let (before, quoted) = (rows().collect::<Vec<_>>(), room.timeline.quoted(9));
    state.apply(Update::Changed(edit(9, 1, "A")));
    assert_eq!((shown_texts(room), rows().collect::<Vec<_>>()), (vec!["A".into(), "b".into()], before));
    assert_eq!(quoted.get_untracked().unwrap().text, "A");
    assert_eq!(room.position().rev, 1, "the next resume continues there");
}

#[test]
fn change_that_comes_while_older_messages_are_loaded_is_applied_to_them() {
    let (_owner, state, room) = page("garden");
    state.apply(Update::Entered(entered_at(0, vec![message(10, "b")], None)));
    let older = |messages| HistoryAck { messages, more: false };
    room.older.set(Older::Loading);
    state.apply(Update::Changed(edit(9, 1, "A")));
    let read_before = Some(older(vec![message(8, "z"), message(9, "a")]));
    state.apply(Update::Older { room: "garden".into(), before: 10, history: read_before });
    assert_eq!(shown_texts(room), ["z", "A", "b"]);
}

#[test]
fn resume_updates_what_was_changed_and_drops_what_may_be_out_of_date() {
    let (_owner, state, room) = page("garden");
    state.apply(Update::Entered(entered_at(0, vec![message(9, "a"), message(10, "b")], None)));
    let changes = Some(vec![edit(9, 3, "A"), edit(1, 4, "not loaded")]);
    state.apply(Update::Entered(EnterRoomAck { recovered: true, ..entered_at(4, vec![message(11, "c")], changes) }));
    assert_eq!(shown_texts(room), ["A", "b", "c"]);
    state.apply(Update::Entered(entered_at(900, vec![message(12, "d")], None)));
    assert_eq!((shown_texts(room), room.position().rev), (vec!["d".into()], 900), "too much was changed");
}

#[test]
fn expired_messages_are_dropped_when_the_room_is_entered_again() {
    let (_owner, state, room) = page("garden");
    let messages = [message(8, "a"), message(9, "b"), message(10, "c")];
    state.apply(Update::Entered(entered_at(0, messages.to_vec(), None)));
    let quoted = room.timeline.quoted(9);
    let resumed = EnterRoomAck { recovered: true, more: false, ..entered_at(0, vec![message(11, "d")], Some(vec![])) };
    state.apply(Update::Entered(EnterRoomAck { floor: Some(10), ..resumed }));
    assert_eq!((shown_texts(room), quoted.get_untracked()), (vec!["c".to_owned(), "d".to_owned()], None));
    let expired = EnterRoomAck { head: 30, floor: Some(31), more: false, ..entered_at(0, vec![], None) };
    state.apply(Update::Entered(EnterRoomAck { reason: Some(Unrecovered::Expired), ..expired }));
    assert_eq!((shown_texts(room), room.older.get_untracked()), (vec![], Older::None));
    state.apply(Update::Message(message(31, "e")));
    assert_eq!(shown_texts(room), ["e"]);
}

#[test]
fn messages_that_expire_are_dropped_from_an_open_page() {
    let (_owner, state, room) = page("garden");
    let messages = [message(8, "a"), message(9, "b"), message(10, "c")];
    state.apply(Update::Entered(EnterRoomAck { more: true, ..entered_at(0, messages.to_vec(), None) }));
    let expire = |floor| state.apply(Update::Expired(MessagesExpired { room: room.id.get_value(), floor }));
    expire(9);
    assert_eq!((shown_texts(room), room.older.get_untracked()), (vec!["b".to_owned(), "c".to_owned()], Older::None));
    expire(5);
    assert_eq!(room.floor.get_untracked(), 9, "it was told in another order");
    expire(11);
    assert_eq!((shown_texts(room), room.newest.get_untracked()), (vec![], 10));
    state.apply(Update::Message(message(11, "d")));
    assert_eq!(shown_texts(room), ["d"]);
}

#[test]
fn quote_and_late_message_of_what_has_expired_are_not_shown() {
    let (_owner, state, room) = page("garden");
    state.apply(Update::Entered(EnterRoomAck { more: true, ..entered_at(0, vec![message(10, "c")], None) }));
    // Of a message that the page had, and dropped because it was far from view.
    let quoted = room.timeline.quoted(4);
    quoted.set(Some(std::sync::Arc::new(message(4, "far away"))));
    let expire = |floor| state.apply(Update::Expired(MessagesExpired { room: room.id.get_value(), floor }));
    expire(8);
    assert_eq!((quoted.get_untracked(), shown_texts(room)), (None, vec!["c".to_owned()]));
    // The server knew of the expiry before the message was delivered.
    expire(12);
    state.apply(Update::Message(message(11, "d")));
    state.apply(Update::Message(message(12, "e")));
    assert_eq!(shown_texts(room), ["e"]);
}

#[test]
fn messages_that_expire_while_they_are_loaded_are_not_shown() {
    let (_owner, state, room) = page("garden");
    state.apply(Update::Entered(EnterRoomAck { more: true, ..entered_at(0, vec![message(10, "c")], None) }));
    room.older.set(Older::Loading);
    state.apply(Update::Expired(MessagesExpired { room: room.id.get_value(), floor: 9 }));
    let read_before = HistoryAck { messages: vec![message(8, "a"), message(9, "b")], more: true };
    state.apply(Update::Older { room: "garden".into(), before: 10, history: Some(read_before) });
    assert_eq!((shown_texts(room), room.older.get_untracked()), (vec!["b".to_owned(), "c".to_owned()], Older::None));
}

#[test]
fn kept_messages_before_the_oldest_one_shown_can_be_loaded_after_others_expired() {
    let (_owner, state, room) = page("garden");
    state.apply(Update::Entered(EnterRoomAck {
        more: false,
        ..entered_at(0, vec![message(1, "a"), message(2, "b")], None)
    }));
    let gap = entered_at(0, vec![message(50, "c"), message(51, "d")], Some(vec![]));
    state.apply(Update::Entered(gap.clone()));
    assert_eq!((shown_texts(room).len(), room.older.get_untracked()), (4, Older::None));
    let resumed = EnterRoomAck { head: 51, messages: vec![], recovered: true, ..gap };
    state.apply(Update::Entered(EnterRoomAck { floor: Some(20), ..resumed.clone() }));
    assert_eq!((shown_texts(room), room.older.get_untracked()), (vec!["c".to_owned(), "d".to_owned()], Older::More));
    state.apply(Update::Entered(EnterRoomAck { floor: Some(51), ..resumed }));
    assert_eq!((shown_texts(room), room.older.get_untracked()), (vec!["d".to_owned()], Older::None));
    let rows: Vec<_> = room.timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked()).collect();
    assert!(rows[0].starts_day && rows[0].starts_group, "it is the first row now");
}

#[test]
fn reply_to_a_message_that_is_gone_is_sent_again_without_it() {
    let (_owner, state, room) = page("garden");
    let reply_to = Some(MessageRef { epoch: "former".into(), seq: 1 });
    let key = MessageKey(1);
    state.apply(Update::Unsent(UnsentMessage {
        room: "garden".into(),
        key,
        text: "hello".into(),
        reply_to,
        attachments: None,
        mentions: None,
    }));
    for (code, is_kept) in [(ErrorCode::StoreUnavailable, true), (ErrorCode::EpochChanged, false)] {
        let status = SendStatus::Refused(code.into());
        state.apply(Update::Posted { room: "garden".into(), key, status });
        assert_eq!(room.retry(key).unwrap().reply_to.is_some(), is_kept, "{code}");
    }
}

#[test]
fn coalesced_departure_and_return_updates_the_member() {
    let (_owner, state, room) = page("garden");
    let came = |nickname: &str| {
        let user = User { id: UserId(7), nickname: nickname.into() };
        Update::Welcome(RoomPresence { room: id("garden"), user, count: 2 })
    };
    state.apply(came("Ann"));
    state.apply(came("Annie"));
    let names: Vec<_> = room.members.with_untracked(|all| all.iter().map(|user| user.nickname.clone()).collect());
    assert_eq!(names.iter().filter(|name| name.starts_with("Ann")).collect::<Vec<_>>(), ["Annie"]);
}

#[test]
fn crowd_is_counted_and_its_members_are_loaded_on_demand() {
    let (_owner, state, room) = page("garden");
    let crowd = |count, members| Update::Crowd(Crowd { room: id("garden"), count, members });
    let answer = |after, ids: &[u64], members_after| {
        let members = ids.iter().map(|id| user(*id)).collect();
        let page = MembersAck { count: 300, members, members_after, crowded: Some(true) };
        Update::Members { room: "garden".into(), after, page: Some(page) }
    };
    let ids = || room.members.with_untracked(|all| all.iter().map(|user| user.id.0).collect::<Vec<_>>());
    let more = || room.more_members.get_untracked();
    state.apply(Update::Me(user(9)));
    assert_eq!((room.count.get_untracked(), more()), (1, MoreMembers::None));

    let ack = EnterRoomAck {
        count: 300,
        members: vec![user(1), user(2)],
        members_after: Some(2),
        crowded: Some(true),
        you: Some(User { id: UserId(9), nickname: "Ann".into() }),
        ..entered("garden", None)
    };
    state.apply(Update::Entered(ack));
    assert_eq!((room.count.get_untracked(), ids(), more()), (300, vec![9, 1, 2], MoreMembers::After(2)));
    assert_eq!(state.me.get_untracked().unwrap().nickname, "Ann");
    state.apply(answer(2, &[3], None));
    assert_eq!(ids(), [9, 1, 2], "it was not asked for");
    room.more_members.set(MoreMembers::Loading(2));
    state.apply(answer(2, &[2, 3, 9], None));
    assert_eq!((ids(), more()), (vec![9, 1, 2, 3], MoreMembers::After(0)), "the list may be out of date");
    state.apply(crowd(310, None));
    assert_eq!((room.count.get_untracked(), ids().len()), (310, 4));
    room.more_members.set(MoreMembers::Loading(0));
    state.apply(Update::Members { room: "garden".into(), after: 0, page: None });
    assert_eq!(more(), MoreMembers::After(0), "it can be tried again");
    state.apply(crowd(2, Some(vec![user(5), user(9)])));
    assert_eq!((room.count.get_untracked(), ids(), more()), (2, vec![5, 9], MoreMembers::None));
}

#[test]
fn updates_of_another_room_change_nothing() {
    let (_owner, state, room) = page("garden");
    let room_id = id("kitchen");
    let presence = |count| RoomPresence { room: room_id, user: user(7), count };
    let renamed = User { id: UserId(1), nickname: "Ann".into() };
    state.apply(Update::Welcome(presence(2)));
    state.apply(Update::Bye(presence(0)));
    state.apply(Update::Crowd(Crowd { room: room_id, count: 300, members: Some(vec![user(5)]) }));
    state.apply(Update::Renamed(Renamed { room: room_id, user: renamed }));
    state.apply(Update::Message(Message { room: room_id, ..message(1, "hello") }));
    state.apply(Update::Changed(MessageChange { room: room_id, ..edit(1, 1, "A") }));
    assert_eq!((room.count.get_untracked(), room.members.get_untracked()), (1, vec![user(1)]));
    assert_eq!((shown_texts(room), room.position().rev), (vec![], 0));
}

#[test]
fn gap_in_the_middle_is_marked_and_filled() {
    let (_owner, state, room) = page("garden");
    let message = |seq| message(seq, "hello");
    (1..=3).for_each(|seq| state.apply(Update::Message(message(seq))));
    let messages = (8..=9).map(message).collect();
    let gap = EnterRoomAck { head: 9, messages, changes: Some(vec![]), more: true, ..entered("garden", None) };
    state.apply(Update::Entered(gap.clone()));
    let gaps = || {
        let rows = room.timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
        rows.filter(|row| matches!(row.entry, Entry::Gap(_))).count()
    };
    assert_eq!((gaps(), room.older.get_untracked()), (1, Older::None));
    let history = HistoryAck { messages: (2..=7).map(message).collect(), more: true };
    state.apply(Update::Older { room: "garden".into(), before: 8, history: Some(history) });
    assert_eq!((gaps(), room.timeline.newest_seq(), room.timeline.oldest_seq()), (0, Some(9), Some(1)));
    assert_eq!(room.older.get_untracked(), Older::None, "older messages were not requested");

    // Another history replaces all messages, with a notice.
    state.apply(Update::Entered(EnterRoomAck { epoch: "restored".into(), changes: None, ..gap }));
    let last = room.timeline.chunks().last().and_then(|chunk| chunk.rows.get_untracked().last().cloned());
    assert_eq!(last.map(|row| row.entry), Some(Entry::OtherHistory));
    assert_eq!(room.timeline.oldest_seq(), Some(8));
    // A late answer for the earlier history is ignored.
    let late = HistoryAck { messages: (1..=3).map(message).collect(), more: false };
    state.apply(Update::Older { room: "garden".into(), before: 4, history: Some(late) });
    assert_eq!((room.timeline.oldest_seq(), room.older.get_untracked()), (Some(8), Older::More));
}

#[test]
fn room_tracks_the_peers_of_its_call() {
    let (_owner, state, room) = page("garden");
    let presence = |peer: u64| CallPresence { room: id("garden"), peer: PeerId(peer), user: user(peer) };
    let change = |update| Update::Call { room: "garden".into(), update };
    let count = || room.call.with_untracked(Vec::len);
    state.apply(change(CallUpdate::PeerJoined(presence(1))));
    state.apply(change(CallUpdate::PeerJoined(presence(2))));
    // The same peer, over another connection.
    state.apply(change(CallUpdate::PeerJoined(presence(2))));
    assert_eq!(count(), 2);
    state.apply(change(CallUpdate::PeerLeft(presence(1))));
    assert_eq!(count(), 1);
    assert_eq!(room.call.get_untracked()[0].peer, PeerId(2));
    // A page that joins gets the list of the other peers.
    state.apply(change(CallUpdate::Joined(JoinCallAck {
        peer: PeerId(1),
        peers: vec![],
        ice_servers: vec![],
        ice_seconds: None,
    })));
    assert_eq!(count(), 0);
    state.apply(change(CallUpdate::PeerJoined(presence(2))));
    // A page that enters again gets the current list.
    let others = vec![Peer { peer: PeerId(9), user: user(9), media: Media::default() }];
    state.apply(Update::Entered(entered("garden", Some(others))));
    assert_eq!(room.call.get_untracked()[0].peer, PeerId(9));
    state.apply(Update::Entered(entered("garden", None)));
    assert_eq!(count(), 0);
}
