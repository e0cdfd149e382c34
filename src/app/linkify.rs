//! Links in message texts.
//!
//! Written by hand, because the crate `linkify` needs quadratic time for addresses without a scheme, ends an address
//! before a fragment that follows the host, and takes the writing around an address in Korean, Chinese and Japanese for
//! a part of it.

mod cjk;
pub(super) mod scan;

use leptos::prelude::*;

pub(crate) use scan::Piece;
use scan::scan;

/// The most links in one text. A message of nothing but addresses costs as much as others.
pub(super) const MAX_LINKS: usize = 40;

/// Splits a text into links and what is between them.
pub(crate) fn split(text: &str) -> Vec<Piece> {
    scan(text, MAX_LINKS).pieces
}

/// A link is a run of text of its own direction, so that direction controls before it cannot change what it shows.
pub(super) fn link(text: String, href: String) -> impl IntoView {
    view! { <a href=href dir="ltr" target="_blank" rel="noopener noreferrer nofollow ugc">{text}</a> }
}
