//! GIF (GIF89a specification, section 12 and following): blocks.

use super::bytes::{array, take};

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const COMMENT: u8 = 0xfe;
const APPLICATION: u8 = 0xff;

pub(super) fn strip(content: &[u8]) -> Option<Vec<u8>> {
    let mut rest = content;
    let mut out = Vec::with_capacity(content.len());
    // The header and the screen, with the global colours.
    let header: [u8; 13] = array(&mut rest)?;
    if !header.starts_with(b"GIF8") {
        return None;
    }
    out.extend(header);
    out.extend(take(&mut rest, colours(header[10]))?);
    loop {
        let block = rest;
        match array::<1>(&mut rest)?[0] {
            EXTENSION => {
                let [label] = array(&mut rest)?;
                let data = rest;
                skip_data(&mut rest)?;
                // The application that makes animations repeat has one of these names.
                let repeats = data.starts_with(b"\x0bNETSCAPE2.0") || data.starts_with(b"\x0bANIMEXTS1.0");
                if label != COMMENT && (label != APPLICATION || repeats) {
                    out.extend(&block[..block.len() - rest.len()]);
                }
            }
            IMAGE => {
                let descriptor: [u8; 9] = array(&mut rest)?;
                // The local colours, and the size of codes.
                take(&mut rest, colours(descriptor[8]) + 1)?;
                skip_data(&mut rest)?;
                out.extend(&block[..block.len() - rest.len()]);
            }
            // Whatever follows is not shown.
            TRAILER => {
                out.push(TRAILER);
                return Some(out);
            }
            _ => return None,
        }
    }
}

/// The size of a table of colours.
fn colours(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Skips pieces of data, up to the empty one.
fn skip_data(rest: &mut &[u8]) -> Option<()> {
    loop {
        match array::<1>(rest)?[0] {
            0 => return Some(()),
            length => take(rest, length.into())?,
        };
    }
}
