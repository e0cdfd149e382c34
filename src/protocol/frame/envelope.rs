//! The envelope that every frame has, and the macro that declares a kind of frame.

use serde::Serialize;

use crate::protocol::codec::{DecodeError, Fields, Json, Reading, wire};
use crate::protocol::error::ErrorCode;

wire! {
    /// A payload without fields.
    pub struct Empty {}
}

/// The parts of a frame before its payload is decoded.
pub(in crate::protocol) struct Envelope<'a> {
    fields: Fields<'a>,
    pub(in crate::protocol) name: String,
    pub(in crate::protocol) id: Option<u64>,
}

impl<'a> Envelope<'a> {
    /// Reads `type` and `id`.
    ///
    /// # Errors
    /// The frame's `id`, if it could be read, and the error.
    pub(in crate::protocol) fn parse(text: &'a str, reading: Reading) -> Result<Self, (Option<u64>, DecodeError)> {
        let without_id = |error| (None, error);
        let json = Json::parse(text, reading).map_err(without_id)?;
        if !matches!(json, Json::Object(_)) {
            return Err(without_id(ErrorCode::BadJson.into()));
        }
        let mut fields = Fields::of(json, reading).map_err(without_id)?;
        let id: Option<u64> = fields.take("id").map_err(without_id)?;
        let name = fields.take("type").map_err(|error| (id, error))?;
        Ok(Self { fields, name, id })
    }

    /// Takes `type` and `payload`, and checks that no other field is left.
    ///
    /// # Errors
    /// `MISSING_FIELD`, `UNKNOWN_FIELD`.
    pub(in crate::protocol) fn open(mut self) -> Result<(String, Json<'a>), DecodeError> {
        let payload = self.fields.raw("payload").ok_or_else(|| DecodeError::at(ErrorCode::MissingField, "payload"))?;
        self.fields.finish()?;
        Ok((self.name, payload))
    }
}

/// Encodes a frame.
pub(in crate::protocol) fn encode(name: &'static str, payload: &impl Serialize, id: Option<u64>) -> String {
    #[derive(Serialize)]
    struct Frame<'a, P> {
        r#type: &'static str,
        payload: &'a P,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
    }
    serde_json::to_string(&Frame { r#type: name, payload, id })
        .expect("payloads are structs of strings, integers and booleans, which always encode")
}

/// Declares a kind of frame, one frame per line: `"type" => Variant(Payload)`.
///
/// Yields the enum, `NAMES`, `name`, and the private `decode_payload` and `encode_with`.
macro_rules! frames {
    (
        $(#[$meta:meta])*
        pub enum $Frame:ident { $($(#[$frame_meta:meta])* $name:literal => $Variant:ident($Payload:ty),)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $Frame {
            $($(#[$frame_meta])* $Variant($Payload),)*
        }

        impl $Frame {
            /// The `type` of every frame, in the order of the declaration.
            pub const NAMES: &[&str] = &[$($name,)*];

            /// The frame's `type` on the wire.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$Variant(_) => $name,)* }
            }

            fn decode_payload(
                name: &str,
                payload: $crate::protocol::codec::Json<'_>,
                reading: $crate::protocol::codec::Reading,
            ) -> Result<Self, $crate::protocol::codec::DecodeError> {
                match name {
                    $($name => {
                        <$Payload as $crate::protocol::codec::FromJson>::from_json(payload, reading).map(Self::$Variant)
                    })*
                    _ => Err($crate::protocol::error::ErrorCode::UnknownType.into()),
                }
            }

            fn encode_with(&self, id: Option<u64>) -> String {
                match self { $(Self::$Variant(payload) => $crate::protocol::frame::encode($name, payload, id),)* }
            }
        }
    };
}

pub(in crate::protocol) use frames;
