//! The names in one room: no two people have equal or confusable ones.

use std::collections::HashMap;

use crate::protocol::{ErrorCode, UserId};
use crate::server::name_key::NameKey;

/// The names in use, by both forms of their comparison.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<String, UserId>,
    skeletons: HashMap<String, UserId>,
}

impl Names {
    /// `NICK_TAKEN` or `NICK_CONFUSABLE` if another user has this name or a similar one.
    pub(super) fn conflict(&self, user: UserId, key: &NameKey) -> Option<ErrorCode> {
        let is_another = |holder: Option<&UserId>| holder.is_some_and(|holder| *holder != user);
        if is_another(self.exact.get(&key.exact)) {
            Some(ErrorCode::NickTaken)
        } else if is_another(self.skeletons.get(&key.skeleton)) {
            Some(ErrorCode::NickConfusable)
        } else {
            None
        }
    }

    pub(super) fn claim(&mut self, user: UserId, key: NameKey) {
        self.exact.insert(key.exact, user);
        self.skeletons.insert(key.skeleton, user);
    }

    pub(super) fn release(&mut self, user: UserId, key: &NameKey) {
        if self.exact.get(&key.exact) == Some(&user) {
            self.exact.remove(&key.exact);
        }
        if self.skeletons.get(&key.skeleton) == Some(&user) {
            self.skeletons.remove(&key.skeleton);
        }
    }
}
