//! Reads the browser's connection statistics (W3C Identifiers for WebRTC's Statistics API).

use js_sys::{Map, Reflect};

use crate::client::call::quality::Counters;

/// Sums a report up.
pub(super) fn counters(report: &Map) -> Counters {
    let mut counters = Counters::default();
    let mut candidates_in_use = Vec::new();
    let mut relay_candidates = Vec::new();
    report.for_each(&mut |entry, _| {
        let field = |name: &str| Reflect::get(&entry, &name.into()).unwrap_or_default();
        let text = |name: &str| field(name).as_string().unwrap_or_default();
        let number = |name: &str| field(name).as_f64();
        match text("type").as_str() {
            "candidate-pair" if field("nominated").is_truthy() && text("state") == "succeeded" => {
                counters.round_trip = number("currentRoundTripTime");
                candidates_in_use = vec![text("localCandidateId"), text("remoteCandidateId")];
            }
            "local-candidate" | "remote-candidate" if text("candidateType") == "relay" => {
                relay_candidates.push(text("id"));
            }
            "inbound-rtp" => {
                counters.received += number("packetsReceived").unwrap_or_default() as u64;
                counters.lost += number("packetsLost").unwrap_or_default().max(0.0) as u64;
                if let (Some(width), Some(height)) = (number("frameWidth"), number("frameHeight")) {
                    counters.size = Some((width as u32, height as u32));
                    counters.frame_rate = number("framesPerSecond");
                }
            }
            _ => {}
        }
    });
    counters.relayed = candidates_in_use.iter().any(|id| relay_candidates.contains(id));
    counters
}
