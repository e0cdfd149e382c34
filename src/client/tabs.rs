//! Sharing of connections between the tabs of a browser.
//!
//! Over HTTP/1.1 a browser opens at most six connections to a host, for all tabs together. An event stream occupies one
//! for as long as it is open, so the streams of six tabs would block every further request: pages do not load, messages
//! are not sent. Therefore at most three tabs keep a stream. They agree over a `BroadcastChannel`: each announces its
//! stream, and the tab that was looked at least recently yields. A WebSocket does not count towards that limit, and
//! neither does a stream over HTTP/2.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use leptos::prelude::{document, window};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{BroadcastChannel, MessageEvent};

use super::event_listener::EventListener;
use super::timer::now;

/// The tabs that may have a stream at the same time. The other half of the connections is left for requests.
const MAX_STREAMS: usize = 3;
/// A stream is announced again after this time: its tab is still there.
const ANNOUNCE_MS: u64 = 50_000;
/// A stream that was not announced for this time is gone. Timers of hidden tabs may be delayed by a minute.
const FORGET_MS: u64 = 180_000;

/// This tab's announcements, and those of the others.
pub(super) struct Tabs {
    /// `None`: nothing needs to be shared.
    channel: Option<BroadcastChannel>,
    incoming: UnboundedReceiver<String>,
    id: u64,
    claims: Claims,
    /// The last announcement and its time, while this tab has a stream.
    announced: Option<(Rank, u64)>,
    _listeners: Option<[EventListener; 3]>,
}

impl Tabs {
    pub(super) fn new(id: u64) -> Self {
        let (sender, incoming) = unbounded();
        let channel = if is_multiplexed() { None } else { BroadcastChannel::new("noom.event-streams").ok() };
        let listeners = channel.as_ref().map(|channel| {
            let of_others = EventListener::new(channel, "message", {
                let sender = sender.clone();
                move |event| {
                    let data = event.dyn_ref::<MessageEvent>().and_then(|event| event.data().as_string());
                    let _ = sender.unbounded_send(data.unwrap_or_default());
                }
            });
            // An empty message wakes this tab up, to announce that it is looked at or hidden.
            let shown = EventListener::new(&document(), "visibilitychange", move |_| {
                let _ = sender.unbounded_send(String::new());
            });
            let leaving = EventListener::new(&window(), "pagehide", {
                let channel = channel.clone();
                move |_| drop(channel.post_message(&JsValue::from(Claims::release(id))))
            });
            [of_others, shown, leaving]
        });
        Self { channel, incoming, id, claims: Claims::default(), announced: None, _listeners: listeners }
    }

    /// This tab opens a stream.
    pub(super) fn open(&mut self) {
        self.announce(Rank::current());
    }

    /// This tab has no stream any more.
    pub(super) fn close(&mut self) {
        if self.announced.take().is_some() {
            self.post(&Claims::release(self.id));
        }
    }

    /// Announces the stream again when that is due.
    pub(super) fn tick(&mut self) {
        if let Some((rank, _)) = self.announced.filter(|(_, at)| now() >= at + ANNOUNCE_MS) {
            self.announce(rank);
        }
    }

    /// Completes when this tab must give up its stream.
    pub(super) async fn must_yield(&mut self) {
        while let Some(text) = self.incoming.next().await {
            let is_new = self.claims.heard(&text, now());
            let Some((rank, _)) = self.announced else { continue };
            if is_new || text.is_empty() {
                // The newcomer must learn about this tab; all must learn that it was shown or hidden.
                self.announce(if text.is_empty() { Rank::current() } else { rank });
            }
            let Some((rank, _)) = self.announced else { continue };
            if self.claims.must_yield(rank, self.id, now()) {
                return;
            }
        }
        futures::future::pending().await
    }

    fn announce(&mut self, rank: Rank) {
        self.announced = Some((rank, now()));
        self.post(&Claims::announcement(self.id, rank));
    }

    fn post(&self, text: &str) {
        if let Some(channel) = &self.channel {
            let _ = channel.post_message(&JsValue::from(text));
        }
    }
}

/// Returns whether requests to the server share one connection (HTTP/2 and later).
fn is_multiplexed() -> bool {
    let page = window().performance().map(|performance| performance.get_entries_by_type("navigation").get(0));
    let protocol = page.and_then(|page| js_sys::Reflect::get(&page, &"nextHopProtocol".into()).ok()?.as_string());
    protocol.is_some_and(|protocol| protocol.starts_with("h2") || protocol.starts_with("h3"))
}

/// The order in which tabs keep their stream: those in view first, then by the time they were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_shown: bool,
    /// Milliseconds of the wall clock, which all tabs share.
    at: u64,
}

impl Rank {
    fn current() -> Self {
        Self { is_shown: !document().hidden(), at: js_sys::Date::now() as u64 }
    }
}

/// The streams of the other tabs, each with the time of the last announcement. Pure.
#[derive(Debug, Default)]
struct Claims(BTreeMap<u64, (Rank, u64)>);

impl Claims {
    fn announcement(id: u64, Rank { is_shown, at }: Rank) -> String {
        format!("{id} {} {at}", u8::from(is_shown))
    }

    fn release(id: u64) -> String {
        id.to_string()
    }

    /// Another tab has announced or released a stream. Returns whether it was not known before.
    fn heard(&mut self, text: &str, now: u64) -> bool {
        let mut words = text.split(' ');
        let Some(id) = words.next().and_then(|id| id.parse().ok()) else { return false };
        let rank = words.next().zip(words.next());
        match rank.and_then(|(shown, at)| Some(Rank { is_shown: shown == "1", at: at.parse().ok()? })) {
            Some(rank) => self.0.insert(id, (rank, now)).is_none(),
            None => {
                self.0.remove(&id);
                false
            }
        }
    }

    /// Returns whether enough other tabs come before the one with this rank and id.
    fn must_yield(&mut self, rank: Rank, id: u64, now: u64) -> bool {
        self.0.retain(|_, (_, heard_at)| now < *heard_at + FORGET_MS);
        let before = self.0.iter().filter(|(other, (other_rank, _))| (*other_rank, **other) > (rank, id));
        before.count() >= MAX_STREAMS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(is_shown: bool, at: u64) -> Rank {
        Rank { is_shown, at }
    }

    #[test]
    fn tab_yields_when_three_others_were_looked_at_later() {
        let mut claims = Claims::default();
        assert!(claims.heard(&Claims::announcement(1, rank(false, 50)), 0));
        assert!(claims.heard(&Claims::announcement(2, rank(true, 10)), 0));
        assert!(!claims.heard(&Claims::announcement(2, rank(true, 60)), 0), "known already");
        assert!(claims.heard(&Claims::announcement(3, rank(false, 40)), 0));
        assert!(claims.must_yield(rank(false, 30), 9, 0));
        assert!(!claims.must_yield(rank(false, 45), 9, 0));
        assert!(!claims.must_yield(rank(true, 5), 9, 0), "in view");
        // A closed tab, and one that disappeared without a word.
        claims.heard(&Claims::release(2), 0);
        assert!(!claims.must_yield(rank(false, 30), 9, 0));
        claims.heard(&Claims::announcement(4, rank(false, 70)), FORGET_MS - 1);
        assert!(claims.must_yield(rank(false, 30), 9, FORGET_MS - 1));
        assert!(!claims.must_yield(rank(false, 30), 9, FORGET_MS));
        assert!(!claims.heard("", 0) && !claims.heard("nonsense 1 2", 0));
    }

    #[test]
    fn all_but_three_of_any_number_of_tabs_yield() {
        let ranks: Vec<_> = (0..10).map(|id| (id, rank(id % 4 == 0, 7 * id % 5))).collect();
        let yields = |own: u64| {
            let mut claims = Claims::default();
            for (id, rank) in ranks.iter().filter(|(id, _)| *id != own) {
                claims.heard(&Claims::announcement(*id, *rank), 0);
            }
            claims.must_yield(ranks[own as usize].1, own, 0)
        };
        assert_eq!((0..10).filter(|own| yields(*own)).count(), 7);
    }
}
