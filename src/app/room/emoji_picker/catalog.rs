//! The emoji and their names, as `scripts/site.mjs` writes them into the site.

use std::sync::OnceLock;

use gloo_net::http::Request;
use serde::Deserialize;

use crate::i18n::Locale;

/// The path of the data.
const PATH: &str = "/emoji.json";
/// The most emoji that a search shows.
const MOST_FOUND: usize = 100;

/// All emoji.
#[derive(Debug, Deserialize)]
pub(super) struct Catalog {
    pub(super) groups: Vec<Group>,
    pub(super) emoji: Vec<Emoji>,
}

/// A group of emoji.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) number: u8,
    names: Names,
}

/// An emoji.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Emoji {
    pub(super) text: String,
    pub(super) group: u8,
    names: Names,
    /// Further words, in both languages.
    words: String,
}

/// A name in each language.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Names {
    en: String,
    ko: String,
}

impl Names {
    fn of(&self, locale: Locale) -> &str {
        match locale {
            Locale::en => &self.en,
            Locale::ko => &self.ko,
        }
    }
}

impl Group {
    pub(super) fn name(&self, locale: Locale) -> &str {
        self.names.of(locale)
    }
}

impl Emoji {
    pub(super) fn name(&self, locale: Locale) -> &str {
        self.names.of(locale)
    }
}

/// The emoji of a page that has fetched them.
static CATALOG: OnceLock<Catalog> = OnceLock::new();

/// Fetches the emoji, once for each page. `None`: the server could not be reached.
pub(super) async fn catalog() -> Option<&'static Catalog> {
    if CATALOG.get().is_none() {
        let response = Request::get(PATH).send().await.ok().filter(|response| response.ok())?;
        let _ = CATALOG.set(serde_json::from_str(&response.text().await.ok()?).ok()?);
    }
    CATALOG.get()
}

/// The emoji of which the names contain all words; those with words that begin like that first.
pub(super) fn find<'a>(emoji: &'a [Emoji], typed: &str) -> Vec<&'a Emoji> {
    let typed = typed.to_lowercase();
    let words: Vec<_> = typed.split_whitespace().collect();
    let text = |Emoji { names, words, .. }: &Emoji| format!(" {} {} {words}", names.en, names.ko).to_lowercase();
    let begins = |text: &str| words.iter().all(|word| text.contains(&format!(" {word}")));
    let texts = emoji.iter().map(|emoji| (emoji, text(emoji)));
    let mut found: Vec<_> = texts.filter(|(_, text)| words.iter().all(|word| text.contains(word))).collect();
    found.sort_by_key(|(_, text)| !begins(text));
    found.into_iter().map(|(emoji, _)| emoji).take(MOST_FOUND).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_is_found_by_words_in_both_languages_and_beginnings_come_first() {
        let emoji = |emoji: &str, english: &str, korean: &str, more: &str| {
            let names = Names { en: english.to_owned(), ko: korean.to_owned() };
            Emoji { text: emoji.to_owned(), group: 0, names, words: more.to_owned() }
        };
        let catalog = [
            emoji("🥳", "partying face", "파티", "birthday"),
            emoji("🦿", "mechanical leg", "기계 다리", "part"),
            emoji("🎉", "Party popper", "축하 폭죽", "celebrate"),
            emoji("🩹", "adhesive bandage", "반창고", "apart"),
        ];
        let found = |typed| find(&catalog, typed).iter().map(|emoji| emoji.text.as_str()).collect::<Vec<_>>();
        assert_eq!(found("part"), ["🥳", "🦿", "🎉", "🩹"]);
        assert_eq!(found("PARTY"), ["🥳", "🎉"]);
        assert_eq!(found("폭죽 축"), ["🎉"]);
        assert_eq!(found("nothing"), [""; 0]);
    }
}
