//! Changes of the network, as browsers report them (Network Information API, `online` events), and when they are worth
//! an ICE restart. Pure.
//!
//! Chromium reports a change whenever its estimate of the bandwidth moves. A path that breaks is noticed by its peer
//! connection, too, but some seconds later.

/// The shortest time between two ICE restarts because of a changed network.
const RESTART_INTERVAL_MS: u64 = 5_000;

/// A report of the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkEvent {
    /// There is a network again.
    Online,
    /// Something about the network has changed. The kind of network (`wifi`, `cellular` and others) is `None` in
    /// browsers that do not tell it.
    Changed(Option<String>),
}

/// Decides when to restart ICE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NetworkWatch {
    kind: Option<String>,
    restarted_at: Option<u64>,
    restart_at: Option<u64>,
}

impl NetworkWatch {
    /// Starts with the present kind of network.
    pub(super) fn new(kind: Option<String>) -> Self {
        Self { kind, restarted_at: None, restart_at: None }
    }

    /// Takes a report into account.
    pub(super) fn handle(&mut self, now: u64, event: NetworkEvent) {
        let is_other_network = match event {
            NetworkEvent::Online => true,
            NetworkEvent::Changed(kind) => {
                // Between two networks there may be none.
                let is_other = kind.is_some() && kind != self.kind && kind.as_deref() != Some("none");
                self.kind = kind;
                is_other
            }
        };
        if is_other_network {
            let earliest = self.restarted_at.map_or(now, |at| now.max(at + RESTART_INTERVAL_MS));
            self.restart_at.get_or_insert(earliest);
        }
    }

    /// Returns whether ICE is to be restarted now.
    pub(super) fn is_restart_due(&mut self, now: u64) -> bool {
        let is_due = self.restart_at.take_if(|at| *at <= now).is_some();
        if is_due {
            self.restarted_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(kind: Option<&str>) -> NetworkEvent {
        NetworkEvent::Changed(kind.map(str::to_owned))
    }

    /// The number of restarts within a minute of ticks, with an event at each time.
    fn restarts(mut watch: NetworkWatch, mut events: Vec<(u64, NetworkEvent)>) -> usize {
        let mut restarts = 0;
        for now in (0..60_000).step_by(150) {
            events.extract_if(.., |(at, _)| *at <= now).for_each(|(_, event)| watch.handle(now, event));
            restarts += usize::from(watch.is_restart_due(now));
        }
        restarts
    }

    #[test]
    fn changed_bandwidth_estimate_restarts_nothing() {
        for kind in [None, Some("wifi")] {
            let events = (0..20).map(|n| (n * 100, changed(kind))).collect();
            assert_eq!(restarts(NetworkWatch::new(kind.map(str::to_owned)), events), 0);
        }
    }

    #[test]
    fn another_kind_of_network_restarts_once() {
        let wifi = NetworkWatch::new(Some("wifi".into()));
        let events = vec![(0, changed(Some("cellular"))), (200, changed(Some("cellular")))];
        assert_eq!(restarts(wifi.clone(), events), 1);
        let through_none = vec![(0, changed(Some("none"))), (1_000, changed(Some("cellular")))];
        assert_eq!(restarts(wifi, through_none), 1);
    }

    #[test]
    fn flapping_network_restarts_at_most_every_five_seconds_and_once_at_its_end() {
        let events = (0..100).map(|n| (n * 100, NetworkEvent::Online)).collect();
        assert_eq!(restarts(NetworkWatch::default(), events), 3, "at 0, 5 and 10 s");
    }
}
