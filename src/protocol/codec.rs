//! Decoding of JSON, strict on the server and tolerant on the page ([`Reading`]).
//!
//! serde's derived `Deserialize` reports every error as one type with a text, but this protocol has a code for each
//! kind of error. Therefore a frame is first parsed into [`Json`], a borrowed tree, and each type then takes its fields
//! out of it with [`Fields`]. The macro [`wire!`] writes that part. Encoding is serde's.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::error::ErrorCode;
use super::limits::MAX_SAFE_INTEGER;

/// A value or frame that could not be decoded. Its text is the `message` of the `error` frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", .code.message(), in_parentheses(.field.as_deref()))]
pub struct DecodeError {
    /// The code of the `error` frame.
    pub code: ErrorCode,
    /// The invalid field, or the type that was expected.
    pub field: Option<String>,
}

impl DecodeError {
    pub(super) fn at(code: ErrorCode, field: impl Into<String>) -> Self {
        Self { code, field: Some(field.into()) }
    }

    pub(super) fn bad_type(expected: &str) -> Self {
        Self::at(ErrorCode::BadType, expected)
    }
}

impl From<ErrorCode> for DecodeError {
    fn from(code: ErrorCode) -> Self {
        Self { code, field: None }
    }
}

/// The field's name for an error text, shortened because a client chose it.
fn in_parentheses(field: Option<&str>) -> String {
    field.map_or_else(String::new, |field| format!(" ({})", field.chars().take(40).collect::<String>()))
}

/// The rules of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Every field must be known, present, of the right type, and appear once. The server reads its clients like this.
    Strict,
    /// As strict about what is needed, but a newer server may say more: unknown fields are skipped, and so are
    /// elements of arrays, optional fields and fields with a substitute that cannot be decoded. The page reads the
    /// server like this.
    Tolerant,
}

/// A JSON value (RFC 8259) that borrows from its text where possible. [`Json::parse`] checks for
/// duplicate keys when it reads strictly.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`, which counts as an absent field.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A non-negative integer without fraction or exponent.
    Whole(u64),
    /// Any other number; no field of the protocol accepts one.
    OtherNumber,
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object, in source order.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Parses a whole text. Nesting deeper than 128 levels is refused.
    ///
    /// # Errors
    /// `BAD_JSON`, `DUPLICATE_KEY`.
    pub fn parse(text: &'a str, reading: Reading) -> Result<Self, DecodeError> {
        let json: Self = serde_json::from_str(text).map_err(|_| DecodeError::from(ErrorCode::BadJson))?;
        if reading == Reading::Strict {
            json.check_keys()?;
        }
        Ok(json)
    }

    fn check_keys(&self) -> Result<(), DecodeError> {
        match self {
            Self::Array(items) => items.iter().try_for_each(Self::check_keys),
            Self::Object(fields) => {
                let mut keys: Vec<_> = fields.iter().map(|(key, _)| key).collect();
                keys.sort_unstable();
                if let Some(duplicate) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(DecodeError::at(ErrorCode::DuplicateKey, duplicate[0].as_ref()));
                }
                fields.iter().try_for_each(|(_, value)| value.check_keys())
            }
            _ => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Json<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Json::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Json::Whole(value))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Json::OtherNumber)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Json::OtherNumber)
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Json::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Json::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Json::Array(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    fields.push((key, map.next_value()?));
                }
                Ok(Json::Object(fields))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

/// An object's key, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A type that is decoded from [`Json`].
pub trait FromJson: Sized {
    /// Decodes the value.
    ///
    /// # Errors
    /// The first error in the value.
    fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError>;

    /// The value of an absent field (or `null`); `None` if the field is required.
    fn absent() -> Option<Self> {
        None
    }

    /// The value that a tolerant reader takes for one that it cannot decode; `None` if there is none.
    fn unknown() -> Option<Self> {
        None
    }
}

impl FromJson for bool {
    fn from_json(json: Json<'_>, _: Reading) -> Result<Self, DecodeError> {
        match json {
            Json::Bool(value) => Ok(value),
            _ => Err(DecodeError::bad_type("true or false")),
        }
    }
}

impl FromJson for u64 {
    fn from_json(json: Json<'_>, _: Reading) -> Result<Self, DecodeError> {
        match json {
            Json::Whole(value) if value <= MAX_SAFE_INTEGER => Ok(value),
            Json::Whole(_) | Json::OtherNumber => Err(ErrorCode::BadNumber.into()),
            _ => Err(DecodeError::bad_type("a number")),
        }
    }
}

impl FromJson for String {
    fn from_json(json: Json<'_>, _: Reading) -> Result<Self, DecodeError> {
        match json {
            Json::Text(text) => Ok(text.into_owned()),
            _ => Err(DecodeError::bad_type("text")),
        }
    }
}

impl FromJson for ErrorCode {
    fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
        Self::from_wire(&String::from_json(json, reading)?).ok_or_else(|| DecodeError::bad_type("an error code"))
    }

    fn unknown() -> Option<Self> {
        Some(Self::Unknown)
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::from_wire(&text).unwrap_or(Self::Unknown))
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
        T::from_json(json, reading).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn unknown() -> Option<Self> {
        Some(None)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(json: Json<'_>, reading: Reading) -> Result<Self, DecodeError> {
        match json {
            Json::Array(items) => {
                let decoded = items.into_iter().map(|item| T::from_json(item, reading));
                decoded.filter(|item| item.is_ok() || reading == Reading::Strict).collect()
            }
            _ => Err(DecodeError::bad_type("an array")),
        }
    }
}

/// The fields of an object, taken out one by one.
pub struct Fields<'a> {
    fields: Vec<(Cow<'a, str>, Json<'a>)>,
    reading: Reading,
}

impl<'a> Fields<'a> {
    /// Returns the fields of an object, without those that are `null`.
    ///
    /// # Errors
    /// `BAD_TYPE` for anything but an object.
    pub fn of(json: Json<'a>, reading: Reading) -> Result<Self, DecodeError> {
        match json {
            Json::Object(mut fields) => {
                fields.retain(|(_, value)| *value != Json::Null);
                Ok(Self { fields, reading })
            }
            _ => Err(DecodeError::bad_type("an object")),
        }
    }

    /// Takes a field without decoding it.
    pub fn raw(&mut self, name: &str) -> Option<Json<'a>> {
        let index = self.fields.iter().position(|(key, _)| key == name)?;
        Some(self.fields.swap_remove(index).1)
    }

    /// Takes a field and decodes it.
    ///
    /// # Errors
    /// `MISSING_FIELD`, or the error in the value.
    pub fn take<T: FromJson>(&mut self, name: &str) -> Result<T, DecodeError> {
        self.take_or(name, None)
    }

    /// Takes a field and decodes it. A tolerant reader takes the substitute instead of a value that is absent or cannot
    /// be decoded.
    ///
    /// # Errors
    /// `MISSING_FIELD`, or the error in the value.
    pub fn take_or<T: FromJson>(&mut self, name: &str, substitute: Option<T>) -> Result<T, DecodeError> {
        let decoded = match self.raw(name) {
            Some(json) => T::from_json(json, self.reading).map_err(|error| {
                let is_of_value = matches!(error.code, ErrorCode::BadType | ErrorCode::BadNumber);
                if is_of_value { DecodeError::at(error.code, name) } else { error }
            }),
            None => T::absent().ok_or_else(|| DecodeError::at(ErrorCode::MissingField, name)),
        };
        match self.reading {
            Reading::Strict => decoded,
            Reading::Tolerant => decoded.or_else(|error| substitute.or_else(T::unknown).ok_or(error)),
        }
    }

    /// Checks that every field has been taken, unless the reader is tolerant.
    ///
    /// # Errors
    /// `UNKNOWN_FIELD` when one is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.fields.first() {
            Some((name, _)) if self.reading == Reading::Strict => {
                Err(DecodeError::at(ErrorCode::UnknownField, name.as_ref()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Implements serde's `Deserialize` by [`FromJson`]: the results of server functions carry the same types as the wire,
/// and there is one decoder for both. It is tolerant, because a page reads them.
///
/// # Errors
/// The error of [`FromJson`], as text.
pub(crate) fn deserialize<'de, T: FromJson, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::from_json(Json::deserialize(deserializer)?, Reading::Tolerant).map_err(D::Error::custom)
}

/// Declares a struct of the wire with its decoding. `field as "name"` gives a field another name on the wire.
/// `field: Type = value` gives it a substitute for a tolerant reader.
macro_rules! wire {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* pub $field:ident $(as $wire:literal)?: $type:ty $(= $substitute:expr)?,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        pub struct $name { $($(#[$field_meta])* $(#[serde(rename = $wire)])? pub $field: $type,)* }

        impl $crate::protocol::codec::FromJson for $name {
            fn from_json(
                json: $crate::protocol::codec::Json<'_>,
                reading: $crate::protocol::codec::Reading,
            ) -> Result<Self, $crate::protocol::codec::DecodeError> {
                #[allow(unused_mut)]
                let mut fields = $crate::protocol::codec::Fields::of(json, reading)?;
                let value = Self {
                    $($field: fields.take_or(
                        $crate::protocol::codec::wire_name!($field $($wire)?),
                        $crate::protocol::codec::substitute!($($substitute)?),
                    )?,)*
                };
                fields.finish()?;
                Ok(value)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::protocol::codec::deserialize(deserializer)
            }
        }
    )*};
}

/// The name of a field on the wire.
macro_rules! wire_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $wire:literal) => {
        $wire
    };
}

/// The substitute of a field, if it has one.
macro_rules! substitute {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

pub(crate) use {substitute, wire, wire_name};
