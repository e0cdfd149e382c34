//! Markdown in message texts, as people write it in chat: bold, italic, strikethrough, code, code blocks, quotes, lists.
//!
//! Written by hand, because the crate `pulldown-cmark` adds 57 KB with brotli to a page, and because CommonMark changes
//! texts that their authors did not mean as markup. It hides backslashes, entities and reference definitions, joins
//! lines, and takes four spaces for code. It also finds no emphasis in `**"강조"**은`, because Korean, Chinese and
//! Japanese have no space after a word.
//!
//! A text is parsed in linear time into [`Event`]s, the nodes of a tree in the order of the text. Nothing but the
//! characters of markers is left out. Markup that would contain nothing visible stays as it was typed, and so does
//! everything after [`MAX_ELEMENTS`]. Headings, tables, HTML and images are not markup. Neither is `[text](address)`,
//! because a link that shows another text than its address can deceive.

mod blocks;
mod fence;
mod flanking;
mod inline;
mod list;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::app::linkify::MAX_LINKS;
use crate::protocol::name::is_invisible;

/// The most elements in one text, links not counted.
const MAX_ELEMENTS: usize = 100;
/// The deepest quote in quotes.
const MAX_QUOTES: usize = 3;

/// A step through the tree of a text. Ranges are of bytes in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The children of an element follow.
    Start(Element),
    /// The children of the innermost element are complete.
    End,
    /// Text. Several in a row belong together.
    Text(Range<usize>),
    /// Inline code.
    Code(Range<usize>),
    /// An address, and its target.
    Link(Range<usize>, String),
    /// The name of the language of a code block, the first child.
    Language(Range<usize>),
    /// The number or bullet of a list item, the first child.
    Marker(Range<usize>),
}

/// An element with children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// Paragraphs and the line breaks between them.
    Paragraph,
    CodeBlock,
    Quote,
    BulletList,
    NumberedList,
    Item,
    Strong,
    Emphasis,
    Strikethrough,
}

/// Parses a text. Returns `None` if it contains no markup.
pub(super) fn parse(text: &str) -> Option<Vec<Event>> {
    if !may_have_markup(text) {
        return None;
    }
    let events = Parser::run(text).events;
    let is_markup = |event: &Event| match event {
        Event::Start(element) => *element != Element::Paragraph,
        Event::Code(_) => true,
        Event::End | Event::Text(_) | Event::Link(..) | Event::Language(_) | Event::Marker(_) => false,
    };
    events.iter().any(is_markup).then_some(events)
}

/// A quick test, because most messages contain no markup.
fn may_have_markup(text: &str) -> bool {
    let is_block = |line: &str| line.trim_start().starts_with(|c: char| is_bullet(c) || c == '>' || c.is_ascii_digit());
    text.contains(['*', '_', '~', '`']) || text.split('\n').any(is_block)
}

/// The state of parsing.
struct Parser<'a> {
    text: &'a str,
    events: Vec<Event>,
    /// Links and elements that may still be made.
    links: usize,
    elements: usize,
    /// The characters that were read, each as often as it was read.
    steps: usize,
}

/// A line, or what a quote or list leaves of it.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: usize,
    /// Before the line feed.
    end: usize,
}

impl<'a> Parser<'a> {
    fn run(text: &'a str) -> Self {
        let mut parser = Self { text, events: Vec::new(), links: MAX_LINKS, elements: MAX_ELEMENTS, steps: 0 };
        let mut start = 0;
        let line = |line: &str| {
            let line = Line { start, end: start + line.len() };
            start = line.end + 1;
            line
        };
        let lines: Vec<_> = text.split('\n').map(line).collect();
        parser.steps += text.len();
        parser.blocks(&lines, 0);
        parser
    }

    /// Reads a line.
    fn read(&mut self, line: Line) -> &'a str {
        self.steps += line.end - line.start;
        &self.text[line.start..line.end]
    }

    /// Takes one of the elements that are left.
    fn may_start(&mut self) -> bool {
        let left = self.elements.checked_sub(1);
        self.elements = left.unwrap_or_default();
        left.is_some()
    }

    fn start(&mut self, element: Element) {
        self.events.push(Event::Start(element));
    }

    fn end(&mut self) {
        self.events.push(Event::End);
    }

    fn push_text(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.events.push(Event::Text(range));
        }
    }

    /// The line feed after a line.
    fn line_feed(&mut self, line: Line) {
        self.push_text(line.end..line.end + 1);
    }
}

fn is_blank(text: &str) -> bool {
    !text.chars().any(is_visible)
}

/// `•` is the bullet that is shown, and copied.
fn is_bullet(c: char) -> bool {
    matches!(c, '-' | '*' | '•')
}

fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !is_invisible(c)
}

/// The bytes of white space at the start of a line.
fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}
