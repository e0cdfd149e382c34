//! `noom export`: writes an export to standard output or to a file, beside a running server.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::about::About;
use super::document::Document;
use super::format::Format;
use crate::i18n::Locale;
use crate::server::name_key::RoomName;
use crate::server::start_error::{Source, StartError};
use crate::server::store::RoomReader;

/// The order for an export.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The data folder.
    pub folder: &'a Path,
    /// The name of the room, as a visitor would enter it.
    pub room: &'a str,
    /// The format.
    pub format: Format,
    /// The tag of the language of the texts around the messages.
    pub lang: &'a str,
    /// The time in milliseconds since 1970 UTC.
    pub at: u64,
}

impl Order<'_> {
    /// Writes the export to `file`, which must not exist. The file appears when it is complete. Returns the number of
    /// messages.
    ///
    /// # Errors
    /// There is no such room or database, `file` exists, or an I/O error. No file is left behind.
    pub fn write_to(self, file: &Path) -> Result<u64, StartError> {
        let failed = |source: Source| StartError::Export { target: file.display().to_string(), source };
        let reader = self.open()?;
        if file.exists() {
            return Err(failed("the file already exists".into()));
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Under a temporary name until it is complete. It is removed when dropped.
        let unfinished = tempfile::Builder::new().prefix(".noom-export-").tempfile_in(folder);
        let mut unfinished = unfinished.map_err(|error| failed(error.into()))?;
        let count = self.write(&reader, &mut unfinished, &|error| failed(error.into()))?;
        unfinished.as_file().sync_all().map_err(|error| failed(error.into()))?;
        unfinished.persist_noclobber(file).map_err(|error| failed(error.error.into()))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(error.into()))?;
        Ok(count)
    }

    /// Writes the export to standard output.
    ///
    /// # Errors
    /// There is no such room or database, or standard output is closed or full.
    pub fn print(self) -> Result<u64, StartError> {
        let reader = self.open()?;
        let failed =
            |error: io::Error| StartError::Export { target: "to standard output".into(), source: error.into() };
        self.write(&reader, &mut io::stdout().lock(), &failed)
    }

    fn open(self) -> Result<RoomReader, StartError> {
        let invalid = || StartError::NoRoom(self.room.to_owned());
        let name = RoomName::parse(self.room).map_err(|_| invalid())?;
        RoomReader::open(self.folder, &name)?.ok_or_else(invalid)
    }

    fn write(
        self,
        reader: &RoomReader,
        target: &mut impl Write,
        failed: &impl Fn(io::Error) -> StartError,
    ) -> Result<u64, StartError> {
        let (room, epoch) = (reader.room().clone(), reader.epoch().map(str::to_owned));
        let extent = reader.extent();
        let locale = self.lang.parse().unwrap_or(Locale::en);
        let mut document = Document::new(self.format, About { room, epoch, extent, at: self.at, locale });
        let mut target = BufWriter::new(target);
        let (mut after, mut piece) = (extent.floor - 1, String::new());
        document.begin(&mut piece);
        let mut count = 0;
        while after < extent.head {
            let page = reader.page(after)?;
            count += page.len() as u64;
            after = extent.end_of(&page);
            page.iter().for_each(|message| document.message(message, &mut piece));
            target.write_all(piece.as_bytes()).map_err(failed)?;
            piece.clear();
        }
        document.end(&mut piece);
        target.write_all(piece.as_bytes()).and_then(|()| target.flush()).map_err(failed)?;
        Ok(count)
    }
}
