//! The files of the message that is being written, as signals.

use leptos::prelude::*;

use crate::protocol::{Attachment, AttachmentId, Refusal};

/// The files of the message that is being written.
#[derive(Clone, Copy)]
pub(in crate::app) struct Files {
    items: RwSignal<Vec<Item>>,
    next: StoredValue<u64>,
    /// The message is sent as soon as its files are uploaded.
    pub(in crate::app::room) sends_later: RwSignal<bool>,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) key: u64,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) stage: RwSignal<Stage>,
}

/// The stage of an upload.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// This many bytes have been sent.
    Sending(u64),
    /// The connection is lost. The upload goes on automatically.
    Waiting(u64),
    /// A message can have it.
    Done(Box<Attachment>),
    /// The server has refused it; `None`: its code could not be fetched, or the browser cannot read it.
    Failed(Option<Refusal>),
}

/// The files of a message that can be sent.
pub(in crate::app::room) enum Ready {
    /// All are uploaded, or there are none.
    Now(Vec<AttachmentId>),
    /// Some are still being uploaded.
    Later,
    /// An upload has failed.
    Never,
}

impl Files {
    pub(in crate::app) fn new() -> Self {
        Self { items: RwSignal::default(), next: StoredValue::new(0), sends_later: RwSignal::new(false) }
    }

    /// Adds a file whose upload begins.
    pub(super) fn push(self, name: String, bytes: u64) -> Item {
        let key = self.next.get_value();
        self.next.set_value(key + 1);
        let item = Item { key, name, bytes, stage: RwSignal::new(Stage::Sending(0)) };
        self.items.update(|items| items.push(item.clone()));
        item
    }

    /// All files, tracked.
    pub(super) fn items(self) -> Vec<Item> {
        self.items.get()
    }

    /// The number of files.
    pub(super) fn count(self) -> usize {
        self.items.with_untracked(Vec::len)
    }

    /// Takes a file out again, which cancels its upload. The message waits for the user again.
    pub(super) fn remove(self, key: u64) {
        self.sends_later.set(false);
        self.items.update(|items| items.retain(|item| item.key != key));
    }

    /// Returns whether a file was not taken out.
    pub(super) fn has(self, key: u64) -> bool {
        self.items.try_with_untracked(|items| items.iter().any(|item| item.key == key)) == Some(true)
    }

    /// The files to send, tracked.
    pub(in crate::app::room) fn ready(self) -> Ready {
        let stages = self.items.with(|items| items.iter().map(|item| item.stage).collect::<Vec<_>>());
        let (mut done, mut waits) = (Vec::new(), false);
        for stage in stages {
            match stage.get() {
                Stage::Done(attachment) => done.push(attachment.id),
                Stage::Sending(_) | Stage::Waiting(_) => waits = true,
                Stage::Failed(_) => return Ready::Never,
            }
        }
        if waits { Ready::Later } else { Ready::Now(done) }
    }

    /// Returns whether there are no files, tracked.
    pub(in crate::app::room) fn is_empty(self) -> bool {
        self.items.with(Vec::is_empty)
    }

    /// Forgets the files, which a message has now.
    pub(in crate::app::room) fn clear(self) {
        self.items.set(Vec::new());
    }
}
