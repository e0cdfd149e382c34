//! The pages: rendered on the server first, then kept alive in the browser by the same code.
//!
//! What can be a link or a form is one, and works without script.

pub mod api;
pub mod locale;
pub mod path;
pub mod shell;

mod call;
mod connection;
mod lobby;
mod name_form;
mod room;
mod text;
mod time;
mod title;
