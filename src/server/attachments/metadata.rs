//! Removes metadata from pictures: the place and time of a photo, the device, comments, previews, and whatever follows the
//! picture. Pixels, animation, colour profile and orientation stay. Pure.
//!
//! The parts of a file are copied, not decoded again, so that a picture loses no quality. What is not known to be needed
//! is left out.

mod bytes;
mod exif;
mod gif;
mod jpeg;
mod png;
mod webp;

use image::ImageFormat;
use image::metadata::Orientation;

/// A picture without its metadata. `None`: it is cut or damaged.
pub(super) fn strip(content: &[u8], format: ImageFormat, orientation: Orientation) -> Option<Vec<u8>> {
    match format {
        ImageFormat::Gif => gif::strip(content),
        ImageFormat::Jpeg => jpeg::strip(content, orientation),
        ImageFormat::Png => png::strip(content),
        ImageFormat::WebP => webp::strip(content, orientation),
        _ => None,
    }
}
