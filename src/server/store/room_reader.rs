//! Reads one room of a database that another process may use, for the command line.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::beside::{check_version, path_in};
use super::connection::BUSY_TIMEOUT;
use super::{RoomRow, reader};
use crate::protocol::Message;
use crate::server::history::Extent;
use crate::server::name_key::RoomName;
use crate::server::start_error::{Source, StartError};

/// A room as it was when this was opened. The connection cannot write.
#[derive(Debug)]
pub struct RoomReader {
    connection: Connection,
    path: PathBuf,
    room: RoomRow,
    epoch: Option<String>,
    extent: Extent,
}

impl RoomReader {
    /// Opens the room with this name in the database in `folder`; `None` if there is no such room.
    ///
    /// # Errors
    /// There is no database, or it cannot be read.
    pub fn open(folder: &Path, name: &RoomName) -> Result<Option<Self>, StartError> {
        let path = path_in(folder)?;
        let failed = |source: Source| StartError::ReadDatabase { path: path.clone(), source };
        let read = || -> rusqlite::Result<_> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // The first read. A file that is not a database fails here.
            connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        };
        let connection = read().map_err(|error| failed(error.into()))?;
        check_version(&connection, &path)?;
        let found = || -> rusqlite::Result<_> {
            let Some(room) = reader::room(&connection, &name.folded)? else { return Ok(None) };
            let epoch = connection.query_row("SELECT epoch FROM history", [], |row| row.get(0)).optional()?;
            Ok(Some((reader::extent(&connection, &room)?, room, epoch)))
        };
        let found = found().map_err(|error| failed(error.into()))?;
        Ok(found.map(|(extent, room, epoch)| Self { connection, path, room, epoch, extent }))
    }

    /// The room.
    pub fn room(&self) -> &RoomRow {
        &self.room
    }

    /// The epoch of the database; `None` in a backup that no server has used.
    pub fn epoch(&self) -> Option<&str> {
        self.epoch.as_deref()
    }

    /// The messages of the room that are kept.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The next messages after a `seq` that is not below the first kept one by more than 1, oldest first. None if those
    /// up to the head have expired meanwhile.
    ///
    /// # Errors
    /// The database cannot be read, or a message is missing.
    pub fn page(&self, after: u64) -> Result<Vec<Message>, StartError> {
        let failed = |source: Source| StartError::ReadDatabase { path: self.path.clone(), source };
        let page = reader::between(&self.connection, &self.room, after, self.extent.head);
        let page = page.map_err(|error| failed(error.into()))?;
        let start = self.extent.start_of(&page);
        let floor = || reader::extent(&self.connection, &self.room).map(|extent| extent.floor);
        if start == after + 1 || start <= floor().map_err(|error| failed(error.into()))? {
            Ok(page)
        } else {
            Err(failed(format!("message {} is missing", after + 1).into()))
        }
    }
}
