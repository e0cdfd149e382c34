//! The connections of this process: numbers and outboxes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Hub;
use super::account::Account;
use super::outbox::{Budget, Outbox, OutboxLimits};
use crate::server::config::LimitSettings;
use crate::server::id::ConnId;
use crate::server::lock::lock;

/// All connections.
#[derive(Debug)]
pub(super) struct Connections {
    outboxes: Mutex<BTreeMap<ConnId, Arc<Outbox>>>,
    next: AtomicU64,
    at_most: usize,
    limits: OutboxLimits,
    budget: Arc<Budget>,
}

/// One of the connections that are admitted, until [`Hub::unregister`].
#[derive(Debug)]
pub struct ConnectionHandle {
    /// The connection's number.
    pub id: ConnId,
    /// The connection's outbox.
    pub outbox: Arc<Outbox>,
}

impl Connections {
    pub(super) fn new(limits: &LimitSettings) -> Self {
        let outbox = OutboxLimits { frames: limits.outbox_frames, bytes: limits.outbox_bytes };
        let next = AtomicU64::new(1);
        let budget = Budget::new(limits.buffers().outboxes);
        Self { outboxes: Mutex::default(), next, at_most: limits.connections, limits: outbox, budget }
    }
}

impl Hub {
    /// Admits a connection; `None` when there are too many in total.
    pub fn register(&self) -> Option<ConnectionHandle> {
        let Connections { outboxes, next, at_most, limits, budget } = &self.connections;
        let mut outboxes = lock(outboxes);
        (outboxes.len() < *at_most).then(|| {
            let (id, outbox) = (ConnId(next.fetch_add(1, Ordering::Relaxed)), Outbox::within(*limits, budget));
            outboxes.insert(id, outbox.clone());
            ConnectionHandle { id, outbox }
        })
    }

    /// Removes a connection that has ended. Its rooms learn of it after the grace period; its calls at once after a
    /// clean close.
    pub fn unregister(&self, conn: ConnId, account: Option<&Account>, clean_close: bool) {
        lock(&self.connections.outboxes).remove(&conn);
        self.unwatch(conn);
        if let Some(account) = account {
            account.disconnect(conn);
            self.shards.disconnect(conn, clean_close, self);
            self.reading.unwatch(account.id, conn);
        }
    }

    /// The memory that the outboxes of all connections hold, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.connections.budget.used()
    }

    /// The outboxes of all connections.
    pub fn outboxes(&self) -> Vec<Arc<Outbox>> {
        lock(&self.connections.outboxes).values().cloned().collect()
    }
}
