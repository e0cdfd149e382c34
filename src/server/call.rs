//! Calls: the server passes signals between peers. Media never go through the server.
//!
//! [`signal`] decides who may signal to whom, [`sdp`] validates what they send, [`ice`] issues credentials for TURN
//! servers.

pub mod ice;
pub mod sdp;
pub mod signal;
