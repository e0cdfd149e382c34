//! The server functions, each a single call into `server::pages`. Functions that forms post to answer with a redirect,
//! so that they work without script. The code of a refusal is in the query of the redirect's location, and an id under
//! which the page receives what the user typed: URLs end up in logs.

#![allow(missing_docs, reason = "the macro generates structs from the functions' arguments")]

use leptos::prelude::*;
use leptos::server_fn::codec::JsonEncoding;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};

use crate::protocol::{EnterRoomAck, ErrorCode, MessageKey, MyRoom, RoomCount, SearchAck, User};

/// A form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FormKind {
    /// Sets the nickname.
    Nickname,
    /// Enters a room.
    Room,
    /// Posts a message.
    Message,
    /// Deletes the user's messages in a room.
    DeleteOwn,
}

/// A form that was posted without script and refused. The page shows it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedForm {
    /// The form.
    pub kind: FormKind,
    /// The text in its field, as it was typed.
    pub typed: String,
    /// The time after which it can be accepted, if it reached a limit.
    pub retry_after_ms: Option<u64>,
}

/// The identifying cookie of a page's visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VisitorCookie {
    /// The request came with it.
    Received,
    /// It is set by this page.
    Unknown,
    /// An earlier page has set it, and the browser did not send it.
    Blocked,
}

/// The data of the lobby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LobbyPage {
    /// The user of the page.
    pub me: User,
    /// The visitor's cookie.
    pub cookie: VisitorCookie,
    /// The user's own rooms.
    pub my_rooms: Vec<MyRoom>,
    /// The rooms with at least one member.
    pub rooms: Vec<RoomCount>,
    /// The form that the page shows again.
    pub refused: Option<RefusedForm>,
}

/// The data of a room's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPage {
    /// The user of the page.
    pub me: User,
    /// The visitor's cookie.
    pub cookie: VisitorCookie,
    /// The room with its members and latest messages, as the ack to `enter_room`.
    pub room: EnterRoomAck,
    /// The user's own rooms.
    pub my_rooms: Vec<MyRoom>,
    /// The idempotency key of the message that the form posts: submitting twice posts it once.
    pub key: MessageKey,
    /// The form that the page shows again.
    pub refused: Option<RefusedForm>,
    /// The search that the address asks for.
    pub search: Option<SearchPage>,
}

/// A search, and what it has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchPage {
    /// The words that were searched.
    pub text: String,
    /// All rooms of the user were searched.
    pub in_all: bool,
    /// The messages that match, or the reason why there was no search.
    pub result: Result<SearchAck, ErrorCode>,
}

/// The error of a server function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiError {
    /// The server refused the request.
    Refused(ErrorCode),
    /// The arguments could not be decoded. Status 400.
    Malformed,
    /// The server could not be reached, or its answer could not be decoded.
    Unreachable,
}

impl FromServerFnError for ApiError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Args(_) | ServerFnErrorErr::MissingArg(_) => {
                if let Some(OnMalformed(report)) = use_context() {
                    report();
                }
                Self::Malformed
            }
            _ => Self::Unreachable,
        }
    }
}

/// Called when the arguments of a server function cannot be decoded. A context that the server provides.
#[derive(Clone, Copy, Debug)]
pub struct OnMalformed(pub fn());

/// Loads the lobby. `form`: the id of a refused form.
#[server(prefix = "/api", endpoint = "lobby")]
pub async fn load_lobby(form: Option<String>) -> Result<LobbyPage, ApiError> {
    crate::server::pages::lobby(form.as_deref()).await
}

/// Loads a room's page; with `before`, the messages before that `seq`. `form`: the id of a refused form. `search`: words
/// to find in messages, `found_before` a [`Place`](crate::protocol::Place) to find them before, and `found_in` the rooms:
/// `all` for all rooms of the user.
#[server(prefix = "/api", endpoint = "room")]
pub async fn load_room(
    room: String,
    before: Option<u64>,
    form: Option<String>,
    search: Option<String>,
    found_before: Option<String>,
    found_in: Option<String>,
) -> Result<RoomPage, ApiError> {
    let search = search.as_deref().map(|text| crate::server::pages::Asked {
        text,
        before: found_before.as_deref(),
        in_all: found_in.as_deref() == Some("all"),
    });
    crate::server::pages::room(&room, before, form.as_deref(), search).await
}

/// Sets the user's nickname; redirects to `back`.
#[server(prefix = "/api", endpoint = "nickname")]
pub async fn set_nickname(nickname: String, back: String) -> Result<(), ApiError> {
    crate::server::pages::set_nickname(&nickname, &back).await
}

/// Redirects to a room's page.
#[server(prefix = "/api", endpoint = "enter")]
pub async fn enter_room(room: String) -> Result<(), ApiError> {
    crate::server::pages::enter_room(&room).await
}

/// Posts a message; redirects to its room.
#[server(prefix = "/api", endpoint = "post")]
pub async fn post_message(room: String, key: String, text: String) -> Result<(), ApiError> {
    crate::server::pages::post_message(&room, &key, &text).await
}

/// Deletes all messages of the user in a room; redirects to the room.
#[server(prefix = "/api", endpoint = "delete_own")]
pub async fn delete_own(room: String) -> Result<(), ApiError> {
    crate::server::pages::delete_own(&room).await
}

/// Stores the chosen language; redirects to `back`.
#[server(prefix = "/api", endpoint = "language")]
pub async fn set_language(lang: String, back: String) -> Result<(), ApiError> {
    crate::server::pages::set_language(&lang, &back).await
}
