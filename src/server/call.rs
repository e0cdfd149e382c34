//! Calls: the server introduces peers to each other; what they show and say does not pass here.
//!
//! `signal` says who may tell what to whom, `sdp` checks what they tell, `ice` mints credentials for
//! what helps them to connect.

pub mod ice;
pub mod sdp;
pub mod signal;
