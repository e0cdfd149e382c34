//! When two nicknames, or two room names, count as the same. Pure.

use precis_profiles::Nickname;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use unicode_normalization::UnicodeNormalization;
use unicode_security::skeleton;

use crate::protocol::ErrorCode;
use crate::protocol::name::{is_guest_name, tidy_nickname, tidy_room_name};

/// Names that would pass for somebody in charge. Compared by skeleton.
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

/// What a nickname is compared by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    /// The comparison form of RFC 8266 (PRECIS Nickname).
    pub exact: String,
    /// The skeleton of UTS #39, of the case-folded name: names that look alike share it.
    pub skeleton: String,
}

/// A nickname in the form that is stored, and what it is compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nick {
    /// In NFC, trimmed.
    pub text: String,
    /// What it is compared by.
    pub key: NameKey,
}

impl Nick {
    /// A nickname that somebody chose.
    ///
    /// # Errors
    /// Those of [`tidy_nickname`]; `NICK_RESERVED`, and `NICK_CONFUSABLE` for what merely looks
    /// reserved.
    pub fn choose(input: &str) -> Result<Self, ErrorCode> {
        // Composing can make one mark two: what comes of it is judged as well.
        let composed: String = tidy_nickname(input)?.nfc().collect();
        let nick = Self::unchecked(tidy_nickname(&composed)?);
        if is_guest_name(&nick.key.exact.replacen("anon", "Anon", 1)) || RESERVED.contains(&nick.key.exact.as_str()) {
            return Err(ErrorCode::NickReserved);
        }
        if RESERVED.iter().any(|word| skeleton_of(word) == nick.key.skeleton) {
            return Err(ErrorCode::NickConfusable);
        }
        Ok(nick)
    }

    /// A name that the server made or checked before.
    pub fn unchecked(text: String) -> Self {
        let key = NameKey { exact: exact_of(&text), skeleton: skeleton_of(&text) };
        Self { text, key }
    }
}

/// PRECIS refuses emoji, which are welcome here: such a name compares by its folded code points.
fn exact_of(name: &str) -> String {
    // NFKC may bring spaces of its own. They are collapsed here: precis-profiles 0.1.13 panics when
    // it has to collapse them after a character of several bytes.
    let composed: String = name.nfkc().collect();
    let collapsed = composed.split_whitespace().collect::<Vec<_>>().join(" ");
    match Nickname::enforce(collapsed.as_str()) {
        Ok(enforced) => fold(&enforced),
        Err(_) => fold(&collapsed),
    }
}

/// Folded before the skeleton is taken: UTS #39 maps Cyrillic `А` to Latin `A`, which is not `a`.
fn skeleton_of(name: &str) -> String {
    skeleton(&fold(name)).collect()
}

/// Full case folding (Unicode, 3.13) to within a few letters, character by character: up and down
/// again, so that ß meets ss and a final sigma meets the others.
fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// A room's name in its canonical form, and what it is compared by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomName {
    /// In NFC, trimmed, white space collapsed: what acks, frames and URLs carry.
    pub canonical: String,
    /// Case-folded: what the store's unique index holds.
    pub folded: String,
}

impl RoomName {
    /// Checks and composes a name.
    ///
    /// # Errors
    /// `ROOM_NAME_INVALID`.
    pub fn parse(input: &str) -> Result<Self, ErrorCode> {
        let composed: String = tidy_room_name(input)?.nfc().collect();
        let canonical = tidy_room_name(&composed)?;
        let folded = fold(&canonical);
        Ok(Self { canonical, folded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_and_their_look_alikes_cannot_be_chosen() {
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
    fn names_compare_as_people_read_them() {
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
    fn a_character_that_decomposes_into_a_space_is_no_reason_to_panic() {
        assert_eq!(Nick::choose("가 ´").map(|nick| nick.text), Ok("가 ´".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text in "\\PC{0,40}", mixed in "[가 ´¨a\u{2003}\u{0345}ﷺ]{0,20}") {
            let _ = (Nick::choose(&text), RoomName::parse(&text), Nick::choose(&mixed), RoomName::parse(&mixed));
        }
    }

    #[test]
    fn emoji_are_welcome_in_names() {
        for name in ["🤔", "👍🏽", "❤️", "👩‍💻", "Ann 🎉"] {
            assert_eq!(Nick::choose(name).map(|nick| nick.text), Ok(name.to_owned()));
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
