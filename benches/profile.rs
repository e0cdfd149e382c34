//! CPU profile of Noom under the workloads that goals depend on, sampled by `perf`.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::fanout::WORKLOADS;
use crate::machine::OnLoadCore;
use crate::results::Folder;
use crate::server::Server;
use crate::{Outcome, Plan, fanout, page};

/// Workload name of the page rendering rows, beside the fan-out workloads.
pub(crate) const PAGES: &str = "pages";
/// The file that `perf record` writes.
const RECORD: &str = "perf.data";

/// Attempts to sample a workload.
const ATTEMPTS: usize = 3;
/// Functions below this share are not listed, in percent.
const MIN_SHARE: f64 = 1.0;

/// Self time of one function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProfileRow {
    /// Name of the fan-out workload, or [`PAGES`].
    #[serde(rename = "cell")]
    pub(crate) workload: String,
    /// Share of all samples, in percent.
    pub(crate) share: f64,
    /// The function belongs to the kernel.
    pub(crate) in_kernel: bool,
    /// Demangled name.
    pub(crate) symbol: String,
}

/// Profiles Noom under each workload that a goal depends on. Skipped with a notice if `perf` is not installed.
pub(crate) fn measure(plan: &Plan, folder: &Folder) -> Outcome<()> {
    if Command::new("perf").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("profile  skipped: perf is not installed (Debian: linux-perf)");
        return Ok(());
    }
    let _on_one_core = OnLoadCore::pin()?;
    let seconds = if plan.quick { 1 } else { 4 };
    // One second more, so that the load is still running when perf ends.
    let during = Duration::from_secs(seconds + 1);
    let mut rows = Vec::new();
    for workload in WORKLOADS.iter().filter(|workload| workload.headline) {
        rows.extend(sample(workload.name, || {
            fanout::load_noom(workload, during, |server| Recorder::start(server, seconds))
        }));
    }
    rows.extend(sample(PAGES, || page::load_noom(during, |server| Recorder::start(server, seconds))));
    for row in rows.iter().filter(|row| row.share >= 3.0) {
        eprintln!("profile  {:8} {:5.1} %  {}", row.workload, row.share, row.symbol);
    }
    folder.write("profile", &plan.command, rows)
}

/// Samples a workload. `perf` takes CPU time from the load, whose connections may then be closed as slow readers, so a
/// failed attempt is repeated.
fn sample(name: &str, under_load: impl Fn() -> Outcome<Recorder>) -> Vec<ProfileRow> {
    let attempts = (0..ATTEMPTS).map(|_| under_load()?.rows(name)).inspect(|attempt| {
        if let Err(fault) = attempt {
            eprintln!("profile  {name:8} failed: {fault}");
        }
    });
    attempts.flatten().next().unwrap_or_default()
}

/// Parses a line such as `18.10%  [k] tcp_sendmsg`.
fn read_row(workload: &str, line: &str) -> Option<ProfileRow> {
    let (share, rest) = line.trim().split_once('%')?;
    let (level, symbol) = rest.trim().split_once(' ')?;
    Some(ProfileRow {
        workload: workload.to_owned(),
        share: share.parse().ok()?,
        in_kernel: level == "[k]",
        symbol: symbol.trim().to_owned(),
    })
}

/// A running `perf record`. Killed on drop.
struct Recorder {
    perf: Child,
    folder: TempDir,
}

impl Recorder {
    fn start(server: &Server, seconds: u64) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let perf = Command::new("perf")
            .args(["record", "--quiet", "--freq", "1997", "--pid", &server.process(), "--output"])
            .arg(folder.path().join(RECORD))
            .args(["--", "sleep", &seconds.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { perf, folder })
    }

    fn rows(mut self, name: &str) -> Outcome<Vec<ProfileRow>> {
        self.perf.wait()?;
        let report = Command::new("perf")
            .args(["report", "--stdio", "--no-children", "--sort", "sym", "--input"])
            .arg(self.folder.path().join(RECORD))
            .stderr(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&report.stdout);
        Ok(text.lines().filter_map(|line| read_row(name, line)).filter(|row| row.share >= MIN_SHARE).collect())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}
