//! Exif that is left in a picture.

use image::metadata::Orientation;

/// Exif (CIPA DC-008) that has only the orientation.
pub(super) fn exif(orientation: Orientation) -> Option<[u8; 26]> {
    if orientation == Orientation::NoTransforms {
        return None;
    }
    // The header of TIFF, a directory of one entry (tag 0x0112, a SHORT), and no further directory.
    let mut exif = *b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    exif[18] = orientation.to_exif();
    Some(exif)
}
