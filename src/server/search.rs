//! The search in messages: what finds which text. Pure, so that every store finds the same.
//!
//! A text is divided into atoms ([`mod@atoms`]). A query consists of terms, which are separated by spaces or enclosed in
//! quotation marks. A term is found where its atoms follow one another, and all terms have to be found. The last word
//! also finds words that begin with it.
//!
//! The index holds [`tokens`]: words, and pairs of characters of scripts without spaces. A query's
//! [expression](Query::expression) finds every message that matches, and some that do not: [`Query::find`] decides.

mod atoms;

use std::collections::BTreeSet;
use std::fmt::Write;

use atoms::{Atom, Kind, atoms};

use crate::protocol::{ErrorCode, MAX_SEARCH_CHARS, Mark};

/// Changes when [`tokens`] returns something else for the same text. The index is built again then.
pub const TOKENS_VERSION: i64 = 2;
/// The fewest characters of a word that finds longer words.
const MIN_PREFIX_CHARS: usize = 3;
/// The longest beginnings of words for which the index has lists of messages.
const MAX_PREFIX_CHARS: usize = 5;
/// The most tokens in an expression. The others are checked in the text.
const MAX_TOKENS: usize = 16;
/// The most marks in a message.
const MAX_MARKS: usize = 20;

/// A query that can find something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    terms: Vec<Term>,
}

/// Atoms that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// At least one.
    atoms: Vec<Atom>,
    /// The last atom is the beginning of a word.
    is_prefix: bool,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// `TEXT_TOO_LONG` (above [`MAX_SEARCH_CHARS`]), `TEXT_EMPTY` (neither a letter nor a digit nor an emoji).
    pub fn parse(text: &str) -> Result<Self, ErrorCode> {
        if text.chars().nth(MAX_SEARCH_CHARS).is_some() {
            return Err(ErrorCode::TextTooLong);
        }
        let mut terms: Vec<Term> = Vec::new();
        // What follows an odd quotation mark is a phrase, closed or not.
        for (index, part) in text.split('"').enumerate() {
            let is_phrase = index % 2 == 1;
            let words = if is_phrase { vec![part] } else { part.split_whitespace().collect() };
            for word in words {
                let mut term = Term { atoms: atoms(word), is_prefix: false };
                // A word is complete once something follows it.
                term.is_prefix = !is_phrase && part.ends_with(word) && term.ends_in_long_word();
                if !term.atoms.is_empty() {
                    terms.push(term);
                }
            }
        }
        let last = terms.len().checked_sub(1).ok_or(ErrorCode::TextEmpty)?;
        terms[..last].iter_mut().for_each(|term| term.is_prefix = false);
        Ok(Self { terms })
    }

    /// The expression that finds the texts in an index of their [`tokens`], in the language of SQLite's FTS5.
    pub fn expression(&self) -> String {
        let mut needed = BTreeSet::new();
        for term in &self.terms {
            term.needed(&mut needed);
        }
        Self::all_of(&needed)
    }

    /// The same for a search in many rooms: only with what the index finds at once in each room. That are whole tokens, and
    /// beginnings of the lengths for which it has lists. Empty if the query has neither.
    pub fn expression_for_many_rooms(&self) -> String {
        let mut needed = BTreeSet::new();
        for term in &self.terms {
            term.needed(&mut needed);
        }
        let quick = needed.into_iter().filter_map(|(token, is_prefix)| match token.chars().count() {
            _ if !is_prefix => Some((token, false)),
            chars if chars < MIN_PREFIX_CHARS => None,
            _ => Some((token.chars().take(MAX_PREFIX_CHARS).collect(), true)),
        });
        Self::all_of(&quick.collect())
    }

    fn all_of(tokens: &BTreeSet<(String, bool)>) -> String {
        let mut expression = String::new();
        for (token, is_prefix) in tokens.iter().take(MAX_TOKENS) {
            let and = if expression.is_empty() { "" } else { " AND " };
            // Tokens consist of letters, digits and emoji, so that nothing has to be escaped.
            let _ = write!(expression, "{and}\"{token}\"{}", if *is_prefix { "*" } else { "" });
        }
        expression
    }

    /// The places where the terms are found in a text, in order. `None` unless all are found.
    pub fn find(&self, text: &str) -> Option<Vec<Mark>> {
        let atoms = atoms(text);
        let mut marks = Vec::new();
        for term in &self.terms {
            let before = marks.len();
            marks.extend(term.find(&atoms));
            if marks.len() == before {
                return None;
            }
        }
        Some(merge(marks))
    }
}

impl Term {
    fn ends_in_long_word(&self) -> bool {
        let is_long = |atom: &Atom| atom.kind == Kind::Word && atom.text.chars().count() >= MIN_PREFIX_CHARS;
        self.atoms.last().is_some_and(is_long)
    }

    /// The tokens that a text with this term has, or the beginnings of them.
    fn needed(&self, needed: &mut BTreeSet<(String, bool)>) {
        for (index, atom) in self.atoms.iter().enumerate() {
            let next = self.atoms.get(index + 1);
            let follows = index > 0 && atom.is_joined && self.atoms[index - 1].kind == Kind::Character;
            match atom.kind {
                Kind::Word | Kind::Emoji => {
                    needed.insert((atom.text.clone(), self.is_prefix && next.is_none()));
                }
                Kind::Character => match pair(atom, next) {
                    Some(pair) => drop(needed.insert((pair, false))),
                    // The second one of a pair.
                    None if follows => {}
                    // A single one begins every pair in which it is the first.
                    None => drop(needed.insert((atom.text.clone(), true))),
                },
            }
        }
    }

    /// The places of this term in a text.
    fn find<'a>(&'a self, text: &'a [Atom]) -> impl Iterator<Item = Mark> + 'a {
        text.windows(self.atoms.len()).filter(|window| self.matches(window)).map(|window| {
            let end = window.last().map_or(0, |last| last.end);
            Mark { start: window[0].start, end }
        })
    }

    fn matches(&self, window: &[Atom]) -> bool {
        let last = self.atoms.len() - 1;
        self.atoms.iter().zip(window).enumerate().all(|(index, (wanted, atom))| {
            let is_together = index == 0 || !wanted.is_joined || atom.is_joined;
            let is_equal = if self.is_prefix && index == last {
                atom.text.starts_with(&wanted.text)
            } else {
                atom.text == wanted.text
            };
            is_together && is_equal
        })
    }
}

/// The tokens of a text for an index, separated by spaces: words and emoji; each character of a script without spaces,
/// with the one that follows it. Each consists of letters, digits, marks and emoji, in lower case.
pub fn tokens(text: &str) -> String {
    let atoms = atoms(text);
    let mut tokens = String::with_capacity(text.len() * 2);
    for (index, atom) in atoms.iter().enumerate() {
        if index > 0 {
            tokens.push(' ');
        }
        tokens.push_str(&atom.text);
        if pair(atom, atoms.get(index + 1)).is_some() {
            tokens.push_str(&atoms[index + 1].text);
        }
    }
    tokens
}

/// Two characters of scripts without spaces that follow one another.
fn pair(atom: &Atom, next: Option<&Atom>) -> Option<String> {
    let next = next.filter(|next| atom.kind == Kind::Character && next.kind == Kind::Character && next.is_joined)?;
    Some(format!("{}{}", atom.text, next.text))
}

/// Marks in order, without overlaps.
fn merge(mut marks: Vec<Mark>) -> Vec<Mark> {
    marks.sort_unstable_by_key(|mark| (mark.start, mark.end));
    let mut merged: Vec<Mark> = Vec::new();
    for mark in marks {
        match merged.last_mut() {
            Some(last) if mark.start <= last.end => last.end = last.end.max(mark.end),
            Some(_) | None => merged.push(mark),
        }
    }
    merged.truncate(MAX_MARKS);
    merged
}

#[cfg(test)]
mod tests;
