//! WebP (RFC 9649, section 2): chunks in a RIFF file.

use image::metadata::Orientation;

use super::bytes::{array, take};
use super::exif::exif;

/// Chunks that are needed to show the picture.
const NEEDED: &[[u8; 4]] = &[*b"VP8X", *b"VP8 ", *b"VP8L", *b"ICCP", *b"ANIM", *b"ANMF", *b"ALPH"];
/// Flags of the chunk `VP8X`: the file has Exif, and XMP.
const HAS_EXIF: u8 = 0b1000;
const HAS_XMP: u8 = 0b0100;

pub(super) fn strip(content: &[u8], orientation: Orientation) -> Option<Vec<u8>> {
    let mut rest = content;
    if &array(&mut rest)? != b"RIFF" {
        return None;
    }
    let size = u32::from_le_bytes(array(&mut rest)?) as usize;
    // Whatever follows is not shown.
    let mut rest = take(&mut rest, size)?;
    if &array(&mut rest)? != b"WEBP" {
        return None;
    }
    let exif = exif(orientation);
    let mut out = Vec::with_capacity(content.len() + 64);
    out.extend(b"RIFF\0\0\0\0WEBP");
    let mut is_extended = false;
    while !rest.is_empty() {
        let kind: [u8; 4] = array(&mut rest)?;
        let length = array(&mut rest)?;
        let count = u32::from_le_bytes(length) as usize;
        let data = take(&mut rest, count)?;
        if count % 2 == 1 {
            // A padding byte, which some programs leave out at the end.
            rest = rest.get(1..).unwrap_or_default();
        }
        if !NEEDED.contains(&kind) {
            continue;
        }
        let begin = out.len();
        put(&mut out, kind, data);
        if &kind == b"VP8X" {
            is_extended = true;
            let flags = out.get_mut(begin + 8)?;
            *flags &= !(HAS_EXIF | HAS_XMP);
            if exif.is_some() {
                *flags |= HAS_EXIF;
            }
        }
    }
    if let Some(exif) = exif.filter(|_| is_extended) {
        put(&mut out, *b"EXIF", &exif);
    }
    let size = u32::try_from(out.len() - 8).ok()?;
    out[4..8].copy_from_slice(&size.to_le_bytes());
    Some(out)
}

/// Appends a chunk.
fn put(out: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    out.extend(kind);
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
}
