//! Identifiers on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

use super::codec::{DecodeError, FromJson, Json, Reading};
use super::error::ErrorCode;

/// A user: every client that presents the same signed cookie or resume token. 64 random bits; sixteen lower-case
/// hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u64);

/// A room. It stays the same whatever the room is called, and no other room gets it. 64 random bits; sixteen lower-case
/// hexadecimal digits on the wire. No room has the default, 0.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(pub u64);

/// A peer: one connection's slot in a call, visible to everyone in the room. 64 random bits; sixteen lower-case
/// hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// A file that was uploaded. 64 random bits; sixteen lower-case hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttachmentId(pub u64);

/// The idempotency key of a message: a UUID (RFC 9562) chosen by the author's client, unique per author and room for
/// as long as the message is kept. Hyphenated lower case on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageKey(pub u128);

impl MessageKey {
    /// Makes a version 4 UUID from 128 random bits.
    pub fn from_random(bits: u128) -> Self {
        Self(Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().as_u128())
    }
}

/// The text is not an identifier of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct InvalidId;

/// Writes 64 bits as sixteen hexadecimal digits, and reads exactly that, in either case.
macro_rules! as_digits {
    ($name:ident, $expected:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // `from_str_radix` alone would accept a sign and fewer digits.
                if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(InvalidId);
                }
                u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidId)
            }
        }

        impl FromJson for $name {
            fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
                String::from_json(json, reading)?.parse().map_err(|InvalidId| DecodeError::bad_type($expected))
            }
        }
    };
}

as_digits!(UserId, "a user id");
as_digits!(RoomId, "a room id");
as_digits!(PeerId, "a peer id");
as_digits!(AttachmentId, "the id of an attachment");

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(Uuid::from_u128(self.0).as_hyphenated(), f)
    }
}

impl FromStr for MessageKey {
    type Err = InvalidId;

    /// Accepts the hyphenated form only, in either case.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // `Uuid` also parses three forms of other lengths: without hyphens, in braces, and as a URN.
        if text.len() != uuid::fmt::Hyphenated::LENGTH {
            return Err(InvalidId);
        }
        Uuid::try_parse(text).map(|uuid| Self(uuid.as_u128())).map_err(|_| InvalidId)
    }
}

/// Serializes an identifier as its text.
macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::codec::deserialize(deserializer)
            }
        }
    };
}

as_text!(UserId);
as_text!(RoomId);
as_text!(PeerId);
as_text!(AttachmentId);
as_text!(MessageKey);

impl FromJson for MessageKey {
    fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
        String::from_json(json, reading)?.parse().map_err(|InvalidId| ErrorCode::KeyInvalid.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn identifiers_round_trip_as_text(user: u64, key: u128) {
            prop_assert_eq!(UserId(user).to_string().parse(), Ok(UserId(user)));
            prop_assert_eq!(MessageKey(key).to_string().parse(), Ok(MessageKey(key)));
        }

        #[test]
        fn message_key_accepts_hyphenated_hex_only(text in "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9A-F]{12}", at in 0_usize..36, c: char) {
            let key: MessageKey = text.parse().unwrap();
            prop_assert_eq!(key.to_string(), text.to_lowercase());
            prop_assert_eq!(key.0, u128::from_str_radix(&text.replace('-', ""), 16).unwrap());
            let mut changed = text.clone();
            changed.replace_range(at..=at, c.encode_utf8(&mut [0; 4]));
            let expected = match at {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            };
            prop_assert_eq!(changed.parse::<MessageKey>().is_ok(), expected, "{}", changed);
        }
    }

    #[test]
    fn random_key_is_a_version_4_uuid() {
        assert_eq!(MessageKey::from_random(0).to_string(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(MessageKey::from_random(u128::MAX).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn message_key_in_another_form_is_refused() {
        for text in [
            "",
            "1",
            "00000000000040008000000000000000",
            "+0000000-0000-4000-8000-000000000000",
            "00000000-0000-4000-8000-000000000000-",
            "0000000-00000-4000-8000-000000000000",
            " 0000000-0000-4000-8000-000000000000",
            "{00000000-0000-4000-8000-000000000000}",
            "urn:uuid:00000000-0000-4000-8000-000000000000",
        ] {
            assert_eq!(text.parse::<MessageKey>(), Err(InvalidId), "{text}");
        }
    }

    #[test]
    fn user_id_accepts_sixteen_hex_digits_only() {
        assert_eq!("00C0ffee00c0ffee".parse(), Ok(UserId(0x00c0_ffee_00c0_ffee)));
        for text in ["", "c0ffee", "+0c0ffee00c0ffee", "00c0ffee00c0ffe ", "00c0ffee00c0ffee0", "00c0ffee00c0ffeg"] {
            assert_eq!(text.parse::<UserId>(), Err(InvalidId), "{text}");
        }
    }
}
