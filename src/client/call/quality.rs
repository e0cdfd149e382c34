//! The quality of calls: what is sent, and how well it arrives. Pure.

/// The encoding of a camera or screen, for each receiver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Encoding {
    /// The factor by which width and height are divided.
    pub(crate) scale_down: f64,
    /// Frames per second at most.
    pub(crate) frame_rate: f64,
    /// Bits per second at most.
    pub(crate) bit_rate: u32,
}

/// The encoding for a number of receivers. This machine encodes and uploads a copy for each of them, so each gets less
/// when there are more. Cameras capture 1280 × 720.
pub(crate) fn encoding(receivers: usize, screen: bool) -> Encoding {
    let (scale_down, frame_rate, bit_rate) = match (screen, receivers) {
        (false, 0..=1) => (1.0, 30.0, 1_700_000),
        (false, 2) => (1.5, 25.0, 900_000),
        (false, 3) => (2.0, 20.0, 500_000),
        (false, _) => (3.0, 15.0, 250_000),
        // A screen keeps its resolution, because text must stay readable. It gets fewer frames instead.
        (true, 0..=1) => (1.0, 15.0, 2_500_000),
        (true, 2..=3) => (1.0, 8.0, 1_200_000),
        (true, _) => (1.0, 5.0, 800_000),
    };
    Encoding { scale_down, frame_rate, bit_rate }
}

/// The statistics of a connection since it was opened (W3C Identifiers for WebRTC's Statistics API).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    /// Round trip time of the candidate pair in use, in seconds.
    pub(crate) round_trip: Option<f64>,
    /// Packets that have arrived.
    pub(crate) received: u64,
    /// Packets that were lost.
    pub(crate) lost: u64,
    /// Width and height of the received video.
    pub(crate) size: Option<(u32, u32)>,
    /// Frames per second of the received video.
    pub(crate) frame_rate: Option<f64>,
    /// True if a TURN server relays the connection.
    pub(crate) relayed: bool,
}

/// The quality of a connection over the latest interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quality {
    pub(crate) round_trip_ms: Option<u32>,
    /// Packet loss in percent.
    pub(crate) lost_percent: f64,
    /// Width and height of the received video.
    pub(crate) size: Option<(u32, u32)>,
    /// Frames per second of the received video.
    pub(crate) frame_rate: Option<u32>,
    /// True if a TURN server relays the connection.
    pub(crate) relayed: bool,
}

impl Counters {
    /// The quality since an earlier measurement.
    pub(crate) fn since(&self, earlier: &Self) -> Quality {
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
    fn total_encoding_load_does_not_grow_with_receivers() {
        let pixels = |receivers: usize| {
            let Encoding { scale_down, frame_rate, .. } = encoding(receivers, false);
            receivers as f64 * 1280.0 * 720.0 * frame_rate / (scale_down * scale_down)
        };
        let bits = |receivers: usize| receivers as u32 * encoding(receivers, false).bit_rate;
        for receivers in 2..=5 {
            assert!(pixels(receivers) <= pixels(1), "{receivers}: the encoder has no more work than for one receiver");
            assert!(bits(receivers) <= 2_000_000, "{receivers}: a home uplink is enough");
        }
    }

    #[test]
    fn screen_keeps_its_resolution() {
        assert!((0..6).all(|receivers| encoding(receivers, true).scale_down == 1.0));
    }

    #[test]
    fn packet_loss_is_measured_since_the_last_measurement() {
        let earlier = Counters { received: 1_000, lost: 900, ..Counters::default() };
        let now = Counters { received: 1_090, lost: 910, round_trip: Some(0.0421), ..Counters::default() };
        let quality = now.since(&earlier);
        assert_eq!((quality.lost_percent, quality.round_trip_ms), (10.0, Some(42)));
        assert_eq!(earlier.since(&earlier).lost_percent, 0.0);
        // A new connection counts from zero.
        assert_eq!(earlier.since(&now).lost_percent, 0.0);
    }
}
