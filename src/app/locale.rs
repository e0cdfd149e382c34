//! Which language a page is in: what the person chose before, else what their browser prefers.

use leptos::prelude::*;
use leptos_i18n::context::UseLocalesOptions;

use crate::i18n::Locale;

/// The cookie that remembers the choice.
pub const COOKIE: &str = "lang";

/// The request's preference, in the form of `Accept-Language` (RFC 9110, 12.5.4), most wanted
/// first. The server puts it into the context of every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptLanguage(pub String);

impl AcceptLanguage {
    /// The language chosen before (in the `Cookie` header) wins over the browser's.
    pub fn resolve(cookies: Option<String>, accepted: Option<String>) -> Self {
        let chosen = cookies.as_deref().and_then(|cookies| {
            cookies
                .split(';')
                .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('=')?.parse::<Locale>().ok())
        });
        Self(match chosen {
            Some(locale) => tag(locale).to_owned(),
            None => by_quality(&accepted.unwrap_or_default()),
        })
    }

    /// For the provider of translations, which asks while the server renders.
    pub(super) fn options() -> UseLocalesOptions {
        let wanted = use_context::<Self>().map(|wanted| wanted.0);
        UseLocalesOptions::default().ssr_lang_header_getter(move || wanted.clone())
    }
}

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
        assert_eq!(AcceptLanguage::resolve(None, None).0, "");
    }
}
