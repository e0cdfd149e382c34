//! What Noom does with its time in the cells that goals depend on, as `perf` sees it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::load::Load;
use super::subject::Subject;
use super::{CELLS, Cell, WARM_UP, WARM_UP_RATE};
use crate::machine::OnLoadCore;
use crate::results::Folder;
use crate::{Outcome, Plan};

/// So often a cell is looked at until something is seen.
const LOOKS: usize = 3;
/// What takes less is not listed, in percent.
const LEAST: f64 = 1.0;

/// One function's own share of the time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProfileRow {
    /// Under which load.
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
    let mut rows = Vec::new();
    for cell in CELLS.iter().filter(|cell| cell.headline) {
        // Who looks takes time from the load, and who then reads too slowly is closed.
        let looks = (0..LOOKS).map(|_| look(cell, seconds)).inspect(|look| {
            if let Err(fault) = look {
                eprintln!("profile  {:8} nothing seen: {fault}", cell.name);
            }
        });
        rows.extend(looks.flatten().next().unwrap_or_default());
    }
    for row in rows.iter().filter(|row| row.share >= 3.0) {
        eprintln!("profile  {:8} {:5.1} %  {}", row.cell, row.share, row.symbol);
    }
    folder.write("profile", &plan.command, rows)
}

fn look(cell: &Cell, seconds: u64) -> Outcome<Vec<ProfileRow>> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let server = Subject::Noom.start(data.path())?;
    let mut load = Load::enter(Subject::Noom, server.address, cell.rooms, cell.clients)?;
    load.speak(WARM_UP_RATE, WARM_UP, Duration::ZERO)?;
    let record = data.path().join("perf.data");
    let mut recorder = Recorder(
        Command::new("perf")
            .args(["record", "--quiet", "--freq", "1997", "--pid", &server.process(), "--output"])
            .arg(&record)
            .args(["--", "sleep", &seconds.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    load.speak(cell.rate, Duration::from_secs(seconds + 1), cell.gather())?;
    recorder.0.wait()?;
    let report = Command::new("perf")
        .args(["report", "--stdio", "--no-children", "--sort", "sym", "--input"])
        .arg(&record)
        .stderr(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&report.stdout);
    Ok(text.lines().filter_map(|line| read_row(cell.name, line)).filter(|row| row.share >= LEAST).collect())
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

/// Ends when the look ends, however that is.
struct Recorder(Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
