//! Delivers POST requests to the connections over events that they belong to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::received::Received;
use crate::server::identity::Credential;
use crate::server::lock::lock;

/// The inboxes of all connections over events, by token: a POST finds its connection here.
#[derive(Debug, Default)]
pub(in crate::server) struct PostInboxes(Mutex<HashMap<String, Arc<PostInbox>>>);

/// Receives the POSTs of one connection.
#[derive(Debug)]
pub(super) struct PostInbox {
    /// The cookie of the connection. POSTs with another are refused, even with the right token.
    cookie: Option<Credential>,
    /// Locked by one POST at a time, in order of arrival.
    pub(super) sender: AsyncMutex<mpsc::Sender<Received>>,
}

impl PostInboxes {
    pub(super) fn open(&self, token: String, cookie: Option<Credential>) -> mpsc::Receiver<Received> {
        // Backpressure: a POST waits until the connection has received its frames.
        let (sender, receiver) = mpsc::channel(1);
        lock(&self.0).insert(token, Arc::new(PostInbox { cookie, sender: AsyncMutex::new(sender) }));
        receiver
    }

    pub(super) fn find(&self, token: &str, cookie: Option<Credential>) -> Option<Arc<PostInbox>> {
        lock(&self.0).get(token).filter(|inbox| inbox.cookie == cookie).cloned()
    }

    pub(super) fn remove(&self, token: &str) {
        lock(&self.0).remove(token);
    }
}
