//! A disk that remembers what was written and what was synced, in which order, so that the power
//! can be cut at any moment afterwards.
//!
//! It stands between SQLite and the system as a VFS that all of this process uses. Files are real
//! ones, so locks and shared memory are SQLite's own; only syncing is left out, for the disk here is
//! this record.

#![allow(unsafe_code, reason = "SQLite takes a VFS as C structures with C functions")]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

use rusqlite::ffi;

use crate::support::random::Random;

/// The disk writes so many bytes at once or not at all.
const SECTOR: usize = 512;

/// What happened on the disk.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Bytes were handed over for a place in a file.
    Write { file: PathBuf, at: usize, bytes: Vec<u8> },
    /// A file was made longer or shorter.
    Resize { file: PathBuf, length: usize },
    /// A file is gone.
    Delete { file: PathBuf, synced: bool },
    /// What was written to a file is on the disk.
    Sync { file: PathBuf },
    /// The test noted something.
    Note,
}

/// What is on a disk: content by name.
pub(crate) type Image = BTreeMap<PathBuf, Vec<u8>>;

static RECORD: Mutex<BTreeMap<PathBuf, Vec<Event>>> = Mutex::new(BTreeMap::new());
/// The files of which syncing fails, by the end of the name.
static FAILING: OnceLock<String> = OnceLock::new();

fn record() -> MutexGuard<'static, BTreeMap<PathBuf, Vec<Event>>> {
    RECORD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, SQLite in this process writes through this disk. What it does in `folder` is kept.
pub(crate) fn watch(folder: &Path) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
    record().insert(folder.to_owned(), Vec::new());
}

/// What happened in a folder since it is watched.
pub(crate) fn take(folder: &Path) -> Vec<Event> {
    record().remove(folder).unwrap_or_default()
}

/// Puts a note of the test among the events of a folder.
pub(crate) fn note(folder: &Path) {
    if let Some(events) = record().get_mut(folder) {
        events.push(Event::Note);
    }
}

/// From now on, syncing fails for files whose names end so.
pub(crate) fn fail_syncs_of(ending: &str) {
    FAILING.set(ending.to_owned()).expect("set once");
}

fn happened(file: &Path, event: Event) {
    let Some(folder) = file.parent() else { return };
    if let Some(events) = record().get_mut(folder) {
        events.push(event);
    }
}

/// What is found after the power was cut: what was synced, and of the rest each sector or not,
/// whichever order it was written in. `obedient`: whether the disk does sync when asked to.
pub(crate) fn cut(before: &Image, events: &[Event], obedient: bool, random: &mut Random) -> Image {
    let (mut synced, mut pending) = (before.clone(), BTreeMap::<&Path, Vec<&Event>>::new());
    for event in events {
        match event {
            Event::Note => {}
            Event::Sync { file } => {
                for event in pending.remove(file.as_path()).filter(|_| obedient).into_iter().flatten() {
                    apply(&mut synced, event, |_| true);
                }
            }
            Event::Delete { file, synced: true } if obedient => {
                pending.remove(file.as_path());
                synced.remove(file);
            }
            Event::Write { file, .. } | Event::Resize { file, .. } | Event::Delete { file, .. } => {
                pending.entry(file).or_default().push(event);
            }
        }
    }
    for event in pending.into_values().flatten() {
        // Mostly all or nothing, sometimes torn.
        match random.below(3) {
            0 => {}
            1 => apply(&mut synced, event, |_| true),
            _ => apply(&mut synced, event, |_| random.below(2) == 0),
        }
    }
    synced
}

/// Lets an event take place, of a write only the sectors that `reaches` the disk.
fn apply(image: &mut Image, event: &Event, mut reaches: impl FnMut(usize) -> bool) {
    match event {
        Event::Write { file, at, bytes } => {
            let content = image.entry(file.clone()).or_default();
            let mut done = 0;
            while done < bytes.len() {
                let place = at + done;
                let length = (SECTOR - place % SECTOR).min(bytes.len() - done);
                if reaches(place / SECTOR) {
                    content.resize(content.len().max(place + length), 0);
                    content[place..place + length].copy_from_slice(&bytes[done..done + length]);
                }
                done += length;
            }
        }
        Event::Resize { file, length } => image.entry(file.clone()).or_default().resize(*length, 0),
        Event::Delete { file, .. } => drop(image.remove(file)),
        Event::Sync { .. } | Event::Note => {}
    }
}

// --- The VFS ------------------------------------------------------------------------------------

/// A file as SQLite knows it: ours, and behind it in memory the system's.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// Its name, where it has one: temporary files have none. Boxed, freed at closing.
    path: *mut PathBuf,
}

/// The system's VFS, and ours, for as long as the process lives.
struct Vfs(*mut ffi::sqlite3_vfs);
// SAFETY: the pointer is to what SQLite never changes nor frees.
unsafe impl Send for Vfs {}
// SAFETY: as above.
unsafe impl Sync for Vfs {}
static SYSTEM: OnceLock<Vfs> = OnceLock::new();

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Without memory-mapped reading.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

fn register() {
    // SAFETY: the structure is a copy of the system's with other functions of the same types, and
    // lives as long as the process.
    unsafe {
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        assert!(!system.is_null());
        assert!(SYSTEM.set(Vfs(system)).is_ok());
        let ours = Box::leak(Box::new(std::ptr::read(system)));
        ours.pNext = std::ptr::null_mut();
        ours.zName = c"recorded".as_ptr();
        ours.szOsFile += size_of::<File>() as c_int;
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        assert_eq!(ffi::sqlite3_vfs_register(ours, 1), ffi::SQLITE_OK);
    }
}

fn system() -> *mut ffi::sqlite3_vfs {
    SYSTEM.get().map_or(std::ptr::null_mut(), |vfs| vfs.0)
}

/// The system's file behind ours.
///
/// # Safety
/// `file` was opened by [`open`].
unsafe fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: SQLite allocated `szOsFile` bytes, ours and the system's.
    unsafe { file.cast::<File>().add(1).cast() }
}

/// # Safety
/// As for [`real`].
unsafe fn path<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a Path> {
    // SAFETY: it is null or from a box that is freed at closing.
    unsafe { (*file.cast::<File>()).path.as_ref().map(PathBuf::as_path) }
}

/// # Safety
/// `name` is a C string.
unsafe fn to_path(name: *const c_char) -> PathBuf {
    // SAFETY: as the caller says.
    OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()).into()
}

/// Declares functions that only pass a call on to the system's file.
macro_rules! passed_on {
    ($($name:ident => $method:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file, $($argument: $type),*) -> c_int {
            // SAFETY: SQLite gives a file that `open` opened.
            unsafe {
                let real = real(file);
                (*(*real).pMethods).$method.expect("the system's files can")(real, $($argument),*)
            }
        }
    )*};
}

passed_on! {
    read => xRead(into: *mut c_void, amount: c_int, at: i64);
    pass_write => xWrite(from: *const c_void, amount: c_int, at: i64);
    pass_truncate => xTruncate(size: i64);
    pass_close => xClose();
    file_size => xFileSize(size: *mut i64);
    lock => xLock(level: c_int);
    unlock => xUnlock(level: c_int);
    check_reserved_lock => xCheckReservedLock(result: *mut c_int);
    file_control => xFileControl(operation: c_int, argument: *mut c_void);
    sector_size => xSectorSize();
    device_characteristics => xDeviceCharacteristics();
    shm_map => xShmMap(page: c_int, size: c_int, extend: c_int, memory: *mut *mut c_void);
    shm_lock => xShmLock(offset: c_int, count: c_int, flags: c_int);
    shm_unmap => xShmUnmap(delete: c_int);
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: SQLite gives a file that `open` opened.
    unsafe {
        let real = real(file);
        (*(*real).pMethods).xShmBarrier.expect("the system's files can")(real);
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives memory of the size that was asked for, and a name that lives as long as
    // the file.
    unsafe {
        let own = file.cast::<File>();
        let path = if name.is_null() { std::ptr::null_mut() } else { Box::into_raw(Box::new(to_path(name))) };
        std::ptr::write(own, File { base: ffi::sqlite3_file { pMethods: std::ptr::null() }, path });
        let real = real(file);
        let code = (*system()).xOpen.expect("the system opens files")(system(), name, real, flags, out_flags);
        if (*real).pMethods.is_null() {
            // Then SQLite does not close it.
            if !path.is_null() {
                drop(Box::from_raw(path));
            }
        } else {
            (*own).base.pMethods = &raw const METHODS;
        }
        code
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite gives a file that `open` opened, and never again.
    unsafe {
        let code = pass_close(file);
        let path = (*file.cast::<File>()).path;
        if !path.is_null() {
            drop(Box::from_raw(path));
        }
        code
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, at: i64) -> c_int {
    // SAFETY: SQLite gives a file that `open` opened, and `amount` bytes.
    unsafe {
        if let Some(path) = path(file) {
            let bytes = std::slice::from_raw_parts(from.cast::<u8>(), amount as usize).to_vec();
            happened(path, Event::Write { file: path.to_owned(), at: at as usize, bytes });
        }
        pass_write(file, from, amount, at)
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite gives a file that `open` opened.
    unsafe {
        if let Some(path) = path(file) {
            happened(path, Event::Resize { file: path.to_owned(), length: size as usize });
        }
        pass_truncate(file, size)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite gives a file that `open` opened.
    let Some(path) = (unsafe { path(file) }) else { return ffi::SQLITE_OK };
    if FAILING.get().is_some_and(|ending| path.to_string_lossy().ends_with(ending)) {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    happened(path, Event::Sync { file: path.to_owned() });
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite gives the name of a file.
    unsafe {
        let path = to_path(name);
        happened(&path, Event::Delete { file: path.clone(), synced: sync_folder != 0 });
        (*system()).xDelete.expect("the system deletes files")(system(), name, 0)
    }
}
