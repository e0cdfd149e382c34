//! The scanner: splits a text into links and what is between them, in linear time.
//!
//! A text is a sequence of words, separated by white space and by characters that no address contains. In a word, `://`,
//! `www.` and `@` mark a candidate. Each candidate moves the scan forward beyond all that was read for it, or its
//! reading is bounded, so that no character is read more than a few times. [`Scan::steps`] counts the characters read.

#[cfg(test)]
mod tests;

use super::cjk::{is_punctuation, without_particles};
use crate::protocol::name::is_invisible;

/// The most characters of a user name and password that are looked for before a host.
const MAX_USERINFO: usize = 64;
/// The longest part of a mail address before the `@` (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_PART: usize = 64;
/// The longest host name (RFC 1035, 2.3.4).
const MAX_HOST: usize = 255;

/// A part of a message text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Plain(String),
    Link { text: String, href: String },
}

/// The result of a scan.
#[derive(Debug, Default)]
pub(in crate::app) struct Scan {
    pub(in crate::app) pieces: Vec<Piece>,
    /// The characters that were read, each as often as it was read.
    pub(in crate::app) steps: usize,
    plain: String,
    links: usize,
}

/// Splits a text into plain pieces and at most `max_links` links.
pub(in crate::app) fn scan(text: &str, max_links: usize) -> Scan {
    let mut scan = Scan::default();
    if ["://", "www.", "WWW.", "Www.", "@"].iter().any(|mark| text.contains(mark)) {
        let mut rest = text;
        while scan.links < max_links && !rest.is_empty() {
            let end = scan.find(rest, is_separator).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let unread = scan.word(word, max_links);
            let separators = if unread.is_empty() { scan.find(after, |c| !is_separator(c)) } else { Some(0) };
            let (between, next) = after.split_at(separators.unwrap_or(after.len()));
            scan.plain.push_str(between);
            rest = if unread.is_empty() { next } else { &rest[end - unread.len()..] };
        }
        scan.plain.push_str(rest);
    } else {
        scan.plain.push_str(text);
    }
    scan.flush();
    scan
}

/// An address in a word.
struct Link {
    start: usize,
    end: usize,
    /// Comes before the address in the target of the link.
    scheme: &'static str,
}

impl Scan {
    /// Scans one word. Returns what is left when there are enough links.
    fn word<'a>(&mut self, word: &'a str, max_links: usize) -> &'a str {
        let (mut done, mut at) = (0, 0);
        while let Some(mark) = self.find_mark(word, at) {
            let found = match word.as_bytes()[mark] {
                b':' => self.url(word, done, mark),
                b'@' => self.mail(word, done, mark),
                _ => self.www(word, done, mark),
            };
            match found {
                Ok(Link { start, end, scheme }) => {
                    self.plain.push_str(&word[done..start]);
                    self.flush();
                    let text = word[start..end].to_owned();
                    self.pieces.push(Piece::Link { href: format!("{scheme}{text}"), text });
                    self.links += 1;
                    (done, at) = (end, end);
                    if self.links == max_links {
                        return &word[done..];
                    }
                }
                Err(next) => at = next,
            }
        }
        self.plain.push_str(&word[done..]);
        ""
    }

    /// The next `://`, `@` or `www.`.
    fn find_mark(&mut self, word: &str, from: usize) -> Option<usize> {
        let bytes = word.as_bytes();
        let mark = (from..bytes.len()).find(|&at| match bytes[at] {
            b':' => bytes[at..].starts_with(b"://"),
            b'@' => true,
            b'w' | b'W' => bytes.get(at..at + 4).is_some_and(|start| start.eq_ignore_ascii_case(b"www.")),
            _ => false,
        });
        self.steps += mark.unwrap_or(bytes.len()) - from;
        mark
    }

    /// `https` or `http` before the mark, an authority and a path after it.
    fn url(&mut self, word: &str, done: usize, mark: usize) -> Result<Link, usize> {
        let next = mark + "://".len();
        let before = &word.as_bytes()[done..mark];
        let scheme = ["https", "http"].into_iter().find(|scheme| {
            before.len() >= scheme.len()
                && before[before.len() - scheme.len()..].eq_ignore_ascii_case(scheme.as_bytes())
        });
        let Some(scheme) = scheme else { return Err(next) };
        let start = mark - scheme.len();
        if word[done..start].ends_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(next);
        }
        let end = next + self.address(word, start, &word[next..], 1).map_err(|read| next + read)?;
        Ok(Link { start, end, scheme: "" })
    }

    /// An address without a scheme.
    fn www(&mut self, word: &str, done: usize, mark: usize) -> Result<Link, usize> {
        let next = mark + "www.".len();
        let is_start = word[done..mark].chars().next_back().is_none_or(|c| !c.is_ascii() || "([{'*_~,;|!".contains(c));
        if !is_start {
            return Err(next);
        }
        let end = mark + self.address(word, mark, &word[mark..], 3).map_err(|read| next.max(mark + read))?;
        Ok(Link { start: mark, end, scheme: "https://" })
    }

    /// A mail address (RFC 5322, 3.4.1, as far as it is in use).
    fn mail(&mut self, word: &str, done: usize, mark: usize) -> Result<Link, usize> {
        let next = mark + 1;
        let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-'".contains(byte);
        let local =
            word.as_bytes()[done..mark].iter().rev().take(MAX_LOCAL_PART + 1).take_while(|b| is_local(b)).count();
        let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
        let domain = word.as_bytes()[next..].iter().take(MAX_HOST).take_while(|b| is_domain(b)).count();
        self.steps += local + domain;
        let after = word.as_bytes().get(next + domain);
        // Cheap checks come first: a text may have an `@` at every other character.
        if local == 0 || domain == 0 || local > MAX_LOCAL_PART || after == Some(&b'@') {
            return Err(next);
        }
        let (mut start, end) = (mark - local, next + word[next..next + domain].trim_end_matches(['.', '-']).len());
        start += word[start..mark].len() - word[start..mark].trim_start_matches(['.', '\'', '-']).len();
        let before = word[..start].chars().next_back();
        let is_part = before.is_some_and(|c| matches!(c, '/' | '@' | '=' | '?' | '&'));
        let (local, domain) = (&word[start..mark], &word[next..end]);
        let well_formed = !local.is_empty() && !local.ends_with('.') && !local.contains("..") && is_host(domain, 2);
        if !is_part && well_formed { Ok(Link { start, end, scheme: "mailto:" }) } else { Err(next) }
    }

    /// The length of an authority and path at the start of `rest`; the host has at least `min_labels`. If there is no
    /// address, the length that was read.
    fn address(&mut self, word: &str, start: usize, rest: &str, min_labels: usize) -> Result<usize, usize> {
        let host = self.host(rest);
        if host == 0 || !(rest.starts_with('[') || is_host(&rest[..host], min_labels)) {
            return Err(host);
        }
        let after_host = &rest[host..];
        if let Some(at) = self.userinfo(after_host) {
            return Err(host + at + 1);
        }
        let digits = after_host.strip_prefix(':').unwrap_or_default();
        let port = digits.bytes().take(5).take_while(u8::is_ascii_digit).count();
        let authority = if port == 0 { host } else { host + 1 + port };
        // An address in single quotes ends at the second one.
        let quote = word[..start].ends_with('\'');
        let path = self.path(&rest[authority..], quote);
        // A link shows all of where it leads.
        if rest[..authority + path].contains(is_invisible) { Err(authority + path) } else { Ok(authority + path) }
    }

    /// The length of the host name or IP literal at the start.
    fn host(&mut self, rest: &str) -> usize {
        if let Some(literal) = rest.strip_prefix('[') {
            let is_part = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
            let end = literal.bytes().take(MAX_HOST).position(|byte| !is_part(byte));
            self.steps += end.unwrap_or_default();
            return end.filter(|end| *end > 1 && literal[*end..].starts_with(']')).map_or(0, |end| end + 2);
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || !c.is_ascii();
        let end = rest.char_indices().take(MAX_HOST).find(|(_, c)| !is_part(*c)).map(|(at, _)| at);
        let end = end.unwrap_or_else(|| rest.char_indices().nth(MAX_HOST).map_or(rest.len(), |(at, _)| at));
        self.steps += end;
        let host = rest[..end].trim_end_matches(['.', '-']);
        // A top-level domain is in one script, so other letters after it belong to the sentence.
        let last = host.rfind('.').map_or(0, |dot| dot + 1);
        let mixed = host[last..].find(|c: char| !c.is_ascii()).filter(|at| *at > 0);
        mixed.map_or(host.len(), |at| host[..last + at].trim_end_matches(['.', '-']).len())
    }

    /// The position of the `@` if what was read as a host is a user name. Links do not contain user names, because they
    /// look like another host.
    fn userinfo(&mut self, after_host: &str) -> Option<usize> {
        let end = after_host.char_indices().take(MAX_USERINFO).find(|(_, c)| matches!(c, '@' | '/' | '?' | '#'));
        self.steps += end.map_or(MAX_USERINFO, |(at, _)| at);
        end.filter(|(_, c)| *c == '@').map(|(at, _)| at)
    }

    /// The length of a path, query and fragment, without the punctuation of the sentence that contains them.
    fn path(&mut self, rest: &str, quote: bool) -> usize {
        if !rest.starts_with(['/', '?', '#']) {
            return 0;
        }
        let mut open = [0_usize; 3];
        let mut end = 0;
        for (at, c) in rest.char_indices() {
            self.steps += 1;
            // Markup around the address.
            if matches!(c, '*' | '~') && rest[at + 1..].starts_with(c) {
                break;
            }
            let bracket = "([{".find(c);
            if let Some(kind) = bracket {
                open[kind] += 1;
            } else if let Some(kind) = ")]}".find(c) {
                // A closing bracket that was opened before the address ends it.
                let Some(fewer) = open[kind].checked_sub(1) else { break };
                open[kind] = fewer;
            } else if c == '\'' && quote {
                break;
            }
            let may_be_last = bracket.is_none() && !".,;:!?'*_~".contains(c) && !is_invisible(c);
            if may_be_last {
                end = at + c.len_utf8();
            }
        }
        without_particles(&rest[..end])
    }

    fn find(&mut self, text: &str, is_end: impl Fn(char) -> bool) -> Option<usize> {
        let end = text.find(is_end);
        self.steps += end.unwrap_or(text.len());
        end
    }

    /// Ends the plain piece.
    fn flush(&mut self) {
        if !self.plain.is_empty() {
            self.pieces.push(Piece::Plain(std::mem::take(&mut self.plain)));
        }
    }
}

/// Characters that no address contains.
fn is_separator(c: char) -> bool {
    if c.is_ascii() {
        // Space and the control characters.
        matches!(c, '\0'..=' ' | '\x7f' | '<' | '>' | '"' | '`' | '|')
    } else {
        is_punctuation(c) || c.is_whitespace() || c.is_control()
    }
}

/// True for labels with letters or digits, and a top-level domain that is not a number.
fn is_host(host: &str, min_labels: usize) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let top = host.rsplit('.').next().unwrap_or_default();
    let is_top = min_labels == 1 || top.chars().count() >= 2 && !top.contains(|c: char| c.is_ascii_digit());
    host.split('.').count() >= min_labels && host.split('.').all(is_label) && is_top
}
