//! Starts the measured servers as child processes pinned to their own core.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::machine::{SERVER_CORE, project};

/// Noom's rate and connection limits that the load would hit, because all its clients share one address and one sender
/// posts every message.
const RAISED_LIMITS: [&str; 15] = [
    "MESSAGES_PER_SECOND",
    "MESSAGE_BURST",
    "SIGNALS_PER_SECOND",
    "SIGNAL_BURST",
    "ANNOUNCEMENTS_PER_SECOND",
    "ANNOUNCEMENT_BURST",
    "READS_PER_SECOND",
    "READ_BURST",
    "REQUESTS_PER_SECOND",
    "REQUEST_BURST",
    "JOINS_PER_MINUTE",
    "ROOMS_PER_MINUTE",
    "ROOMS_PER_HOUR",
    "GUESTS_PER_MINUTE",
    "CONNECTIONS_PER_ADDRESS",
];
/// Time limit for a server to start listening.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running server process. Killed on drop.
pub(crate) struct Server {
    child: Child,
    /// Listening address.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Its name under `/proc`.
    pub(crate) fn process(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary that `make build` produces, or the one that `NOOM_BENCH_SERVER` names for a comparison.
pub(crate) fn noom() -> PathBuf {
    std::env::var_os("NOOM_BENCH_SERVER").map_or_else(|| project().join("target/release/noom"), PathBuf::from)
}

/// Another build to compare with, of the same protocol version, if `NOOM_BENCH_AGAINST` names one.
pub(crate) fn other_noom() -> Option<PathBuf> {
    std::env::var_os("NOOM_BENCH_AGAINST").map(PathBuf::from)
}

/// The command that runs a build of Noom as it is configured by default.
pub(crate) fn noom_with_default_limits(program: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    command.arg("--config").arg(project().join("Leptos.toml")).env("RUST_LOG", "warn");
    command
}

/// The command that runs a build of Noom with all features on and only the [`RAISED_LIMITS`] raised.
pub(crate) fn noom_in(program: &Path, data: &Path) -> Command {
    let mut command = noom_with_default_limits(program, data);
    for limit in RAISED_LIMITS {
        command.env(format!("NOOM_LIMITS_{limit}"), "1000000");
    }
    command
}

/// Starts a server that prints its listening address as the last word of its first line.
pub(crate) fn start(command: Command) -> Outcome<Server> {
    let name = format!("{command:?}");
    let mut child = pinned(command).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("stdout is not piped")?;
    // From here on an early return drops `server` and so kills the process.
    let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let address = line.trim().rsplit([' ', '/']).next().and_then(|address| address.parse().ok());
    server.address = address.ok_or_else(|| format!("{name} did not print a listening address, but {line:?}"))?;
    Ok(server)
}

/// Starts a server that was told to listen on `address`, and waits until it accepts connections.
pub(crate) fn start_at(command: Command, address: SocketAddr) -> Outcome<Server> {
    let name = format!("{command:?}");
    let child = pinned(command).stdout(Stdio::null()).spawn()?;
    let server = Server { child, address };
    let until = Instant::now() + TIMEOUT;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            return Err(format!("{name} does not listen on {address}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

/// Returns a port that is free at the moment.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Wraps a command so that it runs on [`SERVER_CORE`].
fn pinned(command: Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", &SERVER_CORE.to_string()]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}
