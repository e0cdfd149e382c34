//! Mutations: faults planted in the simulated server and its storage, to test that the checker finds them.
//!
//! Those of the storage are in `disk.rs`. Those of the hub are planted where the simulated transport takes
//! frames from an outbox: there a [`FrameMutator`] changes the frames as the fault would.

use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;
use serde_json::Value;

use super::rng::Rng;

/// The hub's mutations happen once in so many opportunities.
const RARITY: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The store answers a write before it is durable.
    AckBeforeCommit,
    /// The store does not recognise a key that it has stored before.
    NoDedupe,
    /// A replay omits the first missed message.
    ReplayOffByOne,
    /// Messages are released to an entering connection before its history.
    ReleaseBeforeReplay,
    /// The history is as old as the lookup of the room, so it was read before messages were buffered for the
    /// entering connection.
    HistoryReadTooEarly,
    /// A frame that does not fit into an outbox is dropped instead of closing the connection.
    DropOnOverflow,
    /// A restored database keeps its epoch.
    EpochKept,
    /// The rooms of a database have other ids after a restart.
    RoomIdChanges,
    /// After a restore, a new room gets an id that another room has or had.
    RoomIdReused,
    /// Fan-out delivers a message twice.
    FanOutDuplicates,
    /// Fan-out loses a message.
    FanOutLoses,
    /// Fan-out delivers two messages of a room in reverse order.
    FanOutReorders,
    /// Fan-out delivers a change of a message twice.
    ChangeDuplicates,
    /// Fan-out loses a change of a message.
    ChangeLost,
    /// A resume omits the first changed message.
    ReplayLosesChange,
    /// A resume does not notice that missed messages have expired.
    ReplayIgnoresFloor,
    /// A restart forgets which messages are to be removed.
    PurgeForgotten,
    /// A page is not told that messages have expired.
    ExpiryLost,
    /// Older messages are returned as they were posted: what was deleted comes back.
    HistoryWithoutChanges,
    /// Entering is answered from a tail that lacks the room's last message.
    StaleTail,
    /// A page is not told that there are unread messages.
    UnreadLost,
}

impl Mutation {
    pub const ALL: [Self; 21] = [
        Self::AckBeforeCommit,
        Self::NoDedupe,
        Self::ReplayOffByOne,
        Self::ReleaseBeforeReplay,
        Self::HistoryReadTooEarly,
        Self::DropOnOverflow,
        Self::EpochKept,
        Self::RoomIdChanges,
        Self::RoomIdReused,
        Self::FanOutDuplicates,
        Self::FanOutLoses,
        Self::FanOutReorders,
        Self::ChangeDuplicates,
        Self::ChangeLost,
        Self::ReplayLosesChange,
        Self::ReplayIgnoresFloor,
        Self::PurgeForgotten,
        Self::ExpiryLost,
        Self::HistoryWithoutChanges,
        Self::StaleTail,
        Self::UnreadLost,
    ];
}

/// Applies a mutation of the hub to the frames of one connection.
#[derive(Debug, Default)]
pub struct FrameMutator {
    /// For [`Mutation::FanOutReorders`]: a message that waits for the next one of its room.
    held: Option<(String, Utf8Bytes)>,
}

/// A frame, as far as mutations distinguish.
enum Kind {
    Message { room: String },
    Change,
    MyRooms,
    Expired,
    Entered { room: String },
    Other,
}

impl FrameMutator {
    /// Changes frames that were taken from an outbox. `capacity`: the number of frames that the outbox should hold.
    pub fn apply(
        &mut self,
        mutation: Mutation,
        frames: VecDeque<Utf8Bytes>,
        capacity: usize,
        rng: &mut Rng,
    ) -> VecDeque<Utf8Bytes> {
        match mutation {
            Mutation::DropOnOverflow => frames.into_iter().take(capacity).collect(),
            Mutation::ReleaseBeforeReplay => release_early(frames),
            Mutation::FanOutDuplicates | Mutation::FanOutLoses | Mutation::FanOutReorders => {
                frames.into_iter().flat_map(|frame| self.fan_out(mutation, frame, rng)).collect()
            }
            Mutation::ChangeDuplicates | Mutation::ChangeLost => {
                frames.into_iter().flat_map(|frame| fan_out_change(mutation, frame, rng)).collect()
            }
            Mutation::UnreadLost => frames
                .into_iter()
                .filter(|frame| !matches!(kind(frame), Kind::MyRooms) || !rng.one_in(RARITY))
                .collect(),
            Mutation::ExpiryLost => frames.into_iter().filter(|frame| !matches!(kind(frame), Kind::Expired)).collect(),
            Mutation::StaleTail => frames.into_iter().map(|frame| make_stale(frame, rng)).collect(),
            Mutation::AckBeforeCommit
            | Mutation::NoDedupe
            | Mutation::ReplayOffByOne
            | Mutation::HistoryReadTooEarly
            | Mutation::ReplayLosesChange
            | Mutation::ReplayIgnoresFloor
            | Mutation::PurgeForgotten
            | Mutation::HistoryWithoutChanges
            | Mutation::EpochKept
            | Mutation::RoomIdChanges
            | Mutation::RoomIdReused => frames,
        }
    }

    fn fan_out(&mut self, mutation: Mutation, frame: Utf8Bytes, rng: &mut Rng) -> Vec<Utf8Bytes> {
        let Kind::Message { room } = kind(&frame) else { return vec![frame] };
        if let Some((_, held)) = self.held.take_if(|(held_room, _)| *held_room == room) {
            return vec![frame, held];
        }
        if !rng.one_in(RARITY) {
            return vec![frame];
        }
        if mutation == Mutation::FanOutReorders {
            self.held = Some((room, frame));
            return Vec::new();
        }
        if mutation == Mutation::FanOutDuplicates { vec![frame.clone(), frame] } else { Vec::new() }
    }
}

fn fan_out_change(mutation: Mutation, frame: Utf8Bytes, rng: &mut Rng) -> Vec<Utf8Bytes> {
    if !matches!(kind(&frame), Kind::Change) || !rng.one_in(RARITY) {
        vec![frame]
    } else if mutation == Mutation::ChangeDuplicates {
        vec![frame.clone(), frame]
    } else {
        Vec::new()
    }
}

fn kind(frame: &str) -> Kind {
    let frame: Value = serde_json::from_str(frame).unwrap_or_default();
    let payload = &frame["payload"];
    let room = || payload["room"].as_str().unwrap_or_default().to_owned();
    match frame["type"].as_str() {
        Some("new_message") => Kind::Message { room: room() },
        Some("message_changed") => Kind::Change,
        Some("my_rooms_changed") => Kind::MyRooms,
        Some("messages_expired") => Kind::Expired,
        Some("ack") if payload["recovered"].is_boolean() => Kind::Entered { room: room() },
        _ => Kind::Other,
    }
}

/// Moves each message that follows the answer to `enter_room` before it.
fn release_early(frames: VecDeque<Utf8Bytes>) -> VecDeque<Utf8Bytes> {
    let (mut released, mut answers) = (VecDeque::new(), Vec::new());
    for frame in frames {
        match kind(&frame) {
            Kind::Entered { room } => answers.push((room, frame)),
            Kind::Message { room } if answers.iter().any(|(entered, _)| *entered == room) => released.push_back(frame),
            Kind::Message { .. } | Kind::Change | Kind::MyRooms | Kind::Expired | Kind::Other => {
                released.extend(answers.drain(..).map(|(_, answer)| answer));
                released.push_back(frame);
            }
        }
    }
    released.extend(answers.into_iter().map(|(_, answer)| answer));
    released
}

/// Sometimes removes the last message from an answer to `enter_room`.
fn make_stale(frame: Utf8Bytes, rng: &mut Rng) -> Utf8Bytes {
    if !matches!(kind(&frame), Kind::Entered { .. }) || !rng.one_in(RARITY) {
        return frame;
    }
    let mut value: Value = serde_json::from_str(&frame).unwrap_or_default();
    let payload = &mut value["payload"];
    if payload["messages"].as_array_mut().and_then(Vec::pop).is_some() {
        payload["head"] = (payload["head"].as_u64().unwrap_or_default() - 1).into();
    }
    value.to_string().into()
}
