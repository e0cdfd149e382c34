//! A block of code in a message.

use leptos::html::Pre;
use leptos::prelude::*;
use leptos_i18n::td_string;

use super::clipboard;
use crate::app::locale::Language;

/// A line with more columns may be wider than the block on a phone.
const NARROW: usize = 20;

/// Code that keeps its lines and is scrolled sideways, with a button that copies it.
#[component]
pub(super) fn CodeBlock(
    /// The name of the language, if the author gave one.
    language: String,
    code: String,
) -> impl IntoView {
    let i18n = Language::current();
    let copied = RwSignal::new(None::<bool>);
    let block = NodeRef::<Pre>::new();
    let copy = move |_| {
        let Some(block) = block.get_untracked() else { return };
        let text = block.text_content().unwrap_or_default();
        // The user can copy the selection.
        let select = move || drop(window().get_selection().ok().flatten().map(|all| all.select_all_children(&block)));
        clipboard::copy(&text, copied, select);
    };
    let label = move || match copied.get() {
        None => td_string!(i18n.get(), copy),
        Some(true) => td_string!(i18n.get(), copied),
        Some(false) => td_string!(i18n.get(), selected),
    };
    // Keyboards scroll only what has the focus.
    let scrolls = code.split('\n').any(|line| columns(line) > NARROW);
    view! {
        <div class="code-block" translate="no">
            <div class="code-bar">
                <span>{language}</span>
                <button type="button" class="needs-script" on:click=copy><span aria-live="polite">{label}</span></button>
            </div>
            <pre
                node_ref=block dir="auto" tabindex=scrolls.then_some("0") role=scrolls.then_some("region")
                aria-label=move || scrolls.then(|| td_string!(i18n.get(), code))
            >
                <code>{code}</code>
            </pre>
        </div>
    }
}

/// The width of a line. Most characters beyond ASCII take two columns.
fn columns(line: &str) -> usize {
    line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}
