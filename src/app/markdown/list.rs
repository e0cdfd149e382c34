//! Lists, of two levels. A list shows its numbers and bullets as text: numbers stay as they were typed, and copied text
//! has both.

use super::{Element, Event, Line, Parser, indentation, is_blank, is_bullet, is_visible};

/// The longest number of a list item, so that a year or date is none.
const MAX_DIGITS: usize = 3;
/// An item that is indented by this many columns more is inside the item before it.
const NESTED: usize = 2;

/// The first line of a list item.
pub(super) struct Item {
    indent: usize,
    list: Element,
    marker: Line,
    content: Line,
}

impl Parser<'_> {
    /// The list item that begins with a line.
    pub(super) fn item(&mut self, line: Line) -> Option<Item> {
        let text = &self.text[line.start..line.end];
        let indent = indentation(text);
        self.steps += indent;
        let rest = &text[indent..];
        let digits = rest.bytes().take(MAX_DIGITS + 1).take_while(u8::is_ascii_digit).count();
        let (list, length) = match rest.chars().next()? {
            bullet if is_bullet(bullet) => (Element::BulletList, bullet.len_utf8()),
            _ if (1..=MAX_DIGITS).contains(&digits) && rest[digits..].starts_with('.') => {
                (Element::NumberedList, digits + 1)
            }
            _ => return None,
        };
        let start = line.start + indent;
        let marker = Line { start, end: start + length };
        let after = self.read(Line { start: marker.end, ..line });
        let content = after.trim_start();
        // A line of hyphens or asterisks is not an item.
        let has_content = content.chars().any(|c| !is_bullet(c) && is_visible(c));
        let is_item = content.len() < after.len() && has_content;
        let width = text[..indent].bytes().map(|byte| if byte == b'\t' { 4 } else { 1 }).sum();
        is_item.then_some(Item {
            indent: width,
            list,
            marker,
            content: Line { start: line.end - content.len(), ..line },
        })
    }

    /// Parses a list and returns the line after it.
    pub(super) fn list(&mut self, lines: &[Line], mut at: usize, fences: &[usize]) -> usize {
        // The kinds of the open lists, and the indentation of the outer one.
        let (mut open, mut outer) = (Vec::new(), 0);
        while let Some(line) = lines.get(at) {
            if self.fence(lines, at, fences).is_some() {
                break;
            }
            let Some(item) = self.item(*line) else { break };
            let depth = if !open.is_empty() && item.indent >= outer + NESTED { 2 } else { 1 };
            let is_open = open.get(depth - 1) == Some(&item.list);
            // An item and its list.
            if self.elements < 2 || depth == 1 && !is_open && !open.is_empty() {
                break;
            }
            while open.len() > depth || open.len() == depth && !is_open {
                self.end();
                self.end();
                open.pop();
            }
            if is_open {
                self.end();
            } else {
                self.elements -= 1;
                self.start(item.list);
                open.push(item.list);
            }
            if depth == 1 {
                outer = item.indent;
            }
            self.elements -= 1;
            self.start(Element::Item);
            self.events.push(Event::Marker(item.marker.start..item.marker.end));
            let mut content = vec![item.content];
            at += 1;
            while let Some(line) = lines.get(at).filter(|_| self.fence(lines, at, fences).is_none()) {
                let Some(line) = self.continuation(*line, outer) else { break };
                content.push(line);
                at += 1;
            }
            self.inline(&content);
        }
        for _ in open {
            self.end();
            self.end();
        }
        at
    }

    /// A further line of an item: it is indented and not an item.
    fn continuation(&mut self, line: Line, outer: usize) -> Option<Line> {
        let text = self.read(line);
        let indent = indentation(text);
        let is_indented = text.starts_with('\t') || indent >= outer + NESTED;
        let is_part = is_indented && !is_blank(text) && self.item(line).is_none();
        is_part.then_some(Line { start: line.start + indent, ..line })
    }
}
