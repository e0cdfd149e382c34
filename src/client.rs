//! The browser's half: a session with the server that survives its connections, and the state that
//! pages show.
//!
//! `session` is pure and says what happens; `socket` carries it out in the browser, with `fallback`
//! where WebSocket is blocked; `state` is what views read. All of it compiles natively too, where nothing starts it.

pub mod call;
mod fallback;
pub mod session;
pub mod socket;
pub mod state;
pub mod timeline;

mod unsent;

pub use socket::Client;
