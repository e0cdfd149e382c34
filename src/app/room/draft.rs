//! The text in the composer that is not sent yet, kept over a reload, a crash and a closed tab.
//!
//! Each tab has a draft of its own for each room, and all tabs share one: a tab that has not had a draft in the room
//! starts with the shared one. An empty draft of a tab is stored too, so that a tab that has sent its message does not
//! start with the text of another.

use crate::client::storage::Storage;

/// An entry's name is this prefix and the room's name.
const PREFIX: &str = "noom.draft.";
/// The longest draft that is kept, in bytes: longer than any message, and short enough to be stored at each keystroke.
const MAX_BYTES: usize = 64 * 1024;

/// The draft for a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    pub(super) room: &'a str,
}

impl Draft<'_> {
    /// The stored draft: this tab's, otherwise the shared one.
    pub(super) fn load(self) -> Option<String> {
        let key = self.key();
        Storage::Session.get(&key).or_else(|| Storage::Local.get(&key)).filter(|text| !text.is_empty())
    }

    /// Stores the text of this tab, which is shared from now on.
    pub(super) fn save(self, text: &str) {
        if text.trim().is_empty() {
            self.clear();
        } else if text.len() <= MAX_BYTES {
            // Where storage is full or forbidden, the draft lasts as long as the page.
            Storage::Session.set(&self.key(), text);
            Storage::Local.set(&self.key(), text);
        }
    }

    /// Shares the text again if no other tab does. A tab that closes leaves its draft to the next one this way.
    pub(super) fn leave(self, text: &str) {
        if Storage::Local.get(&self.key()).is_none() && !text.trim().is_empty() {
            self.save(text);
        }
    }

    /// Removes the draft of this tab, and the shared one if it is the same.
    pub(super) fn clear(self) {
        let key = self.key();
        let Some(own) = Storage::Session.get(&key).filter(|text| !text.is_empty()) else { return };
        Storage::Session.set(&key, "");
        if Storage::Local.get(&key) == Some(own) {
            Storage::Local.remove(&key);
        }
    }

    fn key(self) -> String {
        format!("{PREFIX}{}", self.room)
    }
}
