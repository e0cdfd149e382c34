//! The rules for nicknames and room names, as far as they depend on the characters alone. The server also compares
//! a nickname with those of other users (`server::name_key`).

use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use super::error::ErrorCode;
use super::limits::{MAX_NICKNAME_CHARS, MAX_NICKNAME_GRAPHEMES, MAX_ROOM_CHARS, MAX_ROOM_GRAPHEMES};

/// The most combining marks on one base character.
const MAX_MARKS: usize = 3;

/// The nickname of a new guest. Users cannot choose a name of this form.
pub fn guest_name(number: u32) -> String {
    format!("Anon{number}")
}

/// Returns true for a nickname made by [`guest_name`]: the user has not chosen one.
pub fn is_guest_name(nickname: &str) -> bool {
    nickname.strip_prefix("Anon").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// Checks a nickname's characters and returns it trimmed, with inner white space collapsed.
///
/// # Errors
/// `NICK_EMPTY`, `NICK_CONTROL`, `NICK_BIDI`, `NICK_INVALID` (an invisible character that has no effect),
/// `NICK_COMBINING`, `NICK_TOO_LONG`.
pub fn normalize_nickname(input: &str) -> Result<String, ErrorCode> {
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
    if has_idle_invisible(&name) {
        return Err(ErrorCode::NickInvalid);
    }
    if has_stacked_marks(&name) {
        return Err(ErrorCode::NickCombining);
    }
    Ok(name)
}

/// Checks a room name's characters and returns it trimmed, with inner white space collapsed. The server also
/// normalizes it to NFC.
///
/// # Errors
/// `ROOM_NAME_INVALID`: empty or invisible, too long, `.`, `..`, or with one of `/ \ %`, a control character or a bidi
/// control.
pub fn normalize_room_name(input: &str) -> Result<String, ErrorCode> {
    let forbidden = |c: char| c.is_control() || is_bidi_control(c) || matches!(c, '/' | '\\' | '%');
    let name = collapse(input);
    let valid = !input.chars().any(forbidden)
        && !name.chars().all(is_invisible)
        && !matches!(name.as_str(), "." | "..")
        && name.chars().nth(MAX_ROOM_CHARS).is_none()
        && name.graphemes(true).nth(MAX_ROOM_GRAPHEMES).is_none();
    if valid { Ok(name) } else { Err(ErrorCode::RoomNameInvalid) }
}

/// Checks the characters of a name for a new room, after [`normalize_room_name`]. Rooms of version 0.1 may have names
/// that this refuses. The server also refuses look-alike letters (`server::name_key`).
///
/// # Errors
/// `ROOM_NAME_INVALID`: an invisible character that has no effect, or too many combining marks.
pub fn check_new_room_name(name: &str) -> Result<(), ErrorCode> {
    if has_idle_invisible(name) || has_stacked_marks(name) { Err(ErrorCode::RoomNameInvalid) } else { Ok(()) }
}

/// Returns true if more than [`MAX_MARKS`] combining marks follow each other: they would cover other lines.
fn has_stacked_marks(name: &str) -> bool {
    let mut marks = 0;
    name.chars().any(|c| {
        // Variation selectors are marks by category, but invisible: they neither count nor end a run of marks.
        if !is_invisible(c) {
            marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        }
        marks > MAX_MARKS
    })
}

/// Returns true if an invisible character changes nothing that a reader can see: the name looks like another one.
fn has_idle_invisible(name: &str) -> bool {
    let chars: Vec<char> = name.chars().collect();
    (0..chars.len()).any(|index| is_invisible(chars[index]) && !is_effective(&chars, index))
        || name.graphemes(true).any(|grapheme| grapheme.chars().all(is_invisible))
}

/// Returns true if the invisible character at this place shapes a visible one: in an emoji (UTS #51), in a script whose
/// letters join (UAX #31, 2.3.1), or as the variant of an ideograph or a Mongolian letter.
fn is_effective(chars: &[char], index: usize) -> bool {
    let before = index.checked_sub(1).map_or(' ', |before| chars[before]);
    let after = chars.get(index + 1).copied().unwrap_or(' ');
    let joins = is_joining_letter(before) && is_joining_letter(after);
    match chars[index] {
        '\u{fe0e}' | '\u{fe0f}' if is_symbol(before) => true,
        '\u{fe0f}' if after == '\u{20e3}' => before.is_ascii_digit() || matches!(before, '#' | '*'),
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => is_ideograph(before),
        '\u{200d}' => joins || ((is_symbol(before) || before == '\u{fe0f}') && is_symbol(after)),
        '\u{200c}' => joins,
        '\u{180b}'..='\u{180d}' | '\u{180f}' => matches!(before, '\u{1820}'..='\u{18aa}'),
        // A flag of a region: the black flag, tags, and their end.
        '\u{e0020}'..='\u{e007f}' => {
            let is_tag = |c: &char| matches!(c, '\u{e0020}'..='\u{e007f}');
            let flag = chars[..index].iter().rev().find(|c| !is_tag(c));
            let end = chars[index..].iter().take_while(|c| is_tag(c)).last();
            flag == Some(&'\u{1f3f4}') && end == Some(&'\u{e007f}')
        }
        _ => false,
    }
}

/// Returns true for characters that may be emoji: symbols, and the few emoji that count as letters.
fn is_symbol(c: char) -> bool {
    let is_letter_emoji = matches!(c, 'ℹ' | 'Ⓜ' | '🅰' | '🅱' | '🅾' | '🅿' | '㊗' | '㊙');
    is_letter_emoji
        || !(c.is_ascii() || c.is_alphanumeric() || c.is_whitespace() || is_invisible(c) || is_combining_mark(c))
}

/// Returns true for letters and marks of scripts in which ZWJ and ZWNJ shape letters: Arabic and its neighbours, and
/// the scripts of South Asia.
fn is_joining_letter(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{dff}') && (c.is_alphabetic() || is_combining_mark(c))
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Trims, and replaces every run of white space by one space.
fn collapse(input: &str) -> String {
    let mut words = input.split_whitespace();
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        name.push(' ');
        name.push_str(word);
    }
    name
}

/// Characters that change the text direction (UAX #9, section 2).
pub(super) fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns true for characters without a glyph: Default_Ignorable_Code_Point (UAX #44) and fillers.
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
    fn nickname_is_checked_and_normalized() {
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
        assert_eq!(
            normalize_nickname(&one_grapheme),
            Err(ErrorCode::NickTooLong),
            "one grapheme with too many code points"
        );
        assert_eq!(normalize_room_name(&format!("a{}", "\u{301}".repeat(300))), Err(ErrorCode::RoomNameInvalid));
        for (input, expected) in cases {
            assert_eq!(normalize_nickname(input).as_deref(), expected.as_ref().copied(), "{input:?}");
        }
    }

    #[test]
    fn room_name_is_checked_and_normalized() {
        let long = "r".repeat(65);
        for input in ["", "  ", ".", "..", "a/b", "a\\b", "..%2f..%2fetc", "a\u{7}b", "a\u{202e}b", "\u{200b}", &long] {
            assert_eq!(normalize_room_name(input), Err(ErrorCode::RoomNameInvalid), "{input:?}");
        }
        for (input, expected) in
            [("  book   club ", "book club"), ("한국어 방", "한국어 방"), (&long[..64], &long[..64]), ("...", "...")]
        {
            assert_eq!(normalize_room_name(input).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn invisible_characters_are_allowed_only_where_they_have_an_effect() {
        let flag = "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";
        for name in [
            "❤️ 👩‍💻 🏳️‍🌈 1️⃣ #️⃣ ℹ️ ©️",
            flag,
            "می‌خواهم",          // Persian, with ZWNJ
            "ක්‍රම",              // Sinhala, with ZWJ
            "葛\u{e0100}城",    // a variant of an ideograph
            "\u{1820}\u{180b}", // a Mongolian letter
            "가나다 ガーデン",
        ] {
            assert_eq!(
                (check_new_room_name(name), normalize_nickname(name)),
                (Ok(()), Ok(name.to_owned())),
                "{name:?}"
            );
        }
        let (unfinished, stacked) = (&flag[..flag.len() - 4], format!("z{}", "\u{301}".repeat(4)));
        for name in [
            "gar\u{200d}den",
            "garden\u{200c}",
            "garden\u{fe0f}",
            "1\u{fe0f}",
            "gar\u{ad}den",
            "gar\u{34f}den",
            "garden\u{e0061}",
            "\u{115f}garden",
            "🌱\u{200d}",
            "❤️\u{fe0f}",
            "가\u{3164}나",
            "ب\u{200d}",
            unfinished,
        ] {
            assert_eq!(check_new_room_name(name), Err(ErrorCode::RoomNameInvalid), "{name:?}");
            assert_eq!(normalize_nickname(name), Err(ErrorCode::NickInvalid), "{name:?}");
            assert!(normalize_room_name(name).is_ok(), "an old room has such a name: {name:?}");
        }
        assert_eq!(check_new_room_name(&stacked), Err(ErrorCode::RoomNameInvalid));
    }

    #[test]
    fn guest_name_is_distinguished_from_chosen_names() {
        assert!(is_guest_name(&guest_name(0)) && is_guest_name(&guest_name(4711)));
        assert!(!is_guest_name("Anon") && !is_guest_name("Anon 1") && !is_guest_name("Anonymous"));
    }
}
