use proptest::prelude::*;

use super::*;

/// A text as elements in the manner of HTML, with one character for each kind.
fn marked(text: &str) -> String {
    let events = Parser::run(text).events;
    let mut marked = String::new();
    let mut open = Vec::new();
    for event in events {
        match event {
            Event::Start(element) => {
                let (start, end) = match element {
                    Element::Paragraph => ("¶", "¶"),
                    Element::CodeBlock => ("{", "}"),
                    Element::Quote => ("❝", "❞"),
                    Element::BulletList => ("⟦", "⟧"),
                    Element::NumberedList => ("⟪", "⟫"),
                    Element::Item => ("", ";"),
                    Element::Strong => ("<b>", "</b>"),
                    Element::Emphasis => ("<i>", "</i>"),
                    Element::Strikethrough => ("<s>", "</s>"),
                };
                marked.push_str(start);
                open.push(end);
            }
            Event::End => marked.push_str(open.pop().unwrap()),
            Event::Text(range) => marked.push_str(&text[range]),
            Event::Code(range) => marked.push_str(&format!("‹{}›", &text[range])),
            Event::Link(range, _) => marked.push_str(&format!("«{}»", &text[range])),
            Event::Language(range) => marked.push_str(&format!("{}|", &text[range])),
            Event::Marker(range) => marked.push_str(&format!("{} ", &text[range])),
        }
    }
    assert!(open.is_empty());
    let inside = marked.strip_prefix('¶').and_then(|inside| inside.strip_suffix('¶'));
    inside.filter(|inside| !inside.contains('¶')).map_or(marked.clone(), ToOwned::to_owned)
}

fn check(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        assert_eq!(marked(text), *expected, "{text:?}");
    }
}

#[test]
fn emphasis_and_code_are_marked() {
    check(&[
        ("**bold** *italic* _italic_ ~~gone~~ `code`", "<b>bold</b> <i>italic</i> <i>italic</i> <s>gone</s> ‹code›"),
        ("a **b *c* d** e", "a <b>b <i>c</i> d</b> e"),
        ("***both***", "<i><b>both</b></i>"),
        ("***a* b**", "<b><i>a</i> b</b>"),
        ("***a** b*", "<i><b>a</b> b</i>"),
        ("**a *b***", "<b>a <i>b</i></b>"),
        ("*a **b***", "<i>a <b>b</b></i>"),
        ("_**a**_ **_a_** ~~**a**~~", "<i><b>a</b></i> <b><i>a</i></b> <s><b>a</b></s>"),
        ("**a ~~b** c~~", "<b>a ~~b</b> c~~"),
        ("**a\nb** c", "<b>a\nb</b> c"),
        ("**a**, (*b*) \"_c_\" *d*! *e*'s", "<b>a</b>, (<i>b</i>) \"<i>c</i>\" <i>d</i>! <i>e</i>'s"),
        ("**I**nternet **R**elay", "<b>I</b>nternet <b>R</b>elay"),
        ("**yes**/**no** **!** **Note:** text", "<b>yes</b>/<b>no</b> <b>!</b> <b>Note:</b> text"),
        ("*a *b* c", "*a <i>b</i> c"),
        ("`a` b `` c ` d `` ` `", "‹a› b ‹c ` d› ` `"),
        ("`**a**` **`a`**", "‹**a**› <b>‹a›</b>"),
        ("`a\nb`", "`a\nb`"),
        ("`\\` C:\\`a`", "‹\\› C:\\`a`"),
    ]);
}

#[test]
fn emphasis_ends_beside_letters_and_punctuation_of_cjk_texts() {
    check(&[
        ("**굵게**은", "<b>굵게</b>은"),
        ("**\"강조\"**은 **(주)**는", "<b>\"강조\"</b>은 <b>(주)</b>는"),
        ("그는**\"강조\"**라고", "그는<b>\"강조\"</b>라고"),
        ("이것은**중요**합니다", "이것은<b>중요</b>합니다"),
        ("Rust**언어**는 **Rust**는 **Rust**3", "Rust<b>언어</b>는 <b>Rust</b>는 <b>Rust</b>3"),
        ("*기울임*체 _기울임_체 _강조_는", "<i>기울임</i>체 <i>기울임</i>체 <i>강조</i>는"),
        ("~~취소~~했어요", "<s>취소</s>했어요"),
        ("これは**「強調」**です。", "これは<b>「強調」</b>です。"),
        ("「*強調*」、*強調*。", "「<i>強調</i>」、<i>強調</i>。"),
        ("这是**重点。**内容", "这是<b>重点。</b>内容"),
        ("`코드`를 `함수()`는", "‹코드›를 ‹함수()›는"),
        ("제목:**내용** -**제목**: 내용", "제목:<b>내용</b> -<b>제목</b>: 내용"),
    ]);
}

#[test]
fn signs_that_are_no_markup_stay_as_typed() {
    for text in [
        "2 * 3 * 4",
        "5*6*7",
        "2**3**4",
        "가로*세로*높이",
        "*",
        "**",
        "***",
        "****",
        "* *",
        "** **",
        "a * b *",
        "_",
        "__",
        "~~",
        "`",
        "``",
        "```",
        "` `",
        "**\u{200b}**",
        "¯\\_(ツ)_/¯",
        ":-* :* ;* hi :*",
        "*_* hi *_*",
        "(*_*) hi (*_*)",
        ">_< ㅋㅋ >_<",
        "-_- a -_-",
        "^_^ a ^_^",
        "ㅠ_ㅠ 안녕 ㅠ_ㅠ T_T",
        "C:\\*.txt and D:\\*.txt",
        "*.rs *.toml",
        "rm *.o lib*.a",
        "src/*.rs tests/*.rs src/**/*.rs **/*.md",
        "*/5 * * * *",
        "/* comment */ /** comment */",
        "char *p, *q; x = *p * *q",
        "f(*args, **kwargs) g(*args, **kwargs)",
        "count(*), sum(*)",
        ".*foo.*",
        "snake_case_name __init__ _private my_var",
        "파일_이름_목록",
        "네~~ 알겠습니다~~",
        "네~~알겠어요~~",
        "3~5명, 2~3일",
        "\\*a\\* \\**b\\**",
        "**a",
        "a**",
        "**a\n\nb**",
        "# heading",
        "a | b\n--- | ---",
        "---",
        "- - -",
        "* * *",
        "-",
        "- ",
        "-a",
        "1.5 apples",
        "2026. 11. 25.",
        "<b>bold</b> &amp; <!-- a -->",
        "![a](b.png)",
        "[a]: b",
        "    four spaces",
        "line\\\nline  \nline",
        ">",
        "> ",
        ">a",
        ">>",
        "> >",
        ">.< >:(",
        "```\n```",
        "```\na",
        "``` a",
        "~~~\na\n~~~",
        "",
        "\n\n",
        "😀",
    ] {
        assert_eq!(marked(text), text, "{text:?}");
        assert_eq!(parse(text), None, "{text:?}");
    }
}

#[test]
fn links_are_found_beside_markup_and_not_in_code() {
    check(&[
        ("**https://a.example/b_c_d** e", "<b>«https://a.example/b_c_d»</b> e"),
        ("**https://a.example/b**은", "<b>«https://a.example/b»</b>은"),
        ("_https://a.example/b_ *www.a.example*", "<i>«https://a.example/b»</i> <i>«www.a.example»</i>"),
        ("*a https://a.example/*b* c*", "<i>a «https://a.example/*b»</i> c*"),
        ("https://a.example/_b_ https://a.example/*c*", "«https://a.example/_b»_ «https://a.example/*c»*"),
        ("`https://a.example` https://a.example/`b`", "‹https://a.example› «https://a.example/»‹b›"),
        ("```\nhttps://a.example\n```", "{https://a.example}"),
        ("[a](https://a.example)", "[a](«https://a.example»)"),
        ("> https://a.example\n- https://a.example", "❝¶«https://a.example»¶❞⟦- «https://a.example»;⟧"),
    ]);
}

#[test]
fn code_blocks_keep_their_text() {
    check(&[
        ("```\na\n```", "{a}"),
        ("```rust\nfn a() {}\n\n  *b*\n```", "{rust|fn a() {}\n\n  *b*}"),
        ("before\n```\na\n```\nafter", "¶before¶{a}¶after¶"),
        ("before\n\n\n```\na\n```\n\nafter", "¶before¶{a}¶after¶"),
        ("```let a = 1;\nb```", "{let a = 1;\nb}"),
        ("````\n```\na\n```\n````", "{```\na\n```}"),
        ("  ```\n    a\n b\n  ```", "{  a\nb}"),
        ("```js\n\n```\na", "```js\n\n```\na"),
        ("```a``` b", "‹a› b"),
        ("```\n> a\n- b\n```", "{> a\n- b}"),
        ("> ```\n> a\n>  b\n> ```\n> c", "❝{a\n b}¶c¶❞"),
        ("> ```\na\n```", "❝¶```¶❞¶a\n```¶"),
        ("```\r\na\r\n```", "{a\r}"),
    ]);
}

#[test]
fn quotes_are_nested_in_lines_with_markers() {
    check(&[
        ("> a", "❝¶a¶❞"),
        ("> a\n> b\nc", "❝¶a\nb¶❞¶c¶"),
        ("a\n> b", "¶a¶❝¶b¶❞"),
        ("> a\n>\n> b", "❝¶a\n\nb¶❞"),
        ("> a\n>> b\n> c", "❝¶a¶❝¶b¶❞¶c¶❞"),
        ("> > > > a", "❝❝❝¶> a¶❞❞❞"),
        (">>> print(1)", "❝❝❝¶print(1)¶❞❞❞"),
        ("> **a\n> b**", "❝¶<b>a\nb</b>¶❞"),
        ("> **a\nb**", "❝¶**a¶❞¶b**¶"),
        ("> - a\n> - b", "❝⟦- a;- b;⟧❞"),
        (">\n> a", "❝¶a¶❞"),
    ]);
}

#[test]
fn lists_have_two_levels_and_keep_numbers() {
    check(&[
        ("- a\n- b", "⟦- a;- b;⟧"),
        ("a\n* b\n* c\nd", "¶a¶⟦* b;* c;⟧¶d¶"),
        ("• a", "⟦• a;⟧"),
        ("3. a\n7. b\n007. c", "⟪3. a;7. b;007. c;⟫"),
        ("- a\n  - b\n  - c\n- d", "⟦- a⟦- b;- c;⟧;- d;⟧"),
        ("1. a\n   - b\n   1. c\n2. d", "⟪1. a⟦- b;⟧⟪1. c;⟫;2. d;⟫"),
        ("- a\n\t- b\n\t\t- c", "⟦- a⟦- b;- c;⟧;⟧"),
        ("- a\n1. b", "⟦- a;⟧⟪1. b;⟫"),
        ("- a\n  more\n- b", "⟦- a\nmore;- b;⟧"),
        ("- a\n\n- b", "⟦- a;⟧⟦- b;⟧"),
        ("- **a**: `b`", "⟦- <b>a</b>: ‹b›;⟧"),
        ("1. a\n   ```\n   b\n   ```\n2. c", "⟪1. a;⟫{b}⟪2. c;⟫"),
        ("1. 안녕\n2. **하세**요", "⟪1. 안녕;2. <b>하세</b>요;⟫"),
    ]);
}

#[test]
fn elements_and_depth_are_limited() {
    let count = |text: &str| {
        let events = Parser::run(text).events;
        let is_element = |event: &&Event| match event {
            Event::Start(element) => *element != Element::Paragraph,
            Event::Code(_) => true,
            Event::End | Event::Text(_) | Event::Link(..) | Event::Language(_) | Event::Marker(_) => false,
        };
        events.iter().filter(is_element).count()
    };
    for unit in
        ["**a** ", "`a` ", "> a\n\n", "- a\n", "- a\n  - b\n", "```\na\n```\n", "*a ~~_**b**_~~* ", "> - *a*\n\n"]
    {
        let text = unit.repeat(4_000 / unit.len());
        let count = count(&text);
        assert!((MAX_ELEMENTS - 2..=MAX_ELEMENTS).contains(&count), "{unit:?}: {count}");
        check_properties(&text);
    }
}

#[test]
fn blocks_after_the_last_element_are_text() {
    for count in MAX_ELEMENTS - 4..=MAX_ELEMENTS {
        for block in ["- a\n  - b\n- c", "> - *a*\n> b", "```\na\n```\n- b", "1. a\n- b\n> c"] {
            check_properties(&format!("{}\n{block}", "*a* ".repeat(count)));
        }
    }
}

/// Nothing but markers is left out, the tree is well formed, and its depth is bounded. Returns the steps.
fn check_properties(text: &str) -> usize {
    let parser = Parser::run(text);
    let is_marker = |c: char| "*_~`>".contains(c) || !is_visible(c);
    let (mut done, mut open) = (0, Vec::new());
    let mut seen = |range: &Range<usize>| {
        assert!(range.start >= done && range.end <= text.len(), "{text:?}: in order");
        assert!(text[done..range.start].chars().all(is_marker), "{text:?}: {:?} vanished", &text[done..range.start]);
        done = range.end;
    };
    for event in &parser.events {
        match event {
            Event::Start(element) => open.push(*element),
            Event::End => assert!(open.pop().is_some(), "{text:?}"),
            Event::Text(range) | Event::Code(range) | Event::Language(range) | Event::Marker(range) => seen(range),
            Event::Link(range, href) => {
                assert!(href.ends_with(&text[range.clone()]), "{text:?}");
                assert!(!open.contains(&Element::CodeBlock), "{text:?}");
                seen(range);
            }
        }
        assert!(open.len() <= MAX_QUOTES + 9, "{text:?}");
    }
    assert!(open.is_empty(), "{text:?}");
    seen(&(text.len()..text.len()));
    let shows = |event: &Event| match event {
        Event::Text(range) | Event::Code(range) | Event::Link(range, _) => !is_blank(&text[range.clone()]),
        Event::Start(_) | Event::End | Event::Language(_) | Event::Marker(_) => false,
    };
    assert!(is_blank(text) || parser.events.iter().any(shows), "{text:?} shows nothing");
    parser.steps
}

const FRAGMENTS: &[&str] = &[
    "*",
    "**",
    "***",
    "_",
    "~",
    "~~",
    "`",
    "``",
    "```",
    "````",
    "> ",
    ">",
    "- ",
    "* ",
    "1. ",
    "• ",
    "  ",
    "\t",
    "\n",
    "\n\n",
    "\r\n",
    "a",
    "7",
    "가",
    "漢",
    "é",
    "「",
    "。",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "\\",
    "/",
    ".",
    ":",
    "!",
    " ",
    "😀",
    "\u{200b}",
    "https://a.example/b",
    "www.a.bc",
    "@",
    "```\n",
    "\n```\n",
];

/// Parses a text of 4,000 characters that repeats a few fragments.
fn steps_per_character(fragments: &[&str]) -> usize {
    let unit = fragments.concat();
    let text: String = unit.chars().cycle().take(4_000).collect();
    check_properties(&text) / text.len()
}

#[test]
fn hostile_texts_are_parsed_in_linear_time() {
    for first in FRAGMENTS {
        for second in FRAGMENTS {
            let steps = steps_per_character(&[first, second]);
            assert!(steps <= 25, "{first:?} {second:?}: {steps}");
        }
    }
    let growing = |unit: &str, between: &str| -> String {
        let text: String = (1..).map(|length| unit.repeat(length) + between).take(100).collect();
        text.chars().take(4_000).collect()
    };
    for text in
        [growing("`", " a "), growing("`", "\n"), growing(">", "\n"), growing("> ", "\n"), growing(" ", "- a\n")]
    {
        let steps = check_properties(&text) / text.len();
        assert!(steps <= 25, "{}: {steps}", &text[..20]);
    }
}

proptest! {
    #[test]
    fn parsing_hides_only_markers_and_is_linear(
        unit in proptest::collection::vec(proptest::sample::select(FRAGMENTS), 1..14),
        text in "\\PC{0,40}",
    ) {
        let steps = steps_per_character(&unit);
        prop_assert!(steps <= 25, "{unit:?}: {steps}");
        check_properties(&unit.concat());
        check_properties(&text);
        check_properties(&format!("{}{text}{}", unit.concat(), unit.concat()));
    }
}
