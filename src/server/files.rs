//! The site's files: under which address a browser may keep them for good, and how it asks after the others.
//!
//! Pages name files by an address that has a digest of the whole site in it. cargo-leptos can put a digest into each
//! name instead, but takes that of a script before it writes the others' names into it: after a change of what is split
//! off, another script would have the name of the one before.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, RANGE, VARY,
};
use http::{Method, StatusCode};

/// For good: what is at such an address never changes.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Kept, and asked after each time.
const ASKED_AFTER: HeaderValue = HeaderValue::from_static("no-cache");

/// What the site's folder held when the server started.
#[derive(Debug, Default)]
pub(super) struct Site {
    files: HashMap<String, Seen>,
    digest: String,
}

/// One file of it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Its entity tag: a digest of what is in it, in quotation marks.
    tag: String,
    /// What tells whether it is still that file.
    modified: String,
    length: u64,
}

/// Files that are served under one address.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    /// What they are.
    pub(super) site: Arc<Site>,
    /// Whether the address has the site's digest in it.
    pub(super) is_versioned: bool,
}

impl Site {
    /// Reads a folder with everything in it.
    ///
    /// # Errors
    /// When something in it cannot be read.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        list(folder, &mut paths)?;
        paths.sort();
        let (mut files, mut whole) = (HashMap::new(), Context::new(&SHA256));
        for path in paths {
            let (bytes, metadata) = (std::fs::read(&path)?, std::fs::metadata(&path)?);
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            let content = digest(&SHA256, &bytes);
            whole.update(name.as_bytes());
            whole.update(content.as_ref());
            let modified = httpdate::fmt_http_date(metadata.modified()?);
            let tag = format!("\"{}\"", short(content.as_ref()));
            files.insert(name, Seen { tag, modified, length: bytes.len() as u64 });
        }
        Ok(Self { files, digest: short(whole.finish().as_ref()) })
    }

    /// The path under which everything may be kept for good; empty where nothing is known.
    pub(super) fn base(&self) -> String {
        if self.files.is_empty() { String::new() } else { format!("/static/{}", self.digest) }
    }

    /// The paths of the scripts in one of its folders.
    pub(super) fn scripts(&self, folder: &str) -> Vec<String> {
        let is_script = |path: &&String| Path::new(path).parent() == Some(Path::new(folder)) && path.ends_with(".js");
        let mut scripts: Vec<_> = self.files.keys().filter(is_script).cloned().collect();
        scripts.sort();
        scripts
    }

    /// The entity tag of the file that an answer brings, unless it has changed since.
    fn tag(&self, path: &str, answer: &HeaderMap) -> Option<HeaderValue> {
        let text = |name| answer.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let packed = match text(CONTENT_ENCODING) {
            Some("br") => ".br",
            Some("gzip") => ".gz",
            _ => "",
        };
        let seen = self.files.get(&format!("{}{packed}", path.trim_start_matches('/')))?;
        let is_same = text(LAST_MODIFIED) == Some(&seen.modified)
            && text(CONTENT_LENGTH).and_then(|length| length.parse().ok()) == Some(seen.length);
        is_same.then(|| HeaderValue::from_str(&seen.tag).ok()).flatten()
    }
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

/// The first half of a digest, which is enough where nobody gains from two files that have the same.
fn short(digest: &[u8]) -> String {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Says of each file how long it may be kept, and sends none that the browser has already.
pub(super) async fn cached(State(folder): State<Folder>, mut request: Request, next: Next) -> Response {
    let (path, is_read) = (request.uri().path().to_owned(), matches!(*request.method(), Method::GET | Method::HEAD));
    let headers = request.headers_mut();
    let known = headers.get(IF_NONE_MATCH).filter(|_| is_read).cloned();
    // RFC 9110, 13.1.3: a tag counts more than a date. What is kept for good is not asked after by date at all.
    if known.is_some() || folder.is_versioned {
        headers.remove(IF_MODIFIED_SINCE);
    }
    // Whether the part still fits is not looked at, so the whole is sent.
    if headers.contains_key(IF_RANGE) {
        headers.remove(RANGE);
    }
    let mut response = next.run(request).await;
    if response.status() != StatusCode::NOT_MODIFIED && !response.headers().contains_key(LAST_MODIFIED) {
        return response;
    }
    let tag = folder.site.tag(&path, response.headers());
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // Where the files were replaced and the server was not started anew, the address promises another one.
    let is_as_promised = folder.is_versioned && tag.is_some();
    headers.insert(CACHE_CONTROL, if is_as_promised { FOR_GOOD } else { ASKED_AFTER });
    let Some(tag) = tag else { return response };
    headers.insert(ETAG, tag.clone());
    if known.is_some_and(|known| is_named(&known, &tag)) {
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_ENCODING);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    response
}

/// Whether `If-None-Match` names a tag, by weak comparison (RFC 9110, 13.1.2).
fn is_named(known: &HeaderValue, tag: &HeaderValue) -> bool {
    known
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_has_another_digest_and_the_same_one_the_same_wherever_it_stands() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &other] {
            std::fs::create_dir(folder.path().join("pkg")).unwrap();
            std::fs::write(folder.path().join("pkg/noom.js"), "1").unwrap();
            std::fs::write(folder.path().join("favicon.svg"), "2").unwrap();
        }
        let read = |folder: &tempfile::TempDir| Site::read(folder.path()).unwrap();
        let before = read(&one);
        assert_eq!(before.digest, read(&other).digest);
        std::fs::write(one.path().join("pkg/noom.js"), "2").unwrap();
        let after = read(&one);
        assert_ne!(after.digest, before.digest);
        assert_ne!(after.files["pkg/noom.js"].tag, before.files["pkg/noom.js"].tag);
        assert_eq!(after.files["favicon.svg"].tag, after.files["pkg/noom.js"].tag);
        std::fs::rename(one.path().join("favicon.svg"), one.path().join("icon.svg")).unwrap();
        assert_ne!(read(&one).digest, after.digest, "a name is part of it");
    }

    #[test]
    fn a_tag_is_known_among_others_weak_or_not() {
        let named =
            |known: &'static str| is_named(&HeaderValue::from_static(known), &HeaderValue::from_static("\"a\""));
        assert!(["\"a\"", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\"", "*"].into_iter().all(named));
        assert!(!["\"b\"", "a", "", "\"a"].into_iter().any(named));
    }
}
