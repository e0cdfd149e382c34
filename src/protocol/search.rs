//! Payloads about searches.

use std::fmt;
use std::str::FromStr;

use super::chat::{Message, PinsAck};
use super::codec::wire;
use super::id::RoomId;

wire! {
    /// Payload of `search`.
    pub struct Search {
        /// The room, which the connection must have entered. Without it, all rooms in the user's own list are searched.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub room: Option<RoomId>,
        /// The words to find, at most [`MAX_SEARCH_CHARS`](super::MAX_SEARCH_CHARS) code points.
        pub text: String,
        /// The [`SearchAck::before`] of an earlier answer, to go on from there.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub before: Option<Place>,
        /// The most messages to return, from 1 to [`MAX_SEARCH`](super::MAX_SEARCH).
        pub limit: u64,
    }

    /// Answer to `search`.
    #[derive(Default)]
    pub struct SearchAck {
        /// The messages that match, newest first.
        pub found: Vec<Found>,
        /// If there may be more: the `before` of the next `search`. A search that has examined many messages stops, even
        /// if it has found none.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub before: Option<Place>,
    }

    /// A message that a search has found.
    pub struct Found {
        /// The message.
        pub message: Message,
        /// The places in its text that match, in order and apart from each other. The first ones, if there are many.
        pub marks: Vec<Mark> = Vec::new(),
        /// The name of its room, if all rooms of the user were searched.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub name: Option<String>,
    }

    /// A part of a text.
    #[derive(Copy, Hash)]
    pub struct Mark {
        /// Its beginning, in Unicode code points from the beginning of the text.
        pub start: u64,
        /// Its end.
        pub end: u64,
    }

    /// A place between the messages of one or several rooms, in the order of their times. Older messages are before it.
    #[derive(Copy, Hash, PartialOrd, Ord)]
    pub struct Place {
        /// The time, in milliseconds since 1970 UTC.
        pub at: u64,
        /// The room. Among rooms with messages of this time, those with lower ids are before it.
        pub room: RoomId,
        /// In that room, the messages with a lower `seq` are before it.
        pub seq: u64,
    }
}

impl From<PinsAck> for SearchAck {
    /// The pinned messages as what a search without words finds.
    fn from(PinsAck { messages }: PinsAck) -> Self {
        let found = messages.into_iter().map(|message| Found { message, marks: Vec::new(), name: None });
        Self { found: found.collect(), before: None }
    }
}

impl fmt::Display for Place {
    /// Its form in addresses of pages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.at, self.room, self.seq)
    }
}

/// A text is not a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPlace;

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let mut parts = text.splitn(3, '-');
        let mut next = || parts.next().ok_or(InvalidPlace);
        let (at, room, seq) = (next()?, next()?, next()?);
        Ok(Self {
            at: at.parse().map_err(|_| InvalidPlace)?,
            room: room.parse().map_err(|_| InvalidPlace)?,
            seq: seq.parse().map_err(|_| InvalidPlace)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_read_from_its_text_and_from_no_other() {
        let place = Place { at: 1_795_442_709_123, room: RoomId(0xb00c_c1ab), seq: 7 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "7", "1-00000000b00cc1ab", "1-garden-7", "-1-00000000b00cc1ab-7", "1-00000000b00cc1ab-7-8"] {
            assert_eq!(text.parse::<Place>(), Err(InvalidPlace), "{text}");
        }
    }
}
