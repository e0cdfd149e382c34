//! JPEG (ITU-T T.81, annex B): segments, each with a marker.

use image::metadata::Orientation;

use super::bytes::{array, take};
use super::exif::exif;

const START: [u8; 2] = [0xff, 0xd8];
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const EXIF: u8 = 0xe1;

pub(super) fn strip(content: &[u8], orientation: Orientation) -> Option<Vec<u8>> {
    let mut rest = content;
    let mut out = Vec::with_capacity(content.len());
    if array(&mut rest)? != START {
        return None;
    }
    out.extend(START);
    if let Some(exif) = exif(orientation) {
        out.extend([0xff, EXIF, 0, (2 + 6 + exif.len()) as u8]);
        out.extend(b"Exif\0\0");
        out.extend(exif);
    }
    loop {
        let [0xff] = array(&mut rest)? else { return None };
        let mut marker = array::<1>(&mut rest)?[0];
        while marker == 0xff {
            // Fill bytes.
            marker = array::<1>(&mut rest)?[0];
        }
        match marker {
            // Whatever follows is not shown.
            END => {
                out.extend([0xff, END]);
                return Some(out);
            }
            // Markers without a segment.
            0x01 | 0xd0..=0xd7 => out.extend([0xff, marker]),
            _ => {
                let length = array(&mut rest)?;
                let segment = take(&mut rest, usize::from(u16::from_be_bytes(length)).checked_sub(2)?)?;
                if is_needed(marker, segment) {
                    out.extend([0xff, marker]);
                    out.extend(length);
                    out.extend(segment);
                }
            }
        }
        if marker == SCAN {
            let length = scan_length(rest)?;
            out.extend(take(&mut rest, length)?);
        }
    }
}

/// The length of entropy-coded data: up to a marker that is neither a stuffed byte nor a restart.
fn scan_length(rest: &[u8]) -> Option<usize> {
    let is_end = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    rest.windows(2).position(is_end)
}

/// Returns whether a segment is needed to show the picture.
fn is_needed(marker: u8, segment: &[u8]) -> bool {
    match marker {
        // JFIF, and the colour space of Adobe.
        0xe0 => segment.starts_with(b"JFIF\0"),
        0xee => segment.starts_with(b"Adobe"),
        0xe2 => segment.starts_with(b"ICC_PROFILE\0"),
        // Other application segments, and comments.
        0xe1..=0xef | 0xfe => false,
        _ => true,
    }
}
