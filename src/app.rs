//! The pages. The server renders them first; in the browser the same code hydrates them.
//!
//! Everything that can be a link or a form is one, and works without script.

pub mod address;
pub mod api;
pub mod broken;
pub mod locale;
pub mod path;
pub mod shell;
mod switcher;

mod call;
mod connection;
mod cookie_notice;
mod erase;
mod error_page;
mod focus;
mod language_form;
mod lazy_part;
pub(crate) mod linkify;
mod lobby;
mod markdown;
mod my_rooms;
mod name_form;
mod notifications;
mod offline_copy;
mod refusal;
mod reload;
mod room;
mod room_context;
pub(crate) mod time;
mod title;
mod user;
