//! Payloads about files in messages.

use super::codec::wire;
use super::error::ErrorCode;
use super::id::AttachmentId;
use super::limits::MAX_FILE_NAME_BYTES;
use super::name::{is_bidi_control, is_invisible};

wire! {
    /// A file of a message.
    pub struct Attachment {
        /// Identifies it in the room, and in its address.
        pub id: AttachmentId,
        /// Its name ([`check_file_name`]).
        pub name: String,
        /// Its media type (RFC 9110, 8.3.1), found from its content.
        pub media_type as "type": String,
        /// Its size.
        pub bytes: u64,
        /// The width in pixels, if it is a picture that browsers can show.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub width: Option<u64>,
        /// Its height in pixels.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub height: Option<u64>,
    }

    /// Body of the request that begins an upload.
    pub struct NewUpload {
        /// The file's name.
        pub name: String,
        /// The file's size.
        pub bytes: u64,
    }

    /// Body of the answers to requests about an upload.
    pub struct UploadState {
        /// The id of the attachment that the upload becomes.
        pub id: AttachmentId,
        /// The number of bytes that the server has.
        pub offset: u64,
        /// The attachment, once the file is complete.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub attachment: Option<Attachment>,
    }
}

impl Attachment {
    /// Its size in pixels, if it is a picture that browsers can show.
    pub fn size(&self) -> Option<(u64, u64)> {
        self.width.zip(self.height)
    }
}

/// Checks the name of a file. A browser offers it when the file is saved.
///
/// # Errors
/// `FILE_NAME_INVALID`: empty or invisible, above [`MAX_FILE_NAME_BYTES`], `.`, `..`, or with a path, a control
/// character or a bidi control, which can show `exe.txt` for `txt.exe`.
pub fn check_file_name(name: &str) -> Result<(), ErrorCode> {
    let forbidden = |c: char| c.is_control() || is_bidi_control(c) || matches!(c, '/' | '\\');
    let valid = name.len() <= MAX_FILE_NAME_BYTES
        && !name.chars().any(forbidden)
        && !name.chars().all(|c| c.is_whitespace() || is_invisible(c))
        && !matches!(name, "." | "..");
    if valid { Ok(()) } else { Err(ErrorCode::FileNameInvalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_is_one_visible_segment() {
        for name in ["a.txt", "휴가 사진.jpg", ".profile", "no extension", "a'b\"c<d>.svg", &"x".repeat(255)] {
            assert_eq!(check_file_name(name), Ok(()), "{name:?}");
        }
        let long = "x".repeat(256);
        let invalid = ["", " ", ".", "..", "../a", "a/b", "C:\\a", "a\nb", "a\0", "\u{202e}txt.exe", "\u{200b}", &long];
        for name in invalid {
            assert_eq!(check_file_name(name), Err(ErrorCode::FileNameInvalid), "{name:?}");
        }
    }
}
