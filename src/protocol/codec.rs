//! Strict reading of JSON: every field is expected, present, of the right type, and there once.
//!
//! serde's derived `Deserialize` reports all faults as one kind of error with a text; a protocol
//! whose faults have codes needs to tell them apart. So a frame is first read into [`Json`], a
//! borrowed tree, and each type then takes its fields out of it with [`Fields`]. The macro [`wire!`]
//! writes that part.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::MAX_SAFE_INTEGER;
use super::error::ErrorCode;

/// Why a frame could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code for the `error` frame.
    pub code: ErrorCode,
    /// The field at fault, where one is.
    pub field: Option<String>,
}

impl Fault {
    fn new(code: ErrorCode) -> Self {
        Self { code, field: None }
    }

    fn at(code: ErrorCode, field: impl Into<String>) -> Self {
        Self { code, field: Some(field.into()) }
    }

    pub(super) fn bad_type(what: &str) -> Self {
        Self::at(ErrorCode::BadType, what)
    }

    pub(super) fn bad_key() -> Self {
        Self::new(ErrorCode::KeyInvalid)
    }

    pub(super) fn unknown_type() -> Self {
        Self::new(ErrorCode::UnknownType)
    }

    /// The message for the `error` frame.
    pub fn message(&self) -> String {
        match &self.field {
            // A client chose this text: a short part of it is enough.
            Some(field) => format!("{} ({})", self.code.message(), field.chars().take(40).collect::<String>()),
            None => self.code.message().to_owned(),
        }
    }
}

/// A JSON value (RFC 8259) that borrows from its text where it can. Object keys are checked to
/// stand once only in [`Json::parse`].
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`, which counts as absent.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that is not negative.
    Whole(u64),
    /// Any other number: nothing in the protocol takes one.
    OtherNumber,
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object, in the order of the text.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads a whole text. Nesting beyond 128 is refused.
    ///
    /// # Errors
    /// `BAD_JSON`, `DUPLICATE_KEY`.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        let json: Self = serde_json::from_str(text).map_err(|_| Fault::new(ErrorCode::BadJson))?;
        json.check_keys()?;
        Ok(json)
    }

    fn check_keys(&self) -> Result<(), Fault> {
        match self {
            Self::Array(items) => items.iter().try_for_each(Self::check_keys),
            Self::Object(fields) => {
                let mut keys: Vec<_> = fields.iter().map(|(key, _)| key).collect();
                keys.sort_unstable();
                if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(Fault::at(ErrorCode::DuplicateKey, twice[0].as_ref()));
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

/// An object's key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// A type that is read strictly from [`Json`].
pub trait FromJson: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// A [`Fault`] that says what is wrong, and where.
    fn from_json(json: Json<'_>) -> Result<Self, Fault>;

    /// What an absent field (or `null`) means; `None` where the field must be there.
    fn absent() -> Option<Self> {
        None
    }
}

impl FromJson for bool {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        match json {
            Json::Bool(value) => Ok(value),
            _ => Err(Fault::bad_type("true or false")),
        }
    }
}

impl FromJson for u64 {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        match json {
            Json::Whole(value) if value <= MAX_SAFE_INTEGER => Ok(value),
            Json::Whole(_) | Json::OtherNumber => Err(Fault::new(ErrorCode::BadNumber)),
            _ => Err(Fault::bad_type("a number")),
        }
    }
}

impl FromJson for String {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        match json {
            Json::Text(text) => Ok(text.into_owned()),
            _ => Err(Fault::bad_type("text")),
        }
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        T::from_json(json).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(json: Json<'_>) -> Result<Self, Fault> {
        match json {
            Json::Array(items) => items.into_iter().map(T::from_json).collect(),
            _ => Err(Fault::bad_type("an array")),
        }
    }
}

/// The fields of one object, taken out one by one.
pub struct Fields<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Fields<'a> {
    /// The fields of an object; `null` ones count as absent.
    ///
    /// # Errors
    /// `BAD_TYPE` for anything but an object.
    pub fn of(json: Json<'a>) -> Result<Self, Fault> {
        match json {
            Json::Object(mut fields) => {
                fields.retain(|(_, value)| *value != Json::Null);
                Ok(Self(fields))
            }
            _ => Err(Fault::bad_type("an object")),
        }
    }

    /// Takes the raw value of a field.
    pub fn raw(&mut self, name: &str) -> Option<Json<'a>> {
        let index = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.swap_remove(index).1)
    }

    /// Takes a field and reads it.
    ///
    /// # Errors
    /// `MISSING_FIELD`, or what reading the value finds.
    pub fn take<T: FromJson>(&mut self, name: &str) -> Result<T, Fault> {
        match self.raw(name) {
            Some(json) => T::from_json(json).map_err(|fault| match fault.code {
                ErrorCode::BadType | ErrorCode::BadNumber => Fault::at(fault.code, name),
                _ => fault,
            }),
            None => T::absent().ok_or_else(|| Fault::at(ErrorCode::MissingField, name)),
        }
    }

    /// Says that every field has been taken.
    ///
    /// # Errors
    /// `UNKNOWN_FIELD` when one is left.
    pub fn finish(self) -> Result<(), Fault> {
        match self.0.first() {
            Some((name, _)) => Err(Fault::at(ErrorCode::UnknownField, name.as_ref())),
            None => Ok(()),
        }
    }
}

/// serde's reading of a type of the wire, for the page's own data: the same as everywhere, so that there is one.
///
/// # Errors
/// Whatever [`FromJson`] finds, as text.
pub(super) fn deserialize<'de, T: FromJson, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::from_json(Json::deserialize(deserializer)?).map_err(|fault| D::Error::custom(fault.message()))
}

/// Declares a struct of the wire with its strict reading; `as` gives a field another name there. Writing is serde's.
macro_rules! wire {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident $(as $wire:literal)?: $type:ty,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
        pub struct $name { $($(#[$field_meta])* $(#[serde(rename = $wire)])? pub $field: $type,)* }

        impl $crate::protocol::codec::FromJson for $name {
            fn from_json(json: $crate::protocol::codec::Json<'_>) -> Result<Self, $crate::protocol::codec::Fault> {
                #[allow(unused_mut)]
                let mut fields = $crate::protocol::codec::Fields::of(json)?;
                let value = Self { $($field: fields.take($crate::protocol::codec::wire_name!($field $($wire)?))?,)* };
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

/// The name of a field on the wire: its own, unless another is given.
macro_rules! wire_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $wire:literal) => {
        $wire
    };
}

pub(super) use {wire, wire_name};
