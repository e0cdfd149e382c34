//! Noom: chat rooms over WebSocket and calls over WebRTC, in one binary.
//!
//! The crate is compiled twice: natively with the feature `ssr`, which is the server and the pages that it renders,
//! and to WASM with `hydrate`, which is the same pages in the browser. `cfg(feature)` appears in this file only.
//!
//! # Shape
//!
//! The rules are in pure state machines (sans I/O): [`client::session::Session`] in the page,
//! [`server::hub::core::Core`] and [`server::call::signal::Calls`] on the server. They take inputs and return outputs,
//! and use no clock, socket, lock or randomness of their own, so every run can be replayed. Around them are thin
//! drivers, which own sockets, timers and the database, and follow one run loop: handle an input, then poll outputs
//! until there are none.
//!
//! ```
//! use std::collections::VecDeque;
//!
//! use noom::client::session::{Action, Event, Intent, Session};
//! use noom::protocol::ClientFrame;
//!
//! // Time is in milliseconds on any steady clock; the seed replaces randomness.
//! let (mut now, mut session) = (0, Session::new(1));
//! let enter = Intent::Enter { room: "garden".into(), after: None };
//! let mut events = VecDeque::from([Event::Start, Event::Intent(enter)]);
//! let mut sent = Vec::new();
//! while let Some(event) = events.pop_front() {
//!     session.handle(now, event);
//!     while let Some(action) = session.poll_action() {
//!         match action {
//!             // A driver opens a socket, and reports when it is open.
//!             Action::Connect(_) => events.push_back(Event::Opened),
//!             Action::Send(text) => sent.push(ClientFrame::decode(&text)?.command.name()),
//!             // It also stores unsent messages, and shows updates on the page.
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(sent, ["hello"]);
//!
//! // The server does not answer: the driver waits until the session's next deadline.
//! now = session.next_wake().expect("a deadline for the answer");
//! session.handle(now, Event::Tick);
//! assert_eq!(session.poll_action(), Some(Action::Drop));
//! # Ok::<(), noom::protocol::frame::FrameError>(())
//! ```
//!
//! # Module map
//!
//! The parts, from the lowest to the highest; `tests/tidy.rs` holds which may use which.
//!
//! **[`protocol`]: the wire protocol, shared by both sides.**
//! [`protocol::limits`] has its constants, [`protocol::codec`] the decoding, and [`protocol::frame`] the frames, one
//! per line. Payloads are in [`protocol::attachment`], [`protocol::call`],
//! [`protocol::change`], [`protocol::chat`], [`protocol::my_rooms`], [`protocol::peer`] (between peers), [`protocol::search`] and `protocol::user`, identifiers in [`protocol::id`], codes in
//! [`protocol::error`], the rules for names and texts in [`protocol::name`] and `protocol::text`, for reactions in `protocol::emoji`.
//!
//! **[`client`]: the page's connection and state.**
//! [`client::session`] is the state machine that survives reconnections (`client::backoff`). `client::driver` runs it
//! over `client::websocket` or `client::fallback` (event stream, shared out by `client::tabs`). [`client::state`] and [`client::timeline`] turn its
//! updates into what pages show, `client::unsent` keeps messages over a reload, and [`client::call`] has devices and
//! peer connections. Wrappers of browser APIs: `client::cookies`, `client::event_listener`, `client::service_worker`, [`client::storage`],
//! [`client::timer`].
//!
//! **[`app`]: the pages, rendered on the server and in the browser.**
//! [`app::shell`] is the document and its routes. The pages are `app::lobby`, `app::room` (shared by its parts:
//! `app::room_context`), `app::call` and `app::error_page`; the forms `app::name_form` and `app::language_form`, which
//! post to the server functions of [`app::api`]. Helpers: `app::connection`, [`app::address`] and `app::cookie_notice`
//! (notices), `app::reload`, `app::refusal` (errors as text), `app::linkify`, `app::markdown`, `app::erase` and `app::lazy_part` (size of the WASM), `app::my_rooms`, `app::notifications`, `app::offline_copy`, `app::focus` (keyboard focus), `app::switcher` (moving between rooms by keyboard),
//! [`app::broken`] (a page that has stopped), [`app::locale`], [`app::path`], `app::time`, `app::title`, `app::user`.
//! `hydrate` starts them in the browser.
//!
//! **[`server`]: the program.**
//! A connection enters through `server::accept` (`server::tls`), `server::http` (`server::origin`,
//! `server::security_headers`, `server::files`, `server::forwarded`, `server::per_address`, `server::network`,
//! [`server::identity`]) and `server::transport` (`server::socket`). [`server::session`] executes its commands on
//! [`server::hub`], whose pure core is [`server::hub::core`]. The hub uses [`server::call`], and from outside only traits: [`server::storage`], implemented
//! by [`server::store`], and [`server::environment`] (clock, randomness). [`server::pages`] is the other entrance, for
//! pages and forms (`server::page_threads`, `server::refused_forms`). [`server::export`] writes rooms as files,
//! [`server::attachments`] has the files in messages, and [`server::retention`] removes old messages. Shared vocabulary: [`server::change`], [`server::history`], [`server::id`], `server::lock`, [`server::membership`],
//! [`server::name_key`], `server::occasional`, `server::random`, [`server::search`] (what a search finds). Around them: [`server::config`],
//! `server::start_error`, `server::state`, [`server::telemetry`], `server::drain` (graceful shutdown).

// The types of nested Leptos views exceed the default limit of 128.
#![recursion_limit = "512"]
#![allow(rustdoc::private_intra_doc_links, reason = "the documentation is built with private items")]

#[allow(unreachable_pub, reason = "the component macro generates public items")]
pub mod app;
pub mod client;
pub mod protocol;

#[cfg(feature = "hydrate")]
mod hydrate;
#[cfg(feature = "ssr")]
pub mod server;

/// The module `i18n`, generated from locales/*.json by build.rs.
mod texts {
    #![allow(missing_docs, unreachable_pub, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/i18n/mod.rs"));
}
pub use texts::i18n;
