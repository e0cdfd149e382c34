//! Posted messages that are not stored by the server yet, in `localStorage`, where a reload does not lose them.
//!
//! Each message is one entry. `localStorage` is synchronous: a message is stored when the call returns, even if the
//! page is closed in the same moment. A transaction of IndexedDB does not promise that, and the few messages of a user
//! without a connection need no database. All tabs share the entries, so two tabs may send the same message; its key
//! makes that idempotent.

use super::session::UnsentMessage;
use super::storage::Storage;
use crate::protocol::{FromJson, Json, MessageKey, Reading};

/// An entry's name is this prefix, the time, so that names sort in the order of posting, and the message's key.
const PREFIX: &str = "noom.unsent.";

/// Stores a message, unless it is stored already.
pub(super) fn store(post: &UnsentMessage) {
    if find(post.key).is_some() {
        return;
    }
    // 13 digits of milliseconds suffice until the year 2286.
    let name = format!("{PREFIX}{:013}.{}", js_sys::Date::now(), post.key);
    let text = serde_json::to_string(post).expect("a post has no map keys and no I/O that could fail");
    // If storage is full or forbidden, the message is sent all the same, and lost only if the page is closed before.
    Storage::Local.set(&name, &text);
}

/// Removes a message.
pub(super) fn remove(key: MessageKey) {
    if let Some(name) = find(key) {
        Storage::Local.remove(&name);
    }
}

/// All stored messages, in the order in which they were posted.
pub(super) fn all() -> Vec<UnsentMessage> {
    let read = |name: &String| {
        // A newer version in another tab may write more fields.
        let reading = Reading::Tolerant;
        let post =
            Json::parse(&Storage::Local.get(name)?, reading).and_then(|json| UnsentMessage::from_json(json, reading));
        if post.is_err() {
            // Edited by hand.
            Storage::Local.remove(name);
        }
        post.ok()
    };
    Storage::Local.keys(PREFIX).iter().filter_map(read).collect()
}

fn find(key: MessageKey) -> Option<String> {
    let key = key.to_string();
    Storage::Local.keys(PREFIX).into_iter().find(|name| name.ends_with(&key))
}
