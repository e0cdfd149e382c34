//! Pictures for tests, among them bad ones.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

/// The text that must not be in a picture that is served.
pub(crate) const SECRET: &[u8] = b"52 degrees north";

/// A picture without transparency, so detailed that its file is not small.
pub(crate) fn photo(width: u32, height: u32) -> DynamicImage {
    let pixel = |x: u32, y: u32| Rgb([(x * 7) as u8, (y * 13) as u8, (x * y) as u8]);
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel))
}

/// A picture that is transparent at the left.
pub(crate) fn sticker(width: u32, height: u32) -> DynamicImage {
    DynamicImage::ImageRgba8(RgbaImage::from_fn(width, height, |x, y| Rgba([x as u8, y as u8, 0, (x % 256) as u8])))
}

pub(crate) fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Exif with an orientation, and with the place of the photo.
pub(crate) fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0".to_vec();
    exif.extend(2_u16.to_le_bytes());
    let mut entry = |tag: u16, kind: u16, count: u32, value: u32| {
        exif.extend(tag.to_le_bytes());
        exif.extend(kind.to_le_bytes());
        exif.extend(count.to_le_bytes());
        exif.extend(value.to_le_bytes());
    };
    // Orientation, and the position of the GPS directory.
    entry(0x0112, 3, 1, orientation.into());
    entry(0x8825, 4, 1, 38);
    exif.extend([0; 4]);
    // GPSMapDatum, as a text at the end.
    exif.extend(1_u16.to_le_bytes());
    exif.extend(0x0012_u16.to_le_bytes());
    exif.extend(2_u16.to_le_bytes());
    exif.extend((SECRET.len() as u32).to_le_bytes());
    exif.extend(56_u32.to_le_bytes());
    exif.extend([0; 4]);
    exif.extend(SECRET);
    exif
}

/// A JPEG with metadata in all places where programs put it.
pub(crate) fn jpeg_with_place(orientation: u8) -> Vec<u8> {
    let plain = encoded(&photo(900, 600), ImageFormat::Jpeg);
    let segment = |marker: u8, data: &[u8]| {
        let length = (data.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker][..], &length[..], data].concat()
    };
    let exif = segment(0xe1, &[b"Exif\0\0", &exif(orientation)[..]].concat());
    let xmp = segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat());
    let iptc = segment(0xed, &[b"Photoshop 3.0\0", SECRET].concat());
    let comment = segment(0xfe, SECRET);
    [&plain[..2], &exif, &xmp, &iptc, &comment, &plain[2..], SECRET].concat()
}

/// A chunk of a PNG.
pub(crate) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [&kind[..], data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &named, &crc(&named).to_be_bytes()].concat()
}

/// A PNG with metadata before and after the pixels.
pub(crate) fn png_with_place() -> Vec<u8> {
    let plain = encoded(&photo(300, 200), ImageFormat::Png);
    let (head, rest) = plain.split_at(33);
    let text = chunk(b"tEXt", &[b"Comment\0", SECRET].concat());
    [head, &text, &chunk(b"eXIf", &exif(6)), rest, SECRET].concat()
}

/// A WebP with metadata.
pub(crate) fn webp_with_place(orientation: u8) -> Vec<u8> {
    let plain = encoded(&photo(300, 200), ImageFormat::WebP);
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let padding = &[0][..data.len() % 2];
        [&kind[..], &(data.len() as u32).to_le_bytes(), data, padding].concat()
    };
    // The flags of Exif and XMP, and the size less one in 24 bits each.
    let extended = chunk(b"VP8X", &[0b1100, 0, 0, 0, 43, 1, 0, 199, 0, 0]);
    let metadata = [chunk(b"EXIF", &exif(orientation)), chunk(b"XMP ", SECRET)].concat();
    let body = [b"WEBP", &extended[..], &plain[12..], &metadata].concat();
    [b"RIFF", &(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// A GIF with a comment.
pub(crate) fn gif_with_place() -> Vec<u8> {
    let plain = encoded(&photo(40, 30), ImageFormat::Gif);
    let (blocks, trailer) = plain.split_at(plain.len() - 1);
    let comment = [&[0x21, 0xfe, SECRET.len() as u8][..], SECRET, &[0]].concat();
    [blocks, &comment, trailer, SECRET].concat()
}

/// A file of less than 100 bytes that says that it has this many pixels.
pub(crate) fn bomb(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    // An empty stream of zlib.
    let pixels = chunk(b"IDAT", &[0x78, 0x9c, 0x03, 0, 0, 0, 0, 0x01]);
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header), &pixels, &chunk(b"IEND", b"")].concat()
}

/// CRC-32 (W3C PNG, annex D).
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
