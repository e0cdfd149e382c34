//! The socket of a connection without TLS, shared: its task reads from it, and whoever has frames for it writes
//! them without waking that task.
//!
//! Until [`SharedSocket::share`] it is the socket of HTTP requests and nothing else. Afterwards whoever writes has
//! their bytes taken whole, so that a frame begun by one is never cut into by another.

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

use super::hub::account::lock;
use super::hub::outbox::WriteNow;

/// So many bytes are gathered for one write.
const WRITE_AT_ONCE: usize = 64 * 1024;

thread_local! {
    /// What is gathered. Whoever writes to five hundred connections need not ask for memory five hundred times.
    static GATHERED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The half that is written to.
#[derive(Debug)]
pub(super) struct SharedSocket {
    socket: OwnedWriteHalf,
    sending: Mutex<Sending>,
}

#[derive(Debug, Default)]
struct Sending {
    is_shared: bool,
    /// What the socket did not take, from its first byte that was not written.
    unwritten: VecDeque<u8>,
}

/// What HTTP and the WebSocket's own parser read from and write to.
#[derive(Debug)]
pub(super) struct SocketStream {
    socket: OwnedReadHalf,
    shared: Arc<SharedSocket>,
}

impl SocketStream {
    /// Takes the socket of a fresh connection.
    pub(super) fn new(socket: TcpStream) -> Self {
        let (read, socket) = socket.into_split();
        Self { socket: read, shared: Arc::new(SharedSocket { socket, sending: Mutex::default() }) }
    }

    /// The half that others may write to, once it is a WebSocket's.
    pub(super) fn shared(&self) -> Arc<SharedSocket> {
        self.shared.clone()
    }
}

impl SharedSocket {
    /// From now on it is a WebSocket's, and others write to it too.
    pub(super) fn share(&self) {
        lock(&self.sending).is_shared = true;
    }

    /// Writes `bytes` after what waits, and keeps what the socket does not take.
    fn write_after(&self, sending: &mut Sending, bytes: &[u8]) {
        self.write_waiting(sending);
        let written = if sending.unwritten.is_empty() { self.try_write(bytes) } else { 0 };
        sending.unwritten.extend(&bytes[written..]);
    }

    fn write_waiting(&self, sending: &mut Sending) {
        while !sending.unwritten.is_empty() {
            let (waiting, _) = sending.unwritten.as_slices();
            let (length, written) = (waiting.len(), self.try_write(waiting));
            sending.unwritten.drain(..written);
            if written < length {
                return;
            }
        }
        // Whoever once read slowly need not cost memory for ever.
        sending.unwritten.shrink_to(0);
    }

    /// How much of these the socket took.
    fn try_write(&self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.socket.try_write(&bytes[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
                // The peer is gone, which the reader learns too; nobody will read these.
                Err(_) => return bytes.len(),
            }
        }
        written
    }
}

impl WriteNow for SharedSocket {
    fn write_now(&self, frames: &VecDeque<Utf8Bytes>) -> bool {
        let mut sending = lock(&self.sending);
        GATHERED.with_borrow_mut(|bytes| {
            for frame in frames {
                push_text_frame(bytes, frame);
                if bytes.len() > WRITE_AT_ONCE {
                    self.write_after(&mut sending, bytes);
                    bytes.clear();
                }
            }
            self.write_after(&mut sending, bytes);
            bytes.clear();
            bytes.shrink_to(2 * WRITE_AT_ONCE);
        });
        sending.unwritten.is_empty()
    }
}

/// A text frame of a server (RFC 6455, 5.2): whole, not masked.
fn push_text_frame(bytes: &mut Vec<u8>, text: &str) {
    const WHOLE_TEXT: u8 = 0x81;
    bytes.push(WHOLE_TEXT);
    match text.len() {
        length @ ..126 => bytes.push(length as u8),
        length => match u16::try_from(length) {
            Ok(length) => {
                bytes.push(126);
                bytes.extend(length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(127);
                bytes.extend((length as u64).to_be_bytes());
            }
        },
    }
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
                let mut sending = lock(&self.shared.sending);
                if sending.is_shared {
                    self.shared.write_waiting(&mut sending);
                    // Whole or not at all. Answers to pings of a peer that reads nothing are not kept without end.
                    if sending.unwritten.len() <= WRITE_AT_ONCE {
                        parts.iter().for_each(|part| self.shared.write_after(&mut sending, part));
                        return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
                    }
                }
                sending.is_shared
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
                let mut sending = lock(&self.shared.sending);
                self.shared.write_waiting(&mut sending);
                if sending.unwritten.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            ready!(self.socket.as_ref().poll_write_ready(context))?;
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The half that is written to shuts down when the last who holds it lets go, right afterwards.
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
    async fn for_a_peer_that_reads_nothing_not_everything_is_kept() {
        const MANY: usize = 64 * 1024;
        let (mut stream, _peer) = pair().await;
        let taken = (0..MANY).take_while(|_| stream.write(&[0; 1_024]).now_or_never().is_some()).count();
        assert!(taken < MANY);
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_at_once_arrives_whole_and_in_order() {
        let (mut stream, mut peer) = pair().await;
        let (shared, frame) = (stream.shared(), Utf8Bytes::from("x".repeat(50_000)));
        let mut sent = 0;
        while shared.write_now(&VecDeque::from([frame.clone()])) {
            sent += 1;
        }
        // The parser's own frame, a pong, comes after what waits.
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
        assert!(frames == sent + 1 && all.chunks(one.len()).take(frames).all(|part| part == one));
        assert_eq!(all[frames * one.len()..], [0x8a, 0]);
    }
}
