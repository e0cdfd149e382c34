//! The calls of other tabs of this browser. One person has one open microphone: the tab that joined last.

use std::fmt;

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{BroadcastChannel, MessageEvent};

use crate::client::event_listener::EventListener;

/// The channel between the tabs.
const CHANNEL: &str = "noom.call";

/// A tab's announcement that it has joined a call. Later ones are greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Joined {
    /// The time, in milliseconds of the clock that all tabs share.
    pub(super) at: u64,
    /// Distinguishes tabs.
    pub(super) tab: u64,
    /// The room of the call.
    pub(super) room: String,
}

impl fmt::Display for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.at, self.tab, self.room)
    }
}

impl Joined {
    fn parse(text: &str) -> Option<Self> {
        let (at, rest) = text.split_once(' ')?;
        let (tab, room) = rest.split_once(' ')?;
        Some(Self { at: at.parse().ok()?, tab: tab.parse().ok()?, room: room.to_owned() })
    }
}

/// Announces this tab's call to the other tabs, until it is dropped.
pub(super) struct OtherTabs {
    channel: BroadcastChannel,
    _listener: EventListener,
}

impl OtherTabs {
    /// Announces that this tab has joined a call in `room`. `on_later` is called when another tab joins one later.
    /// `None` in browsers without such a channel.
    pub(super) fn announce(room: String, on_later: impl Fn(Joined) + 'static) -> Option<Self> {
        let channel = BroadcastChannel::new(CHANNEL).ok()?;
        let mut tab = [0; 8];
        getrandom::fill(&mut tab).ok()?;
        let own = Joined { at: js_sys::Date::now() as u64, tab: u64::from_be_bytes(tab), room };
        let answers = Clone::clone(&channel);
        let text = JsValue::from_str(&own.to_string());
        let _ = channel.post_message(&text);
        let listener = EventListener::new(&channel, "message", move |event| {
            let Some(other) =
                event.unchecked_into::<MessageEvent>().data().as_string().as_deref().and_then(Joined::parse)
            else {
                return;
            };
            if other > own {
                on_later(other);
            } else {
                // The other tab has joined at the same time, and has not heard of this one.
                let _ = answers.post_message(&text);
            }
        });
        Some(Self { channel, _listener: listener })
    }
}

impl Drop for OtherTabs {
    fn drop(&mut self) {
        self.channel.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_read_back_and_ordered_by_time() {
        let first = Joined { at: 7, tab: 9, room: "book club".into() };
        assert_eq!(Joined::parse(&first.to_string()), Some(first.clone()));
        assert!(Joined { at: 8, tab: 1, room: "a".into() } > first);
        assert!(Joined { at: 7, tab: 10, room: "a".into() } > first);
        for text in ["", "7", "7 9", "x 9 a", "7 x a"] {
            assert_eq!(Joined::parse(text), None, "{text}");
        }
    }
}
