//! The browser's key-value storage (HTML Living Standard, 12). It may be full, or forbidden by the user. A write may be
//! lost then, and a read finds nothing.

use leptos::prelude::window;

/// A storage area of this origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Shared by all tabs, and kept when they are closed.
    Local,
    /// Of one tab. It survives a reload of the page.
    Session,
}

impl Storage {
    pub(crate) fn get(self, key: &str) -> Option<String> {
        self.area()?.get_item(key).ok()?
    }

    /// Returns whether the value was stored.
    pub(crate) fn set(self, key: &str, value: &str) -> bool {
        self.area().is_some_and(|area| area.set_item(key, value).is_ok())
    }

    pub(crate) fn remove(self, key: &str) {
        if let Some(area) = self.area() {
            // Fails only where storage is forbidden, and nothing is stored then.
            let _ = area.remove_item(key);
        }
    }

    /// The keys with this prefix, sorted.
    pub(crate) fn keys(self, prefix: &str) -> Vec<String> {
        let Some(area) = self.area() else { return Vec::new() };
        let key = |index| area.key(index).ok()?.filter(|key| key.starts_with(prefix));
        let mut keys: Vec<_> = (0..area.length().unwrap_or(0)).filter_map(key).collect();
        keys.sort();
        keys
    }

    fn area(self) -> Option<web_sys::Storage> {
        match self {
            Self::Local => window().local_storage().ok()?,
            Self::Session => window().session_storage().ok()?,
        }
    }
}
