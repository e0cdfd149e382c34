//! What can be refused, and why a connection closes.

use std::fmt;

/// Declares [`ErrorCode`] with its wire names and default messages.
macro_rules! error_codes {
    ($($variant:ident = $wire:literal: $message:literal,)*) => {
        /// Why a frame was refused. The wire carries its name and an English message for developers;
        /// a page shows words of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $message] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of PROTOCOL.md.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }

            /// What it means, in English, for whoever writes a client.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

error_codes! {
    BadJson = "BAD_JSON": "The frame is no JSON object.",
    DuplicateKey = "DUPLICATE_KEY": "A key stands twice in one object.",
    UnknownType = "UNKNOWN_TYPE": "There is no such type of frame.",
    MissingField = "MISSING_FIELD": "A field is missing.",
    UnknownField = "UNKNOWN_FIELD": "There is no such field here.",
    BadType = "BAD_TYPE": "A field has the wrong JSON type.",
    BadNumber = "BAD_NUMBER": "Numbers here are whole, from 0 to 2^53 - 1, without fraction or exponent.",
    HelloFirst = "HELLO_FIRST": "The first frame must be hello.",
    AlreadyGreeted = "ALREADY_GREETED": "hello was said already.",
    NotInRoom = "NOT_IN_ROOM": "This connection is not in that room.",
    TextEmpty = "TEXT_EMPTY": "The text has nothing to see.",
    TextTooLong = "TEXT_TOO_LONG": "The text has more than 4,000 code points.",
    TextInvalid = "TEXT_INVALID": "The text has a control character.",
    KeyInvalid = "KEY_INVALID": "A message's key is a hyphenated UUID.",
    KeyConflict = "KEY_CONFLICT": "That key was used in this room for another text.",
    NickEmpty = "NICK_EMPTY": "The nickname is empty.",
    NickTooLong = "NICK_TOO_LONG": "The nickname has more than 32 graphemes.",
    NickTaken = "NICK_TAKEN": "Somebody in the room has that nickname.",
    NickReserved = "NICK_RESERVED": "That nickname is reserved.",
    NickBidi = "NICK_BIDI": "The nickname has a character that turns the writing direction.",
    NickControl = "NICK_CONTROL": "The nickname has a control character.",
    NickCombining = "NICK_COMBINING": "The nickname stacks more than 3 marks on one character.",
    NickConfusable = "NICK_CONFUSABLE": "The nickname looks like another.",
    NickInvalid = "NICK_INVALID": "The nickname has a character that cannot be seen.",
    RoomNameInvalid = "ROOM_NAME_INVALID": "That cannot be the name of a room.",
    LimitOutOfRange = "LIMIT_OUT_OF_RANGE": "limit is from 1 to 100.",
    RoomQuota = "ROOM_QUOTA": "Too many new rooms.",
    RateLimited = "RATE_LIMITED": "Too much at once; try again after retry_after_ms.",
    StoreUnavailable = "STORE_UNAVAILABLE": "The server cannot store anything right now.",
    NotInCall = "NOT_IN_CALL": "This connection, or the other peer, is not in the call of that room.",
    CallFull = "CALL_FULL": "A call has at most 6 people.",
    BadCallState = "BAD_CALL_STATE": "There is no offer to answer, or the peer is oneself.",
    SdpTooLarge = "SDP_TOO_LARGE": "A session description has at most 32 KiB, a candidate 1 KiB.",
    SdpInvalid = "SDP_INVALID": "That is no session description, or no ICE candidate.",
}

impl ErrorCode {
    /// The code of that name.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// Whether it is a fault of form, which counts towards [`CloseCode::BadFrames`]; a refusal does
    /// not.
    pub const fn is_fault_of_form(self) -> bool {
        matches!(
            self,
            Self::BadJson
                | Self::DuplicateKey
                | Self::UnknownType
                | Self::MissingField
                | Self::UnknownField
                | Self::BadType
                | Self::BadNumber
                | Self::HelloFirst
                | Self::AlreadyGreeted
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a WebSocket was closed (RFC 6455, 7.4). The number says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// A violation of RFC 6455 itself.
    Protocol = 1002,
    /// A binary frame; Noom speaks text.
    Binary = 1003,
    /// Text that is not UTF-8.
    NotUtf8 = 1007,
    /// A message above [`super::MAX_FRAME_BYTES`].
    TooBig = 1009,
    /// Something failed inside this connection or room.
    Internal = 1011,
    /// The server restarts; come back.
    Restarting = 1012,
    /// More connections than configured in total; come back later.
    Overloaded = 1013,
    /// 20 faults of form within a minute.
    BadFrames = 4400,
    /// `hello` named a version that this server does not speak.
    UnsupportedVersion = 4406,
    /// A newer connection of the same user took this one's place.
    Replaced = 4409,
    /// Control frames far above the rate.
    RateAbuse = 4429,
    /// No `hello` within 10 s.
    HelloTimeout = 4450,
    /// No pong within 10 s.
    HeartbeatTimeout = 4451,
    /// The outbox was full: reconnect and resume.
    SlowConsumer = 4452,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// Whether a client may come back by itself after a close with this number.
    pub const fn may_reconnect(number: u16) -> bool {
        !(4400 <= number && number < 4450)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::from_wire("bad_json"), None);
    }

    #[test]
    fn the_number_says_whether_to_come_back() {
        let stays_away =
            [CloseCode::BadFrames, CloseCode::UnsupportedVersion, CloseCode::Replaced, CloseCode::RateAbuse];
        let comes_back = [CloseCode::Restarting, CloseCode::SlowConsumer, CloseCode::HelloTimeout, CloseCode::Internal];
        assert!(stays_away.iter().all(|code| !CloseCode::may_reconnect(code.number())));
        assert!(comes_back.iter().all(|code| CloseCode::may_reconnect(code.number())));
        assert!(CloseCode::may_reconnect(1006), "a connection that just broke");
    }
}
