//! The input of a connection.

use axum::extract::ws::Utf8Bytes;

use crate::protocol::CloseCode;

/// A frame or event from the peer.
#[derive(Debug)]
pub(in crate::server) enum Received {
    Frame(Utf8Bytes),
    /// A ping, a pong or an empty POST: a sign of life.
    Control,
    /// A violation of the protocol that ends the connection with this code.
    Fault(CloseCode),
    /// The peer closed the connection and does not intend to resume it.
    CleanClose,
    /// The connection broke, or the peer dropped it to reconnect.
    Disconnected,
}
