use super::*;
use crate::server::membership::Mark;

const ANN: UserId = UserId(1);

fn room(id: u64) -> RoomRow {
    RoomRow { id: RoomId(id), number: id as i64, name: format!("room {id}").into() }
}

/// Ann's connection 1 watches her list: room 1, with `head` messages, of which she has read `read`.
fn watched(head: u64, read: u64) -> MyRooms<u8> {
    let mut lists = MyRooms::default();
    lists.begin_loading();
    lists.loaded(ANN, vec![Membership { room: room(1), head, read, mentions: BTreeSet::new() }]);
    lists.end_loading();
    assert!(lists.watch(ANN, ConnId(1), 7, [].into_iter()));
    lists
}

/// The rooms that the watchers are told of: name, head and read.
fn told(lists: &mut MyRooms<u8>) -> Vec<(String, u64, u64)> {
    let rooms = lists.take_updates().into_iter().flat_map(|update| update.update.rooms);
    rooms.map(|room| (room.name, room.head, room.read)).collect()
}

#[test]
fn watcher_is_told_of_many_messages_once() {
    let mut lists = watched(5, 5);
    (6..=9).for_each(|head| lists.committed(RoomId(1), head));
    lists.committed(RoomId(2), 1);
    assert_eq!(told(&mut lists), [("room 1".to_owned(), 9, 5)]);
    assert_eq!(told(&mut lists), []);
}

#[test]
fn watcher_in_the_room_is_told_when_it_leaves() {
    let mut lists = watched(5, 5);
    lists.entered(ANN, ConnId(1), RoomId(1));
    lists.committed(RoomId(1), 6);
    assert_eq!(told(&mut lists), []);
    lists.left(ANN, ConnId(1), RoomId(1));
    assert_eq!(told(&mut lists), [("room 1".to_owned(), 6, 5)]);
}

#[test]
fn messages_beyond_those_that_are_counted_are_not_told_until_some_are_read() {
    let mut lists = watched(0, 0);
    let mut tellings = 0;
    for head in 1..=500 {
        lists.committed(RoomId(1), head);
        tellings += told(&mut lists).len() as u64;
    }
    assert_eq!(tellings, MAX_UNREAD);
    lists.read(ANN, &room(1), 450);
    assert_eq!(told(&mut lists), [("room 1".to_owned(), 500, 450)]);
    lists.committed(RoomId(1), 501);
    assert_eq!(told(&mut lists), [("room 1".to_owned(), 501, 450)]);
}

#[test]
fn own_post_adds_the_room_and_reads_everything_before_it() {
    let mut lists = watched(9, 2);
    lists.committed(RoomId(1), 10);
    lists.took_part(ANN, &room(1), 10);
    lists.took_part(ANN, &room(2), 3);
    assert_eq!(told(&mut lists), [("room 1".to_owned(), 10, 10), ("room 2".to_owned(), 3, 3)]);
    let marks = lists.take_marks(9);
    let changes: Vec<_> = marks.iter().map(|mark| (mark.room.0, mark.change)).collect();
    assert_eq!(changes, [(1, MarkChange::Read(10)), (2, MarkChange::Join(3))]);
}

#[test]
fn read_marks_only_grow_and_never_pass_the_last_message() {
    let mut lists = watched(9, 5);
    for (seq, read) in [(3, 5), (7, 7), (6, 7), (u64::MAX, 9)] {
        lists.read(ANN, &room(1), seq);
        assert_eq!(lists.list(ANN).unwrap()[0].read, read, "after {seq}");
    }
    lists.read(ANN, &room(2), 1);
    assert_eq!(lists.list(ANN).unwrap().len(), 1, "looking at a room does not add it");
}

#[test]
fn message_that_is_stored_while_the_list_is_read_is_counted() {
    let mut lists = MyRooms::<u8>::default();
    lists.begin_loading();
    lists.committed(RoomId(1), 6);
    lists.loaded(ANN, vec![Membership { room: room(1), head: 5, read: 5, mentions: BTreeSet::new() }]);
    lists.end_loading();
    assert_eq!(lists.list(ANN).unwrap()[0].unread(), 1);
}

#[test]
fn what_a_user_does_while_the_list_is_read_is_in_it() {
    let mut lists = MyRooms::<u8>::default();
    lists.begin_loading();
    lists.took_part(ANN, &room(1), 4);
    lists.took_part(ANN, &room(2), 7);
    lists.take_marks(1);
    lists.read(ANN, &room(3), 2);
    lists.removed(ANN, &room(4));
    let membership = |id, read| Membership { room: room(id), head: 9, read, mentions: BTreeSet::new() };
    lists.loaded(ANN, vec![membership(1, 1), membership(3, 1), membership(4, 1)]);
    lists.end_loading();
    let read: Vec<_> = lists.list(ANN).unwrap().into_iter().map(|room| (room.name, room.read)).collect();
    let expected = [("room 1", 4), ("room 2", 7), ("room 3", 2)].map(|(name, read)| (name.to_owned(), read));
    assert_eq!(read, expected);
}

#[test]
fn room_of_a_reaction_is_read_to_its_end_and_later_messages_are_counted() {
    let mut lists = watched(0, 0);
    lists.took_part(ANN, &room(2), 500);
    lists.read(ANN, &room(2), 500);
    lists.committed(RoomId(2), 501);
    assert_eq!(told(&mut lists), [("room 2".to_owned(), 501, 500)]);
}

#[test]
fn removed_room_is_told_and_not_added_again_by_earlier_marks() {
    let mut lists = watched(5, 0);
    lists.read(ANN, &room(1), 3);
    lists.take_marks(9);
    lists.removed(ANN, &room(1));
    let updates = lists.take_updates();
    assert_eq!((updates[0].to.as_slice(), updates[0].update.removed.as_slice()), (&[7][..], &[RoomId(1)][..]));
    lists.saved(false);
    let marks = lists.take_marks(9);
    assert_eq!(marks, [Mark { user: ANN, room: RoomId(1), change: MarkChange::Leave }]);
    lists.took_part(ANN, &room(1), 5);
    assert_eq!(told(&mut lists), [("room 1".to_owned(), 5, 5)]);
}

#[test]
fn list_that_nobody_watches_is_forgotten_once_its_marks_are_stored() {
    let mut lists = watched(5, 0);
    lists.read(ANN, &room(1), 3);
    lists.take_marks(9);
    lists.read(ANN, &room(1), 4);
    lists.unwatch(ANN, ConnId(1));
    lists.saved(false);
    let marks = lists.take_marks(9);
    assert_eq!(marks, [Mark { user: ANN, room: RoomId(1), change: MarkChange::Read(4) }]);
    assert!(lists.list(ANN).is_some());
    lists.saved(true);
    assert!(lists.users.is_empty() && lists.rooms.is_empty());
}

#[test]
fn list_is_bounded() {
    let mut lists = watched(1, 1);
    (1..=MAX_MY_ROOMS as u64 + 5).for_each(|id| lists.took_part(ANN, &room(id), 1));
    assert_eq!(lists.list(ANN).unwrap().len(), MAX_MY_ROOMS);
}

/// Crowds are told in turns, and in the end everybody knows.
#[test]
fn each_of_many_users_is_told_in_turn() {
    let mut lists = MyRooms::<u64>::default();
    let users = UPDATES as u64 * 5 / 2;
    for user in 0..users {
        lists.begin_loading();
        lists.loaded(UserId(user), vec![Membership { room: room(1), head: 0, read: 0, mentions: BTreeSet::new() }]);
        lists.end_loading();
        lists.watch(UserId(user), ConnId(user), user, [].into_iter());
    }
    lists.committed(RoomId(1), 1);
    let mut told = BTreeSet::new();
    for _ in 0..3 {
        let updates = lists.take_updates();
        assert!(updates.len() <= UPDATES);
        told.extend(updates.into_iter().flat_map(|update| update.to));
    }
    assert_eq!(told.len() as u64, users);
}

#[test]
fn mention_while_the_list_is_read_is_counted_and_one_that_was_read_is_not() {
    let mut lists = MyRooms::<u8>::default();
    lists.begin_loading();
    lists.committed(RoomId(1), 7);
    for (seq, is_added) in [(5, true), (6, true), (7, true), (6, false)] {
        lists.mentioned(ANN, RoomId(1), seq, is_added);
    }
    lists.loaded(ANN, vec![Membership { room: room(1), head: 5, read: 5, mentions: BTreeSet::new() }]);
    lists.end_loading();
    assert_eq!(lists.list(ANN).unwrap()[0].mentions, Some(1));
    lists.mentioned(ANN, RoomId(1), 4, true);
    lists.mentioned(ANN, RoomId(2), 9, true);
    assert_eq!(lists.list(ANN).unwrap()[0].mentions, Some(1), "read before, or not in the list");
    lists.read(ANN, &room(1), 7);
    assert_eq!(lists.list(ANN).unwrap()[0].mentions, None);
}
