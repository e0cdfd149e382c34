//! What was said and is not stored yet, kept where a reload of the page does not reach it.
//!
//! In `localStorage`, an entry a message: what is written there is there when the call returns, also
//! when the page is closed in the same moment, which a transaction of IndexedDB does not promise; and
//! the few messages of somebody without a connection need no database. Pages of one browser share
//! it: two may send the same message, which its key makes one.

use leptos::prelude::window;
use web_sys::Storage;

use crate::protocol::frame::Post;
use crate::protocol::{FromJson, Json, MessageKey};

/// Begins the names of entries; then comes the time, so that names sort, and the message's key.
const PREFIX: &str = "noom.unsent.";

/// Keeps a message, unless it is kept already.
pub(super) fn keep(post: &Post) {
    let Some(storage) = storage().filter(|storage| find(storage, post.key).is_none()) else { return };
    // 13 digits of milliseconds since 1970 last until 2286.
    let name = format!("{PREFIX}{:013}.{}", js_sys::Date::now(), post.key);
    // Full or forbidden: the message is sent all the same, and lost only if the page goes first.
    let _ = storage.set_item(&name, &serde_json::to_string(post).unwrap_or_default());
}

/// Keeps a message no more.
pub(super) fn forget(key: MessageKey) {
    if let Some(storage) = storage()
        && let Some(name) = find(&storage, key)
    {
        let _ = storage.remove_item(&name);
    }
}

/// All that is kept, in the order in which it was said.
pub(super) fn all() -> Vec<Post> {
    let Some(storage) = storage() else { return Vec::new() };
    let mut names = names(&storage);
    names.sort();
    let read = |name: &String| {
        let text = storage.get_item(name).ok()??;
        let post = Json::parse(&text).and_then(Post::from_json);
        if post.is_err() {
            // From another version, or from somebody who tried things.
            let _ = storage.remove_item(name);
        }
        post.ok()
    };
    names.iter().filter_map(read).collect()
}

fn storage() -> Option<Storage> {
    window().local_storage().ok()?
}

fn names(storage: &Storage) -> Vec<String> {
    let name = |index| storage.key(index).ok()?.filter(|name| name.starts_with(PREFIX));
    (0..storage.length().unwrap_or(0)).filter_map(name).collect()
}

fn find(storage: &Storage, key: MessageKey) -> Option<String> {
    let key = key.to_string();
    names(storage).into_iter().find(|name| name.ends_with(&key))
}
