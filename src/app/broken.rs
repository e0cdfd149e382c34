//! A page whose program has stopped must not look alive.

use leptos::prelude::*;
use leptos_i18n::td_string;

use crate::client::storage::Storage;
use crate::i18n::Locale;

/// The storage key that asks the next page of this tab not to hydrate.
const REBUILD: &str = "noom.rebuild";

/// Asks the next page of this tab to be built in the browser. Returns false if it was already asked for.
pub fn request_rebuild() -> bool {
    Storage::Session.get(REBUILD).is_none() && Storage::Session.set(REBUILD, "1")
}

/// Returns whether the page before asked for it, once.
pub fn take_rebuild_request() -> bool {
    let requested = Storage::Session.get(REBUILD).is_some();
    Storage::Session.remove(REBUILD);
    requested
}

/// Shows that the page has stopped, with a link that loads it again. Uses nothing of the program that has stopped.
pub fn show() {
    const ID: &str = "broken";
    let document = document();
    let Some(body) = document.body().filter(|_| document.get_element_by_id(ID).is_none()) else { return };
    let locale: Locale =
        document.document_element().and_then(|root| root.get_attribute("lang")?.parse().ok()).unwrap_or_default();
    let create = |name: &str, attributes: &[(&str, &str)], text: &str| {
        let element = document.create_element(name).ok()?;
        for (name, value) in attributes {
            element.set_attribute(name, value).ok()?;
        }
        element.set_text_content(Some(text));
        Some(element)
    };
    let append = || {
        let frame = create("div", &[("id", ID), ("class", "connection"), ("role", "alert")], "")?;
        let notice = create("p", &[("class", "notice")], td_string!(locale, page_broken))?;
        // The router leaves external links to the browser.
        let reload = create("a", &[("href", ""), ("rel", "external")], td_string!(locale, reload))?;
        notice.append_child(&reload).ok()?;
        frame.append_child(&notice).ok()?;
        body.append_child(&frame).ok()
    };
    append();
}
