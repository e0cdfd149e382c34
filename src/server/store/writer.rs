//! Writing: one thread, and one transaction for everything that was queued during the last one (group commit).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::StoreError;
use super::checkpoint::{self, Checkpoints, Writing};
use super::commit::{Committed, commit};
use super::epoch::Watermark;
use super::failure::{UNSURE, report};
use super::index::Indexer;
use super::usage::{Gauges, Operator, Quotas, Stored};
use super::write::{Write, Written};
use crate::server::lock::lock;

/// The most queued writes. On a slow disk this is a few seconds of work.
const QUEUE: usize = 8_192;
/// The most queued text, in bytes.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// The most writes in one transaction. All of them are answered together: more would fill the outbox of a connection
/// that reads as fast as it can.
const BATCH: usize = 128;
/// The most text in one transaction, in bytes, for the same reason.
const BATCH_BYTES: usize = 256 * 1024;
/// The handle of the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Write>>>,
    /// The text in the queue, in bytes.
    queued_bytes: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. `count` is the number of messages in the database, `usage` their size.
    pub(super) fn start(
        connection: Connection,
        checkpoints: Checkpoints,
        indexer: Indexer,
        watermark: Arc<Watermark>,
        count: u64,
        usage: (Stored, Quotas, Arc<Gauges>),
    ) -> std::io::Result<Self> {
        let (queue, writes) = sync_channel(QUEUE);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let (stored, quotas, gauges) = usage;
        let operator = Operator::new(quotas, gauges, stored);
        let writer = WriterThread {
            connection,
            checkpoints,
            indexer,
            writes,
            queued_bytes: queued_bytes.clone(),
            watermark,
            count,
            stored,
            quotas,
            operator,
        };
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
            // Without this thread nothing can be stored. A new process starts from what is on the disk.
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                std::process::exit(UNSURE);
            }
        })?;
        Ok(Self { queue: Mutex::new(Some(queue)), queued_bytes, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn send(&self, write: Write) -> Result<(), StoreError> {
        let queue = lock(&self.queue);
        let queue = queue.as_ref().ok_or(StoreError::Unavailable)?;
        let bytes = write.text_bytes();
        if self.queued_bytes.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            return Err(StoreError::Busy);
        }
        // Counted first: the thread may take it at once.
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        queue.try_send(write).map_err(|error| {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => StoreError::Unavailable,
            }
        })
    }

    pub(super) fn close(&self) {
        lock(&self.queue).take();
        if let Some(thread) = lock(&self.thread).take() {
            // If this fails, the thread has panicked, and that has been reported.
            let _ = thread.join();
        }
    }
}

/// The state of the writer thread.
struct WriterThread {
    connection: Connection,
    checkpoints: Checkpoints,
    indexer: Indexer,
    writes: Receiver<Write>,
    queued_bytes: Arc<AtomicUsize>,
    watermark: Arc<Watermark>,
    /// The number of messages and changes in the database.
    count: u64,
    stored: Stored,
    quotas: Quotas,
    operator: Operator,
}

impl WriterThread {
    fn run(mut self) {
        while let Some(first) = self.next() {
            let batch = self.gather(first);
            match commit(&mut self.connection, &batch, self.stored, self.quotas) {
                Ok(Committed { results, stored, grown }) => {
                    self.advance_watermark(&results);
                    self.tell_operator(stored, &grown, &results);
                    self.indexer.committed(&batch, &results);
                    batch.into_iter().zip(results).for_each(|(write, result)| write.answer(result));
                }
                Err(error) => {
                    report(&error, "cannot write to the database");
                    batch.into_iter().for_each(|write| write.answer(Err(StoreError::Unavailable)));
                }
            }
            self.indexer.tend(&mut self.connection, Writing::Busy);
            self.checkpoints.tend(&self.connection, Writing::Busy);
        }
        self.indexer.finish(&mut self.connection);
        self.checkpoints.finish(&self.connection, &self.watermark);
    }

    /// Waits for the next write. `None` when the queue is closed.
    fn next(&mut self) -> Option<Write> {
        loop {
            let write = match self.writes.try_recv() {
                Ok(write) => Some(write),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => match self.pause() {
                    Some(pause) => match self.writes.recv_timeout(pause) {
                        Err(RecvTimeoutError::Timeout) => {
                            self.indexer.tend(&mut self.connection, Writing::Idle);
                            continue;
                        }
                        write => write.ok(),
                    },
                    None => self.writes.recv().ok(),
                },
            };
            return write.inspect(|write| self.take(write));
        }
    }

    /// The time after which there is other work to do, if no write comes.
    fn pause(&mut self) -> Option<Duration> {
        let checkpoint = self.checkpoints.tend(&self.connection, Writing::Idle).then_some(checkpoint::RETRY);
        self.indexer.pause().into_iter().chain(checkpoint).min()
    }

    /// Takes the queued writes, up to the limits of a batch.
    fn gather(&mut self, first: Write) -> Vec<Write> {
        let (mut bytes, mut batch) = (first.text_bytes(), vec![first]);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Ok(write) = self.writes.try_recv() else { break };
            self.take(&write);
            bytes += write.text_bytes();
            batch.push(write);
        }
        batch
    }

    fn take(&self, write: &Write) {
        self.queued_bytes.fetch_sub(write.text_bytes(), Ordering::Relaxed);
    }

    /// Advances the watermark by the new messages and changes, before their authors are answered.
    fn advance_watermark(&mut self, results: &[Result<Written, StoreError>]) {
        let is_new = |result: &&Result<Written, StoreError>| match result {
            Ok(Written::Append(Ok(stored))) => !stored.dup,
            Ok(Written::Change(Ok(changed))) => changed.change.is_some(),
            Ok(
                Written::Append(Err(_))
                | Written::Change(Err(_))
                | Written::File(_)
                | Written::Room(_)
                | Written::Expired(_)
                | Written::Nothing,
            )
            | Err(_) => false,
        };
        match results.iter().filter(is_new).count() {
            0 => return,
            new => self.count += new as u64,
        }
        if let Err(error) = self.watermark.advance(self.count) {
            tracing::warn!(%error, "cannot write to noom.mark: an older copy of the database may pass for this one");
        }
    }

    fn tell_operator(&mut self, stored: Stored, grown: &[(i64, u64, u64)], results: &[Result<Written, StoreError>]) {
        self.operator.tell(self.stored, stored);
        self.stored = stored;
        grown.iter().for_each(|(room, before, after)| self.operator.tell_of_room(*room, *before, *after));
        if results.iter().any(Written::is_above_quota) {
            self.operator.tell_of_refusal();
        }
    }
}
