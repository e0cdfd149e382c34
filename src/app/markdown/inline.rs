//! Markup inside a paragraph or list item: inline code first, then addresses, then emphasis around both.
//!
//! Inline code ends in its line, and emphasis before a blank line. Each kind of emphasis is open at most once, so that
//! its depth is bounded, and each marker is looked at once.

use std::ops::Range;

use super::flanking::{Around, Kind};
use super::{Element, Event, Line, Parser, is_blank};
use crate::app::linkify::scan::{Piece, scan};

/// The longest run of backticks around inline code.
const MAX_TICKS: usize = 8;

/// A run of marker characters that may begin emphasis. Each of its characters is a text event of its own.
#[derive(Clone, Copy)]
struct Opener {
    /// The index of the first event.
    event: usize,
    /// The characters that are left.
    length: usize,
    /// [`Open::letters`] before the run.
    letters: usize,
}

/// The emphasis that may end in the rest of a paragraph.
#[derive(Default)]
struct Open {
    openers: [Option<Opener>; Kind::ALL.len()],
    /// The letters and digits that were read.
    letters: usize,
}

impl Parser<'_> {
    pub(super) fn inline(&mut self, lines: &[Line]) {
        let mut open = Open::default();
        for (index, line) in lines.iter().enumerate() {
            if is_blank(self.read(*line)) {
                open = Open::default();
                self.push_text(line.start..line.end);
            } else {
                self.line(*line, &mut open);
            }
            if index + 1 < lines.len() {
                self.line_feed(*line);
            }
        }
    }

    /// Splits a line into inline code and what is between it.
    fn line(&mut self, line: Line, open: &mut Open) {
        let runs = self.ticks(line);
        // For each run, the next one of the same length.
        let mut next = [None; MAX_TICKS + 1];
        let mut closing = vec![None; runs.len()];
        for (index, run) in runs.iter().enumerate().rev() {
            if let Some(next) = next.get_mut(run.len()) {
                closing[index] = next.replace(index);
            }
        }
        let (mut done, mut index) = (line.start, 0);
        while let Some(run) = runs.get(index) {
            index += 1;
            let Some(close) = closing[index - 1] else { continue };
            let mut code = run.end..runs[close].start;
            self.steps += code.len();
            if self.text[..run.start].ends_with('\\') || is_blank(&self.text[code.clone()]) || !self.may_start() {
                continue;
            }
            self.links_and_text(done..run.start, open);
            open.letters += 1;
            // One space at each end separates backticks in the code from those around it.
            let content = &self.text[code.clone()];
            if content.starts_with(' ') && content.ends_with(' ') {
                code = code.start + 1..code.end - 1;
            }
            self.events.push(Event::Code(code));
            done = runs[close].end;
            index = close + 1;
        }
        self.links_and_text(done..line.end, open);
    }

    /// The runs of backticks in a line.
    fn ticks(&mut self, line: Line) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, _) in self.read(line).match_indices('`') {
            let at = line.start + at;
            match runs.last_mut() {
                Some(run) if run.end == at => run.end += 1,
                _ => runs.push(at..at + 1),
            }
        }
        runs
    }

    /// Splits a part of a line into addresses and text.
    fn links_and_text(&mut self, range: Range<usize>, open: &mut Open) {
        let scanned = scan(&self.text[range.clone()], self.links);
        self.steps += scanned.steps + range.len();
        let mut start = range.start;
        for piece in scanned.pieces {
            match piece {
                Piece::Plain(text) => {
                    let end = start + text.len();
                    self.emphasis(start..end, open);
                    start = end;
                }
                Piece::Link { text, href } => {
                    let end = start + text.len();
                    self.links -= 1;
                    open.letters += 1;
                    self.events.push(Event::Link(start..end, href));
                    start = end;
                }
            }
        }
    }

    /// Finds emphasis in a text without code and addresses.
    fn emphasis(&mut self, range: Range<usize>, open: &mut Open) {
        let (mut done, mut at) = (range.start, range.start);
        while let Some(c) = self.text[at..range.end].chars().next() {
            self.steps += 1;
            let length = match c {
                '*' | '_' | '~' => self.text[at..range.end].chars().take_while(|next| *next == c).count(),
                _ => c.len_utf8(),
            };
            let kinds: &[Kind] = match (c, length) {
                ('*', 1) => &[Kind::Asterisk],
                ('*', 2) => &[Kind::Double],
                ('*', 3) => &[Kind::Asterisk, Kind::Double],
                ('_', 1) => &[Kind::Underscore],
                ('~', 2) => &[Kind::Tildes],
                _ => &[],
            };
            if !kinds.is_empty() {
                self.push_text(done..at);
                self.marker(at..at + length, kinds, open);
                done = at + length;
            }
            open.letters += usize::from(c.is_alphanumeric());
            self.steps += length;
            at += length;
        }
        self.push_text(done..range.end);
    }

    /// Handles a run of marker characters: it ends emphasis, or may begin it, or is text.
    fn marker(&mut self, mut run: Range<usize>, kinds: &[Kind], open: &mut Open) {
        let mut after = self.text[run.end..].chars();
        let around = Around {
            before: self.text[..run.start].chars().next_back().unwrap_or('\n'),
            after: after.next().unwrap_or('\n'),
            second_after: after.next().unwrap_or('\n'),
        };
        let mut has_closed = false;
        while let Some(kind) = open.closable(kinds, run.len()).filter(|kind| around.may_close(*kind)) {
            if !self.may_start() {
                break;
            }
            self.close(kind, open);
            run.start += kind.length();
            has_closed = true;
        }
        let opener = Opener { event: self.events.len(), length: run.len(), letters: open.letters };
        for kind in kinds.iter().filter(|kind| !has_closed && around.may_open(**kind)) {
            open.openers[*kind as usize] = Some(opener);
        }
        for at in run {
            self.push_text(at..at + 1);
        }
    }

    /// Turns the innermost characters of an opening run into the start of an element.
    fn close(&mut self, kind: Kind, open: &mut Open) {
        let Some(opener) = open.openers[kind as usize] else { return };
        let left = opener.length - kind.length();
        let start = opener.event + left;
        self.events[start] = Event::Start(match kind {
            Kind::Asterisk | Kind::Underscore => Element::Emphasis,
            Kind::Double => Element::Strong,
            Kind::Tildes => Element::Strikethrough,
        });
        if let Some(Event::Text(second)) = self.events.get_mut(start + 1).filter(|_| kind.length() == 2) {
            second.start = second.end;
        }
        self.end();
        open.openers[kind as usize] = None;
        for other in &mut open.openers {
            // Emphasis that began inside is text. The same run may also begin the emphasis around this one.
            *other = other.filter(|other| other.event <= opener.event);
            if let Some(other) = other.as_mut().filter(|other| other.event == opener.event) {
                other.length = left;
            }
        }
    }
}

impl Open {
    /// The innermost emphasis of these kinds that a run of this length may end.
    fn closable(&self, kinds: &[Kind], length: usize) -> Option<Kind> {
        let opener = |kind: Kind| {
            let opener = self.openers[kind as usize]?;
            let has_letters = !kind.needs_letters() || self.letters > opener.letters;
            (kind.length() <= length && has_letters && opener.length >= kind.length()).then_some(opener.event)
        };
        kinds.iter().copied().filter(|kind| opener(*kind).is_some()).max_by_key(|kind| opener(*kind))
    }
}
