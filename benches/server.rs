//! Servers under measurement: processes on a core of their own.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::machine::{SERVER_CORE, project};

/// One address, thousands of guests, one of whom says thousands of things.
const RAISED_LIMITS: [&str; 7] = [
    "MESSAGES_PER_SECOND",
    "MESSAGE_BURST",
    "JOINS_PER_MINUTE",
    "ROOMS_PER_MINUTE",
    "ROOMS_PER_HOUR",
    "GUESTS_PER_MINUTE",
    "CONNECTIONS_PER_ADDRESS",
];
/// A server listens within this.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Its process, as `/proc` names it.
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

/// The program as `make build` leaves it, or another one to compare it with.
pub(crate) fn noom() -> PathBuf {
    std::env::var_os("NOOM_BENCH_SERVER").map_or_else(|| project().join("target/release/noom"), PathBuf::from)
}

/// Noom with its data in a folder, everything on; limits that one machine would run into are raised.
pub(crate) fn noom_in(data: &Path) -> Command {
    let mut command = Command::new(noom());
    command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    command.arg("--config").arg(project().join("Leptos.toml")).env("RUST_LOG", "warn");
    for limit in RAISED_LIMITS {
        command.env(format!("NOOM_LIMITS_{limit}"), "1000000");
    }
    command
}

/// Starts a server that says where it listens, as the last word of its first line.
pub(crate) fn start(command: Command) -> Outcome<Server> {
    let name = format!("{command:?}");
    let mut child = pinned(command).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("no output")?;
    // Whatever happens now ends it.
    let mut server = Server { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let address = line.trim().rsplit([' ', '/']).next().and_then(|address| address.parse().ok());
    server.address = address.ok_or_else(|| format!("{name} does not listen; it said {line:?}"))?;
    Ok(server)
}

/// Starts a server that was told where to listen.
pub(crate) fn start_at(command: Command, address: SocketAddr) -> Outcome<Server> {
    let name = format!("{command:?}");
    let child = pinned(command).stdout(Stdio::null()).spawn()?;
    let server = Server { child, address };
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > until {
            return Err(format!("{name} does not listen").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The same command, on the servers' core.
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
