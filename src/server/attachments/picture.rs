//! Reading a picture: checks that it can be shown, removes its metadata, and makes its thumbnail. Pure.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits};

use super::metadata;
use crate::protocol::ErrorCode;

/// The longest side of a thumbnail in pixels: twice the width in which a message shows it.
const THUMBNAIL_PIXELS: u32 = 640;
/// A picture that is at most as large as a thumbnail, and has no more bytes than this, needs none.
const SMALL_BYTES: usize = 64 * 1024;
const QUALITY: u8 = 80;
/// The bytes of a decoded pixel: four channels of 16 bits.
const PIXEL_BYTES: u64 = 8;
/// A larger colour profile is not repeated in the thumbnail.
const MAX_PROFILE_BYTES: usize = 4 * 1024;

/// A picture that was read.
#[derive(Debug)]
pub(super) struct Picture {
    /// The file without metadata: the pixels are as they were.
    pub(super) content: Vec<u8>,
    /// A thumbnail, unless the picture is small.
    pub(super) thumbnail: Option<Vec<u8>>,
    /// As it is shown, after rotation.
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Reads a picture with at most `max_pixels` pixels.
///
/// # Errors
/// `PICTURE_INVALID`, `PICTURE_TOO_LARGE`.
pub(super) fn read(content: &[u8], format: ImageFormat, max_pixels: u64) -> Result<Picture, ErrorCode> {
    let mut reader = ImageReader::with_format(Cursor::new(content), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_pixels.saturating_mul(PIXEL_BYTES));
    reader.limits(limits);
    // Reads the header only.
    let mut decoder = reader.into_decoder().map_err(invalid)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(ErrorCode::PictureTooLarge);
    }
    let orientation = match format {
        ImageFormat::Jpeg | ImageFormat::WebP => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        // Browsers do not agree about others.
        _ => Orientation::NoTransforms,
    };
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| profile.len() <= MAX_PROFILE_BYTES);
    // Decoded before anything is kept: a picture that begins well may be cut.
    let image = DynamicImage::from_decoder(decoder).map_err(invalid)?;
    let content = metadata::strip(content, format, orientation).ok_or(ErrorCode::PictureInvalid)?;
    let is_small = width.max(height) <= THUMBNAIL_PIXELS && content.len() <= SMALL_BYTES;
    let thumbnail = (!is_small).then(|| thumbnail(image, orientation, profile)).transpose().map_err(invalid)?;
    let (width, height) = if swaps_sides(orientation) { (height, width) } else { (width, height) };
    Ok(Picture { content, thumbnail, width, height })
}

fn invalid(error: ImageError) -> ErrorCode {
    if let ImageError::Limits(_) = error { ErrorCode::PictureTooLarge } else { ErrorCode::PictureInvalid }
}

fn thumbnail(image: DynamicImage, orientation: Orientation, profile: Option<Vec<u8>>) -> ImageResult<Vec<u8>> {
    let (width, height) = (image.width().min(THUMBNAIL_PIXELS), image.height().min(THUMBNAIL_PIXELS));
    let mut small = image.thumbnail(width, height);
    drop(image);
    small.apply_orientation(orientation);
    let mut out = Vec::new();
    if small.color().has_alpha() && small.to_rgba8().pixels().any(|pixel| pixel.0[3] < u8::MAX) {
        let encoder = WebPEncoder::new_lossless(&mut out);
        small.to_rgba8().write_with_encoder(encoder)?;
    } else {
        let mut encoder = JpegEncoder::new_with_quality(&mut out, QUALITY);
        if let Some(profile) = profile {
            // A thumbnail without it is only less colourful.
            let _ = encoder.set_icc_profile(profile);
        }
        small.to_rgb8().write_with_encoder(encoder)?;
    }
    Ok(out)
}

fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}
