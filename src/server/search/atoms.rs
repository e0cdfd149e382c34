//! A text as atoms: words, characters of scripts without spaces between words, and emoji, in a form in which equal
//! means found. Pure, and linear in the length of the text.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_script::{Script, UnicodeScript};
use unicode_segmentation::UnicodeSegmentation;

use crate::protocol::check_emoji;
use crate::protocol::name::is_invisible;

/// A longer word is divided into atoms of this many characters.
const MAX_WORD_CHARS: usize = 32;
/// The most characters of a grapheme that are compared. A grapheme may have any number of combining marks.
const MAX_GRAPHEME_CHARS: usize = 32;

/// The kind of an atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters and digits up to a space, a punctuation mark or another kind.
    Word,
    /// One grapheme of a script that writes no spaces between words, or words with endings: Chinese characters, Kana,
    /// Hangul, Thai and others.
    Character,
    /// An emoji.
    Emoji,
}

/// A part of a text that is compared as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Atom {
    /// Its folded text.
    pub(super) text: String,
    pub(super) kind: Kind,
    /// It follows the atom before without anything between them.
    pub(super) is_joined: bool,
    /// Its place in the original text, in code points.
    pub(super) start: u64,
    /// Its end there.
    pub(super) end: u64,
}

/// The atoms of a text.
pub(super) fn atoms(text: &str) -> Vec<Atom> {
    let mut atoms: Vec<Atom> = Vec::new();
    let (mut start, mut is_joined, mut word_chars) = (0, false, 0);
    let mut folded = String::new();
    for grapheme in text.graphemes(true) {
        let end = start + grapheme.chars().count() as u64;
        let kind = fold(grapheme, &mut folded);
        match kind {
            // A soft hyphen, for example, is inside of a word.
            None if grapheme.chars().all(|c| is_invisible(c) && c != ZERO_WIDTH_SPACE) => {}
            None => is_joined = false,
            Some(kind) => {
                let continued = atoms.last_mut().filter(|last| {
                    is_joined && kind == Kind::Word && last.kind == Kind::Word && word_chars < MAX_WORD_CHARS
                });
                match continued {
                    Some(word) => {
                        word.text.push_str(&folded);
                        word.end = end;
                        word_chars += 1;
                    }
                    None => {
                        atoms.push(Atom { text: folded.clone(), kind, is_joined, start, end });
                        word_chars = 1;
                    }
                }
                is_joined = true;
            }
        }
        start = end;
    }
    atoms
}

const ZERO_WIDTH_SPACE: char = '\u{200b}';

/// Folds a grapheme: compatibility forms, case and accents do not count. `None`: it separates words.
fn fold(grapheme: &str, folded: &mut String) -> Option<Kind> {
    folded.clear();
    let mut chars = grapheme.chars();
    let first = chars.next()?;
    if chars.next().is_none() {
        if first.is_ascii() {
            folded.push(first.to_ascii_lowercase());
            return first.is_ascii_alphanumeric().then_some(Kind::Word);
        }
        if is_unchanged(first) {
            folded.push(first);
            return Some(Kind::Character);
        }
    }
    let letters = grapheme.nfkd().filter(|c| !is_accent(*c) && !is_invisible(*c)).flat_map(char::to_lowercase);
    folded.extend(letters.flat_map(plain_letters).take(MAX_GRAPHEME_CHARS).nfc().filter(|c| is_part(*c)));
    match folded.chars().next() {
        Some(first) if is_without_spaces(first) => Some(Kind::Character),
        Some(first) if first.is_alphanumeric() => {
            // The vowel am of Thai and Lao belongs to the grapheme before it, but is a sign and a character when it is folded.
            folded.truncate(folded.find(is_without_spaces).unwrap_or(folded.len()));
            Some(Kind::Word)
        }
        _ if !grapheme.is_ascii() && check_emoji(grapheme).is_ok() => {
            folded.clear();
            folded.extend(grapheme.chars().filter(|c| !is_invisible(*c)));
            Some(Kind::Emoji)
        }
        _ => None,
    }
}

/// Most characters of Korean, Japanese and Chinese, which folding does not change.
fn is_unchanged(c: char) -> bool {
    matches!(c, '\u{ac00}'..='\u{d7a3}' | '\u{4e00}'..='\u{9fff}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}'
        // Single consonants and vowels. Their compatibility forms would grow together.
        | '\u{3131}'..='\u{318e}')
}

/// Returns whether a character belongs to a script that is found by pairs of characters.
fn is_without_spaces(c: char) -> bool {
    matches!(
        c.script(),
        Script::Han
            | Script::Hangul
            | Script::Hiragana
            | Script::Katakana
            | Script::Bopomofo
            | Script::Yi
            | Script::Thai
            | Script::Lao
            | Script::Khmer
            | Script::Myanmar
    ) || matches!(c, 'ー' | '〆' | '〇')
}

/// Accents and other marks that are not typed in a search: those of Latin, Greek, Cyrillic, Hebrew and Arabic. Others
/// change the letter, such as the voicing mark of Kana, and stay.
fn is_accent(c: char) -> bool {
    matches!(canonical_combining_class(c), 1 | 10..=36 | 202..=240)
}

/// Letters that have no decomposition.
fn plain_letters(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        'ø' => ('o', None),
        'đ' => ('d', None),
        'ħ' => ('h', None),
        'ı' => ('i', None),
        'ł' => ('l', None),
        'ŧ' => ('t', None),
        'ς' => ('σ', None),
        c => (c, None),
    };
    std::iter::once(first).chain(second)
}

/// Returns whether a folded character is a part of a word: a letter, a digit, or a mark that is not an accent. What the
/// tokenizer of the index would take for a separator is not.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || canonical_combining_class(c) != 0
}
