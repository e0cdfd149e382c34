//! Noom: rooms where people talk, from one binary.
//!
//! One crate is compiled twice: natively with the feature `ssr` (server and pages rendered there),
//! and to WASM with `hydrate` (the same pages in the browser). The two lines below that depend on
//! a feature are the only ones in the crate; `tests/tidy.rs` holds that.
//!
//! Where things are, and the path of a message, stand in ARCHITECTURE.md.

// Leptos views nest deeply, and so do their types.
#![recursion_limit = "512"]

#[allow(unreachable_pub, reason = "components are pub in what their macro makes of them")]
pub mod app;
pub mod client;
pub mod protocol;

#[cfg(feature = "hydrate")]
mod hydrate;
#[cfg(feature = "ssr")]
pub mod server;

/// The module `i18n`, made from locales/*.json by build.rs.
mod texts {
    #![allow(missing_docs, unreachable_pub, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/i18n/mod.rs"));
}
pub use texts::i18n;
