use proptest::prelude::*;

use super::*;

/// The pieces as text: links in guillemets, which no address contains.
fn marked(text: &str) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Plain(text) => text.clone(),
        Piece::Link { text, .. } => format!("«{text}»"),
    };
    scan(text, usize::MAX).pieces.iter().map(piece).collect()
}

fn hrefs(text: &str) -> Vec<String> {
    let href = |piece| match piece {
        Piece::Plain(_) => None,
        Piece::Link { href, .. } => Some(href),
    };
    scan(text, usize::MAX).pieces.into_iter().filter_map(href).collect()
}

#[test]
fn addresses_are_links_and_other_text_stays_plain() {
    for (text, links) in [
        ("hello", "hello"),
        ("", ""),
        ("see https://a.example/b?c=d#e.", "see «https://a.example/b?c=d#e»."),
        ("(http://a.example)", "(«http://a.example»)"),
        ("(http://a.example/b)", "(«http://a.example/b»)"),
        ("https://en.example/Noom_(room) yes", "«https://en.example/Noom_(room)» yes"),
        ("https://a.example/(b)", "«https://a.example/(b)»"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("javascript://%0aalert(1)", "javascript://%0aalert(1)"),
        ("xhttp://a.example", "xhttp://a.example"),
        ("https://", "https://"),
        ("https://...", "https://..."),
        ("<https://a.example>", "<«https://a.example»>"),
        ("'https://a.example/b'", "'«https://a.example/b»'"),
        ("https://a.example#top!", "«https://a.example#top»!"),
        ("https://a.example:8080/b, http://localhost:3000", "«https://a.example:8080/b», «http://localhost:3000»"),
        ("http://[::1]:3000/r/a http://127.0.0.1", "«http://[::1]:3000/r/a» «http://127.0.0.1»"),
        ("Https://a.example HTTP://A.EXAMPLE", "«Https://a.example» «HTTP://A.EXAMPLE»"),
        ("https://a.example https://b.example", "«https://a.example» «https://b.example»"),
        ("end.https://a.example", "end.«https://a.example»"),
        ("www.example.org, WWW.example.org/a.", "«www.example.org», «WWW.example.org/a»."),
        ("www. www.a wwww.example.org awww.example.org", "www. www.a wwww.example.org awww.example.org"),
        ("me@example.org, <me+tag@mail.example.org>.", "«me@example.org», <«me+tag@mail.example.org»>."),
        ("@me me@ a@b me@@example.org @me@social.example", "@me me@ a@b me@@example.org @me@social.example"),
        ("https://a.example/@me?to=me@example.org", "«https://a.example/@me?to=me@example.org»"),
        ("https://user:word@b.example https://user@b.example", "https://user:word@b.example https://user@b.example"),
        ("ssh://git@b.example/x", "ssh://git@b.example/x"),
        ("**https://a.example/b**은 ~~https://a.example/b~~", "**«https://a.example/b»**은 ~~«https://a.example/b»~~"),
        ("_https://a.example/b_c_ https://a.example/~b/*c", "_«https://a.example/b_c»_ «https://a.example/~b/*c»"),
    ] {
        assert_eq!(marked(text), links, "{text}");
    }
    assert_eq!(
        hrefs("www.example.org me@example.org HTTP://A.EXAMPLE"),
        ["https://www.example.org", "mailto:me@example.org", "HTTP://A.EXAMPLE"]
    );
}

#[test]
fn addresses_in_cjk_texts_are_exact() {
    for (text, links) in [
        ("（https://a.example）", "（«https://a.example»）"),
        ("「https://a.example」", "「«https://a.example»」"),
        ("https://a.example，다음", "«https://a.example»，다음"),
        ("https://a.example！", "«https://a.example»！"),
        ("https://a.example/b。次", "«https://a.example/b»。次"),
        ("문서https://a.example", "문서«https://a.example»"),
        ("가https://a.example에서", "가«https://a.example»에서"),
        ("https://a.example/docs에서", "«https://a.example/docs»에서"),
        ("https://a.example/docs를 보세요", "«https://a.example/docs»를 보세요"),
        ("https://a.example:3000에서", "«https://a.example:3000»에서"),
        ("https://ko.wikipedia.example/wiki/한국어", "«https://ko.wikipedia.example/wiki/한국어»"),
        ("https://ko.wikipedia.example/wiki/한국어?a=b", "«https://ko.wikipedia.example/wiki/한국어?a=b»"),
        ("https://한국어.한국/문서", "«https://한국어.한국/문서»"),
        ("문서www.example.org를", "문서«www.example.org»를"),
        ("메일은me@example.org로", "메일은«me@example.org»로"),
        ("在https://a.example/x，谢谢", "在«https://a.example/x»，谢谢"),
    ] {
        assert_eq!(marked(text), links, "{text}");
    }
}

#[test]
fn invisible_characters_are_never_in_a_link() {
    for (text, links) in [
        ("\u{200b}https://a.example\u{200b} b", "\u{200b}«https://a.example»\u{200b} b"),
        ("https://a\u{200b}b.example/c", "https://a\u{200b}b.example/c"),
        ("https://a.example/b\u{202e}gpj.exe", "https://a.example/b\u{202e}gpj.exe"),
        ("https://a.example\u{202e}moc", "«https://a.example»\u{202e}moc"),
        ("www.a\u{2066}b.example", "www.a\u{2066}b.example"),
    ] {
        assert_eq!(marked(text), links, "{text:?}");
    }
}

#[test]
fn links_are_limited() {
    let text = "www.a.example ".repeat(100);
    let Scan { pieces, .. } = scan(&text, 3);
    assert_eq!(pieces.iter().filter(|piece| matches!(piece, Piece::Link { .. })).count(), 3);
    let whole = |piece: &Piece| match piece {
        Piece::Plain(text) | Piece::Link { text, .. } => text.clone(),
    };
    assert_eq!(pieces.iter().map(whole).collect::<String>(), text);
    let glued = "https://a.example，".repeat(3);
    assert_eq!(scan(&glued, 2).pieces.iter().map(whole).collect::<String>(), glued);
}

const FRAGMENTS: &[&str] = &[
    "https://",
    "http://",
    "://",
    "www.",
    "a",
    "a.bc",
    "b.example",
    "@",
    ".",
    ",",
    ")",
    "(",
    "]",
    "[",
    "{",
    "'",
    "~",
    "-",
    "_",
    ":",
    ":80",
    "/",
    "?",
    "#",
    "!",
    " ",
    "<",
    "에서",
    "한",
    "，",
    "\u{200b}",
    "\u{202e}",
    "を",
    "漢",
    "é",
];

/// Scans a text of 4,000 characters that repeats a few fragments.
fn steps_per_character(fragments: &[&str]) -> usize {
    let unit = fragments.concat();
    let text: String = unit.chars().cycle().take(4_000).collect();
    scan(&text, usize::MAX).steps / text.chars().count()
}

#[test]
fn hostile_texts_are_scanned_in_linear_time() {
    for closing in [")", "]", "}", "!", "'", ".", "'("] {
        let text: String = "https://a".chars().chain(closing.chars().cycle().take(3_980)).collect();
        assert!(scan(&text, usize::MAX).steps <= 4 * text.len(), "{closing}");
    }
    for first in FRAGMENTS {
        for second in FRAGMENTS {
            let steps = steps_per_character(&[first, second]);
            assert!(steps <= 20, "{first:?} {second:?}: {steps}");
        }
    }
}

proptest! {
    #[test]
    fn scanning_keeps_the_text_and_is_linear(
        unit in proptest::collection::vec(proptest::sample::select(FRAGMENTS), 1..12),
        text in "\\PC{0,40}",
    ) {
        let steps = steps_per_character(&unit);
        prop_assert!(steps <= 20, "{unit:?}: {steps}");
        for text in [unit.concat(), text] {
            let whole = |piece: Piece| match piece {
                Piece::Plain(text) | Piece::Link { text, .. } => text,
            };
            let joined: String = scan(&text, 2).pieces.into_iter().map(whole).collect();
            prop_assert_eq!(&joined, &text);
        }
    }
}
