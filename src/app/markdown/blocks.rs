//! Blocks: code blocks, quotes, lists, and the paragraphs between them. Each is made of whole lines.

use super::{Element, Line, MAX_QUOTES, Parser, is_blank, is_visible};

impl Parser<'_> {
    /// Parses the lines of the text or of a quote.
    pub(super) fn blocks(&mut self, lines: &[Line], depth: usize) {
        let fences = self.closing_fences(lines);
        // The paragraph before the line begins here.
        let mut begin = 0;
        let mut at = 0;
        while at < lines.len() {
            let (is_block, end) = if let Some(fence) = self.fence(lines, at, &fences) {
                // The lines of an empty code block are text, and so are those of an empty quote.
                let is_block = fence.has_code && self.may_start();
                if is_block {
                    self.paragraph(lines, (begin, at), depth);
                    self.code_block(lines, at, &fence);
                }
                (is_block, fence.close + 1)
            } else if let Some(inner) = self.quoted(&lines[at..], depth) {
                let has_content = inner.iter().any(|line| self.read(*line).contains(|c| c != '>' && is_visible(c)));
                let is_block = has_content && self.may_start();
                if is_block {
                    self.paragraph(lines, (begin, at), depth);
                    self.start(Element::Quote);
                    self.blocks(&inner, depth + 1);
                    self.end();
                }
                (is_block, at + inner.len())
            } else if self.elements >= 2 && self.item(lines[at]).is_some() {
                // Those of a list and its first item are not for the paragraph.
                self.elements -= 2;
                self.paragraph(lines, (begin, at), depth);
                self.elements += 2;
                (true, self.list(lines, at, &fences))
            } else {
                (false, at + 1)
            };
            if is_block {
                begin = end;
            }
            at = end;
        }
        self.paragraph(lines, (begin, lines.len()), depth);
    }

    /// The lines between two blocks. Blank lines beside a block are its margin.
    fn paragraph(&mut self, lines: &[Line], (mut begin, mut end): (usize, usize), depth: usize) {
        let is_first = begin == 0 && depth == 0;
        let is_last = end == lines.len() && depth == 0;
        while begin < end && !is_first && is_blank(self.read(lines[begin])) {
            begin += 1;
        }
        while begin < end && !is_last && is_blank(self.read(lines[end - 1])) {
            end -= 1;
        }
        if begin < end {
            self.start(Element::Paragraph);
            self.inline(&lines[begin..end]);
            self.end();
        }
    }

    /// The lines of a quote without its markers, if the first line begins one.
    fn quoted(&mut self, lines: &[Line], depth: usize) -> Option<Vec<Line>> {
        if depth == MAX_QUOTES {
            return None;
        }
        let quoted: Vec<_> = lines.iter().map_while(|line| self.unquoted(*line)).collect();
        (!quoted.is_empty()).then_some(quoted)
    }

    /// A line without the marker of a quote. There is white space after the marker, so that `>_<` is none.
    fn unquoted(&mut self, line: Line) -> Option<Line> {
        let text = self.text[line.start..line.end].trim_start_matches(' ');
        let after = text.trim_start_matches('>');
        self.steps += line.end - line.start - after.len();
        if after.len() == text.len() || !(after.is_empty() || after.starts_with(char::is_whitespace)) {
            return None;
        }
        let rest = &text[1..];
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        Some(Line { start: line.end - rest.len(), ..line })
    }
}
