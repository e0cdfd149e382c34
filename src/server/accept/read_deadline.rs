//! A stream whose peer has to read what is written to it.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A peer that reads this many bytes in time is slow, but not stuck.
const PROGRESS_BYTES: usize = 16 * 1024;
/// The time that a peer of frames has. The transports time out earlier, with a close code.
const FRAMES_TIMEOUT: Duration = Duration::from_secs(75);

/// The time that a peer has to read the next [`PROGRESS_BYTES`], or what is left.
#[derive(Debug)]
pub(super) struct Patience {
    responses: Duration,
    carries_frames: AtomicBool,
}

impl Patience {
    /// `responses`: the time for responses to requests.
    pub(super) fn new(responses: Duration) -> Arc<Self> {
        Arc::new(Self { responses, carries_frames: AtomicBool::new(false) })
    }

    /// From now on, the connection carries frames: as a WebSocket or an event stream.
    pub(super) fn carry_frames(&self) {
        self.carries_frames.store(true, Ordering::Relaxed);
    }

    fn duration(&self) -> Duration {
        if self.carries_frames.load(Ordering::Relaxed) { self.responses.max(FRAMES_TIMEOUT) } else { self.responses }
    }
}

/// Fails with [`ErrorKind::TimedOut`] if the peer does not read.
pub(super) struct ReadDeadline<S> {
    stream: S,
    patience: Arc<Patience>,
    waiting: Option<Waiting>,
}

/// Something was written that the peer has not accepted completely.
struct Waiting {
    /// Bytes that were accepted since the timeout was set.
    accepted: usize,
    timeout: Pin<Box<Sleep>>,
}

impl<S> ReadDeadline<S> {
    pub(super) fn new(stream: S, patience: Arc<Patience>) -> Self {
        Self { stream, patience, waiting: None }
    }

    /// Judges the result of a write of `offered` bytes.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        offered: usize,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(accepted)) if *accepted >= offered => self.waiting = None,
            Poll::Ready(Ok(accepted)) => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.accepted += accepted;
                    if waiting.accepted >= PROGRESS_BYTES {
                        waiting.accepted = 0;
                        waiting.timeout.as_mut().reset(Instant::now() + self.patience.duration());
                    }
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let waiting = self
                    .waiting
                    .get_or_insert_with(|| Waiting { accepted: 0, timeout: Box::pin(sleep(self.patience.duration())) });
                if waiting.timeout.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(ErrorKind::TimedOut.into()));
                }
            }
        }
        result
    }

    fn judge_end(&mut self, context: &mut Context<'_>, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        self.judge(context, 0, result.map_ok(|()| 0)).map_ok(|_| ())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadDeadline<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, bytes.len(), result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, parts.iter().map(|part| part.len()).sum(), result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.judge_end(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge_end(context, result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn peer_that_reads_nothing_times_out() {
        let (near, _far) = duplex(100);
        let mut stream = ReadDeadline::new(near, Patience::new(PATIENCE));
        let began = Instant::now();
        let error = stream.write_all(&[0; 1_000]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (ErrorKind::TimedOut, PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_have_longer_than_their_transport_waits() {
        let (near, _far) = duplex(100);
        let patience = Patience::new(PATIENCE);
        let mut stream = ReadDeadline::new(near, patience.clone());
        patience.carry_frames();
        let began = Instant::now();
        stream.write_all(&[0; 1_000]).await.unwrap_err();
        assert_eq!(began.elapsed(), FRAMES_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_peer_gets_everything_but_trickling_peer_does_not() {
        for (bytes_per_second, is_served) in [(2_048, true), (10, false)] {
            let (near, mut far) = duplex(64);
            let mut stream = ReadDeadline::new(near, Patience::new(PATIENCE));
            let reading = tokio::spawn(async move {
                let mut chunk = vec![0; bytes_per_second];
                while let Ok(1..) = far.read(&mut chunk).await {
                    tokio::time::sleep(Duration::from_millis(
                        chunk.len().min(64) as u64 * 1_000 / bytes_per_second as u64,
                    ))
                    .await;
                }
            });
            let written = timeout(Duration::from_secs(600), stream.write_all(&[0; 200_000])).await.unwrap();
            assert_eq!(written.is_ok(), is_served, "{bytes_per_second} bytes per second");
            reading.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pause_between_writes_does_not_count() {
        let (near, mut far) = duplex(100);
        let mut stream = ReadDeadline::new(near, Patience::new(PATIENCE));
        for _ in 0..3 {
            stream.write_all(&[0; 100]).await.unwrap();
            tokio::time::sleep(2 * PATIENCE).await;
            far.read_exact(&mut [0; 100]).await.unwrap();
        }
    }
}
