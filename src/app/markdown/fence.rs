//! Code blocks between lines of three or more backticks.

use super::{Element, Event, Line, Parser, indentation, is_blank};

/// The shortest fence.
const MIN_TICKS: usize = 3;
/// The longest name of a language.
const MAX_LANGUAGE: usize = 20;

/// A code block.
pub(super) struct Fence {
    /// The indentation of the first line, which the code does not have.
    indent: usize,
    /// After the backticks of the first line.
    info: usize,
    /// The last line.
    pub(super) close: usize,
    /// Before the backticks of the last line.
    code_end: usize,
    /// The code is not blank.
    pub(super) has_code: bool,
}

impl Parser<'_> {
    /// For each line, the most backticks that end it or one of the lines after it.
    pub(super) fn closing_fences(&mut self, lines: &[Line]) -> Vec<usize> {
        let mut most = 0;
        let mut fences: Vec<_> = lines
            .iter()
            .rev()
            .map(|line| {
                most = most.max(trailing_ticks(self.read(*line)));
                most
            })
            .collect();
        fences.reverse();
        fences
    }

    /// The code block that begins at a line. It ends with backticks at the end of a line, and is text without them.
    pub(super) fn fence(&mut self, lines: &[Line], at: usize, fences: &[usize]) -> Option<Fence> {
        let line = lines[at];
        let text = &self.text[line.start..line.end];
        let indent = indentation(text);
        self.steps += indent;
        let ticks = text[indent..].bytes().take_while(|byte| *byte == b'`').count();
        self.steps += ticks;
        if ticks < MIN_TICKS || fences.get(at + 1).is_none_or(|most| *most < ticks) {
            return None;
        }
        let info = line.start + indent + ticks;
        // Inline code, which begins and ends in the line.
        if self.read(Line { start: info, ..line }).contains('`') {
            return None;
        }
        let mut has_code =
            self.language(Line { start: info, ..line }).is_none() && !is_blank(&self.text[info..line.end]);
        let mut close = at + 1;
        loop {
            let line = lines[close];
            let text = self.read(line);
            let found = trailing_ticks(text);
            let code_end = if found >= ticks { line.start + text.trim_end().len() - found } else { line.end };
            has_code |= !is_blank(&self.text[line.start..code_end]);
            if found >= ticks {
                return Some(Fence { indent, info, close, code_end, has_code });
            }
            close += 1;
        }
    }

    /// The name of a language, alone in the rest of a line.
    fn language(&self, rest: Line) -> Option<Line> {
        let text = &self.text[rest.start..rest.end];
        let start = rest.start + text.len() - text.trim_start().len();
        let name = text.trim();
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-#._".contains(&byte);
        let is_name = !name.is_empty() && name.len() <= MAX_LANGUAGE && name.bytes().all(is_part);
        is_name.then_some(Line { start, end: start + name.len() })
    }

    pub(super) fn code_block(&mut self, lines: &[Line], at: usize, fence: &Fence) {
        self.start(Element::CodeBlock);
        let first = Line { start: fence.info, ..lines[at] };
        let mut code = Vec::new();
        if let Some(name) = self.language(first) {
            self.events.push(Event::Language(name.start..name.end));
        } else if !is_blank(&self.text[first.start..first.end]) {
            code.push(first);
        }
        for line in &lines[at + 1..fence.close] {
            let indent = indentation(self.read(*line)).min(fence.indent);
            code.push(Line { start: line.start + indent, ..*line });
        }
        let last = Line { end: fence.code_end, ..lines[fence.close] };
        if !is_blank(&self.text[last.start..last.end]) {
            code.push(last);
        }
        for (index, line) in code.iter().enumerate() {
            self.push_text(line.start..line.end);
            if index + 1 < code.len() {
                self.line_feed(*line);
            }
        }
        self.end();
    }
}

/// The backticks at the end of a line, if they are enough for a fence.
fn trailing_ticks(line: &str) -> usize {
    let line = line.trim_end();
    let ticks = line.len() - line.trim_end_matches('`').len();
    if ticks < MIN_TICKS { 0 } else { ticks }
}
