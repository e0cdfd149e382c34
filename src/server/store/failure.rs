//! Errors of the database that its callers cannot handle.

/// The exit code when it is unknown what reached the disk (EX_IOERR of sysexits.h).
pub(super) const UNSURE: i32 = 74;

/// Logs an error. An error of fsync ends the process.
pub(super) fn report(error: &rusqlite::Error, what: &str) {
    const FAILED_SYNCS: [i32; 2] = [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC];
    tracing::error!(%error, "{what}");
    if error.sqlite_error().is_some_and(|error| FAILED_SYNCS.contains(&error.extended_code)) {
        // It is unknown whether the pages reached the disk, and a second fsync may wrongly succeed. Only a new process
        // that reads the file can know.
        std::process::exit(UNSURE);
    }
}
