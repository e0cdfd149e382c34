//! Extracts the visible text of a page, to check that all renderers show the same.

use std::fmt::Write;

/// Elements whose content is not displayed.
const INVISIBLE: [&str; 6] = ["head", "script", "style", "noscript", "template", "textarea"];

/// Returns the visible text of a document with white space collapsed.
pub(crate) fn visible_text(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("<!") {
            // A comment or a marker does not separate words.
            let end = if rest.starts_with("<!--") { "-->" } else { ">" };
            rest = rest.split_once(end).map_or("", |(_, after)| after);
            continue;
        }
        let name: String = rest[1..].chars().take_while(char::is_ascii_alphanumeric).collect();
        rest = rest.split_once('>').map_or("", |(_, after)| after);
        if INVISIBLE.contains(&name.as_str()) {
            rest = rest.split_once(&format!("</{name}>")).map_or("", |(_, after)| after);
        }
        // A tag separates words.
        text.push(' ');
    }
    text.push_str(rest);
    unescape(&text).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    for (entity, character) in entities {
        plain = plain.replace(entity, character);
    }
    plain
}

/// Describes the first difference between two texts, or returns `None` if they are equal.
pub(crate) fn first_difference(one: &str, other: &str) -> Option<String> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (words(one), words(other));
    if one == other {
        return None;
    }
    let at = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    let around = |words: &[String]| words[at.saturating_sub(3)..words.len().min(at + 6)].join(" ");
    let mut description = String::new();
    let _ = write!(description, "word {at}: {:?} and {:?}", around(&one), around(&other));
    Some(description)
}
