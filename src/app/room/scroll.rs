//! Scrolling of the log: it follows the newest message, or keeps what the reader sees in place.

use leptos::html::Div;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{Element, ResizeObserver};

use crate::app::room_context::RoomContext;
use crate::client::state::Older;

/// Up to this distance from the newest message the reader counts as being at it, in pixels.
const AT_BOTTOM: i32 = 48;
/// Messages are loaded this far before the reader reaches them, in pixels.
const LOAD_AHEAD: i32 = 800;

/// The scroll position of the log. A handle: copies refer to the same log.
#[derive(Clone, Copy)]
pub(super) struct Scroll {
    /// The scrolled element. Its first child holds the rows.
    pub(super) log: NodeRef<Div>,
    /// Messages that arrived below while the reader was further up.
    pub(super) unread: RwSignal<u64>,
    /// Changes when the log was scrolled.
    pub(super) moved: Trigger,
    room: RoomContext,
    at_bottom: RwSignal<bool>,
    anchor: StoredValue<Option<Anchor>>,
}

/// Scroll anchor: the first row in view, which stays in place while rows are added below it.
#[derive(Clone)]
struct Anchor {
    /// Finds the row again.
    selector: String,
    /// Its distance from the end of the list, in pixels.
    above_end: f64,
    /// The scroll position at that time.
    scroll_top: i32,
}

impl Scroll {
    /// Follows the room, unless its page starts at another message than the newest.
    pub(super) fn new(room: RoomContext) -> Self {
        let this = Self {
            log: NodeRef::new(),
            unread: RwSignal::new(0),
            moved: Trigger::new(),
            room,
            at_bottom: RwSignal::new(room.state.in_view.get_value().is_none()),
            anchor: StoredValue::new(None),
        };
        this.follow();
        this
    }

    fn follow(self) {
        let state = self.room.state;
        // The browser may have scrolled to a message that the address links to, before this script ran.
        Effect::new(move |_| {
            if self.log.get().is_some_and(|log| log.scroll_top() != 0) {
                self.scrolled();
            }
        });
        // Rows added below must not move what the reader sees further up. Neither must a chunk that is rendered for
        // the first time and turns out higher or lower than estimated. Observers run between layout and paint.
        Effect::new(move |_| {
            if let Some(rows) = self.log.get().and_then(|log| log.first_element_child()) {
                // What the reader scrolled was reported earlier in this frame.
                on_resize(&rows, move || self.keep_anchor(|_, anchor| anchor.scroll_top));
            }
        });
        Effect::new(move |before: Option<u64>| {
            let arrived = state.arrived.get();
            if !self.at_bottom.get_untracked() {
                self.unread.update(|unread| *unread += arrived - before.unwrap_or(arrived));
            }
            arrived
        });
        // The user's own message is always shown.
        Effect::new(move |before: Option<usize>| {
            let pending = state.pending.with(Vec::len);
            if before.is_some_and(|before| pending > before) {
                self.on_next_frame(Self::show_newest);
            }
            pending
        });
        // A log that does not fill the screen cannot be scrolled, so nothing else would load older messages.
        Effect::new(move |_| {
            if state.older.get() == Older::More {
                self.on_next_frame(Self::load_if_near_top);
            }
        });
    }

    fn on_next_frame(self, act: fn(Self)) {
        request_animation_frame(move || {
            let page_is_open = self.anchor.try_with_value(|_| ()).is_some();
            if page_is_open {
                act(self);
            }
        });
    }

    /// Handles a scroll event.
    pub(super) fn scrolled(self) {
        let Some(log) = self.log.get_untracked() else { return };
        // Rows that were added in this frame are still measured against the old anchor.
        self.keep_anchor(|log, anchor| {
            // The browser limits the position to a list that became shorter. That is not the reader's scrolling.
            let was_limited = anchor.scroll_top.abs() > log.scroll_height() - log.client_height();
            if was_limited { anchor.scroll_top } else { log.scroll_top() }
        });
        let at_bottom = log.scroll_top().abs() < AT_BOTTOM;
        if at_bottom {
            self.unread.set(0);
        }
        self.at_bottom.set(at_bottom);
        self.set_anchor();
        self.load_if_near_top();
        self.load_if_near_gap();
        self.moved.notify();
    }

    /// Returns whether the newest message is in view. Tracked.
    pub(super) fn is_at_bottom(self) -> bool {
        self.at_bottom.get()
    }

    /// Returns whether a message is above what is in view.
    pub(super) fn is_above(self, seq: u64) -> bool {
        let Some(log) = self.log.try_get_untracked().flatten() else { return false };
        let message = log.query_selector(&format!("#m{seq}")).ok().flatten();
        message.is_some_and(|row| row.get_bounding_client_rect().top() < log.get_bounding_client_rect().top())
    }

    /// Scrolls to the newest message.
    pub(super) fn show_newest(self) {
        if let Some(log) = self.log.get_untracked() {
            log.set_scroll_top(0);
        }
        // Set before the browser reports the scroll: otherwise rows added in this frame would be scrolled away from.
        self.at_bottom.set(true);
        self.room.state.reading.set_value(None);
        self.room.state.in_view.set_value(None);
        self.unread.set(0);
    }

    fn load_if_near_top(self) {
        let Some(log) = self.log.get_untracked() else { return };
        let above = log.scroll_height() - log.client_height() - log.scroll_top().abs();
        if above < LOAD_AHEAD {
            self.room.client.load_older(self.room.state);
        }
    }

    fn load_if_near_gap(self) {
        let Some(log) = self.log.get_untracked() else { return };
        let view = log.get_bounding_client_rect();
        let Ok(gaps) = log.query_selector_all("[data-missing-before]") else { return };
        for gap in (0..gaps.length()).filter_map(|index| gaps.get(index)?.dyn_into::<Element>().ok()) {
            let rect = gap.get_bounding_client_rect();
            let ahead = f64::from(LOAD_AHEAD);
            let is_near = rect.bottom() > view.top() - ahead && rect.top() < view.bottom() + ahead;
            let seq = |name| gap.get_attribute(name)?.parse().ok();
            let (Some(after), Some(before), true) = (seq("data-missing-after"), seq("data-missing-before"), is_near)
            else {
                continue;
            };
            let RoomContext { client, state, .. } = self.room;
            // The side from which the reader comes is loaded first.
            if rect.top() > view.top() + view.height() / 2.0 {
                client.load_missing_after(state, after, before);
            } else {
                client.load_missing(state, before);
            }
        }
    }

    fn set_anchor(self) {
        let (mut chunk_in_view, mut seq_in_view) = (None, None);
        let anchor = self.log.get_untracked().and_then(|log| {
            let row = first_in_view(&log)?;
            let selector = |name| row.get_attribute(name).map(|id| format!("[{name}=\"{id}\"]"));
            let selector = selector("data-row").or_else(|| selector("data-chunk"))?;
            seq_in_view = row.id().strip_prefix('m').and_then(|seq| seq.parse().ok());
            let chunk = row.closest("[data-chunk]").ok().flatten();
            chunk_in_view = chunk.and_then(|chunk| chunk.get_attribute("data-chunk")?.parse().ok());
            Some(Anchor { selector, above_end: above_end(&log, &row)?, scroll_top: log.scroll_top() })
        });
        self.anchor.set_value(anchor);
        let is_following = self.at_bottom.get_untracked();
        self.room.state.reading.set_value(chunk_in_view.filter(|_| !is_following));
        self.room.state.in_view.set_value(seq_in_view.filter(|_| !is_following));
    }

    /// Moves the anchor back to where it was. `from`: the scroll position to start from.
    fn keep_anchor(self, from: impl Fn(&Element, &Anchor) -> i32) {
        let Some(log) = self.log.get_untracked().filter(|_| !self.at_bottom.get_untracked()) else { return };
        let Some(anchor) = self.anchor.get_value() else { return };
        let row = log.query_selector(&anchor.selector).ok().flatten();
        if let Some(now) = row.and_then(|row| above_end(&log, &row)) {
            log.set_scroll_top(from(&log, &anchor) - (now - anchor.above_end).round() as i32);
            self.anchor.set_value(Some(Anchor { above_end: now, scroll_top: log.scroll_top(), ..anchor }));
        }
    }
}

/// Calls `act` whenever the size of the element changes, until the current owner is cleaned up.
fn on_resize(element: &Element, act: impl Fn() + 'static) {
    let callback = Closure::<dyn Fn()>::new(act);
    let Ok(observer) = ResizeObserver::new(callback.as_ref().unchecked_ref()) else { return };
    observer.observe(element);
    let held = StoredValue::new_local((observer, callback));
    on_cleanup(move || {
        held.try_with_value(|(observer, _)| observer.disconnect());
    });
}

/// The first row in view, or after a long jump the chunk whose rows are not rendered yet.
fn first_in_view(log: &Element) -> Option<Element> {
    let view = log.get_bounding_client_rect();
    let middle = (view.left() + view.width() / 2.0) as f32;
    let at = |down: f64, what| document().element_from_point(middle, (view.top() + down) as f32)?.closest(what).ok()?;
    // The margin between two rows, and the beginning of the room, are not a part of any row. Points further down are tried
    // too.
    let row = [4.0, 24.0, 48.0, 96.0, 192.0].into_iter().find_map(|down| at(down, "[data-row]"));
    row.or_else(|| at(4.0, "[data-chunk]"))
}

/// The distance from the end of a row to the end of the list. Neither scrolling nor older rows change it.
fn above_end(log: &Element, row: &Element) -> Option<f64> {
    let rows = log.first_element_child()?;
    Some(rows.get_bounding_client_rect().bottom() - row.get_bounding_client_rect().bottom())
}
