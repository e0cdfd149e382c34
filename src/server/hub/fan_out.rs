//! Fan-out: from a commit to the outboxes.
//!
//! The commit thread queues the outcome of each post and change here and goes on: it never waits for a shard or an outbox. A
//! worker per shard takes the outcomes in order. Each becomes an [`Answered`] for the author and, if it is new, an input
//! for the room, in this order.
//!
//! Backpressure: the queues are bounded in bytes, but not by the commit. A post reserves its bytes before it is handed
//! to the store, and the reservation ends after the delivery. While all bytes are reserved, new posts wait, and with
//! them the reading of their connections.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::core::Input;
use super::outbox::Outbox;
use super::output::LogPosition;
use super::{Hub, Shards};
use crate::protocol::{Ack, ChangeAck, ErrorCode, Position, PostAck, Refusal, ServerFrame, UserId};
use crate::server::change::{ChangeError, Changed, MentionsChanged};
use crate::server::history::{Expired, Stored};
use crate::server::id::RoomRow;
use crate::server::lock::lock;
use crate::server::storage::{AppendError, StoreError};

/// The bytes of all posts between their admission and their delivery. More than the store queues: if the disk is slow,
/// the store refuses posts, and they do not wait.
const BUDGET: usize = 16 * 1024 * 1024;
/// The size of a post without its text, in bytes.
const OVERHEAD: usize = 256;
/// The number of outcomes that are delivered before the worker yields to the scheduler.
const AT_A_TIME: usize = 32;

/// The author of a post, who waits for its outcome.
#[derive(Debug)]
pub(super) enum Author {
    /// A connection. Successes are only answered if the frame had an id.
    Connection { outbox: Arc<Outbox>, id: Option<u64> },
    /// A form.
    Form(oneshot::Sender<Result<PostAck, Refusal>>),
}

/// The outcome of a post or change, as the store reports it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) room: RoomRow,
    pub(super) result: Written,
    /// Released when the outcome has been delivered.
    pub(super) _reserved: OwnedSemaphorePermit,
}

/// The result of a write, and its author.
#[derive(Debug)]
pub(super) enum Written {
    Post {
        author: Author,
        result: Result<Stored, AppendError>,
    },
    /// `seq`: the message.
    Change {
        asker: Asker,
        seq: u64,
        result: Result<Changed, ChangeError>,
    },
    Expired {
        sender: oneshot::Sender<Result<Expired, StoreError>>,
        result: Result<Expired, StoreError>,
    },
}

/// The origin of a change, which waits for its outcome.
#[derive(Debug)]
pub(super) enum Asker {
    /// A connection. Successes are only answered if the frame had an id. `reacted`: its user, if the change is a
    /// reaction.
    Connection { outbox: Arc<Outbox>, id: Option<u64>, reacted: Option<UserId> },
    /// A purge.
    Purge(oneshot::Sender<Result<(), ChangeError>>),
}

/// The answer to the author of a post or change.
enum Answered {
    Post(Author, Result<PostAck, Refusal>),
    Change { outbox: Arc<Outbox>, id: Option<u64>, result: Result<ChangeAck, Refusal> },
    Purge(oneshot::Sender<Result<(), ChangeError>>, Result<(), ChangeError>),
    Expired(oneshot::Sender<Result<Expired, StoreError>>, Result<Expired, StoreError>),
}

/// The outcomes that wait for delivery, by shard.
#[derive(Debug)]
pub(super) struct FanOut {
    queues: Box<[ShardQueue]>,
    budget: Arc<Semaphore>,
    is_closed: AtomicBool,
}

#[derive(Debug, Default)]
struct ShardQueue {
    outcomes: Mutex<VecDeque<Outcome>>,
    /// Gaps in rooms' tails that have to be read from the store: the messages after a `seq`.
    gaps: Mutex<Vec<(RoomRow, LogPosition)>>,
    wake: Notify,
}

impl FanOut {
    pub(super) fn new(shards: usize) -> Arc<Self> {
        let queues = (0..shards).map(|_| ShardQueue::default()).collect();
        Arc::new(Self { queues, budget: Arc::new(Semaphore::new(BUDGET)), is_closed: AtomicBool::new(false) })
    }

    /// Reserves the bytes for a post or change. Waits while too many posts are on their way.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` after the end.
    pub(super) async fn reserve(&self, text_bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let bytes = (text_bytes + OVERHEAD).min(BUDGET) as u32;
        let permit = self.budget.clone().acquire_many_owned(bytes).await;
        permit.map_err(|_| ErrorCode::StoreUnavailable.into())
    }

    /// Waits until every post that was admitted has been delivered. Posts that are admitted meanwhile wait.
    pub(super) async fn settle(&self) {
        // The semaphore is never closed, so this cannot fail.
        let _ = self.budget.acquire_many(BUDGET as u32).await;
    }

    /// Queues an outcome. Called by the thread that commits.
    pub(super) fn push(&self, outcome: Outcome) {
        let queue = &self.queues[Shards::index(outcome.room.id, self.queues.len())];
        let mut outcomes = lock(&queue.outcomes);
        outcomes.push_back(outcome);
        let is_first = outcomes.len() == 1;
        drop(outcomes);
        if is_first {
            queue.wake.notify_one();
        }
    }

    /// Queues a gap that has to be read from the store.
    pub(super) fn push_gap(&self, room: RoomRow, after: LogPosition) {
        let queue = &self.queues[Shards::index(room.id, self.queues.len())];
        lock(&queue.gaps).push((room, after));
        queue.wake.notify_one();
    }

    /// Ends the workers when all outcomes have been delivered.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.queues.iter().for_each(|queue| queue.wake.notify_one());
    }
}

/// The frames and answers that an outcome leads to.
struct Delivery {
    answered: Answered,
    /// For the room.
    input: Option<Input<Arc<Outbox>>>,
    /// The room may be one of a user's own now.
    participation: Option<Participation>,
    /// The message, and whom it mentions now.
    mentions: (u64, MentionsChanged),
    /// The oldest message that is kept, if others have expired.
    floor: Option<u64>,
    _reserved: OwnedSemaphorePermit,
}

/// The reason for a room to be one of a user's own.
enum Participation {
    /// A message of the user.
    Message { author: UserId, seq: u64 },
    /// A reaction of the user.
    Reaction(UserId),
}

impl Outcome {
    /// Divides the outcome. Also returns its room.
    fn split(self) -> (RoomRow, Delivery) {
        let Self { room, result, _reserved } = self;
        let only_answer = |answered| Delivery {
            answered,
            input: None,
            participation: None,
            mentions: <_>::default(),
            floor: None,
            _reserved,
        };
        let delivery = match result {
            Written::Post { author, result } => {
                let answer = result.as_ref().map_err(|error| Refusal::from(*error)).map(|stored| PostAck {
                    room: stored.message.room,
                    key: stored.message.key,
                    seq: stored.message.seq,
                    at: stored.message.at,
                    dup: stored.dup.then_some(true),
                });
                let answer = only_answer(Answered::Post(author, answer));
                // A message that was stored before has been delivered before.
                match result.ok().filter(|stored| !stored.dup).map(|stored| stored.message) {
                    None => answer,
                    Some(new) => {
                        let added = new.mentions().iter().map(|user| user.id).collect();
                        Delivery {
                            participation: Some(Participation::Message { author: new.user.id, seq: new.seq }),
                            mentions: (new.seq, MentionsChanged { added, removed: Vec::new() }),
                            input: Some(Input::Committed(room.id, new)),
                            ..answer
                        }
                    }
                }
            }
            Written::Change { asker, seq, result } => {
                let (answered, reacted) = match asker {
                    Asker::Connection { outbox, id, reacted } => {
                        let result = match &result {
                            Ok(changed) => Ok(ChangeAck { room: room.id, seq, rev: changed.rev }),
                            Err(error) => Err(Refusal::from(*error)),
                        };
                        (Answered::Change { outbox, id, result }, reacted)
                    }
                    Asker::Purge(sender) => {
                        let result = result.as_ref().map(|_| ()).map_err(|error| *error);
                        (Answered::Purge(sender, result), None)
                    }
                };
                let participation = reacted.filter(|_| result.is_ok()).map(Participation::Reaction);
                let Changed { change, mentions, .. } = result.unwrap_or_default();
                let input = change.map(|change| Input::Changed(room.id, change));
                Delivery { input, participation, mentions: (seq, mentions), ..only_answer(answered) }
            }
            Written::Expired { sender, result } => {
                let floor = result.ok().map(|expired| expired.floor);
                let input = floor.map(|floor| Input::Expired(room.id, floor));
                Delivery { input, floor, ..only_answer(Answered::Expired(sender, result)) }
            }
        };
        (room, delivery)
    }
}

impl Answered {
    fn deliver(self) {
        match self {
            Self::Post(Author::Connection { outbox, id }, Ok(ack)) => outbox.acknowledge(id, Ack::NewMessage(ack)),
            Self::Post(Author::Connection { outbox, id }, Err(refusal))
            | Self::Change { outbox, id, result: Err(refusal) } => {
                outbox.send(&ServerFrame::Error { id, refusal });
            }
            // The request may have been given up.
            Self::Post(Author::Form(sender), result) => drop(sender.send(result)),
            Self::Change { outbox, id, result: Ok(ack) } => outbox.acknowledge(id, Ack::Change(ack)),
            Self::Purge(sender, result) => drop(sender.send(result)),
            Self::Expired(sender, result) => drop(sender.send(result)),
        }
    }
}

impl Hub {
    /// Delivers the outcomes of one shard's posts, and reads what its rooms' tails miss. Runs until [`Hub::close`].
    pub async fn run_fan_out(&self, shard: usize) {
        let queue = &self.fan_out.queues[shard];
        loop {
            queue.wake.notified().await;
            let mut count = 0;
            while self.deliver_next(shard) {
                count += 1;
                if count % AT_A_TIME == 0 {
                    tokio::task::yield_now().await;
                }
            }
            let gaps = std::mem::take(&mut *lock(&queue.gaps));
            for (room, after) in gaps {
                self.fetch(room, after).await;
            }
            if self.fan_out.is_closed.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Delivers the outcomes that are queued now, for drivers without [`Hub::run_fan_out`].
    pub fn deliver(&self) {
        while self.deliver_one() {}
    }

    /// Delivers one outcome. Returns whether there was one.
    pub fn deliver_one(&self) -> bool {
        (0..self.fan_out.queues.len()).any(|shard| self.deliver_next(shard))
    }

    fn deliver_next(&self, shard: usize) -> bool {
        // The shard is locked before the outcome is taken, so that two drivers cannot change the order.
        let mut locked = self.shards.get(shard);
        let Some(outcome) = lock(&self.fan_out.queues[shard].outcomes).pop_front() else { return false };
        let (room, Delivery { answered, input, participation, mentions, floor, _reserved }) = outcome.split();
        let delivered = catch_unwind(AssertUnwindSafe(|| {
            let answered = catch_unwind(AssertUnwindSafe(|| answered.deliver()));
            if let Some(input) = input {
                // What is committed is never refused.
                let _ = locked.drive(input, self);
            }
            match participation {
                Some(Participation::Message { author, seq }) => self.reading.committed(author, &room, seq),
                Some(Participation::Reaction(user)) => {
                    if let Some(head) = locked.head(room.id) {
                        self.reading.took_part(user, &room, head);
                    }
                }
                None => {}
            }
            // After the message itself is known to be there.
            self.reading.mentioned(room.id, mentions.0, &mentions.1);
            if let Some(floor) = floor {
                self.reading.expired(room.id, floor);
            }
            answered
        }));
        if !matches!(delivered, Ok(Ok(()))) {
            tracing::error!("a panic at the delivery of a message");
        }
        true
    }

    /// Reads a gap in a room's tail.
    async fn fetch(&self, room: RoomRow, after: LogPosition) {
        let position = Position { epoch: self.storage.epoch().to_owned(), seq: after.up_to, rev: after.rev };
        let read = self.storage.history_for(room.clone(), Some(position)).await;
        let history = read.ok().filter(|history| history.recovered);
        // Never refused.
        let _ = self.shards.handle(room.id, Input::Fetched(room.id, history), self);
    }
}
