//! Names of exported files, and the header that carries them.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::format::Format;

/// The characters of `filename*` that need no escape (RFC 8187, 3.2.1: `attr-char`).
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');
/// The longest part of a file name that comes from the room, in bytes. File systems allow 255 in all.
const MAX_ROOM_BYTES: usize = 150;

/// `Content-Disposition` (RFC 6266) with the name of an export of `room` made on `date`, like
/// `noom-book club-2026-11-25.jsonl`. Older programs read a name in ASCII.
pub(in crate::server) fn content_disposition(room: &str, date: &str, format: Format) -> HeaderValue {
    disposition("attachment", &format!("noom-{}-{date}.{}", portable(room), format.name()))
}

/// `Content-Disposition` of a kind with the name of a file, which has no control characters.
pub(in crate::server) fn disposition(kind: &str, full: &str) -> HeaderValue {
    let ascii: String = full.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let encoded = utf8_percent_encode(full, ATTRIBUTE);
    HeaderValue::try_from(format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}"))
        .expect("both names are ASCII without control characters")
}

/// Returns whether a character can be in a quoted file name that every program reads in the same way.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%')
}

/// The room's name without the characters that a file system forbids, or that would lead elsewhere.
fn portable(room: &str) -> String {
    let mut name = String::new();
    for c in room.chars() {
        let is_forbidden = c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%');
        let c = if is_forbidden { '_' } else { c };
        if name.len() + c.len_utf8() > MAX_ROOM_BYTES {
            break;
        }
        name.push(c);
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(room: &str) -> String {
        content_disposition(room, "2026-11-25", Format::Html).to_str().unwrap().to_owned()
    }

    #[test]
    fn name_is_given_in_ascii_and_in_utf_8() {
        assert_eq!(
            header("한 방"),
            "attachment; filename=\"noom-_ _-2026-11-25.html\"; \
             filename*=UTF-8''noom-%ED%95%9C%20%EB%B0%A9-2026-11-25.html"
        );
        assert_eq!(
            header("a\";../b'"),
            "attachment; filename=\"noom-a_;.._b'-2026-11-25.html\"; \
             filename*=UTF-8''noom-a_%3B.._b%27-2026-11-25.html"
        );
    }

    proptest! {
        #[test]
        fn any_room_gives_a_short_name_without_a_path(room in any::<String>()) {
            let header = header(&room);
            let (_, encoded) = header.split_once("filename*=UTF-8''").unwrap();
            let name = percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap();
            prop_assert!(name.len() <= 200 && name.starts_with("noom-") && name.ends_with("-2026-11-25.html"));
            prop_assert!(!name.contains(['/', '\\', '"']) && header.matches('"').count() == 2);
        }
    }
}
