//! The format for programs: a line about the export, a line for each message, and a line that ends it.

use serde::Serialize;

use super::about::About;
use crate::protocol::{Message, RoomId};

/// The name of the format, by which a program recognizes the file.
const NAME: &str = "noom-export";
/// Changes when a reader of an earlier version could misread the file.
const VERSION: u32 = 2;

#[derive(Serialize)]
struct Begin<'a> {
    format: &'static str,
    version: u32,
    room: RoomId,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
    head: u64,
    at: u64,
    program: &'static str,
}

#[derive(Serialize)]
struct End {
    end: u64,
}

pub(super) fn begin(about: &About, out: &mut String) {
    let About { room, epoch, extent, at, locale: _ } = about;
    let program = concat!("noom ", env!("CARGO_PKG_VERSION"));
    let (room, name, epoch) = (room.id, &*room.name, epoch.as_deref());
    line(&Begin { format: NAME, version: VERSION, room, name, epoch, head: extent.head, at: *at, program }, out);
}

pub(super) fn message(message: &Message, out: &mut String) {
    line(message, out);
}

pub(super) fn end(count: u64, out: &mut String) {
    line(&End { end: count }, out);
}

fn line(value: &impl Serialize, out: &mut String) {
    let json = serde_json::to_string(value).expect("no map has keys that are not strings");
    // JSON allows these in strings, but many programs take them for the end of a line.
    for c in json.chars() {
        match c {
            '\u{85}' => out.push_str("\\u0085"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            _ => out.push(c),
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{MessageKey, User, UserId};

    proptest! {
        #[test]
        fn message_is_one_line_and_decodes_to_itself(text in any::<String>(), nickname in any::<String>(), seq in 1..1_000_u64) {
            let user = User { id: UserId(7), nickname };
            let original = Message::of_text(RoomId(1), seq, MessageKey(seq.into()), user, text, 5);
            let mut out = String::new();
            message(&original, &mut out);
            prop_assert!(out.ends_with('\n') && out.lines().count() == 1);
            let has_line_break = out.contains(['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']);
            prop_assert!(!has_line_break);
            let decoded: serde_json::Value = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(decoded, serde_json::to_value(&original).unwrap());
        }
    }
}
