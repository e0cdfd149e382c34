//! Paths of pages and files.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::protocol::{Attachment, AttachmentId};

/// The characters to escape in one path segment (RFC 3986, 3.3).
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'%')
    .add(b'/')
    .add(b'\\')
    .add(b'[')
    .add(b']')
    .add(b'^')
    .add(b'|');

/// The path of a room's page.
pub fn room(name: &str) -> String {
    format!("/r/{}", utf8_percent_encode(name, SEGMENT))
}

/// A value in the query of an address.
pub(super) fn query(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// The path of a file of a message.
pub fn file(room: &str, file: &Attachment) -> String {
    format!("{}/files/{}/{}", self::room(room), file.id, utf8_percent_encode(&file.name, SEGMENT))
}

/// The path of the thumbnail of a picture.
pub fn thumbnail(room: &str, file: AttachmentId) -> String {
    format!("{}/thumbnails/{file}", self::room(room))
}

#[cfg(test)]
mod tests {
    #[test]
    fn room_name_is_one_escaped_segment() {
        assert_eq!(super::room("한 방?"), "/r/%ED%95%9C%20%EB%B0%A9%3F");
        assert_eq!(super::room("a/b#c"), "/r/a%2Fb%23c");
    }
}
