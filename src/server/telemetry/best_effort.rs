//! Standard error as a log that neither fails nor blocks. A log line is not worth a request: if the disk is full, the
//! terminal is closed, or the reader of the pipe is gone or does not read, lines are dropped and counted.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing_subscriber::fmt::MakeWriter;

/// The most that a writable pipe accepts without blocking (PIPE_BUF in Linux's limits.h).
const MAX_WRITE_BYTES: usize = 4_096;
/// The time that a reader has to make room. Only the first line waits; the next are dropped at once until there is room.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

static STATE: Mutex<State> = Mutex::new(State { dropped: 0, is_stuck: false, is_inside_line: false });

#[derive(Debug)]
struct State {
    /// Lines that were dropped since the last one that was written.
    dropped: u64,
    /// The last line was dropped.
    is_stuck: bool,
    /// Only a part of the last line was written.
    is_inside_line: bool,
}

/// Writes each event as a line to standard error.
#[derive(Clone, Copy, Debug)]
pub(super) struct BestEffort {
    pub(super) json: bool,
}

impl MakeWriter<'_> for BestEffort {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

impl Write for BestEffort {
    /// Takes one line. Never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = lock();
        state.write(&mut io::stderr(), line, self.json);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn write(&mut self, output: &mut (impl Write + AsFd), line: &[u8], json: bool) {
        let mut text = Vec::new();
        if self.is_inside_line {
            text.push(b'\n');
        }
        if self.dropped > 0 {
            let dropped = self.dropped;
            let note = if json {
                format!(
                    "{{\"level\":\"WARN\",\"fields\":{{\"message\":\"log lines were dropped\",\"lines\":{dropped}}}}}\n"
                )
            } else {
                format!("WARN {dropped} log lines were dropped\n")
            };
            text.extend(note.as_bytes());
        }
        text.extend(line);
        let mut written = 0;
        for part in text.chunks(MAX_WRITE_BYTES) {
            if !self.write_part(output, part) {
                break;
            }
            written += part.len();
        }
        let is_complete = written == text.len();
        self.is_inside_line = !is_complete && (written > 0 || self.is_inside_line);
        self.dropped = if is_complete { 0 } else { self.dropped + 1 };
        self.is_stuck = !is_complete;
    }

    /// Returns whether all of `part` was written.
    fn write_part(&self, output: &mut (impl Write + AsFd), mut part: &[u8]) -> bool {
        while !part.is_empty() {
            let patience = if self.is_stuck { Timespec::default() } else { PATIENCE };
            match poll(&mut [PollFd::new(output, PollFlags::OUT)], Some(&patience)) {
                Ok(0) => return false,
                Err(Errno::INTR) => continue,
                Ok(_) | Err(_) => {}
            }
            match output.write(part) {
                Ok(0) => return false,
                Ok(length) => part = &part[length..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    fn state() -> State {
        State { dropped: 0, is_stuck: false, is_inside_line: false }
    }

    #[test]
    fn full_disk_and_closed_pipe_drop_lines() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let (reader, mut broken) = io::pipe().unwrap();
        drop(reader);
        let mut log = state();
        log.write(&mut full, b"a line\n", false);
        log.write(&mut broken, b"a line\n", false);
        assert_eq!(log.dropped, 2);
    }

    #[test]
    fn pipe_that_nobody_reads_drops_lines_and_counts_them_once_read() {
        let (mut reader, mut pipe) = io::pipe().unwrap();
        let mut log = state();
        let line = format!("{}\n", "x".repeat(10_000));
        for _ in 0..20 {
            log.write(&mut pipe, line.as_bytes(), false);
        }
        let dropped = log.dropped;
        assert!((10..20).contains(&dropped), "{dropped}");
        let mut text = vec![0; 1 << 20];
        let first = reader.read(&mut text).unwrap();
        log.write(&mut pipe, b"after\n", false);
        drop(pipe);
        let rest = reader.read(&mut text[first..]).unwrap();
        let text = String::from_utf8(text[..first + rest].to_vec()).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('x')).collect();
        assert_eq!(lines, [format!("WARN {dropped} log lines were dropped").as_str(), "after"]);
    }
}
