//! The reaction to a refused request, by its error code. Pure.

use crate::protocol::{ErrorCode, Refusal};

/// The delay after a refusal that names none.
pub(super) const DEFAULT_RETRY_MS: u64 = 2_000;

/// The condition under which a refused request can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// The rate limit allows it again.
    RateLimit,
    /// The server's store works again.
    Store,
    /// The quota of new rooms is renewed.
    Quota,
    /// The room has been entered first.
    EnterRoom,
    /// None that the session can bring about: the user must change something.
    Never,
}

/// The time at which to ask again for a list after a refusal; `None` if asking again does not help.
pub(super) fn list_retry_at(now: u64, refusal: &Refusal) -> Option<u64> {
    match recovery(refusal) {
        Recovery::RateLimit | Recovery::Store | Recovery::Quota => {
            Some(now + refusal.retry_after_ms.unwrap_or(DEFAULT_RETRY_MS))
        }
        Recovery::EnterRoom | Recovery::Never => None,
    }
}

/// Lists every code, so that a new one is a compile error here rather than a silent give-up.
pub(super) fn recovery(refusal: &Refusal) -> Recovery {
    match refusal.code {
        ErrorCode::RateLimited => Recovery::RateLimit,
        ErrorCode::StoreUnavailable => Recovery::Store,
        ErrorCode::RoomQuota => Recovery::Quota,
        ErrorCode::NotInRoom => Recovery::EnterRoom,
        ErrorCode::BadJson
        | ErrorCode::DuplicateKey
        | ErrorCode::UnknownType
        | ErrorCode::MissingField
        | ErrorCode::UnknownField
        | ErrorCode::BadType
        | ErrorCode::BadNumber
        | ErrorCode::HelloFirst
        | ErrorCode::AlreadyGreeted
        | ErrorCode::TextEmpty
        | ErrorCode::TextTooLong
        | ErrorCode::TextInvalid
        | ErrorCode::KeyInvalid
        | ErrorCode::KeyConflict
        | ErrorCode::MessageNotFound
        | ErrorCode::NotYours
        | ErrorCode::EditConflict
        | ErrorCode::EmojiInvalid
        | ErrorCode::AttachmentNotFound
        | ErrorCode::TooManyAttachments
        | ErrorCode::FileNameInvalid
        | ErrorCode::FileTooLarge
        | ErrorCode::PictureInvalid
        | ErrorCode::PictureTooLarge
        | ErrorCode::UploadNotFound
        | ErrorCode::UploadOffset
        | ErrorCode::TooManyUploads
        | ErrorCode::CookieNeeded
        | ErrorCode::ReactionsFull
        | ErrorCode::PinsFull
        | ErrorCode::EpochChanged
        | ErrorCode::NickEmpty
        | ErrorCode::NickTooLong
        | ErrorCode::NickTaken
        | ErrorCode::NickReserved
        | ErrorCode::NickBidi
        | ErrorCode::NickControl
        | ErrorCode::NickCombining
        | ErrorCode::NickConfusable
        | ErrorCode::NickInvalid
        | ErrorCode::RoomNameInvalid
        | ErrorCode::RoomFull
        | ErrorCode::ServerFull
        | ErrorCode::LimitOutOfRange
        | ErrorCode::NotInCall
        | ErrorCode::CallFull
        | ErrorCode::BadCallState
        | ErrorCode::SdpTooLarge
        | ErrorCode::SdpInvalid => Recovery::Never,
        // Of a newer server: only the delay tells whether waiting helps.
        ErrorCode::Unknown => refusal.retry_after_ms.map_or(Recovery::Never, |_| Recovery::RateLimit),
    }
}
