//! What may be a nickname and what may be a room's name, as far as it follows from the characters.
//! Whether a nickname clashes with another is the server's to say (`server::name_key`).

use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use super::error::ErrorCode;
use super::{MAX_NICKNAME_CHARS, MAX_NICKNAME_GRAPHEMES, MAX_ROOM_CHARS, MAX_ROOM_GRAPHEMES};

/// The most combining marks that may stand on one base character.
const MAX_MARKS: usize = 3;

/// The name of a guest: nobody can choose one of this form.
pub fn guest_name(number: u32) -> String {
    format!("Anon{number}")
}

/// Whether it is the name of a guest who has not chosen one.
pub fn is_guest_name(nickname: &str) -> bool {
    nickname.strip_prefix("Anon").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// Checks a nickname's characters and returns it trimmed, with inner white space collapsed.
///
/// # Errors
/// `NICK_EMPTY`, `NICK_CONTROL`, `NICK_BIDI`, `NICK_INVALID` (a grapheme that cannot be seen),
/// `NICK_COMBINING`, `NICK_TOO_LONG`.
pub fn tidy_nickname(input: &str) -> Result<String, ErrorCode> {
    if input.chars().any(char::is_control) {
        return Err(ErrorCode::NickControl);
    }
    if input.chars().any(is_bidi_control) {
        return Err(ErrorCode::NickBidi);
    }
    let name = collapse(input);
    if name.is_empty() {
        return Err(ErrorCode::NickEmpty);
    }
    let too_many_chars = name.chars().nth(MAX_NICKNAME_CHARS).is_some();
    if too_many_chars || name.graphemes(true).nth(MAX_NICKNAME_GRAPHEMES).is_some() {
        return Err(ErrorCode::NickTooLong);
    }
    if name.graphemes(true).any(|grapheme| grapheme.chars().all(is_invisible)) {
        return Err(ErrorCode::NickInvalid);
    }
    let mut marks = 0;
    for c in name.chars() {
        // Variation selectors are marks by category; they draw nothing and part nothing.
        marks = if is_invisible(c) {
            marks
        } else if is_combining_mark(c) {
            marks + 1
        } else {
            0
        };
        if marks > MAX_MARKS {
            return Err(ErrorCode::NickCombining);
        }
    }
    Ok(name)
}

/// Checks a room name's characters and returns it trimmed, with inner white space collapsed. The
/// server also composes it (NFC).
///
/// # Errors
/// `ROOM_NAME_INVALID`: empty, above 64 graphemes, `.`, `..`, or with one of `/ \ %`, a control, a
/// bidi control, or nothing that can be seen.
pub fn tidy_room_name(input: &str) -> Result<String, ErrorCode> {
    let forbidden = |c: char| c.is_control() || is_bidi_control(c) || matches!(c, '/' | '\\' | '%');
    let name = collapse(input);
    let fine = !input.chars().any(forbidden)
        && !name.chars().all(is_invisible)
        && !matches!(name.as_str(), "." | "..")
        && name.chars().nth(MAX_ROOM_CHARS).is_none()
        && name.graphemes(true).nth(MAX_ROOM_GRAPHEMES).is_none();
    if fine { Ok(name) } else { Err(ErrorCode::RoomNameInvalid) }
}

/// Trims, and makes one space of every run of white space.
fn collapse(input: &str) -> String {
    let mut words = input.split_whitespace();
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        name.push(' ');
        name.push_str(word);
    }
    name
}

/// Characters that turn the writing direction (UAX #9, 2).
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that draw nothing by themselves: Default_Ignorable_Code_Point (UAX #44) and fillers.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_are_judged_by_their_characters() {
        let zalgo = format!("z{}", "\u{301}".repeat(4));
        let long = "가".repeat(33);
        let cases: [(&str, Result<&str, ErrorCode>); 17] = [
            ("  Ann   Lee ", Ok("Ann Lee")),
            ("안녕", Ok("안녕")),
            ("🤔 👍🏽 ❤️ 👩‍💻", Ok("🤔 👍🏽 ❤️ 👩‍💻")),
            ("<img src=x onerror=alert(1)>", Ok("<img src=x onerror=alert(1)>")),
            ("e\u{301}\u{302}\u{303}", Ok("e\u{301}\u{302}\u{303}")),
            (&zalgo, Err(ErrorCode::NickCombining)),
            ("", Err(ErrorCode::NickEmpty)),
            (" \u{3000} ", Err(ErrorCode::NickEmpty)),
            (&long, Err(ErrorCode::NickTooLong)),
            (&long[..96], Ok(&long[..96])),
            ("a\u{202e}b", Err(ErrorCode::NickBidi)),
            ("a\u{200e}", Err(ErrorCode::NickBidi)),
            ("a\nb", Err(ErrorCode::NickControl)),
            ("a\u{7f}", Err(ErrorCode::NickControl)),
            ("\u{200b}", Err(ErrorCode::NickInvalid)),
            ("a\u{200b}b", Err(ErrorCode::NickInvalid)),
            ("\u{3164}", Err(ErrorCode::NickInvalid)),
        ];
        let one_grapheme = format!("a{}", "\u{e0061}".repeat(200));
        assert_eq!(tidy_nickname(&one_grapheme), Err(ErrorCode::NickTooLong), "one grapheme may be endless");
        assert_eq!(tidy_room_name(&format!("a{}", "\u{301}".repeat(300))), Err(ErrorCode::RoomNameInvalid));
        for (input, expected) in cases {
            assert_eq!(tidy_nickname(input).as_deref(), expected.as_ref().copied(), "{input:?}");
        }
    }

    #[test]
    fn room_names_are_judged_by_their_characters() {
        let long = "r".repeat(65);
        for input in ["", "  ", ".", "..", "a/b", "a\\b", "..%2f..%2fetc", "a\u{7}b", "a\u{202e}b", "\u{200b}", &long] {
            assert_eq!(tidy_room_name(input), Err(ErrorCode::RoomNameInvalid), "{input:?}");
        }
        for (input, expected) in
            [("  book   club ", "book club"), ("한국어 방", "한국어 방"), (&long[..64], &long[..64]), ("...", "...")]
        {
            assert_eq!(tidy_room_name(input).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn guest_names_are_told_from_chosen_ones() {
        assert!(is_guest_name(&guest_name(0)) && is_guest_name(&guest_name(4711)));
        assert!(!is_guest_name("Anon") && !is_guest_name("Anon 1") && !is_guest_name("Anonymous"));
    }
}
