//! The rules for the text of a message.

use super::error::ErrorCode;
use super::limits::MAX_TEXT_CHARS;
use super::name::is_invisible;

/// Checks the text of a message. Control characters are refused because they can corrupt a terminal, a log or a
/// page.
///
/// # Errors
/// `TEXT_EMPTY` (only white space and invisible characters), `TEXT_TOO_LONG` (above [`MAX_TEXT_CHARS`]),
/// `TEXT_INVALID` (a control character other than line feed, carriage return and tab).
pub fn check_text(text: &str) -> Result<(), ErrorCode> {
    let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        Err(ErrorCode::TextTooLong)
    } else if !text.chars().all(allowed) {
        Err(ErrorCode::TextInvalid)
    } else if text.chars().all(|c| c.is_whitespace() || is_invisible(c)) {
        Err(ErrorCode::TextEmpty)
    } else {
        Ok(())
    }
}

/// Returns whether an `@` after this text can begin a mention. After a letter or digit it belongs to a mail address.
pub fn begins_mention(before: &str) -> bool {
    !before.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// A text as a message: every line break is a line feed, and other control characters except the tab are removed.
/// Texts from other programs contain them, and [`check_text`] would refuse the text because of characters that its
/// author cannot see.
pub fn clean_text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                clean.push('\n');
            }
            // Vertical tab, form feed, next line, line and paragraph separator.
            '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push('\n'),
            '\n' | '\t' => clean.push(c),
            _ if c.is_control() => {}
            _ => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_control_characters_become_line_feeds_or_nothing() {
        let cases = [
            ("plain\ttext\n한국어", "plain\ttext\n한국어"),
            ("a\r\nb\rc\r\r\nd", "a\nb\nc\n\nd"),
            ("a\u{b}b\u{c}c\u{85}d\u{2028}e\u{2029}f", "a\nb\nc\nd\ne\nf"),
            ("\u{1b}[31mred\u{1b}[0m\u{7}\0\u{7f}\u{9b}", "[31mred[0m"),
        ];
        for (pasted, expected) in cases {
            assert_eq!(clean_text(pasted), expected, "{pasted:?}");
            assert_eq!(check_text(&clean_text(pasted)), Ok(()), "{pasted:?}");
        }
        let all: String = (0..=0x2fff).filter_map(char::from_u32).collect();
        assert!(!clean_text(&all).chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')));
    }

    #[test]
    fn text_is_checked_for_length_content_and_control_characters() {
        let long = "가".repeat(MAX_TEXT_CHARS + 1);
        let cases: [(&str, &str, Result<(), ErrorCode>); 8] = [
            ("plain", "hello", Ok(())),
            ("lines and tabs", "a\n\tb\r\n", Ok(())),
            ("the longest", &long[..long.len() - 3], Ok(())),
            ("one too long", &long, Err(ErrorCode::TextTooLong)),
            ("spaces", "  \n ", Err(ErrorCode::TextEmpty)),
            ("a zero-width space", "\u{200b}", Err(ErrorCode::TextEmpty)),
            ("NUL", "a\0b", Err(ErrorCode::TextInvalid)),
            ("escape", "\u{1b}[31m", Err(ErrorCode::TextInvalid)),
        ];
        for (case, text, expected) in cases {
            assert_eq!(check_text(text), expected, "{case}");
        }
    }
}
