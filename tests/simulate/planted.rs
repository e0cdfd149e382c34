//! Faults that are put in on purpose, around the core and in the model of the store, to see that the
//! checker finds them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// The store answers when a write has queued up, not when it is durable.
    AckBeforeCommit,
    /// The store does not look whether it knows a key.
    NoDedupe,
    /// A replay begins one message late.
    ReplayOffByOne,
    /// The gate opens when the history has not been answered yet.
    ReleaseBeforeReplay,
    /// The history is read before the gate is closed.
    ReadBeforeGate,
    /// A frame that an outbox has no room for is dropped; the connection stays.
    DropOnOverflow,
    /// Two messages that are broadcast change places.
    OutOfOrder,
    /// A restored database goes on under its old epoch.
    EpochKept,
}

impl Planted {
    pub const ALL: [Self; 8] = [
        Self::AckBeforeCommit,
        Self::NoDedupe,
        Self::ReplayOffByOne,
        Self::ReleaseBeforeReplay,
        Self::ReadBeforeGate,
        Self::DropOnOverflow,
        Self::OutOfOrder,
        Self::EpochKept,
    ];
}
