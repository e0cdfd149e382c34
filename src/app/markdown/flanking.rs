//! Rules that decide by the characters beside a marker if it may begin or end emphasis.
//!
//! CommonMark asks for white space or punctuation beside punctuation. Texts in Korean, Chinese and Japanese have neither
//! after a word, so that a particle may follow any emphasis here. On the other hand chat has emoticons, file patterns
//! and products of numbers, which stay text.

use super::is_visible;

/// A kind of emphasis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `*`
    Asterisk,
    /// `**`
    Double,
    /// `_`
    Underscore,
    /// `~~`
    Tildes,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Asterisk, Self::Double, Self::Underscore, Self::Tildes];

    /// The characters of a marker.
    pub(super) const fn length(self) -> usize {
        match self {
            Self::Asterisk | Self::Underscore => 1,
            Self::Double | Self::Tildes => 2,
        }
    }

    /// Emphasis of signs alone is an emoticon or a file pattern: `*_*`, `*.*`.
    pub(super) const fn needs_letters(self) -> bool {
        match self {
            Self::Asterisk | Self::Underscore => true,
            Self::Double | Self::Tildes => false,
        }
    }
}

/// The characters around a marker, line feeds at the ends of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    pub(super) before: char,
    pub(super) after: char,
    pub(super) second_after: char,
}

impl Around {
    pub(super) fn may_open(self, kind: Kind) -> bool {
        let Self { before, after, second_after } = self;
        if !is_visible(after) || before == '\\' || ")]},;".contains(after) {
            return false;
        }
        let is_edge = before.is_whitespace() || "([{".contains(before);
        let is_marker = |c| "*_~`".contains(c);
        match kind {
            // A power: `2**3`. A pattern of paths: `**/a`.
            Kind::Double => after != '/' && (is_spaceless(after) || !before.is_alphanumeric() || is_spaceless(before)),
            // Drawn out: `네~~`.
            Kind::Tildes => {
                is_edge || "\"'<>|:-*_`".contains(before) || !before.is_ascii() && !before.is_alphanumeric()
            }
            Kind::Asterisk | Kind::Underscore if after == '/' || after == '.' && second_after.is_alphanumeric() => {
                false
            }
            Kind::Asterisk | Kind::Underscore if after.is_alphanumeric() || !after.is_ascii() => {
                is_edge || "\"'<>,;|!?:-*_~".contains(before) || !before.is_ascii() && !before.is_alphanumeric()
            }
            Kind::Asterisk | Kind::Underscore if "\"'([{".contains(after) => is_edge || is_marker(before),
            Kind::Asterisk | Kind::Underscore => is_edge,
        }
    }

    pub(super) fn may_close(self, kind: Kind) -> bool {
        let Self { before, after, .. } = self;
        if before.is_whitespace() || "\\([{/".contains(before) {
            return false;
        }
        let is_word_after = after.is_alphanumeric() && !is_spaceless(after);
        match kind {
            Kind::Double | Kind::Tildes => before.is_alphanumeric() || !before.is_ascii() || !is_word_after,
            Kind::Asterisk | Kind::Underscore => !is_word_after && before != '-',
        }
    }
}

/// True for letters of scripts that are written without spaces between words, or with particles after them.
fn is_spaceless(c: char) -> bool {
    matches!(c,
        // Thai, Lao, Myanmar, Khmer.
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        // Jamo, Kana, Bopomofo, ideographs, Hangul, and their compatibility forms.
        | '\u{1100}'..='\u{11ff}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3105}'..='\u{318f}'
        | '\u{31a0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}' | '\u{20000}'..='\u{3ffff}')
}
