//! Every server function, each one line into `server::`. Those that forms post to answer with a
//! redirect, so they work without script; what went wrong stands in the address they lead to.

#![allow(missing_docs, reason = "the macro makes structs of the functions' arguments")]

use leptos::prelude::*;
use leptos::server_fn::codec::JsonEncoding;
use leptos::server_fn::error::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};

use crate::protocol::{EnterRoomAck, ErrorCode, MessageKey, RoomCount, User};

/// What the first page shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LobbyPage {
    /// Who looks at it.
    pub me: User,
    /// The rooms with people in them.
    pub rooms: Vec<RoomCount>,
}

/// What a room's page shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPage {
    /// Who looks at it.
    pub me: User,
    /// The room, its people and its latest messages, as if entered.
    pub room: EnterRoomAck,
    /// The key of the message that the form will post: a second submit is the same message.
    pub key: MessageKey,
}

/// Why a server function did not do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiError {
    /// It was refused.
    Refused(ErrorCode),
    /// It could not be asked, or the answer could not be read.
    Unreachable,
}

impl FromServerFnError for ApiError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(_: ServerFnErrorErr) -> Self {
        Self::Unreachable
    }
}

/// The first page.
#[server(prefix = "/api", endpoint = "lobby")]
pub async fn load_lobby() -> Result<LobbyPage, ApiError> {
    crate::server::pages::lobby().await
}

/// A room's page; with `before`, the messages before that place.
#[server(prefix = "/api", endpoint = "room")]
pub async fn load_room(room: String, before: Option<u64>) -> Result<RoomPage, ApiError> {
    crate::server::pages::room(&room, before).await
}

/// Takes a nickname; then leads to `back`.
#[server(prefix = "/api", endpoint = "nickname")]
pub async fn set_nickname(nickname: String, back: String) -> Result<(), ApiError> {
    crate::server::pages::set_nickname(&nickname, &back).await
}

/// Leads to a room.
#[server(prefix = "/api", endpoint = "enter")]
pub async fn enter_room(room: String) -> Result<(), ApiError> {
    crate::server::pages::enter_room(&room).await
}

/// Says something in a room; then leads to it.
#[server(prefix = "/api", endpoint = "post")]
pub async fn post_message(room: String, key: String, text: String) -> Result<(), ApiError> {
    crate::server::pages::post_message(&room, &key, &text).await
}

/// Remembers a language; then leads to `back`.
#[server(prefix = "/api", endpoint = "language")]
pub async fn set_language(lang: String, back: String) -> Result<(), ApiError> {
    crate::server::pages::set_language(&lang, &back).await
}
