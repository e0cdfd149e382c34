//! Error codes, which refuse a frame, and close codes, which end a connection.

use std::fmt;

/// Declares [`ErrorCode`] with the names on the wire and the default messages, in two groups: codes of bad frames,
/// and codes of refusals.
macro_rules! error_codes {
    (
        bad_frames { $($bad:ident = $bad_name:literal: $bad_message:literal,)* }
        refusals { $($refusal:ident = $refusal_name:literal: $refusal_message:literal,)* }
    ) => {
        /// The reason why a frame was refused. The wire carries its name and an English message for developers; the
        /// page shows its own translated text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $bad_message] $bad,)*
            $(#[doc = $refusal_message] $refusal,)*
            /// A code that this program does not know, of a newer server. Never sent.
            Unknown,
        }

        impl ErrorCode {
            /// Every code on the wire, in the order of PROTOCOL.md.
            pub const ALL: &[Self] = &[$(Self::$bad,)* $(Self::$refusal,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$bad => $bad_name,)*
                    $(Self::$refusal => $refusal_name,)*
                    Self::Unknown => "UNKNOWN",
                }
            }

            /// The default `message` of an `error` frame.
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$bad => $bad_message,)*
                    $(Self::$refusal => $refusal_message,)*
                    Self::Unknown => "The code is unknown.",
                }
            }

            /// The frame was malformed or violated the protocol. Such frames count towards
            /// [`CloseCode::BadFrames`]; refusals, which depend on content and state, do not.
            pub const fn is_bad_frame(self) -> bool {
                match self {
                    $(Self::$bad => true,)*
                    $(Self::$refusal => false,)*
                    Self::Unknown => false,
                }
            }
        }
    };
}

error_codes! {
    bad_frames {
        BadJson = "BAD_JSON": "The frame is not a JSON object.",
        DuplicateKey = "DUPLICATE_KEY": "A key appears twice in one object.",
        UnknownType = "UNKNOWN_TYPE": "The frame's type is unknown.",
        MissingField = "MISSING_FIELD": "A field is missing.",
        UnknownField = "UNKNOWN_FIELD": "A field is unknown.",
        BadType = "BAD_TYPE": "A field has the wrong JSON type.",
        BadNumber = "BAD_NUMBER": "A number is not an integer from 0 to 2^53 - 1 without fraction or exponent.",
        HelloFirst = "HELLO_FIRST": "The first frame must be hello.",
        AlreadyGreeted = "ALREADY_GREETED": "hello was already sent.",
    }
    refusals {
        NotInRoom = "NOT_IN_ROOM": "This connection has not entered that room.",
        TextEmpty = "TEXT_EMPTY": "The text is empty or invisible.",
        TextTooLong = "TEXT_TOO_LONG": "The text has more than 4,000 code points.",
        TextInvalid = "TEXT_INVALID": "The text contains a control character.",
        KeyInvalid = "KEY_INVALID": "A message's key must be a hyphenated UUID.",
        KeyConflict = "KEY_CONFLICT": "That key was used in this room for another text.",
        MessageNotFound = "MESSAGE_NOT_FOUND": "There is no such message, or it was deleted.",
        NotYours = "NOT_YOURS": "Only its author can change that message.",
        EditConflict = "EDIT_CONFLICT": "The message was edited from another page.",
        EmojiInvalid = "EMOJI_INVALID": "A reaction must be one emoji.",
        ReactionsFull = "REACTIONS_FULL": "A message can have 20 different emoji, 5 of each user, and 500 reactions.",
        PinsFull = "PINS_FULL": "A room can have 50 pinned messages.",
        AttachmentNotFound = "ATTACHMENT_NOT_FOUND": "The attachment is not a finished upload of this user in this room.",
        TooManyAttachments = "TOO_MANY_ATTACHMENTS": "A message can have 10 different attachments.",
        FileNameInvalid = "FILE_NAME_INVALID": "That is not a valid file name.",
        FileTooLarge = "FILE_TOO_LARGE": "The file is empty, larger than file_bytes, or larger than announced.",
        PictureInvalid = "PICTURE_INVALID": "The file begins like a picture, but cannot be read as one.",
        PictureTooLarge = "PICTURE_TOO_LARGE": "The picture has more pixels than picture_pixels.",
        UploadNotFound = "UPLOAD_NOT_FOUND": "There is no such upload of this user for this room.",
        UploadOffset = "UPLOAD_OFFSET": "The upload does not continue at that offset.",
        TooManyUploads = "TOO_MANY_UPLOADS": "Too many uploads are unfinished or not in a message yet.",
        CookieNeeded = "COOKIE_NEEDED": "An upload needs the cookie of its user.",
        EpochChanged = "EPOCH_CHANGED": "The message belongs to an earlier history of the room.",
        NickEmpty = "NICK_EMPTY": "The nickname is empty.",
        NickTooLong = "NICK_TOO_LONG": "The nickname has more than 32 graphemes.",
        NickTaken = "NICK_TAKEN": "Another user in the room has that nickname.",
        NickReserved = "NICK_RESERVED": "That nickname is reserved.",
        NickBidi = "NICK_BIDI": "The nickname contains a character that changes the text direction.",
        NickControl = "NICK_CONTROL": "The nickname contains a control character.",
        NickCombining = "NICK_COMBINING": "The nickname has more than 3 combining marks on one character.",
        NickConfusable = "NICK_CONFUSABLE": "The nickname looks like another one.",
        NickInvalid = "NICK_INVALID": "The nickname contains an invisible character.",
        RoomNameInvalid = "ROOM_NAME_INVALID": "That is not a valid room name.",
        LimitOutOfRange = "LIMIT_OUT_OF_RANGE": "limit must be from 1 to 100.",
        RoomQuota = "ROOM_QUOTA": "Too many rooms were created or entered.",
        RoomFull = "ROOM_FULL": "The room has reached its size limit and takes no more messages.",
        ServerFull = "SERVER_FULL": "The server has reached its limit of stored data, for today if there is retry_after_ms.",
        RateLimited = "RATE_LIMITED": "Too many requests; try again after retry_after_ms.",
        StoreUnavailable = "STORE_UNAVAILABLE": "The server cannot store anything right now.",
        NotInCall = "NOT_IN_CALL": "This connection, or the other peer, is not in the call of that room.",
        CallFull = "CALL_FULL": "A call has at most 6 peers.",
        BadCallState = "BAD_CALL_STATE": "There is no offer to answer, or the recipient is the sender.",
        SdpTooLarge = "SDP_TOO_LARGE": "A session description may have 32 KiB, a candidate 1 KiB.",
        SdpInvalid = "SDP_INVALID": "That is not a valid session description or ICE candidate.",
    }
}

impl ErrorCode {
    /// Finds a code by its name on the wire.
    pub fn from_wire(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares [`CloseCode`] with the numbers on the wire.
macro_rules! close_codes {
    ($($(#[$meta:meta])* $Variant:ident = $number:literal,)*) => {
        /// The reason why the server closed a connection (RFC 6455, section 7.4). The number's range tells a client
        /// whether to reconnect ([`CloseCode::may_reconnect`]).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[$meta])* $Variant = $number,)*
        }

        impl CloseCode {
            /// Every code, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$Variant,)*];
        }
    };
}

close_codes! {
    /// A violation of RFC 6455.
    Protocol = 1002,
    /// A binary frame; the protocol uses text frames only.
    Binary = 1003,
    /// Text that is not UTF-8.
    NotUtf8 = 1007,
    /// A message above [`MAX_FRAME_BYTES`](super::MAX_FRAME_BYTES).
    TooBig = 1009,
    /// An internal error in this connection or room.
    Internal = 1011,
    /// The server restarts.
    Restarting = 1012,
    /// More connections than configured in total.
    Overloaded = 1013,
    /// 20 bad frames within a minute.
    BadFrames = 4400,
    /// `hello` named a version that this server does not support.
    UnsupportedVersion = 4406,
    /// Replaced by a newer connection of the same user.
    Replaced = 4409,
    /// Control frames far above the rate limit.
    RateAbuse = 4429,
    /// No `hello` within 10 s.
    HelloTimeout = 4450,
    /// No pong within 10 s.
    HeartbeatTimeout = 4451,
    /// The outbox was full: the client read too slowly. It resumes after reconnecting.
    SlowConsumer = 4452,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// A client may reconnect automatically after a close with this number.
    pub const fn may_reconnect(number: u16) -> bool {
        !(4400 <= number && number < 4450)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_code_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::from_wire("bad_json"), None);
    }

    #[test]
    fn close_code_range_decides_about_reconnecting() {
        for code in CloseCode::ALL {
            let stays_away = match code {
                CloseCode::BadFrames | CloseCode::UnsupportedVersion | CloseCode::Replaced | CloseCode::RateAbuse => {
                    true
                }
                CloseCode::Protocol
                | CloseCode::Binary
                | CloseCode::NotUtf8
                | CloseCode::TooBig
                | CloseCode::Internal
                | CloseCode::Restarting
                | CloseCode::Overloaded
                | CloseCode::HelloTimeout
                | CloseCode::HeartbeatTimeout
                | CloseCode::SlowConsumer => false,
            };
            assert_eq!(CloseCode::may_reconnect(code.number()), !stays_away, "{code:?}");
        }
        assert!(CloseCode::may_reconnect(1006), "the connection was lost");
    }
}
