//! PNG (W3C PNG, third edition, section 5): chunks.

use super::bytes::{array, take};

const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Chunks that change how it is shown, beside the critical ones, whose names begin with a capital letter.
const NEEDED: &[[u8; 4]] = &[
    *b"acTL", *b"fcTL", *b"fdAT", *b"bKGD", *b"cHRM", *b"cICP", *b"cLLI", *b"gAMA", *b"iCCP", *b"mDCV", *b"pHYs",
    *b"sBIT", *b"sRGB", *b"tRNS",
];

pub(super) fn strip(content: &[u8]) -> Option<Vec<u8>> {
    let mut rest = content;
    let mut out = Vec::with_capacity(content.len());
    if array(&mut rest)? != SIGNATURE {
        return None;
    }
    out.extend(SIGNATURE);
    loop {
        let chunk = rest;
        let length = u32::from_be_bytes(array(&mut rest)?) as usize;
        let kind: [u8; 4] = array(&mut rest)?;
        take(&mut rest, length.checked_add(4)?)?;
        let is_critical = kind[0].is_ascii_uppercase();
        if is_critical || NEEDED.contains(&kind) {
            out.extend(&chunk[..12 + length]);
        }
        if &kind == b"IEND" {
            // Whatever follows is not shown.
            return Some(out);
        }
    }
}
