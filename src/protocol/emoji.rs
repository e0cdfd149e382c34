//! The rules for the emoji of a reaction.

use unicode_segmentation::UnicodeSegmentation;

use super::error::ErrorCode;

/// The longest emoji, in code points. A family of four with skin tones has 11, the flag of Wales 7.
const MAX_CHARS: usize = 12;

/// Checks the emoji of a reaction: one emoji as a keyboard enters it, of any number of code points that form one
/// grapheme (UTS #51).
///
/// # Errors
/// `EMOJI_INVALID`.
pub fn check_emoji(text: &str) -> Result<(), ErrorCode> {
    let is_short = text.chars().nth(MAX_CHARS).is_none();
    // Tags belong to flags of regions (UTS #51, C.1). Elsewhere they would be invisible.
    let has_stray_tags = text.contains(is_tag) && !text.starts_with('\u{1f3f4}');
    let is_whole = text.graphemes(true).count() == 1 && !text.ends_with('\u{200d}') && !has_stray_tags;
    if is_short && is_whole && starts_emoji(text) && text.chars().all(is_part) {
        Ok(())
    } else {
        Err(ErrorCode::EmojiInvalid)
    }
}

fn starts_emoji(text: &str) -> bool {
    let mut chars = text.chars();
    match chars.next() {
        Some('0'..='9' | '#' | '*') => text.ends_with('\u{20e3}'),
        Some(first) => is_pictograph(first),
        None => false,
    }
}

/// The blocks of emoji (emoji-data.txt), with the few other symbols in them.
fn is_pictograph(c: char) -> bool {
    matches!(c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2194}'..='\u{21aa}'
        | '\u{231a}'..='\u{23ff}' | '\u{24c2}' | '\u{25aa}'..='\u{27bf}' | '\u{2934}'..='\u{2935}'
        | '\u{2b05}'..='\u{2b55}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}')
}

/// Pictographs, joiners, variation selectors, the keycap and the tags of flags.
fn is_part(c: char) -> bool {
    is_pictograph(c)
        || matches!(c, '0'..='9' | '#' | '*' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' | '\u{20e3}')
        || is_tag(c)
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_is_one_grapheme_of_pictographs() {
        for emoji in ["👍", "❤️", "🇰🇷", "1️⃣", "👩🏽‍🚀", "🏴󠁧󠁢󠁷󠁬󠁳󠁿", "👨‍👩‍👧‍👦", "😮", "✅"]
        {
            assert_eq!(check_emoji(emoji), Ok(()), "{emoji}");
        }
        let family = "👩‍".repeat(20);
        for text in [
            "",
            "a",
            "1",
            "é",
            "가",
            "👍👍",
            "👍 ",
            " ",
            "<b>",
            "\u{200d}",
            "\u{fe0f}",
            "👍\u{301}",
            "👍\u{200d}",
            "👍\u{e0061}",
            &family,
        ] {
            assert_eq!(check_emoji(text), Err(ErrorCode::EmojiInvalid), "{text:?}");
        }
    }
}
