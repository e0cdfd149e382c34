//! What the page shows of what the session tells.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use leptos::prelude::{GetUntracked, Owner, WithUntracked};
use noom::client::session::{CallChange, Change, Fate};
use noom::client::state::{Older, Room, State};
use noom::client::timeline::Entry;
use noom::protocol::call::CallPresence;
use noom::protocol::frame::{Post, Presence};
use noom::protocol::{
    EnterRoomAck, ErrorCode, HistoryAck, JoinCallAck, Media, Message, MessageKey, Peer, PeerId, User, UserId,
};

fn user(id: u64) -> User {
    User { id: UserId(id), nickname: format!("user {id}") }
}

fn entered(room: &str, call: Option<Vec<Peer>>) -> EnterRoomAck {
    EnterRoomAck {
        room: room.into(),
        epoch: "e".into(),
        head: 0,
        count: 1,
        members: vec![user(1)],
        messages: vec![],
        more: false,
        recovered: false,
        reason: None,
        call,
    }
}

/// A page that shows a room. The owner keeps its signals.
fn page(room: &str) -> (Owner, State, Room) {
    let owner = Owner::new();
    owner.set();
    let (state, room) = (State::new(), Room::new(entered(room, None)));
    state.show(room);
    (owner, state, room)
}

#[test]
fn a_failed_message_of_a_room_that_got_another_name_is_tried_again_there() {
    let (_owner, state, room) = page("Garden");
    let key = MessageKey(1);
    state.apply(Change::Unsent(Post { room: "Garden".into(), key, text: "hello".into() }));
    state.apply(Change::Named { asked: "Garden".into(), room: "garden".into() });
    let fate = Fate::Refused(ErrorCode::StoreUnavailable.into());
    state.apply(Change::Posted { room: "garden".into(), key, fate });
    assert_eq!(room.retry(key).unwrap().room, "garden");
}

#[test]
fn a_message_that_waits_is_shown_once_and_not_beside_its_stored_self() {
    let (_owner, state, room) = page("garden");
    let unsent = |key| Change::Unsent(Post { room: "garden".into(), key: MessageKey(key), text: "hello".into() });
    let stored = |seq: u64| {
        let (key, text) = (MessageKey(u128::from(seq)), "hello".into());
        Change::Message(Message { room: "garden".into(), seq, key, user: user(1), text, at: 0 })
    };
    state.apply(stored(1));
    // Kept by an earlier page, which did not hear that it was stored.
    state.apply(unsent(1));
    state.apply(unsent(2));
    state.apply(unsent(2));
    let waiting = || room.pending.with_untracked(|all| all.iter().map(|one| one.post.key.0).collect::<Vec<_>>());
    assert_eq!(waiting(), [2]);
    state.apply(Change::Me(user(1)));
    state.apply(stored(2));
    assert_eq!(waiting(), [0; 0]);
}

#[test]
fn a_slow_reader_who_hears_of_a_departure_and_a_return_at_once_sees_nobody_twice() {
    let (_owner, state, room) = page("garden");
    let came = |nickname: &str| {
        let user = User { id: UserId(7), nickname: nickname.into() };
        Change::Welcome(Presence { room: "garden".into(), user, count: 2 })
    };
    state.apply(came("Ann"));
    state.apply(came("Annie"));
    let names: Vec<_> = room.members.with_untracked(|all| all.iter().map(|user| user.nickname.clone()).collect());
    assert_eq!(names.iter().filter(|name| name.starts_with("Ann")).collect::<Vec<_>>(), ["Annie"]);
}

#[test]
fn what_is_missing_in_the_middle_is_marked_and_filled_in() {
    let (_owner, state, room) = page("garden");
    let message = |seq: u64| {
        let (key, text) = (MessageKey(u128::from(seq)), "hello".into());
        Message { room: "garden".into(), seq, key, user: user(1), text, at: 0 }
    };
    (1..=3).for_each(|seq| state.apply(Change::Message(message(seq))));
    let gap = EnterRoomAck { head: 9, messages: (8..=9).map(message).collect(), more: true, ..entered("garden", None) };
    state.apply(Change::Entered(gap.clone()));
    let gaps = || {
        let rows = room.timeline.chunks().flat_map(|chunk| chunk.rows.get_untracked());
        rows.filter(|row| matches!(row.entry, Entry::Gap(_))).count()
    };
    assert_eq!((gaps(), room.older.get_untracked()), (1, Older::None));
    let history = HistoryAck { messages: (2..=7).map(message).collect(), more: true };
    state.apply(Change::Older { room: "garden".into(), before: 8, history: Some(history) });
    assert_eq!((gaps(), room.timeline.newest_seq(), room.timeline.oldest_seq()), (0, Some(9), Some(1)));
    assert_eq!(room.older.get_untracked(), Older::None, "of what is older than all nothing was asked");

    // Another history takes the place of all, and says so.
    state.apply(Change::Entered(EnterRoomAck { epoch: "restored".into(), ..gap }));
    let last = room.timeline.chunks().last().and_then(|chunk| chunk.rows.get_untracked().last().cloned());
    assert_eq!(last.map(|row| row.entry), Some(Entry::OtherHistory));
    assert_eq!(room.timeline.oldest_seq(), Some(8));
    // Asked for before, and answered late: what comes before it is not what is shown.
    let late = HistoryAck { messages: (1..=3).map(message).collect(), more: false };
    state.apply(Change::Older { room: "garden".into(), before: 4, history: Some(late) });
    assert_eq!((room.timeline.oldest_seq(), room.older.get_untracked()), (Some(8), Older::More));
}

#[test]
fn the_room_knows_who_is_in_its_call() {
    let (_owner, state, room) = page("garden");
    let presence = |peer: u64| CallPresence { room: "garden".into(), peer: PeerId(peer), user: user(peer) };
    let change = |change| Change::Call { room: "garden".into(), change };
    let count = || room.call.with_untracked(Vec::len);
    state.apply(change(CallChange::Came(presence(1))));
    state.apply(change(CallChange::Came(presence(2))));
    // Back over another connection.
    state.apply(change(CallChange::Came(presence(2))));
    assert_eq!(count(), 2);
    state.apply(change(CallChange::Went(presence(1))));
    assert_eq!(count(), 1);
    assert_eq!(room.call.get_untracked()[0].peer, PeerId(2));
    // Whoever joins is told who the others are; oneself is none of them.
    state.apply(change(CallChange::Joined(JoinCallAck { peer: PeerId(1), peers: vec![], ice_servers: vec![] })));
    assert_eq!(count(), 0);
    state.apply(change(CallChange::Came(presence(2))));
    // Whoever enters again is told how it is now.
    let others = vec![Peer { peer: PeerId(9), user: user(9), media: Media::default() }];
    state.apply(Change::Entered(entered("garden", Some(others))));
    assert_eq!(room.call.get_untracked()[0].peer, PeerId(9));
    state.apply(Change::Entered(entered("garden", None)));
    assert_eq!(count(), 0);
}
