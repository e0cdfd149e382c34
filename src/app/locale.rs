//! Which language a page is in: what the person chose before, else what their browser prefers.

use leptos::prelude::*;
use leptos_i18n::Locale as _;

use crate::i18n::Locale;

/// The cookie that remembers the choice.
pub const COOKIE: &str = "lang";

/// The request's preference, in the form of `Accept-Language` (RFC 9110, 12.5.4), most wanted
/// first. The server puts it into the context of every page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptLanguage(pub String);

impl AcceptLanguage {
    /// The language chosen before (in the `Cookie` header) wins over the browser's.
    pub fn resolve(cookies: Option<String>, accepted: Option<String>) -> Self {
        let chosen = cookies.as_deref().and_then(|cookies| {
            let values = cookies.split(';').map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
            values.flatten().find_map(|value| value.parse::<Locale>().ok())
        });
        Self(match chosen {
            Some(locale) => tag(locale).to_owned(),
            None => by_quality(&accepted.unwrap_or_default()),
        })
    }

    /// The first of our languages that is wanted.
    pub fn locale(&self) -> Locale {
        let tags: Vec<_> = self.0.split(',').map(|range| range.split(';').next().unwrap_or_default().trim()).collect();
        Locale::find_locale(&tags)
    }
}

/// The language of the page, which may change while it is open. Not leptos_i18n's own context: that
/// starts a task for each page on the server, which panics when the page is done first.
#[derive(Clone, Copy, Debug)]
pub struct Language(RwSignal<Locale>);

impl Language {
    /// Provides the language that the server chose: from the request there, from the document here.
    pub(super) fn provide() {
        let locale = match use_context::<AcceptLanguage>() {
            Some(wanted) => wanted.locale(),
            None => {
                let root = document().document_element();
                root.and_then(|root| root.get_attribute("lang")?.parse().ok()).unwrap_or_default()
            }
        };
        provide_context(Self(RwSignal::new(locale)));
    }

    /// The language of this page.
    pub(super) fn current() -> Self {
        expect_context()
    }

    /// The language, following changes.
    pub(super) fn get(self) -> Locale {
        self.0.get()
    }

    /// A text that follows the language. All texts are of this one type: each type of a closure in a view is some 3 KB
    /// of WASM.
    pub(super) fn say(self, text: fn(Locale) -> &'static str) -> impl Fn() -> &'static str + Copy + Send + Sync {
        move || text(self.get())
    }

    /// Changes it, and remembers that.
    pub(super) fn choose(self, locale: Locale) {
        let cookie = format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax", tag(locale));
        // Without cookies the choice lasts as long as the page.
        let _ = js_sys::Reflect::set(&document(), &"cookie".into(), &cookie.into());
        if let Some(root) = document().document_element() {
            let _ = root.set_attribute("lang", tag(locale));
        }
        self.0.set(locale);
    }
}

/// The text with this name, following the language of the page.
macro_rules! say {
    ($i18n:expr, $name:ident) => {
        $i18n.say(|locale| leptos_i18n::td_string!(locale, $name))
    };
}
pub(super) use say;

/// The language tag (BCP 47), as `lang` attributes have it.
pub fn tag(locale: Locale) -> &'static str {
    match locale {
        Locale::en => "en",
        Locale::ko => "ko",
    }
}

/// A language's name for itself.
pub fn own_name(locale: Locale) -> &'static str {
    match locale {
        Locale::en => "English",
        Locale::ko => "한국어",
    }
}

/// Sorts the ranges of a header by their weight.
fn by_quality(header: &str) -> String {
    let weight = |range: &str| {
        let q = range.split(';').skip(1).find_map(|part| part.trim().strip_prefix("q="));
        q.map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0))
    };
    let mut ranges: Vec<_> = header.split(',').map(str::trim).filter(|range| !range.is_empty()).collect();
    ranges.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    ranges.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_wins_over_the_browser_and_weights_over_order() {
        let resolve =
            |cookies: &str, accepted: &str| AcceptLanguage::resolve(Some(cookies.into()), Some(accepted.into())).0;
        assert_eq!(resolve("noom=x; lang=ko", "en"), "ko");
        assert_eq!(resolve("lang=xx", "en"), "en");
        assert_eq!(resolve("", "en;q=0.5, ko-KR, fr;q=0.9"), "ko-KR,fr;q=0.9,en;q=0.5");
        assert_eq!(AcceptLanguage::resolve(None, None).locale(), Locale::en);
        assert_eq!(AcceptLanguage("fr,ko-KR;q=0.9,en;q=0.5".into()).locale(), Locale::ko);
    }
}
