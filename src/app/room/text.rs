//! The text of a message.

use leptos::either::Either;
use leptos::prelude::*;
use leptos_i18n::td_string;

use super::markup::markup;
use super::mention::{MAX_MARKED, Mentions};
use crate::app::erase::Erase;
use crate::app::linkify::{Piece, link, split};
use crate::app::locale::Language;
use crate::app::markdown::{self, Element, Event};

/// A text with more rows than this is shown in part.
const LONG_ROWS: usize = 40;
/// The characters of a row, at the width of most screens.
const ROW_CHARS: usize = 60;

/// The text of a message. A long text is collapsed until the reader expands it.
#[component]
pub(super) fn Text(
    text: String,
    mentions: Mentions,
    /// The tooltip.
    title: impl Fn() -> String + Send + Sync + Clone + 'static,
) -> impl IntoView {
    let Some(events) = markdown::parse(&text) else {
        return Either::Left(if is_long(&text, &[]) {
            let open = RwSignal::new(false);
            Either::Right(view! {
                // A link that takes the focus has to be visible.
                <p class="text long" class:open=move || open.get() dir="auto" title=title on:focusin=move |_| open.set(true)>
                    {inline(&text, &mentions)}
                </p>
                <ShowAll open/>
            })
        } else {
            Either::Left(view! { <p class="text" dir="auto" title=title>{inline(&text, &mentions)}</p> })
        });
    };
    Either::Right(if is_long(&text, &events) {
        let open = RwSignal::new(false);
        Either::Right(view! {
            <div class="text long" class:open=move || open.get() dir="auto" title=title on:focusin=move |_| open.set(true)>
                {markup(&text, events, &mentions)}
            </div>
            <ShowAll open/>
        })
    } else {
        Either::Left(view! { <div class="text" dir="auto" title=title>{markup(&text, events, &mentions)}</div> })
    })
}

/// A text without markup: links, mentions, and what is between them.
fn inline(text: &str, mentions: &Mentions) -> Vec<AnyView> {
    let mut budget = MAX_MARKED;
    let views = |piece| match piece {
        Piece::Plain(text) => mentions.views(text, &mut budget),
        Piece::Link { text, href } => vec![link(text, href).erase()],
    };
    split(text).into_iter().flat_map(views).collect()
}

/// The button that expands and collapses a long text.
#[component]
fn ShowAll(open: RwSignal<bool>) -> impl IntoView {
    let i18n = Language::current();
    let label = move || if open.get() { td_string!(i18n.get(), show_less) } else { td_string!(i18n.get(), show_all) };
    view! {
        <button
            type="button" class="show-all needs-script" translate="no" aria-expanded=move || open.get().to_string()
            on:click=move |_| open.update(|open| *open = !*open)
        >
            {label}
        </button>
    }
}

fn is_long(text: &str, events: &[Event]) -> bool {
    let wrapped = |line: &str| line.chars().count() / ROW_CHARS;
    let rows: usize = text.split('\n').map(|line| 1 + wrapped(line)).sum();
    // Lines of code are not wrapped.
    let mut is_code = false;
    let code = events.iter().map(|event| match event {
        Event::Start(element) => {
            is_code = *element == Element::CodeBlock;
            0
        }
        Event::Text(range) if is_code => wrapped(&text[range.clone()]),
        Event::End => {
            is_code = false;
            0
        }
        Event::Text(_) | Event::Code(_) | Event::Link(..) | Event::Language(_) | Event::Marker(_) => 0,
    });
    rows - code.sum::<usize>() > LONG_ROWS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_long_by_its_rows() {
        let is_long = |text: &str| is_long(text, &markdown::parse(text).unwrap_or_default());
        assert!(!is_long("hello"));
        assert!(!is_long(&"a\n".repeat(39)));
        assert!(is_long(&"\n".repeat(4_000)));
        assert!(is_long(&"가".repeat(4_000)));
        assert!(is_long(&format!("**{}**", "가".repeat(3_990))));
        assert!(!is_long(&format!("```\n{}\n```", "가".repeat(3_990))));
        assert!(is_long(&format!("```\n{}```", "a\n".repeat(50))));
        assert!(is_long(&"- a\n> b\n".repeat(25)));
    }
}
