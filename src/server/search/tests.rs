use proptest::prelude::*;

use super::*;

fn query(text: &str) -> Query {
    Query::parse(text).unwrap()
}

fn finds(query_text: &str, text: &str) -> bool {
    let query = query(query_text);
    let found = query.find(text).is_some();
    assert!(!found || is_in_index(&query, text), "{query_text:?} is in {text:?}, but not in its tokens");
    found
}

/// Evaluates the expression of a query as the index does.
fn is_in_index(query: &Query, text: &str) -> bool {
    let tokens = tokens(text);
    let tokens: Vec<_> = tokens.split(' ').collect();
    query.expression().split(" AND ").all(|needed| match needed.strip_suffix('*') {
        Some(prefix) => tokens.iter().any(|token| token.starts_with(prefix.trim_matches('"'))),
        None => tokens.contains(&needed.trim_matches('"')),
    })
}

#[test]
fn words_are_found_whatever_their_case_accents_and_width() {
    for (query, text) in [
        ("garden", "In the GARDEN, at noon"),
        ("cafe", "Café crème"),
        ("CRÈME", "cafe creme"),
        ("cafe\u{301}", "Café"),
        ("strasse", "Große Straße"),
        ("smorrebrod", "Smørrebrød"),
        ("lodz", "Łódź"),
        ("istanbul", "İstanbul ve Iğdır"),
        ("οδος", "ΟΔΟΣ"),
        ("еж", "Ёж"),
        ("nguyen", "Nguyễn"),
        ("abc123", "ＡＢＣ１２３"),
        ("office", "o\u{fb03}ce"),
        ("wonderful", "wonder\u{ad}ful"),
        ("bar", "foo_bar"),
        ("example", "mail to a@example.org"),
        ("été", "l'été"),
        ("🎉", "It works 🎉🎉"),
        ("👍🏽", "ok👍🏽"),
        ("2026", "on 2026-11-30"),
    ] {
        assert!(finds(query, text), "{query:?} in {text:?}");
    }
}

#[test]
fn korean_japanese_and_chinese_are_found_inside_of_words() {
    for (query, text) in [
        ("회의", "내일 회의는 세 시에 합니다"),
        ("회의", "\u{1112}\u{116c}\u{110b}\u{1174}"),
        ("시에", "내일 세시에"),
        ("東京", "明日は東京都で会議です"),
        ("カメラ", "新しいｶﾒﾗです"),
        ("が", "これが"),
        ("会议", "明天的会议改到三点"),
        ("京", "東京"),
        ("東", "東京"),
        ("한", "한"),
        ("ㅋㅋ", "ㅋㅋㅋㅋ"),
        ("สวัสดี", "ครับสวัสดีครับ"),
        ("LINE앱", "새 line앱"),
        ("뉴스레터", "뉴스\u{ad}레터"),
    ] {
        assert!(finds(query, text), "{query:?} in {text:?}");
    }
    for (query, text) in [("회의", "회사 의자"), ("회의", "회 의"), ("か", "が"), ("東京", "京東"), ("ab", "abc")]
    {
        assert!(!finds(query, text), "{query:?} in {text:?}");
    }
}

#[test]
fn all_terms_are_found_and_phrases_stay_together() {
    let text = "The quick brown fox jumps over the lazy dog";
    for (query, expected) in [
        ("dog quick", true),
        ("dog cat", false),
        ("quick bro", true),
        ("bro quick", false),
        ("bro ", false),
        ("qu", false),
        ("\"quick brown\"", true),
        ("\"brown quick\"", false),
        ("\"quick bro\"", false),
        ("\"quick brown", true),
        ("quick-brown", true),
        ("fox \"lazy dog\" jum", true),
        ("NEAR(fox, dog)", false),
        ("fox* OR dog", false),
        ("fox AND", false),
    ] {
        assert_eq!(finds(query, text), expected, "{query:?}");
    }
}

#[test]
fn query_without_letters_or_of_too_many_characters_is_refused() {
    for text in ["", "  \n", "\"\"", "* ^ - + ( ) : { }", "\0\u{1b}", "\u{200b}", "…!?", "\u{301}"] {
        assert_eq!(Query::parse(text), Err(ErrorCode::TextEmpty), "{text:?}");
    }
    assert_eq!(Query::parse(&"가".repeat(MAX_SEARCH_CHARS + 1)), Err(ErrorCode::TextTooLong));
    assert!(Query::parse(&"가".repeat(MAX_SEARCH_CHARS)).is_ok());
}

#[test]
fn marks_are_in_code_points_in_order_and_apart() {
    let marks = |query_text: &str, text: &str| -> Vec<_> {
        query(query_text).find(text).unwrap().into_iter().map(|mark| (mark.start, mark.end)).collect()
    };
    assert_eq!(marks("cafe", "😀 Cafe\u{301}! café"), [(2, 7), (9, 13)]);
    assert_eq!(marks("회의", "회의회의와 회의"), [(0, 4), (6, 8)]);
    assert_eq!(marks("b a", "a b"), [(0, 1), (2, 3)]);
    assert_eq!(marks("gard", "gardens"), [(0, 7)]);
    assert_eq!(marks("가", &"가 ".repeat(2_000)).len(), MAX_MARKS);
}

#[test]
fn words_of_any_length_are_found_as_a_whole_and_by_their_beginning() {
    let word = "0123456789abcdef".repeat(100);
    assert!(finds(&word[..90], &word));
    assert!(!finds(&format!("{}x", &word[..90]), &word));
    assert!(tokens(&word).split(' ').all(|token| token.len() <= 32));
}

#[test]
fn word_with_the_vowel_am_of_thai_or_lao_is_found_by_its_folded_form() {
    for text in ["aຳ", "aำb", "1\u{eb3}\u{eb3}"] {
        let words: Vec<_> = atoms(text).into_iter().map(|atom| atom.text).collect();
        assert!(words.iter().all(|word| finds(&format!("{word} "), text)), "{words:?} in {text:?}");
        assert!(finds(text, text));
    }
    assert!(finds("น้ำ", "ดื่มน้ำ") && finds("ນ້ຳ", "ດື່ມນ້ຳ"), "words of these scripts");
}

#[test]
fn many_rooms_are_searched_with_what_the_index_finds_at_once() {
    let expression = |text: &str| Query::parse(text).unwrap().expression_for_many_rooms();
    assert_eq!(expression("green app"), "\"app\"* AND \"green\"");
    assert_eq!(expression("international"), "\"inter\"*", "the index has no list of longer beginnings");
    assert_eq!(expression("international "), "\"international\"");
    assert_eq!(expression("회의"), "\"회의\"");
    assert_eq!((expression("회"), expression("회 noon ")), (String::new(), "\"noon\"".to_owned()));
}

#[test]
fn hostile_texts_take_linear_time_and_give_bounded_tokens() {
    let marks = format!("a{}", "\u{301}".repeat(3_999));
    let voiced = format!("か{}", "\u{3099}".repeat(3_999));
    let ligatures = "\u{fdfa}".repeat(4_000);
    let families = "👩\u{200d}".repeat(2_000);
    let jamo = "\u{1100}".repeat(4_000);
    for text in [marks, voiced, ligatures, families, jamo, "가".repeat(4_000), "a ".repeat(2_000)] {
        let tokens = tokens(&text);
        assert!(tokens.len() <= text.len() * 14, "{} bytes of tokens for {}", tokens.len(), text.len());
        assert!(tokens.split(' ').all(|token| token.chars().count() <= 32 * 32));
        assert!(query("가").find(&text).is_some() == text.starts_with('가'));
        let longest: String = text.chars().take(MAX_SEARCH_CHARS).collect();
        let _ = Query::parse(&longest).map(|query| query.find(&text));
    }
}

/// Texts of several scripts, with what separates and changes words.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-ZÀ-ſ0-9 .,'_-]{0,40}",
        "[가-힣ㄱ-ㅎa-z ]{0,30}",
        "[一-龥ぁ-んァ-ンー々 。]{0,30}",
        any::<String>()
    ]
}

proptest! {
    #[test]
    fn every_part_of_a_run_of_cjk_is_found(text in "[가-힣一-龥ぁ-んァ-ン]{2,30}", start in 0usize..29, length in 1usize..30) {
        let chars: Vec<char> = text.chars().collect();
        let start = start.min(chars.len() - 1);
        let part: String = chars[start..].iter().take(length).collect();
        prop_assert!(finds(&part, &text), "{part:?} in {text:?}");
        let inside = format!("앞{text}뒤");
        prop_assert!(finds(&part, &inside));
    }

    #[test]
    fn every_text_finds_itself_and_its_folded_form(text in any_text()) {
        let short: String = text.chars().take(MAX_SEARCH_CHARS).collect();
        if let Ok(query) = Query::parse(&format!("\"{}\"", short.replace('"', " "))) {
            prop_assert!(query.find(&short.replace('"', " ")).is_some());
        }
        for atom in atoms(&text).iter().filter(|atom| atom.kind == Kind::Word) {
            let word = format!("{} ", atom.text);
            prop_assert!(atom.text.chars().count() >= MAX_SEARCH_CHARS || finds(&word, &text));
        }
    }

    #[test]
    fn folding_is_idempotent(text in "[a-zA-ZÀ-ſͰ-ϿЀ-ӿ가-힣一-龥ぁ-んァ-ン0-9 ]{0,40}") {
        let once = atoms(&text);
        let folded = once.iter().map(|atom| format!("{}{}", if atom.is_joined { "" } else { " " }, atom.text)).collect::<String>();
        let twice: Vec<_> = atoms(&folded).into_iter().map(|atom| atom.text).collect();
        prop_assert_eq!(once.into_iter().map(|atom| atom.text).collect::<Vec<_>>(), twice);
    }

    #[test]
    fn what_is_found_is_in_the_index_and_marked_inside_of_the_text(query_text in any_text(), text in any_text()) {
        let short: String = query_text.chars().take(MAX_SEARCH_CHARS).collect();
        for text in [text.clone(), format!("{text} {query_text}")] {
            let Ok(query) = Query::parse(&short) else { continue };
            let Some(marks) = query.find(&text) else { continue };
            prop_assert!(is_in_index(&query, &text));
            let mut end = 0;
            for (index, mark) in marks.iter().enumerate() {
                prop_assert!(mark.start < mark.end && (index == 0 || mark.start > end));
                end = mark.end;
            }
            prop_assert!(end as usize <= text.chars().count());
        }
    }

    #[test]
    fn tokens_survive_the_tokenizer_of_the_index(text in any_text()) {
        // It takes every ASCII character but letters and digits for a separator.
        for token in tokens(&text).split(' ').filter(|token| !token.is_empty()) {
            prop_assert!(token.chars().all(|c| !c.is_ascii() || c.is_ascii_lowercase() || c.is_ascii_digit()), "{token:?}");
        }
    }
}
