//! Writes the outboxes of many connections from one task.
//!
//! To wake up a task for each connection would cost as much as the writing. While one outbox is written, more frames
//! gather for the others.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use super::Outbox;
use crate::protocol::CloseCode;
use crate::server::lock::lock;

/// The number of outboxes that are flushed before the task yields to the scheduler.
const AT_A_TIME: usize = 32;

/// Writes outboxes that have a direct socket, one after the other.
#[derive(Debug, Default)]
pub struct Flusher {
    announced: Mutex<Vec<Arc<Outbox>>>,
    wake: Notify,
    congested: watch::Sender<bool>,
}

impl Flusher {
    /// Queues an outbox that has frames.
    pub(super) fn announce(&self, outbox: Arc<Outbox>) {
        let mut announced = lock(&self.announced);
        announced.push(outbox);
        let is_first = announced.len() == 1;
        drop(announced);
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Backpressure: waits while outboxes fill faster than they are written. A connection that is about to send more
    /// waits for this, so that readers who keep up are not closed as slow consumers.
    pub async fn wait_for_capacity(&self) {
        if *self.congested.borrow() {
            // The sender is here, so this cannot fail.
            let _ = self.congested.subscribe().wait_for(|is_congested| !is_congested).await;
        }
    }

    pub(super) fn set_congested(&self, is_congested: bool) {
        self.congested.send_if_modified(|was| std::mem::replace(was, is_congested) != is_congested);
    }

    /// Writes until it is dropped.
    pub async fn run(&self) {
        let (mut outboxes, mut taken) = (Vec::new(), VecDeque::new());
        loop {
            self.wake.notified().await;
            std::mem::swap(&mut *lock(&self.announced), &mut outboxes);
            for (index, outbox) in outboxes.drain(..).enumerate() {
                let written = catch_unwind(AssertUnwindSafe(|| outbox.flush(&mut taken)));
                if written.is_err() {
                    // The panic has been counted and logged; the other connections go on.
                    taken.clear();
                    outbox.close(CloseCode::Internal);
                }
                if index % AT_A_TIME == AT_A_TIME - 1 {
                    tokio::task::yield_now().await;
                }
            }
            // A queue that fills up from now on sets it again.
            self.set_congested(false);
        }
    }
}
