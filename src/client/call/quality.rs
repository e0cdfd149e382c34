//! How much is sent, and how well it arrives. Pure.

/// What a camera or a screen is sent as, to each of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoding {
    /// How many times smaller than it was captured.
    pub scale_down: f64,
    /// Frames a second at most.
    pub frame_rate: f64,
    /// Bits a second at most.
    pub bit_rate: u32,
}

/// What to send when so many others are in the call: each gets a copy of its own, encoded by this
/// machine, so there is less for each the more there are. Cameras are captured at 1280 × 720.
pub fn encoding(others: usize, screen: bool) -> Encoding {
    let (scale_down, frame_rate, bit_rate) = match (screen, others) {
        (false, 0..=1) => (1.0, 30.0, 1_700_000),
        (false, 2) => (1.5, 25.0, 900_000),
        (false, 3) => (2.0, 20.0, 500_000),
        (false, _) => (3.0, 15.0, 250_000),
        // A screen stays sharp: text must be read. It moves less instead.
        (true, 0..=1) => (1.0, 15.0, 2_500_000),
        (true, 2..=3) => (1.0, 8.0, 1_200_000),
        (true, _) => (1.0, 5.0, 800_000),
    };
    Encoding { scale_down, frame_rate, bit_rate }
}

/// What was counted of a connection up to now (W3C WebRTC Statistics).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    /// Round trip of the pair in use, seconds.
    pub round_trip: Option<f64>,
    /// Packets that came.
    pub received: u64,
    /// Packets that did not.
    pub lost: u64,
    /// Of the picture that comes in: width and height.
    pub size: Option<(u32, u32)>,
    /// Of the picture that comes in: frames a second.
    pub frame_rate: Option<f64>,
    /// Whether it goes through a TURN server.
    pub relayed: bool,
}

/// How well a connection works.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Round trip, milliseconds.
    pub round_trip_ms: Option<u32>,
    /// Packets lost of a hundred, since the last look.
    pub lost_percent: f64,
    /// Width and height of the picture.
    pub size: Option<(u32, u32)>,
    /// Frames a second.
    pub frame_rate: Option<u32>,
    /// Whether it goes through a TURN server.
    pub relayed: bool,
}

impl Counters {
    /// What happened since an earlier look.
    pub fn since(&self, earlier: &Self) -> Quality {
        let received = self.received.saturating_sub(earlier.received);
        let lost = self.lost.saturating_sub(earlier.lost);
        let lost_percent = if lost == 0 { 0.0 } else { 100.0 * lost as f64 / (lost + received) as f64 };
        Quality {
            round_trip_ms: self.round_trip.map(|seconds| (seconds * 1_000.0).round() as u32),
            lost_percent,
            size: self.size,
            frame_rate: self.frame_rate.map(|rate| rate.round() as u32),
            relayed: self.relayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_there_are_the_less_is_sent_in_all() {
        let pixels = |others: usize| {
            let Encoding { scale_down, frame_rate, .. } = encoding(others, false);
            others as f64 * 1280.0 * 720.0 * frame_rate / (scale_down * scale_down)
        };
        let bits = |others: usize| others as u32 * encoding(others, false).bit_rate;
        for others in 2..=5 {
            assert!(pixels(others) <= pixels(1), "{others}: the encoder has no more to do than for one");
            assert!(bits(others) <= 2_000_000, "{others}: a home's uplink carries it");
        }
    }

    #[test]
    fn a_screen_is_never_made_smaller() {
        assert!((0..6).all(|others| encoding(others, true).scale_down == 1.0));
    }

    #[test]
    fn loss_is_of_what_was_sent_since_the_last_look() {
        let earlier = Counters { received: 1_000, lost: 900, ..Counters::default() };
        let now = Counters { received: 1_090, lost: 910, round_trip: Some(0.0421), ..Counters::default() };
        let quality = now.since(&earlier);
        assert_eq!((quality.lost_percent, quality.round_trip_ms), (10.0, Some(42)));
        assert_eq!(earlier.since(&earlier).lost_percent, 0.0);
        // A connection that was made anew counts from nothing.
        assert_eq!(earlier.since(&now).lost_percent, 0.0);
    }
}
