//! The part of a message's text that a result shows. Pure.

use crate::protocol::Mark;

/// The characters before the first mark.
const BEFORE: usize = 40;
/// The most characters in all.
const MAX_CHARS: usize = 200;

/// A piece of an excerpt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Plain(String),
    Marked(String),
}

/// The text around the first mark, on one line.
pub(super) fn excerpt(text: &str, marks: &[Mark]) -> Vec<Piece> {
    let first = marks.first().map_or(0, |mark| mark.start as usize);
    let start = first.saturating_sub(BEFORE);
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut was_marked = false;
    if start > 0 {
        piece.push('…');
    }
    let mut marks = marks.iter().peekable();
    for (index, c) in text.chars().enumerate().skip(start) {
        while marks.next_if(|mark| mark.end as usize <= index).is_some() {}
        let is_marked = marks.peek().is_some_and(|mark| mark.start as usize <= index);
        if is_marked != was_marked {
            push(&mut pieces, &mut piece, was_marked);
            was_marked = is_marked;
        }
        if index >= start + MAX_CHARS {
            push(&mut pieces, &mut piece, was_marked);
            was_marked = false;
            piece.push('…');
            break;
        }
        if !c.is_whitespace() {
            piece.push(c);
        } else if !piece.ends_with(' ') {
            piece.push(' ');
        }
    }
    push(&mut pieces, &mut piece, was_marked);
    pieces
}

fn push(pieces: &mut Vec<Piece>, piece: &mut String, is_marked: bool) {
    if !piece.is_empty() {
        let text = std::mem::take(piece);
        pieces.push(if is_marked { Piece::Marked(text) } else { Piece::Plain(text) });
    }
}

#[cfg(test)]
mod tests {
    use super::Piece::{Marked, Plain};
    use super::*;

    #[test]
    fn excerpt_begins_before_the_first_mark_and_is_one_line() {
        let text = format!("{}one\n\ntwo 가나", "x".repeat(100));
        let marks = [Mark { start: 105, end: 108 }, Mark { start: 109, end: 111 }];
        let before = format!("…{}one ", "x".repeat(35));
        let expected = [Plain(before), Marked("two".into()), Plain(" ".into()), Marked("가나".into())];
        assert_eq!(excerpt(&text, &marks), expected);
    }

    #[test]
    fn excerpt_of_a_long_text_is_bounded() {
        let text = "가".repeat(4_000);
        let pieces = excerpt(&text, &[Mark { start: 0, end: 4_000 }]);
        assert_eq!(pieces, [Marked("가".repeat(MAX_CHARS)), Plain("…".into())]);
        assert_eq!(excerpt("", &[Mark { start: 5, end: 9 }]), []);
    }
}
