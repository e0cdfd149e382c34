//! Comparison keys of nicknames and room names: which names count as equal or confusable. Pure.

use precis_profiles::Nickname;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript};
use unicode_security::skeleton;

use crate::protocol::ErrorCode;
use crate::protocol::name::{check_new_room_name, is_guest_name, normalize_nickname, normalize_room_name};

/// Names that would impersonate an operator. Compared by skeleton.
const RESERVED: &[&str] = &[
    "admin",
    "administrator",
    "anon",
    "anonymous",
    "moderator",
    "noom",
    "operator",
    "owner",
    "root",
    "server",
    "staff",
    "support",
    "system",
];

/// The comparison key of a nickname.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    /// The comparison form of RFC 8266 (PRECIS Nickname).
    pub exact: String,
    /// The UTS #39 skeleton of the case-folded name. Confusable names have the same skeleton.
    pub skeleton: String,
}

/// A nickname in its stored form, with its comparison key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nick {
    /// In NFC, trimmed.
    pub text: String,
    /// The comparison key.
    pub key: NameKey,
}

impl Nick {
    /// Checks a nickname that a user has chosen.
    ///
    /// # Errors
    /// Those of [`normalize_nickname`], `NICK_RESERVED`, and `NICK_CONFUSABLE` for names that look like a reserved one.
    pub fn choose(input: &str) -> Result<Self, ErrorCode> {
        // Composition can turn one combining mark into two, so the composed name is checked again.
        let composed: String = normalize_nickname(input)?.nfc().collect();
        let nick = Self::unchecked(normalize_nickname(&composed)?);
        if is_guest_name(&nick.key.exact.replacen("anon", "Anon", 1)) || RESERVED.contains(&nick.key.exact.as_str()) {
            return Err(ErrorCode::NickReserved);
        }
        if RESERVED.iter().any(|word| skeleton_of(word) == nick.key.skeleton) {
            return Err(ErrorCode::NickConfusable);
        }
        Ok(nick)
    }

    /// A name that the server has generated or checked before.
    pub fn unchecked(text: String) -> Self {
        let key = NameKey { exact: exact_of(&text), skeleton: skeleton_of(&text) };
        Self { text, key }
    }
}

/// The PRECIS comparison form. PRECIS refuses emoji, which Noom allows: such names compare by their folded code points.
fn exact_of(name: &str) -> String {
    // NFKC can introduce spaces. They are collapsed here, because precis-profiles 0.1.13 panics when it collapses spaces
    // after a multi-byte character.
    let composed: String = name.nfkc().collect();
    let collapsed = composed.split_whitespace().collect::<Vec<_>>().join(" ");
    match Nickname::enforce(collapsed.as_str()) {
        Ok(enforced) => fold(&enforced),
        Err(_) => fold(&collapsed),
    }
}

/// The skeleton of the case-folded name. Folding comes first: UTS #39 maps Cyrillic `А` to Latin `A`, which is not `a`.
fn skeleton_of(name: &str) -> String {
    skeleton(&fold(name)).collect()
}

/// Case folding by uppercasing and then lowercasing each character, so that `ß` equals `ss` and a final sigma equals the
/// others. Differs from full case folding (Unicode, 3.13) in a few letters. The result is stored: a change needs a
/// migration of the rooms.
fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// A room name in its canonical form, with its comparison key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomName {
    /// In NFC, trimmed, with white space collapsed. Used in frames and URLs.
    pub canonical: String,
    /// Case-folded. The store has a unique index on it.
    pub folded: String,
}

impl RoomName {
    /// Checks and normalizes a name.
    ///
    /// # Errors
    /// `ROOM_NAME_INVALID`.
    pub fn parse(input: &str) -> Result<Self, ErrorCode> {
        let composed: String = normalize_room_name(input)?.nfc().collect();
        let canonical = normalize_room_name(&composed)?;
        let folded = fold(&canonical);
        Ok(Self { canonical, folded })
    }

    /// Checks that a new room may have this name. Rooms that exist already keep theirs.
    ///
    /// # Errors
    /// `ROOM_NAME_INVALID`: characters that are invisible, stacked, or pass for others.
    pub fn check_new(&self) -> Result<(), ErrorCode> {
        check_new_room_name(&self.canonical)?;
        let is_within_word = |c: char| c.is_alphanumeric() || is_combining_mark(c);
        let mut words = self.canonical.split(|c| !is_within_word(c));
        if words.any(mixes_similar_letters) { Err(ErrorCode::RoomNameInvalid) } else { Ok(()) }
    }
}

/// Returns true for a word with letters of several alphabets, one of which passes for a letter of another (UTS #39, 4
/// and 5.1), and for the styled letters of mathematics, which pass for plain ones. A word of one alphabet is fine,
/// however much it looks like a word of another.
fn mixes_similar_letters(word: &str) -> bool {
    if word.chars().any(|c| matches!(c, '\u{1d400}'..='\u{1d7ff}')) {
        return true;
    }
    let alphabet = |c: char| match c.script() {
        Script::Common | Script::Inherited | Script::Unknown => None,
        // These are written beside others.
        Script::Han | Script::Hangul | Script::Hiragana | Script::Katakana | Script::Bopomofo => None,
        script => Some(script),
    };
    let mut alphabets = word.chars().filter_map(alphabet);
    let first = alphabets.next();
    if alphabets.all(|script| Some(script) == first) {
        return false;
    }
    word.chars().any(|c| {
        let own = alphabet(c);
        own.is_some() && skeleton(c.encode_utf8(&mut [0; 4])).filter_map(alphabet).any(|script| Some(script) != own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_confusable_names_are_refused() {
        let cases = [
            ("admin", ErrorCode::NickReserved),
            ("ADMIN", ErrorCode::NickReserved),
            (" Admin ", ErrorCode::NickReserved),
            ("Аdmin", ErrorCode::NickConfusable), // Cyrillic А
            ("Anon1234", ErrorCode::NickReserved),
            ("anon1234", ErrorCode::NickReserved),
            ("a\u{202e}nimda", ErrorCode::NickBidi),
            ("q\u{344}\u{344}", ErrorCode::NickCombining), // two marks each, once composed
        ];
        for (input, code) in cases {
            assert_eq!(Nick::choose(input), Err(code), "{input}");
        }
    }

    #[test]
    fn name_keys_ignore_case_spacing_and_composition() {
        let key = |name: &str| Nick::choose(name).map(|nick| nick.key);
        assert_eq!(key("Ann  Lee"), key("ann lee"));
        assert_eq!(
            key("가").map(|k| k.exact),
            key("\u{1100}\u{1161}").map(|k| k.exact),
            "composed and decomposed Hangul"
        );
        assert_ne!(key("🤔").map(|k| k.exact), key("👍🏽").map(|k| k.exact));
        let (latin, cyrillic) = (Nick::choose("ocean").unwrap(), Nick::choose("осеаn").unwrap());
        assert_ne!(latin.key.exact, cyrillic.key.exact);
        assert_eq!(latin.key.skeleton, cyrillic.key.skeleton);
    }

    #[test]
    fn character_that_decomposes_into_space_is_accepted() {
        assert_eq!(Nick::choose("가 ´").map(|nick| nick.text), Ok("가 ´".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in "\\PC{0,40}", mixed in "[가 ´¨a\u{2003}\u{0345}ﷺ]{0,20}") {
            let _ = (Nick::choose(&text), RoomName::parse(&text), Nick::choose(&mixed), RoomName::parse(&mixed));
        }
    }

    #[test]
    fn emoji_are_allowed_in_names() {
        for name in ["🤔", "👍🏽", "❤️", "👩‍💻", "Ann 🎉"] {
            assert_eq!(Nick::choose(name).map(|nick| nick.text), Ok(name.to_owned()));
        }
    }

    #[test]
    fn new_room_names_do_not_mix_letters_that_look_alike() {
        let check = |name: &str| RoomName::parse(name).unwrap().check_new();
        for name in [
            "gаrden",     // Cyrillic а
            "Мoscow",     // Cyrillic М
            "Москвa",     // Latin a
            "team-аlpha", // Cyrillic а
            "αdmin",
            "nοοm", // Greek α, ο
            "𝗀𝖺𝗋𝖽𝖾𝗇",
            "gar\u{200d}den",
        ] {
            assert_eq!(check(name), Err(ErrorCode::RoomNameInvalid), "{name}");
        }
        for name in [
            "garden",
            "Café Größe",
            "Москва",
            "роса",
            "Python для начинающих",
            "μTorrent",
            "10kΩ",
            "π-day",
            "한국어room",
            "A형",
            "東京タワーTokyo",
            "ｆｕｌｌ",
            "हिन्दी",
            "ไทย chat",
            "عربي",
            "שלום-team",
            "①②③",
            "H₂O",
            "🌱 garden ❤️",
            "a1b2",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn room_names_have_one_canonical_form() {
        let name = RoomName::parse("  Cafe\u{301}   Club ").unwrap();
        assert_eq!((name.canonical.as_str(), name.folded.as_str()), ("Café Club", "café club"));
        assert_eq!(RoomName::parse("CAFÉ club").unwrap().folded, name.folded);
        let folded = |name: &str| RoomName::parse(name).unwrap().folded;
        assert_eq!(folded("Straße"), folded("STRASSE"));
        assert_eq!(folded("ΟΔΟΣ"), folded("οδος"));
    }
}
