//! The ends of addresses in Korean, Chinese and Japanese texts, which have no spaces around them.

/// Punctuation that is never a part of an address: that of CJK texts, full-width forms, and typographic quotes.
pub(super) fn is_punctuation(c: char) -> bool {
    matches!(c,
        '\u{ab}' | '\u{bb}' | '\u{2018}'..='\u{201f}' | '\u{2026}' | '\u{2039}' | '\u{203a}'
        | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}'
        | '\u{fe10}'..='\u{fe19}' | '\u{fe30}'..='\u{fe52}'
        | '\u{ff01}' | '\u{ff02}' | '\u{ff07}'..='\u{ff09}' | '\u{ff0c}' | '\u{ff0e}' | '\u{ff1a}' | '\u{ff1b}'
        | '\u{ff1c}' | '\u{ff1e}' | '\u{ff1f}' | '\u{ff3b}' | '\u{ff3d}' | '\u{ff5b}'..='\u{ff65}')
}

/// Korean particles, and forms of the copula, that are written directly after a noun.
const KOREAN: &[&str] = &[
    "가",
    "같은",
    "같이",
    "고",
    "과",
    "께",
    "나",
    "네요",
    "는",
    "대로",
    "도",
    "라고",
    "라는",
    "랑",
    "로",
    "를",
    "마다",
    "만",
    "며",
    "밖에",
    "보다",
    "부터",
    "야",
    "에",
    "에게",
    "에서",
    "에요",
    "예요",
    "와",
    "요",
    "으로",
    "은",
    "을",
    "의",
    "이",
    "이고",
    "인데",
    "인가요",
    "임",
    "입니다",
    "입니까",
    "였습니다",
    "죠",
    "조차",
    "처럼",
    "까지",
    "하고",
    "한테",
];

/// Japanese particles. A word in Hiragana seldom begins with them.
const JAPANESE: &[char] = &['を', 'は', 'が', 'に', 'で', 'と', 'の', 'も', 'へ', 'や', 'か', 'よ', 'ね'];

/// The longest run of particles, in syllables.
const MAX_PARTICLES: usize = 6;

/// The length of a path without the particles at its end. Only particles after an ASCII letter, digit or bracket count:
/// a path such as `/wiki/한국어` or `/wiki/C언어` is whole.
pub(super) fn without_particles(path: &str) -> usize {
    let korean = path.trim_end_matches(is_hangul).len();
    if ends_ascii_word(&path[..korean]) && is_particles(&path[korean..]) {
        return korean;
    }
    let ascii = path.trim_end_matches(|c: char| !c.is_ascii()).len();
    let rest = &path[ascii..];
    if ends_ascii_word(&path[..ascii]) && rest.starts_with(JAPANESE) { ascii } else { path.len() }
}

fn ends_ascii_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ')')
}

fn is_hangul(c: char) -> bool {
    matches!(c, '\u{ac00}'..='\u{d7a3}')
}

/// True if the text consists of particles alone, such as `에서는`.
fn is_particles(text: &str) -> bool {
    if text.is_empty() || text.chars().nth(MAX_PARTICLES).is_some() {
        return false;
    }
    KOREAN.iter().filter_map(|particle| text.strip_prefix(particle)).any(|rest| rest.is_empty() || is_particles(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn particles_after_ascii_are_not_part_of_a_path() {
        for (path, whole) in [
            ("/docs에서", "/docs"),
            ("/docs에서는", "/docs"),
            ("/(b)으로", "/(b)"),
            ("/a입니다", "/a"),
            ("/docsを見て", "/docs"),
            ("/wiki/한국어", "/wiki/한국어"),
            ("/wiki/한국에서", "/wiki/한국에서"),
            ("/wiki/C언어", "/wiki/C언어"),
            ("/wiki/나", "/wiki/나"),
            ("/wiki/C言語", "/wiki/C言語"),
            ("/q=에서", "/q=에서"),
        ] {
            assert_eq!(&path[..without_particles(path)], whole, "{path}");
        }
    }
}
