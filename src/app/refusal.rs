//! Refused commands and forms, in the reader's words.

use leptos::prelude::*;
use leptos_i18n::td_string;
use leptos_router::hooks::use_query_map;

use super::api::{FormKind, RefusedForm};
use super::locale::Language;
use crate::i18n::Locale;
use crate::protocol::{ErrorCode, Refusal};

/// A form that was posted without script and refused, as the form of this kind shows it: the reason, and what the user
/// typed. The code is in the query of the page; the text is in its data ([`provide_form`]).
pub(super) fn of_form(kind: FormKind) -> (Option<ErrorCode>, Option<String>) {
    let code = use_query_map().with_untracked(|query| query.get("error")).and_then(|code| ErrorCode::from_wire(&code));
    match use_context::<RefusedForm>() {
        Some(form) if form.kind == kind => (code, Some(form.typed)),
        Some(_) => (None, None),
        // The text is shown once. After a reload only the code is left.
        None => (code.filter(|code| kind_of(*code) == kind), None),
    }
}

/// The refusal of a form that was posted without script, with the time to wait if it reached a limit.
pub(super) fn of_message_form(code: ErrorCode) -> Refusal {
    let retry_after_ms = use_context::<RefusedForm>().and_then(|form| form.retry_after_ms);
    Refusal { retry_after_ms, ..code.into() }
}

/// Provides the form that a page shows again.
pub(super) fn provide_form(refused: Option<RefusedForm>) {
    if let Some(form) = refused {
        provide_context(form);
    }
}

/// The form that a code most often concerns.
fn kind_of(code: ErrorCode) -> FormKind {
    if is_about_nickname(code) {
        FormKind::Nickname
    } else if code == ErrorCode::RoomNameInvalid {
        FormKind::Room
    } else {
        FormKind::Message
    }
}

/// True if another nickname may be accepted.
pub(super) fn is_about_nickname(code: ErrorCode) -> bool {
    code.as_str().starts_with("NICK_")
}

/// The explanation of a refusal, with the time to wait if the server named one.
pub(super) fn explanation(i18n: Language, refusal: &Refusal) -> String {
    let wait = refusal.retry_after_ms.and_then(|wait_ms| waiting(i18n.get(), refusal.code, wait_ms));
    wait.unwrap_or_else(|| text(i18n, refusal.code).to_owned())
}

/// The explanation of a limit, if the wait is long enough to be named.
fn waiting(locale: Locale, code: ErrorCode, wait_ms: u64) -> Option<String> {
    let seconds = wait_ms.div_ceil(1_000);
    if code == ErrorCode::RateLimited && seconds > 1 {
        Some(td_string!(locale, error_rate_limited_wait, seconds))
    } else if code == ErrorCode::RoomQuota {
        Some(td_string!(locale, error_room_quota_wait, minutes = seconds.div_ceil(60)))
    } else {
        None
    }
}

/// The explanation of a refusal, without a time.
pub(super) fn text(i18n: Language, code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotInRoom => td_string!(i18n.get(), error_not_in_room),
        ErrorCode::TextEmpty => td_string!(i18n.get(), error_text_empty),
        ErrorCode::TextTooLong => td_string!(i18n.get(), error_text_too_long),
        ErrorCode::TextInvalid => td_string!(i18n.get(), error_text_invalid),
        ErrorCode::KeyInvalid | ErrorCode::KeyConflict => td_string!(i18n.get(), error_key),
        ErrorCode::MessageNotFound | ErrorCode::EpochChanged => td_string!(i18n.get(), error_message_gone),
        ErrorCode::NotYours => td_string!(i18n.get(), error_not_yours),
        ErrorCode::EditConflict => td_string!(i18n.get(), error_edit_conflict),
        ErrorCode::EmojiInvalid => td_string!(i18n.get(), error_emoji),
        ErrorCode::AttachmentNotFound | ErrorCode::UploadNotFound | ErrorCode::UploadOffset => {
            td_string!(i18n.get(), error_upload_gone)
        }
        ErrorCode::TooManyAttachments => td_string!(i18n.get(), error_too_many_attachments),
        ErrorCode::TooManyUploads => td_string!(i18n.get(), error_too_many_uploads),
        ErrorCode::FileNameInvalid => td_string!(i18n.get(), error_file_name),
        ErrorCode::FileTooLarge => td_string!(i18n.get(), error_file_size),
        ErrorCode::PictureInvalid => td_string!(i18n.get(), error_picture),
        ErrorCode::PictureTooLarge => td_string!(i18n.get(), error_picture_size),
        ErrorCode::CookieNeeded => td_string!(i18n.get(), error_cookie),
        ErrorCode::ReactionsFull => td_string!(i18n.get(), error_reactions_full),
        ErrorCode::PinsFull => td_string!(i18n.get(), error_pins_full),
        ErrorCode::NickEmpty => td_string!(i18n.get(), error_nick_empty),
        ErrorCode::NickTooLong => td_string!(i18n.get(), error_nick_too_long),
        ErrorCode::NickTaken => td_string!(i18n.get(), error_nick_taken),
        ErrorCode::NickReserved => td_string!(i18n.get(), error_nick_reserved),
        ErrorCode::NickConfusable => td_string!(i18n.get(), error_nick_confusable),
        ErrorCode::NickBidi | ErrorCode::NickControl | ErrorCode::NickCombining | ErrorCode::NickInvalid => {
            td_string!(i18n.get(), error_nick_invalid)
        }
        ErrorCode::RoomNameInvalid => td_string!(i18n.get(), error_room_name),
        ErrorCode::RoomQuota => td_string!(i18n.get(), error_room_quota),
        ErrorCode::RoomFull => td_string!(i18n.get(), error_room_full),
        ErrorCode::ServerFull => td_string!(i18n.get(), error_server_full),
        ErrorCode::RateLimited => td_string!(i18n.get(), error_rate_limited),
        ErrorCode::NotInCall | ErrorCode::BadCallState | ErrorCode::SdpTooLarge | ErrorCode::SdpInvalid => {
            td_string!(i18n.get(), error_call)
        }
        ErrorCode::CallFull => td_string!(i18n.get(), call_full),
        ErrorCode::StoreUnavailable => td_string!(i18n.get(), error_store),
        ErrorCode::Unknown => td_string!(i18n.get(), error_unknown),
        // Defects of a client: pages send well-formed frames.
        ErrorCode::BadJson
        | ErrorCode::DuplicateKey
        | ErrorCode::UnknownType
        | ErrorCode::MissingField
        | ErrorCode::UnknownField
        | ErrorCode::BadType
        | ErrorCode::BadNumber
        | ErrorCode::HelloFirst
        | ErrorCode::AlreadyGreeted
        | ErrorCode::LimitOutOfRange => td_string!(i18n.get(), error_other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_explained_with_time_to_wait() {
        let text = |code, wait_ms| waiting(Locale::en, code, wait_ms);
        assert_eq!(text(ErrorCode::RateLimited, 200), None, "over before it is read");
        assert!(text(ErrorCode::RateLimited, 4_001).unwrap().contains("5 s"));
        assert!(text(ErrorCode::RoomQuota, 61_000).unwrap().contains("2 min"));
        assert!(waiting(Locale::ko, ErrorCode::RateLimited, 4_001).unwrap().contains("5초"));
        assert_eq!(text(ErrorCode::CallFull, 4_001), None);
    }
}
