//! A call, in the browser: devices, a peer connection to each of the other participants, and what the page shows of it.
//!
//! `description`, `negotiation`, `network`, `quality` and `reopening` are pure. `devices`, `level`, `peer` and `wake_lock`
//! use the browser's APIs. `meeting` connects them; it receives the session's updates over `channel`, and writes the signals in `state`, which views read.

pub(crate) mod channel;
mod description;
pub(crate) mod devices;
mod event;
mod js;
mod level;
pub(crate) mod meeting;
pub mod negotiation;
mod network;
mod other_tabs;
pub(crate) mod peer;
pub(crate) mod quality;
mod reopening;
pub(crate) mod state;
mod wake_lock;
