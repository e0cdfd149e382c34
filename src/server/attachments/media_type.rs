//! The type of a file, found from its content. What the uploader says is not asked for. Pure.

use image::ImageFormat;

/// The bytes at the beginning of a file that its type is found from.
pub(super) const HEAD_BYTES: usize = 4096;

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MediaType {
    /// The media type. Only those of pictures are shown by browsers; all others are saved.
    pub(super) name: &'static str,
    /// The format, if it is a picture that browsers show.
    pub(super) picture: Option<ImageFormat>,
}

/// The pictures that browsers show: how their files begin.
const PICTURES: &[(&str, ImageFormat, &[u8])] = &[
    ("image/png", ImageFormat::Png, b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", ImageFormat::Jpeg, b"\xff\xd8\xff"),
    ("image/gif", ImageFormat::Gif, b"GIF87a"),
    ("image/gif", ImageFormat::Gif, b"GIF89a"),
];

/// Other types: the position of a mark, and the mark.
const OTHERS: &[(&str, usize, &[u8])] = &[
    ("application/pdf", 0, b"%PDF-"),
    ("application/zip", 0, b"PK\x03\x04"),
    ("application/gzip", 0, b"\x1f\x8b"),
    ("image/heic", 4, b"ftypheic"),
    ("image/avif", 4, b"ftypavif"),
    ("video/mp4", 4, b"ftyp"),
    ("video/webm", 0, b"\x1a\x45\xdf\xa3"),
    ("audio/mpeg", 0, b"ID3"),
    ("audio/ogg", 0, b"OggS"),
    ("audio/flac", 0, b"fLaC"),
    ("audio/wav", 8, b"WAVE"),
];

/// The type of a file that begins with these bytes. HTML and SVG are texts like any other.
pub(super) fn of(head: &[u8]) -> MediaType {
    if let Some((name, format, _)) = PICTURES.iter().find(|(_, _, mark)| head.starts_with(mark)) {
        return MediaType { name, picture: Some(*format) };
    }
    if head.starts_with(b"RIFF") && has(head, 8, b"WEBP") {
        return MediaType { name: "image/webp", picture: Some(ImageFormat::WebP) };
    }
    let other = OTHERS.iter().find(|(_, position, mark)| has(head, *position, mark)).map(|(name, ..)| *name);
    let plain = || if is_text(head) { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    MediaType { name: other.unwrap_or_else(plain), picture: None }
}

/// Returns whether the media type is one of the pictures that browsers show.
pub(in crate::server) fn is_picture(media_type: &str) -> bool {
    media_type == "image/webp" || PICTURES.iter().any(|(name, ..)| *name == media_type)
}

/// Returns whether a name promises a picture that browsers show.
pub(super) fn is_named_like_a_picture(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| matches!(extension.as_str(), "png" | "jpg" | "jpeg" | "gif" | "webp"))
}

fn has(head: &[u8], position: usize, mark: &[u8]) -> bool {
    head.get(position..).is_some_and(|rest| rest.starts_with(mark))
}

/// Returns whether the bytes are a text in UTF-8, which may be cut within its last character.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{c}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_is_found_from_the_content() {
        for (head, expected) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], "image/png"),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
            (b"GIF89a\x01\0", "image/gif"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
            (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav"),
            (b"<svg onload=\"alert(1)\">", "text/plain; charset=utf-8"),
            (b"<!DOCTYPE html>", "text/plain; charset=utf-8"),
            ("한국어".as_bytes().split_last().unwrap().1, "text/plain; charset=utf-8"),
            (b"a\0b", "application/octet-stream"),
            (b"\xff\xfe", "application/octet-stream"),
            (b"\0\0\0\x18ftypheic", "image/heic"),
            (b"\0\0\0\x18ftypisom", "video/mp4"),
        ] {
            let found = of(head);
            assert_eq!((found.name, found.picture.is_some()), (expected, is_picture(expected)), "{head:?}");
        }
    }
}
