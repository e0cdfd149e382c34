//! Validation of session descriptions and ICE candidates before they are passed to another peer's browser. The parser is
//! Firefox's. Pure.

use std::panic::catch_unwind;

use webrtc_sdp::attribute_type::{SdpAttribute, parse_attribute};
use webrtc_sdp::{SdpType, parse_sdp};

use crate::protocol::call::{Candidate, Description, DescriptionKind};
use crate::protocol::{ErrorCode, MAX_CANDIDATE_BYTES, MAX_SDP_BYTES};

/// The most media sections. Browsers offer a handful.
const MAX_MEDIA: usize = 64;

/// Validates a description that is sent as an `offer` or as an `answer`.
///
/// # Errors
/// `SDP_TOO_LARGE` above [`MAX_SDP_BYTES`], `SDP_INVALID`.
pub fn check_description(description: &Description, sent_as: DescriptionKind) -> Result<(), ErrorCode> {
    let text = &description.sdp;
    if text.len() > MAX_SDP_BYTES {
        return Err(ErrorCode::SdpTooLarge);
    }
    if description.kind != sent_as || text.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n')) {
        return Err(ErrorCode::SdpInvalid);
    }
    // Untrusted text in a third-party parser: a panic there refuses this frame only.
    let parsed = catch_unwind(|| parse_sdp(text, false));
    match parsed {
        Ok(Ok(session)) if session.media.len() <= MAX_MEDIA => Ok(()),
        _ => Err(ErrorCode::SdpInvalid),
    }
}

/// Validates a candidate. An empty line means that there are no more for its media section (RFC 8838).
///
/// # Errors
/// `SDP_TOO_LARGE` above [`MAX_CANDIDATE_BYTES`], `SDP_INVALID`.
pub fn check_candidate(candidate: &Candidate) -> Result<(), ErrorCode> {
    let line = candidate.candidate.as_str();
    let mid = candidate.sdp_mid.as_deref().unwrap_or_default();
    if line.len() > MAX_CANDIDATE_BYTES || mid.len() > MAX_CANDIDATE_BYTES {
        return Err(ErrorCode::SdpTooLarge);
    }
    let index_fits = candidate.sdp_m_line_index.is_none_or(|index| index < MAX_MEDIA as u64);
    if !index_fits || line.chars().chain(mid.chars()).any(char::is_control) {
        return Err(ErrorCode::SdpInvalid);
    }
    if line.is_empty() {
        return Ok(());
    }
    let parsed = catch_unwind(|| parse_attribute(line));
    match parsed {
        Ok(Ok(SdpType::Attribute(SdpAttribute::Candidate(_)))) => Ok(()),
        _ => Err(ErrorCode::SdpInvalid),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The shape of what Chromium offers for a data channel, shortened.
    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\na=ice-options:trickle\r\n\
        a=fingerprint:sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\n\
        a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

    fn offer(sdp: impl Into<String>) -> Description {
        Description { kind: DescriptionKind::Offer, sdp: sdp.into() }
    }

    fn candidate(line: &str) -> Candidate {
        Candidate { candidate: line.into(), sdp_mid: Some("0".into()), sdp_m_line_index: Some(0) }
    }

    #[test]
    fn only_valid_session_descriptions_pass() {
        let cases = [
            ("an offer", offer(OFFER), Ok(())),
            ("nothing", offer(""), Err(ErrorCode::SdpInvalid)),
            ("words", offer("hello"), Err(ErrorCode::SdpInvalid)),
            ("a page", offer("<script>alert(1)</script>"), Err(ErrorCode::SdpInvalid)),
            ("a control", offer(format!("{OFFER}a=x:\0\r\n")), Err(ErrorCode::SdpInvalid)),
            ("no version", offer(&OFFER[5..]), Err(ErrorCode::SdpInvalid)),
            ("too long", offer(OFFER.repeat(100)), Err(ErrorCode::SdpTooLarge)),
            ("an answer", Description { kind: DescriptionKind::Answer, sdp: OFFER.into() }, Err(ErrorCode::SdpInvalid)),
        ];
        for (case, description, expected) in cases {
            assert_eq!(check_description(&description, DescriptionKind::Offer), expected, "{case}");
        }
    }

    /// Other stacks write these, and browsers accept them.
    #[test]
    fn unusual_but_valid_session_descriptions_pass() {
        let changed = |from: &str, to: &str| OFFER.replace(from, to);
        let cases = [
            ("line feeds only", OFFER.replace('\r', "")),
            ("no line end at the end", OFFER.trim_end().to_owned()),
            ("unknown attributes", format!("{OFFER}a=x-vendor:1 2 3\r\na=x-flag\r\n")),
            ("capital hash name", changed("sha-256", "SHA-256")),
            (
                "two fingerprints",
                changed(
                    "a=setup",
                    "a=fingerprint:sha-1 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD\r\na=setup",
                ),
            ),
            (
                "ICE at session level",
                changed("a=group:BUNDLE 0\r\n", "a=ice-lite\r\na=ice-options:ice2\r\na=group:BUNDLE 0\r\n"),
            ),
            (
                "the old data channel format",
                changed("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
                    .replace("a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 1024"),
            ),
            (
                "a rejected section",
                format!("{OFFER}m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:1\r\n"),
            ),
            (
                "a bundled section",
                format!(
                    "{OFFER}m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=bundle-only\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\n"
                ),
            ),
            (
                "bandwidth and telephone events",
                format!(
                    "{OFFER}m=audio 9 UDP/TLS/RTP/SAVPF 111 101\r\nc=IN IP4 0.0.0.0\r\nb=AS:128\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
                ),
            ),
            (
                "candidates and their end",
                format!(
                    "{OFFER}a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host\r\na=candidate:2 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active\r\na=end-of-candidates\r\n"
                ),
            ),
        ];
        for (case, sdp) in cases {
            assert_eq!(check_description(&offer(sdp), DescriptionKind::Offer), Ok(()), "{case}");
        }
    }

    #[test]
    fn only_valid_candidates_pass() {
        let valid = [
            "",
            "candidate:1 1 udp 2122260223 192.168.1.7 50000 typ host generation 0 ufrag abcd network-id 1",
            "candidate:1 1 UDP 2122252543 0b7f9d3e-3c4b-4d9f-9b0e-6a7b8c9d0e1f.local 50000 typ host",
            "candidate:2 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
            "candidate:3 1 udp 41885439 203.0.113.9 60000 typ relay raddr 192.0.2.1 rport 5000",
        ];
        for line in valid {
            assert_eq!(check_candidate(&candidate(line)), Ok(()), "{line}");
        }
        let invalid = ["x", "candidate:", "candidate:1 1 udp", "rtcp:9", "candidate:1 1 udp 1 ::1 1 typ host\r\na=x"];
        for line in invalid {
            assert_eq!(check_candidate(&candidate(line)), Err(ErrorCode::SdpInvalid), "{line}");
        }
        assert_eq!(check_candidate(&candidate(&"x".repeat(2_000))), Err(ErrorCode::SdpTooLarge));
    }

    proptest! {
        #[test]
        fn no_text_panics_the_parser(text in ".{0,200}", at in 0..OFFER.len(), cut: prop::sample::Index) {
            let _ = check_description(&offer(text.clone()), DescriptionKind::Offer);
            let _ = check_candidate(&candidate(&text));
            let _ = check_candidate(&candidate(&format!("candidate:{text}")));
            let mut mixed = OFFER.to_owned();
            mixed.replace_range(at.min(cut.index(OFFER.len()))..at, &text);
            let _ = check_description(&offer(mixed), DescriptionKind::Offer);
        }
    }
}
