//! Identifiers that pass over the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec::{Fault, FromJson, Json};

/// A person, as far as the server can tell: everyone who shows the same signed cookie. 64 random
/// bits; sixteen lower-case hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u64);

/// One connection's place in a call: everyone in the room sees it. 64 random bits; sixteen
/// lower-case hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// What the author's client calls a message: a UUID (RFC 9562), unique per author and room for as
/// long as the message is kept. Hyphenated lower case on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageKey(pub u128);

impl MessageKey {
    /// A version 4 UUID from 128 random bits.
    pub fn from_random(bits: u128) -> Self {
        let versioned = bits & !(0xf << 76) | 0x4 << 76;
        Self(versioned & !(0x3 << 62) | 0x2 << 62)
    }
}

/// The text is no identifier of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId;

/// On the wire, 64 bits are sixteen hexadecimal digits.
macro_rules! as_digits {
    ($name:ident, $what:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                hex(text, 16).map(|value| Self(value as u64))
            }
        }

        impl FromJson for $name {
            fn from_json(json: Json<'_>) -> Result<Self, Fault> {
                String::from_json(json)?.parse().map_err(|InvalidId| Fault::bad_type($what))
            }
        }
    };
}

as_digits!(UserId, "a user id");
as_digits!(PeerId, "a peer id");

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, digits: u32| (self.0 >> shift) as u64 & ((1 << (digits * 4)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

impl FromStr for MessageKey {
    type Err = InvalidId;

    /// Takes the hyphenated form only, in either case.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut value = 0;
        let mut parts = text.split('-');
        for digits in [8, 4, 4, 4, 12] {
            value = value << (digits * 4) | hex(parts.next().ok_or(InvalidId)?, digits)?;
        }
        if parts.next().is_some() { Err(InvalidId) } else { Ok(Self(value)) }
    }
}

/// Exactly `digits` hexadecimal digits.
fn hex(text: &str, digits: usize) -> Result<u128, InvalidId> {
    if text.len() != digits || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(InvalidId);
    }
    u128::from_str_radix(text, 16).map_err(|_| InvalidId)
}

/// On the wire, an identifier is its text.
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
as_text!(PeerId);
as_text!(MessageKey);

impl FromJson for MessageKey {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        String::from_json(json)?.parse().map_err(|InvalidId| Fault::bad_key())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn identifiers_survive_their_text(user: u64, key: u128) {
            prop_assert_eq!(UserId(user).to_string().parse(), Ok(UserId(user)));
            prop_assert_eq!(MessageKey(key).to_string().parse(), Ok(MessageKey(key)));
        }
    }

    #[test]
    fn a_random_key_is_a_version_4_uuid() {
        assert_eq!(MessageKey::from_random(0).to_string(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(MessageKey::from_random(u128::MAX).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn texts_that_are_no_uuid_are_refused() {
        for text in [
            "",
            "1",
            "00000000000040008000000000000000",
            "+0000000-0000-4000-8000-000000000000",
            "00000000-0000-4000-8000-000000000000-",
            "{00000000-0000-4000-8000-000000000000}",
        ] {
            assert_eq!(text.parse::<MessageKey>(), Err(InvalidId), "{text}");
        }
    }
}
