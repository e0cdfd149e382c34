//! Caching of the site's files: immutable URLs that contain a digest, and ETags for all others.
//!
//! Pages refer to files by URLs that contain a digest of the whole site. cargo-leptos can put a digest into each file
//! name instead, but computes that of a script before it writes the names of the other files into it. After a change of
//! a split-off part, a different script would have the same name.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256, digest};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use headers::{ContentEncoding, ContentLength, ETag, HeaderMapExt, IfNoneMatch, LastModified};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, RANGE, VARY,
};
use http::{Method, StatusCode};

/// For URLs with the digest: their content never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// For all other URLs: cached, and revalidated at each use.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The files in the site's folder when the server started.
#[derive(Debug, Default)]
pub(super) struct Site {
    files: HashMap<String, FileEntry>,
    digest: String,
}

#[derive(Debug)]
struct FileEntry {
    /// A digest of the content.
    tag: ETag,
    /// Together with the length, shows whether the file is unchanged since.
    modified: LastModified,
    length: ContentLength,
}

/// The site under one prefix: with the digest in the URLs, or without.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) site: Arc<Site>,
    /// The URLs contain the site's digest.
    pub(super) is_versioned: bool,
}

impl Site {
    /// Reads all files of a folder.
    ///
    /// # Errors
    /// If a file or folder in it cannot be read.
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
            let tag = format!("\"{}\"", short(content.as_ref())).parse().expect("a quoted digest is an entity tag");
            let (modified, length) = (metadata.modified()?.into(), ContentLength(bytes.len() as u64));
            files.insert(name, FileEntry { tag, modified, length });
        }
        Ok(Self { files, digest: short(whole.finish().as_ref()) })
    }

    /// The prefix of the immutable URLs; empty if the site has no files.
    pub(super) fn base(&self) -> String {
        if self.files.is_empty() { String::new() } else { format!("/static/{}", self.digest) }
    }

    /// The paths of the scripts in one of the folders, sorted.
    pub(super) fn scripts(&self, folder: &str) -> Vec<String> {
        let is_script = |path: &&String| Path::new(path).parent() == Some(Path::new(folder)) && path.ends_with(".js");
        let mut scripts: Vec<_> = self.files.keys().filter(is_script).cloned().collect();
        scripts.sort();
        scripts
    }

    /// The entity tag of the file in a response, unless the file has changed since the server started.
    fn tag(&self, path: &str, response: &HeaderMap) -> Option<&ETag> {
        let encoding = response.typed_get::<ContentEncoding>();
        let is_encoded = |name| encoding.as_ref().is_some_and(|encoding| encoding.contains(name));
        let suffix = if is_encoded("br") {
            ".br"
        } else if is_encoded("gzip") {
            ".gz"
        } else {
            ""
        };
        let file = self.files.get(&format!("{}{suffix}", path.trim_start_matches('/')))?;
        let is_unchanged = response.typed_get() == Some(file.modified) && response.typed_get() == Some(file.length);
        is_unchanged.then_some(&file.tag)
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

/// The first half of a digest as hexadecimal digits. That is enough, because the files are not chosen by an attacker.
fn short(digest: &[u8]) -> String {
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the cache headers to a file, and responds 304 if the browser has the file already.
pub(super) async fn cache_headers(State(folder): State<Folder>, mut request: Request, next: Next) -> Response {
    let (path, is_read) = (request.uri().path().to_owned(), matches!(*request.method(), Method::GET | Method::HEAD));
    let headers = request.headers_mut();
    let cached = headers.typed_get::<IfNoneMatch>().filter(|_| is_read);
    // RFC 9110, 13.1.3: If-None-Match takes precedence. The date of an immutable file does not matter at all.
    if headers.contains_key(IF_NONE_MATCH) || folder.is_versioned {
        headers.remove(IF_MODIFIED_SINCE);
    }
    // A conditional range gets the whole file, which is always correct.
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
    // A file that was replaced while the server runs does not match the digest in its URL.
    let is_immutable = folder.is_versioned && tag.is_some();
    headers.insert(CACHE_CONTROL, if is_immutable { IMMUTABLE } else { REVALIDATE });
    let Some(tag) = tag else { return response };
    headers.typed_insert(tag.clone());
    if cached.is_some_and(|cached| !cached.precondition_passes(tag)) {
        headers.remove(CONTENT_LENGTH);
        headers.remove(CONTENT_ENCODING);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_depends_on_content_and_names_but_not_on_folder() {
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
        assert_ne!(read(&one).digest, after.digest, "the digest covers the names");
    }
}
