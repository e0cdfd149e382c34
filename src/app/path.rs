//! Paths of pages.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

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

#[cfg(test)]
mod tests {
    #[test]
    fn room_name_is_one_escaped_segment() {
        assert_eq!(super::room("한 방?"), "/r/%ED%95%9C%20%EB%B0%A9%3F");
        assert_eq!(super::room("a/b#c"), "/r/a%2Fb%23c");
    }
}
