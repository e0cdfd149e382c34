//! What Noom does with its time in the cells that goals depend on, as `perf` sees it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::fanout::CELLS;
use crate::machine::OnLoadCore;
use crate::results::Folder;
use crate::server::Server;
use crate::{Outcome, Plan, fanout, page};

/// What the rows of the page are under, beside the cells of the fan-out.
pub(crate) const PAGES: &str = "pages";
/// The file that `perf` writes.
const RECORD: &str = "perf.data";

/// So often a cell is looked at until something is seen.
const LOOKS: usize = 3;
/// What takes less is not listed, in percent.
const LEAST: f64 = 1.0;

/// One function's own share of the time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProfileRow {
    /// Under which load: a cell, or [`PAGES`].
    pub(crate) cell: String,
    /// In percent.
    pub(crate) share: f64,
    /// Whether it is the kernel's.
    pub(crate) in_kernel: bool,
    /// Its name.
    pub(crate) symbol: String,
}

/// Looks at Noom under the load of each goal. Without `perf` there is nothing to see, which is no failure.
pub(crate) fn measure(plan: &Plan, folder: &Folder) -> Outcome<()> {
    if Command::new("perf").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("profile  perf is missing; install linux-perf to see what limits");
        return Ok(());
    }
    let _on_one_core = OnLoadCore::keep()?;
    let seconds = if plan.quick { 1 } else { 4 };
    // The load goes on until perf has ended.
    let during = Duration::from_secs(seconds + 1);
    let mut rows = Vec::new();
    for cell in CELLS.iter().filter(|cell| cell.headline) {
        rows.extend(look(cell.name, || fanout::load_noom(cell, during, |server| Recorder::start(server, seconds))));
    }
    rows.extend(look(PAGES, || page::load_noom(during, |server| Recorder::start(server, seconds))));
    for row in rows.iter().filter(|row| row.share >= 3.0) {
        eprintln!("profile  {:8} {:5.1} %  {}", row.cell, row.share, row.symbol);
    }
    folder.write("profile", &plan.command, rows)
}

/// Who looks takes time from the load, and who then reads too slowly is closed: so more than once, if it must be.
fn look(name: &str, under_load: impl Fn() -> Outcome<Recorder>) -> Vec<ProfileRow> {
    let looks = (0..LOOKS).map(|_| under_load()?.rows(name)).inspect(|look| {
        if let Err(fault) = look {
            eprintln!("profile  {name:8} nothing seen: {fault}");
        }
    });
    looks.flatten().next().unwrap_or_default()
}

/// Reads a line such as `18.10%  [k] tcp_sendmsg`.
fn read_row(cell: &str, line: &str) -> Option<ProfileRow> {
    let (share, rest) = line.trim().split_once('%')?;
    let (level, symbol) = rest.trim().split_once(' ')?;
    Some(ProfileRow {
        cell: cell.to_owned(),
        share: share.parse().ok()?,
        in_kernel: level == "[k]",
        symbol: symbol.trim().to_owned(),
    })
}

/// A look. Ends when it is dropped, however that is.
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
        Ok(text.lines().filter_map(|line| read_row(name, line)).filter(|row| row.share >= LEAST).collect())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}
