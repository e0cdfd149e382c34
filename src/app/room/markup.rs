//! The views of Markdown. Each is built from the tree of the text, never from HTML.

use leptos::prelude::*;

use super::code_block::CodeBlock;
use super::mention::{MAX_MARKED, Mentions};
use crate::app::erase::Erase;
use crate::app::linkify::link;
use crate::app::markdown::{Element, Event};

/// The views of the blocks of a text.
pub(super) fn markup(text: &str, events: Vec<Event>, mentions: &Mentions) -> impl IntoView + use<> {
    Tree { text, events: events.into_iter(), mentions, budget: MAX_MARKED }.children()
}

/// The rest of the tree of a text.
struct Tree<'a> {
    text: &'a str,
    events: std::vec::IntoIter<Event>,
    mentions: &'a Mentions,
    /// The mentions that may still be marked.
    budget: usize,
}

impl Tree<'_> {
    /// The children of the element that has begun.
    fn children(&mut self) -> Vec<AnyView> {
        let (mut views, mut plain) = (Vec::new(), String::new());
        loop {
            let view = match self.events.next() {
                Some(Event::Text(range)) => {
                    plain.push_str(&self.text[range]);
                    None
                }
                Some(Event::Start(element)) => Some(self.element(element)),
                Some(Event::Code(range)) => {
                    let code = self.text[range].to_owned();
                    Some(view! { <code dir="auto" translate="no">{code}</code> }.erase())
                }
                Some(Event::Link(range, href)) => Some(link(self.text[range].to_owned(), href).erase()),
                Some(Event::Marker(range)) => Some(marker(&self.text[range]).erase()),
                // `code_block` takes it.
                Some(Event::Language(_)) => None,
                Some(Event::End) | None => {
                    views.extend(self.mentions.views(plain, &mut self.budget));
                    return views;
                }
            };
            if let Some(view) = view {
                views.extend(self.mentions.views(std::mem::take(&mut plain), &mut self.budget));
                views.push(view);
            }
        }
    }

    fn element(&mut self, element: Element) -> AnyView {
        match element {
            Element::CodeBlock => self.code_block(),
            Element::Paragraph => view! { <p>{self.children()}</p> }.erase(),
            Element::Quote => view! { <blockquote>{self.children()}</blockquote> }.erase(),
            // Safari ignores lists that are styled without markers.
            Element::BulletList => view! { <ul role="list">{self.children()}</ul> }.erase(),
            Element::NumberedList => view! { <ol role="list">{self.children()}</ol> }.erase(),
            Element::Item => view! { <li>{self.children()}</li> }.erase(),
            Element::Strong => view! { <strong>{self.children()}</strong> }.erase(),
            Element::Emphasis => view! { <em>{self.children()}</em> }.erase(),
            Element::Strikethrough => view! { <s>{self.children()}</s> }.erase(),
        }
    }

    fn code_block(&mut self) -> AnyView {
        let (mut language, mut code) = (String::new(), String::new());
        loop {
            match self.events.next() {
                Some(Event::Language(range)) => language.push_str(&self.text[range]),
                Some(Event::Text(range)) => code.push_str(&self.text[range]),
                Some(Event::Start(_) | Event::Code(_) | Event::Link(..) | Event::Marker(_)) => {}
                Some(Event::End) | None => return view! { <CodeBlock language code/> }.erase(),
            }
        }
    }
}

/// The number or bullet of a list item, as text, so that it is also in copied text.
fn marker(marker: &str) -> impl IntoView + use<> {
    let marker = if marker.ends_with('.') { format!("{marker} ") } else { "• ".to_owned() };
    view! { <span class="marker">{marker}</span> }
}
