//! The language of a page: the user's earlier choice, otherwise the browser's preference.

use leptos::prelude::*;
use leptos_i18n::Locale as _;

use crate::i18n::Locale;

/// The cookie that stores the choice.
pub const COOKIE: &str = "lang";

/// The languages that a request prefers, in the form of `Accept-Language` (RFC 9110, 12.5.4), best first. The server
/// puts them into the context of every page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptLanguage(pub String);

impl AcceptLanguage {
    /// The choice in the `Cookie` header wins over the browser's `Accept-Language`.
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

    /// The best supported language.
    pub fn locale(&self) -> Locale {
        let tags: Vec<_> = self.0.split(',').map(|range| range.split(';').next().unwrap_or_default().trim()).collect();
        Locale::find_locale(&tags)
    }
}

/// The language of a page, which may change while the page is open. It replaces leptos_i18n's own context, which spawns
/// a task for each page on the server; the task panics if the page is done first.
#[derive(Clone, Copy, Debug)]
pub struct Language(RwSignal<Locale>);

impl Language {
    /// Provides the language: on the server from the request, in the browser from the document that the server sent.
    pub(super) fn provide() {
        let locale = match use_context::<AcceptLanguage>() {
            Some(preferred) => preferred.locale(),
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

    /// The current language; reactive.
    pub(super) fn get(self) -> Locale {
        self.0.get()
    }

    /// A text that follows the language. All texts share this closure type, because each type of closure in a view
    /// costs about 3 KB of WASM.
    pub(super) fn text(self, text: fn(Locale) -> &'static str) -> impl Fn() -> &'static str + Copy + Send + Sync {
        move || text(self.get())
    }

    /// Changes the language, and stores the choice in a cookie.
    pub(super) fn choose(self, locale: Locale) {
        let cookie = format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax", tag(locale));
        // Where cookies are blocked, the choice lasts until the page is closed.
        let _ = js_sys::Reflect::set(&document(), &"cookie".into(), &cookie.into());
        if let Some(root) = document().document_element() {
            let _ = root.set_attribute("lang", tag(locale));
        }
        self.0.set(locale);
    }
}

/// The text with this key; follows the language of the page.
macro_rules! t {
    ($i18n:expr, $name:ident) => {
        $i18n.text(|locale| leptos_i18n::td_string!(locale, $name))
    };
}
pub(super) use t;

/// The BCP 47 language tag, for `lang` attributes.
pub fn tag(locale: Locale) -> &'static str {
    match locale {
        Locale::en => "en",
        Locale::ko => "ko",
    }
}

/// The language's name in that language.
pub fn own_name(locale: Locale) -> &'static str {
    match locale {
        Locale::en => "English",
        Locale::ko => "한국어",
    }
}

/// Sorts the language ranges of an `Accept-Language` header by their quality.
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
    fn choice_wins_over_browser_and_quality_over_order() {
        let resolve =
            |cookies: &str, accepted: &str| AcceptLanguage::resolve(Some(cookies.into()), Some(accepted.into())).0;
        assert_eq!(resolve("noom=x; lang=ko", "en"), "ko");
        assert_eq!(resolve("lang=xx", "en"), "en");
        assert_eq!(resolve("", "en;q=0.5, ko-KR, fr;q=0.9"), "ko-KR,fr;q=0.9,en;q=0.5");
        assert_eq!(AcceptLanguage::resolve(None, None).locale(), Locale::en);
        assert_eq!(AcceptLanguage("fr,ko-KR;q=0.9,en;q=0.5".into()).locale(), Locale::ko);
    }
}
