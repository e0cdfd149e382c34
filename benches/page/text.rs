//! What a reader sees of a page: its text, without what is only said to programs.

use std::fmt::Write;

/// Elements whose content nobody sees.
const UNSEEN: [&str; 6] = ["head", "script", "style", "noscript", "template", "textarea"];

/// The visible text of a document, white space collapsed.
pub(crate) fn visible(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("<!") {
            // A comment or a marker parts no words.
            let end = if rest.starts_with("<!--") { "-->" } else { ">" };
            rest = rest.split_once(end).map_or("", |(_, after)| after);
            continue;
        }
        let name: String = rest[1..].chars().take_while(char::is_ascii_alphanumeric).collect();
        rest = rest.split_once('>').map_or("", |(_, after)| after);
        if UNSEEN.contains(&name.as_str()) {
            rest = rest.split_once(&format!("</{name}>")).map_or("", |(_, after)| after);
        }
        // Whatever stands between two elements reads as two words.
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

/// Where two texts part, for whoever has to mend one.
pub(crate) fn difference(one: &str, other: &str) -> Option<String> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (words(one), words(other));
    if one == other {
        return None;
    }
    let at = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    let around = |words: &[String]| words[at.saturating_sub(3)..words.len().min(at + 6)].join(" ");
    let mut said = String::new();
    let _ = write!(said, "word {at}: {:?} and {:?}", around(&one), around(&other));
    Some(said)
}
