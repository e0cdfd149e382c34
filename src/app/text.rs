//! Words for what went wrong, and links in what people write.

use leptos_i18n::td_string;

use super::locale::Language;
use crate::protocol::ErrorCode;

/// What a person reads when something was refused.
pub(super) fn refusal(i18n: Language, code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotInRoom => td_string!(i18n.get(), error_not_in_room),
        ErrorCode::TextEmpty => td_string!(i18n.get(), error_text_empty),
        ErrorCode::TextTooLong => td_string!(i18n.get(), error_text_too_long),
        ErrorCode::TextInvalid => td_string!(i18n.get(), error_text_invalid),
        ErrorCode::KeyInvalid | ErrorCode::KeyConflict => td_string!(i18n.get(), error_key),
        ErrorCode::NickEmpty => td_string!(i18n.get(), error_nick_empty),
        ErrorCode::NickTooLong => td_string!(i18n.get(), error_nick_too_long),
        ErrorCode::NickTaken => td_string!(i18n.get(), error_nick_taken),
        ErrorCode::NickReserved => td_string!(i18n.get(), error_nick_reserved),
        ErrorCode::NickConfusable => td_string!(i18n.get(), error_nick_confusable),
        ErrorCode::NickBidi | ErrorCode::NickControl | ErrorCode::NickCombining | ErrorCode::NickInvalid => {
            td_string!(i18n.get(), error_nick_invalid)
        }
        ErrorCode::RoomNameInvalid => td_string!(i18n.get(), error_room_name),
        ErrorCode::RoomQuota => td_string!(i18n.get(), error_room_quota),
        ErrorCode::RateLimited => td_string!(i18n.get(), error_rate),
        ErrorCode::NotInCall | ErrorCode::BadCallState | ErrorCode::SdpTooLarge | ErrorCode::SdpInvalid => {
            td_string!(i18n.get(), error_call)
        }
        ErrorCode::CallFull => td_string!(i18n.get(), call_full),
        ErrorCode::StoreUnavailable => td_string!(i18n.get(), error_store),
        _ => td_string!(i18n.get(), error_other),
    }
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text as it is.
    Plain(String),
    /// An address to link to.
    Link(String),
}

/// Finds the web addresses in a text. Punctuation that ends a sentence is not part of one, and
/// neither is a bracket that opens before it.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = find_address(rest) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')).unwrap_or(from.len());
        let address = trim_address(&from[..end]);
        plain.push_str(before);
        if address.ends_with("://") {
            plain.push_str(address);
        } else {
            if !plain.is_empty() {
                pieces.push(Piece::Plain(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Link(address.to_owned()));
        }
        rest = &from[address.len()..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    pieces
}

fn find_address(text: &str) -> Option<usize> {
    let starts_word = |at: usize| !text[..at].ends_with(char::is_alphanumeric);
    let schemes = ["https://", "http://"];
    schemes.iter().filter_map(|scheme| text.match_indices(scheme).map(|(at, _)| at).find(|at| starts_word(*at))).min()
}

fn trim_address(mut address: &str) -> &str {
    loop {
        let shorter = match address.chars().last() {
            Some('.' | ',' | ';' | ':' | '!' | '?' | '\'' | '…' | '。' | '、') => true,
            Some(')') => address.matches(')').count() > address.matches('(').count(),
            Some(']') => address.matches(']').count() > address.matches('[').count(),
            _ => false,
        };
        match address.char_indices().next_back().filter(|_| shorter && !address.ends_with("://")) {
            Some((end, _)) => address = &address[..end],
            None => return address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_links_and_nothing_else_does() {
        let plain = |text: &str| Piece::Plain(text.into());
        let link = |text: &str| Piece::Link(text.into());
        let cases = [
            ("hello", vec![plain("hello")]),
            ("", vec![]),
            ("see https://a.example/b?c=d#e.", vec![plain("see "), link("https://a.example/b?c=d#e"), plain(".")]),
            ("(http://a.example)", vec![plain("("), link("http://a.example"), plain(")")]),
            ("https://en.example/Noom_(room) yes", vec![link("https://en.example/Noom_(room)"), plain(" yes")]),
            ("javascript:alert(1)", vec![plain("javascript:alert(1)")]),
            ("xhttp://a.example", vec![plain("xhttp://a.example")]),
            ("https://", vec![plain("https://")]),
            ("https://...", vec![plain("https://...")]),
            ("<https://a.example>", vec![plain("<"), link("https://a.example"), plain(">")]),
            ("가https://a.example", vec![plain("가https://a.example")]),
            (
                "https://a.example https://b.example",
                vec![link("https://a.example"), plain(" "), link("https://b.example")],
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(pieces(text), expected, "{text}");
        }
    }
}
