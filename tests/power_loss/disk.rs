//! A disk that records the order of writes and syncs, so that the power can be cut at any point
//! afterwards.
//!
//! It is a SQLite VFS that wraps the system's and is the default of this process. Files are real, so
//! locks and shared memory are SQLite's own. Syncs are only recorded: durability is decided by the
//! record.

#![allow(unsafe_code, reason = "SQLite takes a VFS as C structures with C functions")]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use rusqlite::ffi;

use crate::support::random::Rng;

/// Bytes that the disk writes atomically.
const SECTOR: usize = 512;

/// An event on the disk.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Bytes were written at an offset.
    Write { file: PathBuf, at: usize, bytes: Vec<u8> },
    /// A file was truncated or extended.
    Resize { file: PathBuf, length: usize },
    /// A file was deleted.
    Delete { file: PathBuf, synced: bool },
    /// All earlier writes to a file are durable.
    Sync { file: PathBuf },
    /// A note of the test.
    Note,
}

/// The content of a disk: files by name.
pub(crate) type Image = BTreeMap<PathBuf, Vec<u8>>;

static RECORD: Mutex<BTreeMap<PathBuf, Vec<Event>>> = Mutex::new(BTreeMap::new());
/// Files whose name ends so fail to sync.
static FAILING: OnceLock<String> = OnceLock::new();

fn record() -> MutexGuard<'static, BTreeMap<PathBuf, Vec<Event>>> {
    RECORD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Routes SQLite in this process through this disk, and starts recording `folder`.
pub(crate) fn watch(folder: &Path) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
    record().insert(folder.to_owned(), Vec::new());
}

/// Ends the recording of a folder and returns it.
pub(crate) fn take(folder: &Path) -> Vec<Event> {
    record().remove(folder).unwrap_or_default()
}

/// Inserts a note into the record of a folder.
pub(crate) fn note(folder: &Path) {
    if let Some(events) = record().get_mut(folder) {
        events.push(Event::Note);
    }
}

/// Makes syncs fail for files whose names end with `ending`.
pub(crate) fn fail_syncs_of(ending: &str) {
    FAILING.set(ending.to_owned()).expect("called once per process");
}

/// The files whose writes and syncs wait, each with whether one is waiting.
static HELD: Mutex<BTreeMap<PathBuf, bool>> = Mutex::new(BTreeMap::new());
static RELEASED: Condvar = Condvar::new();

fn held() -> MutexGuard<'static, BTreeMap<PathBuf, bool>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets writes and syncs of a file wait until [`release`].
pub(crate) fn hold(file: &Path) {
    held().insert(file.to_owned(), false);
}

/// Returns whether a write or sync of a held file is waiting.
pub(crate) fn is_waiting(file: &Path) -> bool {
    held().get(file).copied().unwrap_or_default()
}

/// Lets writes and syncs of a held file go on.
pub(crate) fn release(file: &Path) {
    held().remove(file);
    RELEASED.notify_all();
}

fn wait_for_release(file: &Path) {
    let mut held = held();
    while let Some(is_waiting) = held.get_mut(file) {
        *is_waiting = true;
        held = RELEASED.wait(held).unwrap_or_else(PoisonError::into_inner);
    }
}

fn append_event(file: &Path, event: Event) {
    let Some(folder) = file.parent() else { return };
    if let Some(events) = record().get_mut(folder) {
        events.push(event);
    }
}

/// Returns the disk after a power cut: everything that was synced, and of the other writes a random subset of
/// sectors, in any order. A disk that is not `obedient` ignores syncs.
pub(crate) fn cut(before: &Image, events: &[Event], obedient: bool, random: &mut Rng) -> Image {
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
        // A write is lost, complete or torn.
        match random.below(3) {
            0 => {}
            1 => apply(&mut synced, event, |_| true),
            _ => apply(&mut synced, event, |_| random.below(2) == 0),
        }
    }
    synced
}

/// Applies an event to an image. Of a write, only the sectors that `survives` accepts.
fn apply(image: &mut Image, event: &Event, mut survives: impl FnMut(usize) -> bool) {
    match event {
        Event::Write { file, at, bytes } => {
            let content = image.entry(file.clone()).or_default();
            let mut done = 0;
            while done < bytes.len() {
                let offset = at + done;
                let length = (SECTOR - offset % SECTOR).min(bytes.len() - done);
                if survives(offset / SECTOR) {
                    content.resize(content.len().max(offset + length), 0);
                    content[offset..offset + length].copy_from_slice(&bytes[done..done + length]);
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

/// A file as SQLite sees it: our header, followed in memory by the system's file.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// Its name, or null for temporary files. Boxed, freed in [`close`].
    path: *mut PathBuf,
}

/// A pointer to the system's VFS, valid until the process ends.
struct Vfs(*mut ffi::sqlite3_vfs);
// SAFETY: SQLite neither changes nor frees the VFS behind the pointer.
unsafe impl Send for Vfs {}
// SAFETY: as above.
unsafe impl Sync for Vfs {}
static SYSTEM: OnceLock<Vfs> = OnceLock::new();

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 2 has no memory-mapped I/O.
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
    // SAFETY: the structure is a copy of the system's with functions of the same types, and is never freed.
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
    // SAFETY: the pointer is null or comes from a box that is freed in `close`.
    unsafe { (*file.cast::<File>()).path.as_ref().map(PathBuf::as_path) }
}

/// # Safety
/// `name` is a C string.
unsafe fn to_path(name: *const c_char) -> PathBuf {
    // SAFETY: guaranteed by the caller.
    OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()).into()
}

/// Declares functions that forward to the system's file.
macro_rules! forward {
    ($($name:ident => $method:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file, $($argument: $type),*) -> c_int {
            // SAFETY: SQLite passes a file that `open` opened.
            unsafe {
                let real = real(file);
                (*(*real).pMethods).$method.expect("the system's VFS implements every method")(real, $($argument),*)
            }
        }
    )*};
}

forward! {
    read => xRead(into: *mut c_void, amount: c_int, at: i64);
    forward_write => xWrite(from: *const c_void, amount: c_int, at: i64);
    forward_truncate => xTruncate(size: i64);
    forward_close => xClose();
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
    // SAFETY: SQLite passes a file that `open` opened.
    unsafe {
        let real = real(file);
        (*(*real).pMethods).xShmBarrier.expect("the system's VFS implements every method")(real);
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes memory of the requested size, and a name that outlives the file.
    unsafe {
        let own = file.cast::<File>();
        let path = if name.is_null() { std::ptr::null_mut() } else { Box::into_raw(Box::new(to_path(name))) };
        std::ptr::write(own, File { base: ffi::sqlite3_file { pMethods: std::ptr::null() }, path });
        let real = real(file);
        let code = (*system()).xOpen.expect("the system's VFS implements every method")(
            system(),
            name,
            real,
            flags,
            out_flags,
        );
        if (*real).pMethods.is_null() {
            // Opening failed, so SQLite will not call xClose.
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
    // SAFETY: SQLite passes a file that `open` opened, and does not use it afterwards.
    unsafe {
        let code = forward_close(file);
        let path = (*file.cast::<File>()).path;
        if !path.is_null() {
            drop(Box::from_raw(path));
        }
        code
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, at: i64) -> c_int {
    // SAFETY: SQLite passes a file that `open` opened, and `amount` readable bytes.
    unsafe {
        if let Some(path) = path(file) {
            wait_for_release(path);
            let bytes = std::slice::from_raw_parts(from.cast::<u8>(), amount as usize).to_vec();
            append_event(path, Event::Write { file: path.to_owned(), at: at as usize, bytes });
        }
        forward_write(file, from, amount, at)
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: SQLite passes a file that `open` opened.
    unsafe {
        if let Some(path) = path(file) {
            append_event(path, Event::Resize { file: path.to_owned(), length: size as usize });
        }
        forward_truncate(file, size)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: SQLite passes a file that `open` opened.
    let Some(path) = (unsafe { path(file) }) else { return ffi::SQLITE_OK };
    if FAILING.get().is_some_and(|ending| path.to_string_lossy().ends_with(ending)) {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    wait_for_release(path);
    append_event(path, Event::Sync { file: path.to_owned() });
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite passes the name of a file as a C string.
    unsafe {
        let path = to_path(name);
        append_event(&path, Event::Delete { file: path.clone(), synced: sync_folder != 0 });
        (*system()).xDelete.expect("the system's VFS implements every method")(system(), name, 0)
    }
}
