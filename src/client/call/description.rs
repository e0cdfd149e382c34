//! Candidates inside session descriptions (RFC 8839, 5.1). Pure.

use crate::protocol::call::Candidate;

/// A description and the candidates that were taken out of it.
#[derive(Debug, PartialEq)]
pub(super) struct Split {
    pub(super) sdp: String,
    pub(super) candidates: Vec<Candidate>,
}

/// Takes the candidates out of a description, to send them one by one.
pub(super) fn without_candidates(sdp: &str) -> Split {
    let mut split = Split { sdp: String::with_capacity(sdp.len()), candidates: Vec::new() };
    // The media section, from its first line on; its `mid` may follow its candidates.
    let mut section: Option<u64> = None;
    let mut mids: Vec<Option<String>> = Vec::new();
    for line in sdp.split_inclusive('\n') {
        let text = line.trim_end();
        if text.starts_with("m=") {
            section = Some(section.map_or(0, |index| index + 1));
            mids.push(None);
        }
        if let (Some(mid), Some(last)) = (text.strip_prefix("a=mid:"), mids.last_mut()) {
            *last = Some(mid.to_owned());
        }
        match text.strip_prefix("a=").filter(|attribute| attribute.starts_with("candidate:")) {
            Some(candidate) => split.candidates.push(Candidate {
                candidate: candidate.to_owned(),
                sdp_mid: None,
                sdp_m_line_index: section,
            }),
            None if text == "a=end-of-candidates" => {}
            None => split.sdp.push_str(line),
        }
    }
    for candidate in &mut split.candidates {
        let index = candidate.sdp_m_line_index.and_then(|index| usize::try_from(index).ok());
        candidate.sdp_mid = index.and_then(|index| mids.get(index).cloned()).flatten();
    }
    split
}

/// Returns whether a description contains a candidate, or, for `None` and an empty line, that there are no more.
pub(super) fn is_described(sdp: &str, candidate: Option<&Candidate>) -> bool {
    let line = candidate.map(|candidate| candidate.candidate.as_str()).filter(|line| !line.is_empty());
    let attribute = line.unwrap_or("end-of-candidates");
    sdp.lines().any(|text| text.strip_prefix("a=") == Some(attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n\
        a=mid:a\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\na=candidate:2 1 udp 1 192.0.2.2 6 typ host\r\n\
        a=end-of-candidates\r\n";

    fn candidate(line: &str, mid: &str, index: u64) -> Candidate {
        Candidate { candidate: line.into(), sdp_mid: Some(mid.into()), sdp_m_line_index: Some(index) }
    }

    #[test]
    fn candidates_are_taken_out_with_their_media_sections() {
        let split = without_candidates(SDP);
        assert_eq!(
            split.candidates,
            [
                candidate("candidate:1 1 udp 1 192.0.2.1 5 typ host", "a", 0),
                candidate("candidate:2 1 udp 1 192.0.2.2 6 typ host", "v", 1),
            ]
        );
        let rest =
            "v=0\r\ns=-\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n";
        assert_eq!(split.sdp, rest);
        assert_eq!(without_candidates(rest), Split { sdp: rest.into(), candidates: vec![] });
    }

    #[test]
    fn described_candidates_need_no_signal() {
        let known = candidate("candidate:2 1 udp 1 192.0.2.2 6 typ host", "v", 1);
        assert!(is_described(SDP, Some(&known)) && is_described(SDP, None));
        assert!(is_described(SDP, Some(&candidate("", "v", 1))));
        let other = candidate("candidate:2 1 udp 1 192.0.2.2 66 typ host", "v", 1);
        assert!(!is_described(SDP, Some(&other)));
        let open = without_candidates(SDP).sdp;
        assert!(!is_described(&open, Some(&known)) && !is_described(&open, None));
    }
}
