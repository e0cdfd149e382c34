//! What the page shows of what the session tells.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use leptos::prelude::{GetUntracked, Owner, WithUntracked};
use noom::client::session::{CallChange, Change, Fate};
use noom::client::state::{Room, State};
use noom::protocol::call::CallPresence;
use noom::protocol::frame::Post;
use noom::protocol::{EnterRoomAck, ErrorCode, JoinCallAck, Media, MessageKey, Peer, PeerId, User, UserId};

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
    room.add_pending(Post { room: "Garden".into(), key, text: "hello".into() });
    state.apply(Change::Named { asked: "Garden".into(), room: "garden".into() });
    let fate = Fate::Refused(ErrorCode::StoreUnavailable.into());
    state.apply(Change::Posted { room: "garden".into(), key, fate });
    assert_eq!(room.retry(key).unwrap().room, "garden");
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
