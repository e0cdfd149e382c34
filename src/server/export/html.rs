//! The format for people: one HTML file without script that needs nothing else, readable for as long as there are
//! browsers.

use leptos_i18n::td_string;

use super::about::About;
use crate::app::linkify::{Piece, split};
use crate::app::locale::tag;
use crate::app::path;
use crate::app::time::{Clock, Parts, rfc3339};
use crate::i18n::Locale;
use crate::protocol::{Message, MessageState};

const STYLE: &str = include_str!("../../../style/export.css");
/// Applies when the file is opened from a disk, where no header does.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
/// Messages of one author within this time have the name once.
const GROUP_MS: u64 = 5 * 60_000;

pub(super) fn begin(about: &About, out: &mut String) {
    let About { room, epoch: _, extent, at, locale } = about;
    let (room, locale) = (&*room.name, *locale);
    let title = td_string!(locale, title_room, room = room.to_owned()).to_string();
    let (made, utc) = (td_string!(locale, export_made), td_string!(locale, export_times));
    put(out, &["<!DOCTYPE html>\n<html lang=\"", tag(locale), "\" dir=\"ltr\">\n<head>\n<meta charset=\"utf-8\">\n"]);
    put(out, &["<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"]);
    put(out, &["<meta http-equiv=\"Content-Security-Policy\" content=\"", POLICY, "\">\n"]);
    put(out, &["<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"robots\" content=\"noindex\">\n"]);
    put(out, &["<meta name=\"color-scheme\" content=\"light dark\">\n"]);
    put(out, &["<meta name=\"generator\" content=\"noom ", env!("CARGO_PKG_VERSION"), "\">\n<title>"]);
    escape(&title, out);
    put(out, &["</title>\n<style>\n", STYLE, "</style>\n</head>\n<body>\n<header>\n<h1><bdi>"]);
    escape(room, out);
    put(out, &["</bdi></h1>\n<p>", &count_text(locale, extent.count()), " · ", made, ": "]);
    put(out, &["<time datetime=\"", &rfc3339(*at), "\">", &Parts::of(*at, Clock::Utc).full(), "</time></p>\n"]);
    put(out, &["<p>", utc, "</p>\n</header>\n<main>\n"]);
}

/// A message, and before it what ends and begins with it: lists are by day.
pub(super) fn message(about: &About, previous: Option<&Message>, message: &Message, out: &mut String) {
    let Message { seq, user, text, at, .. } = message;
    let locale = about.locale;
    let (time, day) = (Parts::of(*at, Clock::Utc), Clock::Utc.day(*at));
    let same_day = previous.filter(|previous| Clock::Utc.day(previous.at) == day);
    if same_day.is_none() {
        let (seq, date) = (seq.to_string(), time.date());
        put(out, &[if previous.is_some() { "</ol>\n</section>\n" } else { "" }]);
        put(out, &["<section aria-labelledby=\"day", &seq, "\">\n<h2 id=\"day", &seq, "\">"]);
        put(out, &["<time datetime=\"", &date, "\">", &date, "</time></h2>\n<ol>\n"]);
    }
    let continues =
        same_day.is_some_and(|previous| previous.user == *user && at.saturating_sub(previous.at) < GROUP_MS);
    put(out, &["<li id=\"m", &seq.to_string(), "\"", if continues { " class=\"more\"" } else { "" }]);
    put(out, &["><p class=\"author\"><bdi>"]);
    escape(&user.nickname, out);
    put(out, &["</bdi></p><time datetime=\"", &rfc3339(*at), "\">", &time.short(), "</time>"]);
    if let Some(target) = message.reply_to {
        let target = target.to_string();
        put(
            out,
            &[
                "<p class=\"note\"><a href=\"#m",
                &target,
                "\">",
                td_string!(locale, reply_to),
                " #",
                &target,
                "</a></p>",
            ],
        );
    }
    if message.is_deleted() {
        put(out, &["<p class=\"note\">", td_string!(locale, message_deleted), "</p></li>\n"]);
        return;
    }
    put_files(&about.room.name, message, out);
    put(out, &["<p class=\"text\" dir=\"auto\">"]);
    for piece in split(text) {
        match piece {
            Piece::Plain(text) => escape(&text, out),
            Piece::Link { text, href } => {
                put(out, &["<a href=\""]);
                escape(&href, out);
                put(out, &["\" dir=\"ltr\" rel=\"noopener noreferrer nofollow ugc\">"]);
                escape(&text, out);
                put(out, &["</a>"]);
            }
        }
    }
    put(out, &["</p>"]);
    if let Some(state) = &message.state {
        put_state(locale, state, out);
    }
    put(out, &["</li>\n"]);
}

/// The files: their names, sizes, and where they are on the server. An export has no files.
fn put_files(room: &str, message: &Message, out: &mut String) {
    for file in message.attachments() {
        put(out, &["<p class=\"note\"><a href=\""]);
        escape(&path::file(room, file), out);
        put(out, &["\" rel=\"noopener noreferrer\"><bdi>"]);
        escape(&file.name, out);
        put(out, &["</bdi></a> (", &grouped(file.bytes), " B)</p>"]);
    }
}

/// The time of the last edit, who pinned it, and the reactions.
fn put_state(locale: Locale, state: &MessageState, out: &mut String) {
    if let Some(at) = state.edited_at {
        let time = Parts::of(at, Clock::Utc).full();
        put(out, &["<p class=\"note\">", td_string!(locale, edited), " <time datetime=\"", &rfc3339(at), "\">"]);
        put(out, &[&time, "</time></p>"]);
    }
    if let Some(pin) = &state.pinned {
        put(out, &["<p class=\"note\">", td_string!(locale, pinned_by), " <bdi>"]);
        escape(&pin.user.nickname, out);
        put(out, &["</bdi></p>"]);
    }
    if !state.reactions.is_empty() {
        put(out, &["<p class=\"note\">"]);
        for reaction in &state.reactions {
            escape(&reaction.emoji, out);
            put(out, &["\u{a0}", &reaction.count.to_string(), " "]);
        }
        put(out, &["</p>"]);
    }
}

pub(super) fn end(about: &About, count: u64, out: &mut String) {
    let locale = about.locale;
    if count == 0 {
        put(out, &["<p>", td_string!(locale, no_messages), "</p>\n"]);
    } else {
        put(out, &["</ol>\n</section>\n"]);
    }
    put(out, &["</main>\n<footer>\n<p>", td_string!(locale, export_end), " ", &count_text(locale, count), "</p>\n"]);
    put(out, &["</footer>\n</body>\n</html>\n"]);
}

fn count_text(locale: Locale, count: u64) -> String {
    match count {
        1 => td_string!(locale, export_count_one).to_owned(),
        _ => td_string!(locale, export_count_many, count = grouped(count)).to_string(),
    }
}

/// A number with commas between groups of three digits, as English and Korean write it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn put(out: &mut String, parts: &[&str]) {
    out.extend(parts.iter().copied());
}

/// Appends a text so that it is a text in an element and in a quoted attribute, and nothing else.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // A parser reads a carriage return as a line feed (HTML, 13.2.3.5).
            '\r' => out.push_str("&#13;"),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{MessageKey, Pin, RoomId, User, UserId};
    use crate::server::history::Extent;
    use crate::server::id::RoomRow;

    const DAY: u64 = 86_400_000;

    fn of(seq: u64, nickname: &str, text: &str, at: u64) -> Message {
        let user = User { id: UserId(nickname.len() as u64), nickname: nickname.into() };
        Message::of_text(RoomId(1), seq, MessageKey(seq.into()), user, text.into(), at)
    }

    fn written(messages: &[Message]) -> String {
        let room = RoomRow { id: RoomId(1), number: 1, name: "<r> & co".into() };
        let about = About {
            room,
            epoch: None,
            extent: Extent { floor: 1, head: messages.len() as u64 },
            at: 0,
            locale: Locale::en,
        };
        let mut out = String::new();
        begin(&about, &mut out);
        for (index, next) in messages.iter().enumerate() {
            message(&about, index.checked_sub(1).map(|before| &messages[before]), next, &mut out);
        }
        end(&about, messages.len() as u64, &mut out);
        out
    }

    #[test]
    fn messages_are_grouped_by_day_and_author() {
        let messages = [
            of(1, "Ann", "one", 0),
            of(2, "Ann", "two", 1_000),
            of(3, "Bob", "three", 2_000),
            of(4, "Bob", "four", DAY),
            // The clock of the server was set back.
            of(5, "Bob", "five", DAY - 1),
        ];
        let html = written(&messages);
        assert_eq!(html.matches("<section ").count(), 3);
        assert_eq!(html.matches("</section>").count(), 3);
        assert_eq!(html.matches("class=\"more\"").count(), 1);
        assert!(html.contains("<li id=\"m2\" class=\"more\">"));
        assert!(html.contains("<h2 id=\"day5\"><time datetime=\"1970-01-01\">1970-01-01</time></h2>"));
        assert!(html.contains("<title>&lt;r&gt; &amp; co · Noom</title>"));
        assert!(
            html.trim_end().ends_with("The file is complete. 5 messages</p>\n</footer>\n</body>\n</html>"),
            "{html}"
        );
    }

    #[test]
    fn changed_messages_are_written_as_they_are_now() {
        let ann = User { id: UserId(1), nickname: "<Ann>".into() };
        let pinned = Some(Pin { user: ann, at: 0 });
        let state = MessageState { rev: 1, edits: 1, edited_at: Some(0), pinned, ..MessageState::default() };
        let mut edited = of(1, "Ann", "mended", 0);
        edited.state = Some(Box::new(state.clone()));
        let mut deleted = of(2, "Ann", "", 0);
        deleted.state = Some(Box::new(MessageState { deleted_at: Some(1), ..state }));
        deleted.reply_to = Some(1);
        let html = written(&[edited, deleted]);
        assert!(html.contains("mended</p><p class=\"note\">(edited) <time"), "{html}");
        assert_eq!(html.matches("Pinned by <bdi>&lt;Ann&gt;</bdi>").count(), 1, "{html}");
        assert!(
            html.contains("<a href=\"#m1\">In reply to #1</a></p><p class=\"note\">This message was deleted.</p></li>")
        );
    }

    #[test]
    fn export_without_messages_is_a_whole_document() {
        let html = written(&[]);
        assert!(html.contains("No messages yet.") && html.contains("0 messages") && !html.contains("<ol>"));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    proptest! {
        #[test]
        fn text_of_a_stranger_is_never_markup(text in any::<String>(), nickname in any::<String>()) {
            let html = written(&[of(1, &nickname, &text, 0)]);
            let plain = written(&[of(1, "", "", 0)]);
            let tags = |html: &str| html.matches('<').count() - html.matches("<a href=\"").count() - html.matches("</a>").count();
            prop_assert_eq!(tags(&html), tags(&plain));
            for href in html.split("<a href=\"").skip(1) {
                let is_safe = ["http://", "https://", "mailto:"].iter().any(|scheme| href.to_ascii_lowercase().starts_with(scheme));
                prop_assert!(is_safe, "{}", href);
            }
        }
    }
}
