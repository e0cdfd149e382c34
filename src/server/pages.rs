//! The data of pages and the actions of forms, for `app::api`. Runs in the context of a request.

use std::sync::Arc;

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use leptos::prelude::{expect_context, use_context};
use leptos_axum::ResponseOptions;

use super::http::PageVisitor;
use super::hub::address::Address;
use super::hub::payer::Payer;
use super::hub::price::Price;
use super::hub::{NewPost, RoomSnapshot};
use super::{Server, random};
use crate::app::api::{ApiError, FormKind, LobbyPage, RefusedForm, RoomPage, SearchPage, VisitorCookie};
use crate::app::locale::{COOKIE, tag};
use crate::app::path;
use crate::i18n::Locale;
use crate::protocol::{
    EnterRoomAck, ErrorCode, MembersAck, MessageKey, MyRoom, Place, Refusal, SearchAck, UserId, check_text,
};
use crate::server::name_key::RoomName;
use crate::server::search::Query;

/// The most results of a search on a page.
const SEARCH_RESULTS: u64 = 50;
/// In the query of a page: the redirect to it has set a cookie.
const COOKIE_IS_SET: &str = "cookie=set";

/// The data of the lobby page.
///
/// # Errors
/// `STORE_UNAVAILABLE` (status 503).
pub(crate) async fn lobby(form: Option<&str>) -> Result<LobbyPage, ApiError> {
    let (server, visitor) = context();
    let me = server.hub.user_or_guest(visitor.user).await.map_err(unavailable)?;
    let refused = form.and_then(|id| refused_form(&server, id, visitor));
    let my_rooms = my_rooms(&server, visitor).await;
    Ok(LobbyPage { me, cookie: cookie_of(visitor), my_rooms, rooms: server.hub.rooms().rooms, refused })
}

/// The data of a room page. Stores nothing: viewing a room does not create it.
///
/// # Errors
/// `ROOM_NAME_INVALID` (status 400), `STORE_UNAVAILABLE` (503).
pub(crate) async fn room(
    name: &str,
    before: Option<u64>,
    form: Option<&str>,
    search: Option<Asked<'_>>,
) -> Result<RoomPage, ApiError> {
    let (server, visitor) = context();
    let requested = RoomName::parse(name).map_err(|code| fail(StatusCode::BAD_REQUEST, code))?;
    let me = server.hub.user_or_guest(visitor.user).await.map_err(unavailable)?;
    let snapshot = match server.hub.snapshot(&requested, before).await.map_err(unavailable)? {
        Some(snapshot) => snapshot,
        None => {
            requested.check_new().map_err(|code| fail(StatusCode::BAD_REQUEST, code))?;
            RoomSnapshot { name: requested.canonical.clone().into(), ..RoomSnapshot::default() }
        }
    };
    let RoomSnapshot { id, name: canonical, head, rev, floor, messages, more, people, call } = snapshot;
    let MembersAck { count, members, members_after, crowded } = people;
    let canonical = canonical.to_string();
    let is_redirect = canonical != name && is_page();
    if is_redirect {
        redirect(&with_own_query(path::room(&canonical)));
    }
    let form = form.filter(|_| !is_redirect);
    let refused = form.and_then(|id| refused_form(&server, id, visitor));
    let epoch = server.hub.epoch().to_owned();
    let room = EnterRoomAck {
        room: id,
        name: canonical,
        epoch,
        head,
        rev,
        floor: (floor > 1).then_some(floor),
        count,
        members,
        members_after,
        crowded,
        you: None,
        messages,
        changes: None,
        more,
        recovered: false,
        reason: None,
        call: (!call.is_empty()).then_some(call),
    };
    let key = u128::from(random::bits()) << 64 | u128::from(random::bits());
    let search = match search.filter(|_| !is_redirect) {
        Some(asked) => Some(find(&server, &requested, visitor.user, asked).await),
        None => None,
    };
    let my_rooms = my_rooms(&server, visitor).await;
    let (cookie, key) = (cookie_of(visitor), MessageKey::from_random(key));
    Ok(RoomPage { me, cookie, room, my_rooms, key, refused, search })
}

/// The search that the address of a page asks for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) text: &'a str,
    /// A [`Place`] to find messages before. Another text is ignored.
    pub(crate) before: Option<&'a str>,
    /// In all rooms of the user.
    pub(crate) in_all: bool,
}

/// A search for a page. Without words, the pinned messages.
async fn find(server: &Server, name: &RoomName, user: UserId, Asked { text, before, in_all }: Asked<'_>) -> SearchPage {
    let before = before.and_then(|before| before.parse::<Place>().ok());
    let result = async {
        let is_pins = text.trim().is_empty();
        // Absent only in tests that call the router directly.
        if let Some(address) = use_context::<Parts>().and_then(|parts| parts.extensions.get::<Address>().cloned()) {
            address.spend(match (is_pins, in_all) {
                (true, _) => Price::PINS,
                (false, false) => Price::SEARCH,
                (false, true) => Price::SEARCH_OWN,
            })?;
        }
        if is_pins {
            return Ok(server.hub.pins_by_name(name).await?.into());
        }
        match Query::parse(text) {
            Ok(query) if in_all => server.hub.search_own(user, query, before, SEARCH_RESULTS).await,
            Ok(query) => server.hub.search_by_name(name, query, before, SEARCH_RESULTS).await,
            // For a person that is a search like any other.
            Err(ErrorCode::TextEmpty) => Ok(SearchAck::default()),
            Err(code) => Err(code.into()),
        }
    };
    SearchPage { text: text.to_owned(), in_all, result: result.await.map_err(|refusal: Refusal| refusal.code) }
}

/// Sets the nickname of the visitor.
///
/// # Errors
/// None: a refusal is shown by the page that it redirects to.
pub(crate) async fn set_nickname(nickname: &str, back: &str) -> Result<(), ApiError> {
    let (server, visitor) = context();
    let result = async {
        let payer = payer(&server, visitor.user).await?;
        payer.spend(Price::RENAME)?;
        server.hub.rename(&payer.account, nickname, None).await
    };
    match result.await {
        Ok(_) => return_to(local_path(back), Vec::new()),
        Err(refusal) => show_again(local_path(back), refusal, FormKind::Nickname, nickname),
    }
    Ok(())
}

/// Redirects to a room.
///
/// # Errors
/// None, as [`set_nickname`].
pub(crate) async fn enter_room(room: &str) -> Result<(), ApiError> {
    match RoomName::parse(room) {
        Ok(name) => redirect(&path::room(&name.canonical)),
        Err(code) => show_again("/", code.into(), FormKind::Room, room),
    }
    Ok(())
}

/// Posts a message.
///
/// # Errors
/// None, as [`set_nickname`].
pub(crate) async fn post_message(room: &str, key: &str, text: &str) -> Result<(), ApiError> {
    let (server, visitor) = context();
    // Forms send line breaks as CRLF (HTML, 4.10.22.4).
    let typed = text.replace("\r\n", "\n");
    let text = typed.trim_end();
    let name = match RoomName::parse(room) {
        Ok(name) => name,
        Err(code) => {
            show_again("/", code.into(), FormKind::Room, room);
            return Ok(());
        }
    };
    let page = path::room(&name.canonical);
    let result = async {
        // Paid first: a form that is refused costs as much.
        let payer = payer(&server, visitor.user).await?;
        payer.spend(Price::message(text.len()))?;
        let key: MessageKey = key.parse().map_err(|_| ErrorCode::KeyInvalid)?;
        check_text(text)?;
        server.hub.post_form(&payer, name, NewPost::of_text(key, text.to_owned())).await
    };
    match result.await {
        Ok(_) => return_to(&page, Vec::new()),
        Err(refusal) => show_again(&page, refusal, FormKind::Message, &typed),
    }
    Ok(())
}

/// Deletes the messages of the visitor in a room.
///
/// # Errors
/// None, as [`set_nickname`].
pub(crate) async fn delete_own(room: &str) -> Result<(), ApiError> {
    let (server, visitor) = context();
    let Ok(name) = RoomName::parse(room) else {
        redirect("/");
        return Ok(());
    };
    let page = path::room(&name.canonical);
    let result = async {
        payer(&server, visitor.user).await?.spend(Price::DELETE_MESSAGES)?;
        server.hub.request_purge_by_name(&name, visitor.user).await
    };
    match result.await {
        Ok(()) => return_to(&page, Vec::new()),
        Err(refusal) => show_again(&page, refusal, FormKind::DeleteOwn, ""),
    }
    Ok(())
}

/// Sets the language cookie.
///
/// # Errors
/// None: an unknown language is ignored.
pub(crate) async fn set_language(lang: &str, back: &str) -> Result<(), ApiError> {
    if let Ok(locale) = lang.parse::<Locale>() {
        let cookie = format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax", tag(locale));
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            expect_context::<ResponseOptions>().append_header(SET_COOKIE, cookie);
        }
    }
    redirect(local_path(back));
    Ok(())
}

/// The server and the visitor of the request.
fn context() -> (Arc<Server>, PageVisitor) {
    let server = expect_context::<Arc<Server>>();
    let visitor = use_context::<Parts>().and_then(|parts| parts.extensions.get::<PageVisitor>().copied());
    let guest = || PageVisitor { user: server.identity.new_visitor().user, is_known: false };
    let visitor = visitor.unwrap_or_else(guest);
    (server, visitor)
}

/// The rooms of the visitor. A new visitor has none, and costs no read. While the store is busy, a page is shown without
/// them: its connection asks for them again.
async fn my_rooms(server: &Server, visitor: PageVisitor) -> Vec<MyRoom> {
    if visitor.is_known { server.hub.my_rooms(visitor.user).await.unwrap_or_default() } else { Vec::new() }
}

/// Redirects to a page that shows a refused form again. What the user typed is not part of the URL.
fn show_again(page: &str, refusal: Refusal, kind: FormKind, typed: &str) {
    let (server, visitor) = context();
    let owner = visitor.is_known.then_some(visitor.user);
    let form = RefusedForm { kind, typed: typed.to_owned(), retry_after_ms: refusal.retry_after_ms };
    let form = serde_json::to_string(&form).expect("a form has no map whose keys are not strings");
    let id = server.refused_forms.keep(owner, server.hub.environment().now(), form);
    return_to(page, vec![format!("error={}", refusal.code.as_str()), format!("form={id}")]);
}

/// Redirects to the page of a form. If the form came without a cookie, which its page has set, that page finds out if
/// the browser blocks cookies: this response sets another one.
fn return_to(page: &str, mut query: Vec<String>) {
    if !context().1.is_known {
        query.push(COOKIE_IS_SET.to_owned());
    }
    if query.is_empty() { redirect(page) } else { redirect(&format!("{page}?{}", query.join("&"))) }
}

fn cookie_of(visitor: PageVisitor) -> VisitorCookie {
    let query = use_context::<Parts>().and_then(|parts| parts.uri.query().map(str::to_owned)).unwrap_or_default();
    if visitor.is_known {
        VisitorCookie::Received
    } else if query.split('&').any(|pair| pair == COOKIE_IS_SET) {
        VisitorCookie::Blocked
    } else {
        VisitorCookie::Unknown
    }
}

/// The refused form with this id.
fn refused_form(server: &Server, id: &str, visitor: PageVisitor) -> Option<RefusedForm> {
    serde_json::from_str(&server.refused_forms.take(id, visitor.user)?).ok()
}

/// A path with the query of the request.
fn with_own_query(path: String) -> String {
    match use_context::<Parts>().as_ref().and_then(|parts| parts.uri.query()) {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

/// The visitor and the address of the request, to pay for what a form does.
async fn payer(server: &Server, user: UserId) -> Result<Payer, Refusal> {
    let extensions = use_context::<Parts>().map(|parts| parts.extensions).unwrap_or_default();
    Ok(Payer { account: server.hub.account(user).await?, address: server.address_of(&extensions) })
}

/// Returns whether the request is for a page, and not a call of a server function.
fn is_page() -> bool {
    use_context::<Parts>().is_some_and(|parts| !parts.uri.path().starts_with("/api/"))
}

/// Sets the status for a call whose arguments cannot be decoded, for example without a field.
pub(crate) fn malformed() {
    set_status(StatusCode::BAD_REQUEST);
}

fn unavailable(refusal: Refusal) -> ApiError {
    fail(StatusCode::SERVICE_UNAVAILABLE, refusal.code)
}

fn fail(status: StatusCode, code: ErrorCode) -> ApiError {
    set_status(status);
    ApiError::Refused(code)
}

/// Sets the status of the response. An error of a server function has status 500 otherwise.
fn set_status(status: StatusCode) {
    if let Some(options) = use_context::<ResponseOptions>() {
        options.set_status(status);
    }
}

fn redirect(path: &str) {
    leptos_axum::redirect(path);
    // 303: the browser follows with GET (RFC 9110, 15.4.4).
    set_status(StatusCode::SEE_OTHER);
}

/// The path of a form field, without its query; `/` if it could lead to another site.
fn local_path(path: &str) -> &str {
    let is_local = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.bytes().all(|byte| byte.is_ascii_graphic());
    if is_local { path.split('?').next().unwrap_or("/") } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_this_site() {
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
            assert_eq!(local_path(given), expected, "{given:?}");
        }
    }
}
