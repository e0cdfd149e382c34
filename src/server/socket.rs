//! The shared socket of a connection without TLS: its task reads from it, and flushers write frames to it without waking
//! that task.
//!
//! Before [`SharedSocket::share`], only HTTP uses the socket. Afterwards every write is taken as a whole, so that writers
//! never interleave within a frame.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use axum::extract::ws::Utf8Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::hub::outbox::DirectSocket;
use super::lock::lock;

/// Bytes that are gathered for one write.
const MAX_WRITE_BYTES: usize = 64 * 1024;

thread_local! {
    /// The frames of the next write. Reused, because a flusher writes to hundreds of connections in a row.
    static WRITE_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The write half.
#[derive(Debug)]
pub(super) struct SharedSocket {
    socket: OwnedWriteHalf,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    is_shared: bool,
    /// Bytes that the socket has not accepted yet.
    bytes: VecDeque<u8>,
}

/// The stream for hyper and tungstenite: reads from the socket, and writes through [`SharedSocket`].
#[derive(Debug)]
pub(super) struct SocketStream {
    socket: OwnedReadHalf,
    shared: Arc<SharedSocket>,
}

impl SocketStream {
    pub(super) fn new(socket: TcpStream) -> Self {
        let (read, socket) = socket.into_split();
        Self { socket: read, shared: Arc::new(SharedSocket { socket, pending: Mutex::default() }) }
    }

    /// The write half, for other writers once the connection is a WebSocket.
    pub(super) fn shared(&self) -> Arc<SharedSocket> {
        self.shared.clone()
    }
}

impl SharedSocket {
    /// The connection is a WebSocket from now on, and has several writers.
    pub(super) fn share(&self) {
        lock(&self.pending).is_shared = true;
    }

    /// Writes `bytes` after the pending ones, and keeps what the socket does not accept.
    fn write_or_queue(&self, pending: &mut Pending, bytes: &[u8]) {
        self.write_pending(pending);
        let written = if pending.bytes.is_empty() { self.write_some(bytes) } else { 0 };
        pending.bytes.extend(&bytes[written..]);
    }

    fn write_pending(&self, pending: &mut Pending) {
        while !pending.bytes.is_empty() {
            let (front, _) = pending.bytes.as_slices();
            let (length, written) = (front.len(), self.write_some(front));
            pending.bytes.drain(..written);
            if written < length {
                return;
            }
        }
        // A peer that once read slowly must not hold memory until it disconnects.
        pending.bytes.shrink_to(0);
    }

    /// Returns the number of bytes that the socket accepted.
    fn write_some(&self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.socket.try_write(&bytes[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
                // The peer is gone, which the reading task detects, too. The bytes are dropped.
                Err(_) => return bytes.len(),
            }
        }
        written
    }
}

impl DirectSocket for SharedSocket {
    fn try_write(&self, frames: &mut VecDeque<Utf8Bytes>) -> usize {
        let mut pending = lock(&self.pending);
        self.write_pending(&mut pending);
        WRITE_BUFFER.with_borrow_mut(|bytes| {
            // While the peer does not read, the frames stay where they are: they may be shared with other connections.
            while pending.bytes.is_empty() && !frames.is_empty() {
                while bytes.len() <= MAX_WRITE_BYTES
                    && let Some(frame) = frames.pop_front()
                {
                    push_text_frame(bytes, &frame);
                }
                self.write_or_queue(&mut pending, bytes);
                bytes.clear();
            }
            bytes.shrink_to(2 * MAX_WRITE_BYTES);
        });
        pending.bytes.len()
    }
}

/// Appends an unfragmented, unmasked text frame (RFC 6455, 5.2).
fn push_text_frame(bytes: &mut Vec<u8>, text: &str) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    header.format(text.len() as u64, bytes).expect("writing to a Vec cannot fail");
    bytes.extend(text.as_bytes());
}

impl AsyncRead for SocketStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for SocketStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let is_shared = {
                let mut pending = lock(&self.shared.pending);
                if pending.is_shared {
                    self.shared.write_pending(&mut pending);
                    // All parts or none. The bound stops a peer that sends pings but does not read the pongs.
                    if pending.bytes.len() <= MAX_WRITE_BYTES {
                        parts.iter().for_each(|part| self.shared.write_or_queue(&mut pending, part));
                        return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
                    }
                }
                pending.is_shared
            };
            ready!(self.socket.as_ref().poll_write_ready(context))?;
            if !is_shared {
                match self.shared.socket.try_write_vectored(parts) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            {
                let mut pending = lock(&self.shared.pending);
                self.shared.write_pending(&mut pending);
                if pending.bytes.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.socket.as_ref().poll_write_ready(context))?;
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The write half shuts down when its last owner is dropped, right after this.
        self.poll_flush(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (SocketStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = SocketStream::new(listener.accept().await.unwrap().0);
        stream.shared().share();
        (stream, peer)
    }

    #[tokio::test]
    async fn unread_output_is_bounded() {
        const MANY: usize = 64 * 1024;
        let (mut stream, _peer) = pair().await;
        let accepted = (0..MANY).take_while(|_| stream.write(&[0; 1_024]).now_or_never().is_some()).count();
        assert!(accepted < MANY);
    }

    #[tokio::test]
    async fn pending_frames_arrive_complete_and_in_order() {
        let (mut stream, mut peer) = pair().await;
        let (shared, frame) = (stream.shared(), Utf8Bytes::from("x".repeat(50_000)));
        let (mut sent, mut frames) = (0, VecDeque::new());
        loop {
            frames.push_back(frame.clone());
            sent += 1;
            if shared.try_write(&mut frames) > 0 {
                break;
            }
        }
        assert!(frames.is_empty(), "it has begun to write the last one");
        frames.push_back(frame.clone());
        assert!(shared.try_write(&mut frames) > 0 && frames.len() == 1, "nothing more is taken");
        // A pong of the WebSocket library comes after the pending frames.
        stream.write_all(&[0x8a, 0]).await.unwrap();
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.unwrap();
            all
        });
        stream.flush().await.unwrap();
        drop((stream, shared));
        let all = reading.await.unwrap();
        let mut one = Vec::new();
        push_text_frame(&mut one, &frame);
        let frames = all.len() / one.len();
        assert!(frames == sent && all.chunks(one.len()).take(frames).all(|part| part == one));
        assert_eq!(all[frames * one.len()..], [0x8a, 0]);
    }
}
