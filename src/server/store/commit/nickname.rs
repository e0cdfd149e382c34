//! Nicknames, in the transaction of their batch.

use rusqlite::{OptionalExtension, params};

use super::super::StoreError;
use super::Work;
use crate::protocol::UserId;

impl Work<'_> {
    pub(super) fn save_nickname(
        &mut self,
        user: UserId,
        nickname: Option<&str>,
    ) -> rusqlite::Result<Result<(), StoreError>> {
        let id = user.0 as i64;
        let mut find = self.transaction.prepare_cached("SELECT octet_length(nickname) FROM users WHERE id = ?1")?;
        let old = find.query_row([id], |row| row.get::<_, i64>(0)).optional()?.map(|length| length as u64);
        if !self.stored.replace_nickname(old, nickname, self.quotas) {
            return Ok(Err(StoreError::Full));
        }
        match nickname {
            Some(nickname) => {
                let save = "INSERT INTO users (id, nickname, changed_at) VALUES (?1, ?2, ?3) \
                    ON CONFLICT (id) DO UPDATE SET nickname = ?2, changed_at = ?3";
                self.transaction.prepare_cached(save)?.execute(params![id, nickname, self.at])?;
            }
            None => drop(self.transaction.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([id])?),
        }
        Ok(Ok(()))
    }
}
