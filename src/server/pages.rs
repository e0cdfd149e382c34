//! What pages show and what their forms do, for `app::api`. Runs in the context of one request.

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use leptos::prelude::{expect_context, use_context};
use leptos_axum::ResponseOptions;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::http::PageVisitor;
use super::hub::Look;
use super::{Server, random};
use crate::app::api::{ApiError, LobbyPage, RoomPage};
use crate::app::locale::{COOKIE, tag};
use crate::app::path;
use crate::i18n::Locale;
use crate::protocol::{EnterRoomAck, ErrorCode, MessageKey, Refusal, UserId, check_text};
use crate::server::name_key::RoomName;

/// What needs no escape anywhere (RFC 3986, 2.3) is left as it is.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A text this long still travels in an address when it was refused, so that it is not lost.
const DRAFT_BYTES: usize = 4_000;

/// The first page.
///
/// # Errors
/// `STORE_UNAVAILABLE`.
pub async fn lobby() -> Result<LobbyPage, ApiError> {
    let (server, user) = context();
    let me = server.hub.peek(user).await.map_err(refused)?;
    Ok(LobbyPage { me, rooms: server.hub.rooms().rooms })
}

/// A room's page. Looking at it stores nothing, not even the room.
///
/// # Errors
/// `ROOM_NAME_INVALID` (the page has status 400 then), `STORE_UNAVAILABLE` (503).
pub async fn room(name: &str, before: Option<u64>) -> Result<RoomPage, ApiError> {
    let (server, user) = context();
    let wanted = RoomName::parse(name).map_err(|code| fail(StatusCode::BAD_REQUEST, code))?;
    let unavailable = |refusal: Refusal| fail(StatusCode::SERVICE_UNAVAILABLE, refusal.code);
    let me = server.hub.peek(user).await.map_err(unavailable)?;
    let nothing = || Look { name: wanted.canonical.clone().into(), ..Look::default() };
    let look = server.hub.look(&wanted, before).await.map_err(unavailable)?.unwrap_or_else(nothing);
    let Look { name: canonical, history, members, call } = look;
    let canonical = canonical.to_string();
    if canonical != name && is_page() {
        redirect(&path::room(&canonical));
    }
    let epoch = server.hub.epoch().to_owned();
    let room = EnterRoomAck {
        room: canonical,
        epoch,
        head: history.head,
        count: members.len() as u64,
        members,
        messages: history.messages,
        more: history.more,
        recovered: false,
        reason: None,
        call: (!call.is_empty()).then_some(call),
    };
    let key = u128::from(random::bits()) << 64 | u128::from(random::bits());
    Ok(RoomPage { me, room, key: MessageKey::from_random(key) })
}

/// Gives the visitor a nickname.
///
/// # Errors
/// None: what went wrong stands in the address.
pub async fn set_nickname(nickname: &str, back: &str) -> Result<(), ApiError> {
    let (server, user) = context();
    let result = async {
        let account = server.hub.account(user).await?;
        account.spend(super::hub::account::Allowance::Signal)?;
        server.hub.rename(&account, nickname, None).await
    };
    match result.await {
        Ok(_) => redirect(local(back)),
        Err(refusal) => redirect(&with_query(local(back), &[("error", refusal.code.as_str()), ("nickname", nickname)])),
    }
    Ok(())
}

/// Leads to a room.
///
/// # Errors
/// None.
pub async fn enter_room(room: &str) -> Result<(), ApiError> {
    match RoomName::parse(room) {
        Ok(name) => redirect(&path::room(&name.canonical)),
        Err(code) => redirect(&with_query("/", &[("error", code.as_str()), ("room", room)])),
    }
    Ok(())
}

/// Says something in a room.
///
/// # Errors
/// None.
pub async fn post_message(room: &str, key: &str, text: &str) -> Result<(), ApiError> {
    let (server, user) = context();
    // Forms send line ends as CRLF (HTML, 4.10.22.4).
    let text = text.replace("\r\n", "\n");
    let text = text.trim_end();
    let name = match RoomName::parse(room) {
        Ok(name) => name,
        Err(code) => {
            redirect(&with_query("/", &[("error", code.as_str())]));
            return Ok(());
        }
    };
    let page = path::room(&name.canonical);
    let result = async {
        let key: MessageKey = key.parse().map_err(|_| ErrorCode::KeyInvalid)?;
        check_text(text)?;
        let account = server.hub.account(user).await?;
        server.hub.post_form(&account, name, key, text.to_owned()).await
    };
    match result.await {
        Ok(_) => redirect(&page),
        Err(refusal) => {
            let draft = if text.len() <= DRAFT_BYTES { text } else { "" };
            redirect(&with_query(&page, &[("error", refusal.code.as_str()), ("draft", draft)]));
        }
    }
    Ok(())
}

/// Remembers a language.
///
/// # Errors
/// None: an unknown one changes nothing.
pub async fn set_language(lang: &str, back: &str) -> Result<(), ApiError> {
    if let Ok(locale) = lang.parse::<Locale>() {
        let cookie = format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax", tag(locale));
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            expect_context::<ResponseOptions>().append_header(SET_COOKIE, cookie);
        }
    }
    redirect(local(back));
    Ok(())
}

/// The server and who asks it.
fn context() -> (Arc<Server>, UserId) {
    let server = expect_context::<Arc<Server>>();
    let visitor = use_context::<Parts>().and_then(|parts| parts.extensions.get::<PageVisitor>().copied());
    let user = visitor.map_or_else(|| server.identity.new_user(), |visitor| visitor.0);
    (server, user)
}

/// Whether a page is being rendered, rather than a server function called by one.
fn is_page() -> bool {
    use_context::<Parts>().is_some_and(|parts| !parts.uri.path().starts_with("/api/"))
}

fn fail(status: StatusCode, code: ErrorCode) -> ApiError {
    if is_page() {
        expect_context::<ResponseOptions>().set_status(status);
    }
    ApiError::Refused(code)
}

fn refused(refusal: Refusal) -> ApiError {
    ApiError::Refused(refusal.code)
}

fn redirect(path: &str) {
    leptos_axum::redirect(path);
    // 303: whatever was sent, what follows is looked at with GET (RFC 9110, 15.4.4).
    expect_context::<ResponseOptions>().set_status(StatusCode::SEE_OTHER);
}

/// A path of our own, whatever a form says: never another site's.
fn local(path: &str) -> &str {
    let own = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if own { path.split('?').next().unwrap_or("/") } else { "/" }
}

fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut address = path.to_owned();
    for (index, (name, value)) in pairs.iter().filter(|(_, value)| !value.is_empty()).enumerate() {
        address.push(if index == 0 { '?' } else { '&' });
        address.push_str(name);
        address.push('=');
        address.extend(utf8_percent_encode(value, VALUE));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_lead_to_paths_of_our_own_only() {
        for (given, expected) in [
            ("/r/a", "/r/a"),
            ("/r/a?error=X", "/r/a"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("", "/"),
            ("/a\r\nSet-Cookie: x=y", "/"),
            ("/\u{1}", "/"),
            ("/a b", "/"),
        ] {
            assert_eq!(local(given), expected, "{given:?}");
        }
    }

    #[test]
    fn addresses_are_escaped() {
        assert_eq!(with_query("/", &[("error", "X"), ("room", "a&b=c"), ("empty", "")]), "/?error=X&room=a%26b%3Dc");
    }
}
