//! Nicknames: unique in every room, chosen or made up.

use std::sync::Arc;

use super::Hub;
use super::account::{self, Account};
use super::core::{Input, Rename};
use crate::protocol::name::{guest_name, is_guest_name};
use crate::protocol::{ErrorCode, Refusal, User, UserId};
use crate::server::id::{ConnId, RoomRow};
use crate::server::lock::lock;
use crate::server::name_key::Nick;

/// The number of attempts to find a free guest name.
pub(super) const RENUMBERINGS: u32 = 100;
/// The attempts with four digits. Few, because in a crowd most of those numbers are taken.
const SHORT_NUMBERS: u32 = 4;

impl Hub {
    /// The account of a user, with the name that the user chose earlier, if any.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn account(&self, user: UserId) -> Result<Arc<Account>, Refusal> {
        if let Some(account) = self.directory.get(user) {
            return Ok(account);
        }
        let chosen = self.storage.nickname(user).await?;
        Ok(self.directory.get_or_add(user, chosen))
    }

    /// The account of a new guest, of whom the store knows nothing yet.
    pub fn new_account(&self, user: UserId) -> Arc<Account> {
        self.directory.get_or_add(user, None)
    }

    /// A user with the current name. Unlike [`Hub::account`] it keeps nothing in memory: page views need no account.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE`.
    pub async fn user_or_guest(&self, user: UserId) -> Result<User, Refusal> {
        let nickname = match self.directory.get(user) {
            Some(account) => account.nickname(),
            None => self.storage.nickname(user).await?.unwrap_or_else(|| account::first_guest_name(user)),
        };
        Ok(User { id: user, nickname })
    }

    /// Gives a user a new name, in all rooms or in none, and stores it. Returns the name as stored.
    ///
    /// # Errors
    /// Those of [`Nick::choose`], `NICK_TAKEN`, `NICK_CONFUSABLE`, `STORE_UNAVAILABLE`.
    pub async fn rename(&self, account: &Account, wanted: &str, asker: Option<ConnId>) -> Result<String, Refusal> {
        let _one_at_a_time = account.renaming.lock().await;
        let old = account.nickname();
        if wanted.trim() == old {
            return Ok(old);
        }
        let nick = Nick::choose(wanted)?;
        if let Some(code) = self.shards.name_conflict(None, account.id, &nick) {
            return Err(code.into());
        }
        self.storage.save_nickname(account.id, Some(nick.text.clone())).await?;
        if let Err(code) = self.rename_in_rooms(account, &nick, asker) {
            // Another user took the name while it was being stored.
            let previous = (!is_guest_name(&old)).then_some(old);
            self.storage.save_nickname(account.id, previous).await?;
            return Err(code.into());
        }
        Ok(nick.text)
    }

    fn rename_in_rooms(&self, account: &Account, nick: &Nick, asker: Option<ConnId>) -> Result<(), ErrorCode> {
        let mut name = lock(&account.name);
        self.shards.rename(&Rename { user: account.id, nick: nick.clone(), asker }, self)?;
        *name = nick.clone();
        Ok(())
    }

    /// Holds the name of a user who posts by a form, so that nobody else speaks under it in this room. A guest whose
    /// name is taken there gets another.
    pub(super) fn hold_name(&self, account: &Account, room: &RoomRow) -> Result<User, Refusal> {
        let mut name = lock(&account.name);
        for _ in 0..RENUMBERINGS {
            let hold = Input::HoldName { room: room.id, user: account.id, nick: name.clone() };
            match self.shards.handle(room.id, hold, self) {
                Ok(()) => return Ok(User { id: account.id, nickname: name.text.clone() }),
                // Another guest may take the new number first.
                Err(code) => *name = self.renumber(account, &name, room, code)?,
            }
        }
        Err(ErrorCode::NickTaken.into())
    }

    /// Another number for a guest whose name conflicts in a room. It is announced in the rooms that the guest is in.
    pub(super) fn renumber(
        &self,
        account: &Account,
        old: &Nick,
        room: &RoomRow,
        conflict: ErrorCode,
    ) -> Result<Nick, Refusal> {
        if !is_guest_name(&old.text) {
            return Err(conflict.into());
        }
        for attempt in 0..RENUMBERINGS {
            let range = if attempt < SHORT_NUMBERS { 9_000 } else { 9_000_000 };
            let nick = Nick::unchecked(guest_name(1_000 + self.environment.random_below(range)));
            let is_free = self.shards.name_conflict(Some(room.id), account.id, &nick).is_none();
            let rename = Rename { user: account.id, nick, asker: None };
            if is_free && self.shards.rename(&rename, self).is_ok() {
                return Ok(rename.nick);
            }
        }
        Err(conflict.into())
    }
}
