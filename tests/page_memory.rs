//! The memory of a page that stays open.
//!
//! A binary of its own with one test, because the allocator counts for the whole process.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test with its location")]

use std::alloc::System;

use leptos::prelude::Owner;
use noom::client::session::Update;
use noom::client::state::{Room, State};
use noom::protocol::frame::RoomPresence;
use noom::protocol::{EnterRoomAck, Message, MessageKey, RoomId, User, UserId};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Few enough to be quick, and ten times as many as a page keeps.
const BEFORE: u64 = 10_000;
const MESSAGES: u64 = 100_000;

#[test]
fn open_page_stays_small_and_quick_after_100_000_messages() {
    let id = RoomId(1);
    let room = EnterRoomAck { room: id, name: "garden".into(), epoch: "e".into(), count: 1, ..EnterRoomAck::default() };
    Owner::new().with(|| {
        let (state, room) = (State::new(), Room::new(room, None));
        state.show(room);
        let receive = |seq: u64| {
            let user = User { id: UserId(seq % 7), nickname: "Ann".into() };
            if seq.is_multiple_of(10) {
                let presence = RoomPresence { room: id, user: user.clone(), count: 1 };
                state.apply(Update::Welcome(presence.clone()));
                state.apply(Update::Bye(presence));
            }
            let (key, text) = (MessageKey(seq.into()), "hello".into());
            state.apply(Update::Message(Message::of_text(id, seq, key, user, text, seq * 1_000)));
        };
        // The cost of some messages at the end of the first and of the last ten thousand, in allocations and bytes.
        let cost = |to: u64| {
            let region = Region::new(ALLOCATOR);
            (to - 1_000..to).for_each(receive);
            let change = region.change();
            (change.allocations + change.reallocations, change.bytes_allocated)
        };
        (1..BEFORE - 1_000).for_each(receive);
        let first = cost(BEFORE);
        let region = Region::new(ALLOCATOR);
        (BEFORE..MESSAGES - 1_000).for_each(receive);
        let last = cost(MESSAGES);
        let change = region.change();
        let grown = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
        println!("first {first:?}, last {last:?}, grown by {grown}");
        assert!(grown < 1024 * 1024, "grown by {grown} bytes");
        assert!(last.0 < first.0 * 2 && last.1 < first.1 * 2, "first {first:?}, last {last:?}");
        assert_eq!(room.timeline.newest_seq(), Some(MESSAGES - 1));
        assert!(room.timeline.chunks().count() <= 60);
    });
}
