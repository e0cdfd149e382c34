//! The page: server-side rendering cost, size of the site's files, and performance in a browser.

pub(crate) mod links;
mod load;
mod text;
pub(crate) mod wasm;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::machine::{OnLoadCore, cpu_time, node, peers, project};
use crate::results::Folder;
use crate::server::{Server, free_port, noom, noom_in, start};
use crate::store::fill_room;
use crate::{Outcome, Plan};
use load::{get, under_load};

/// The room whose page is rendered.
const ROOM: &str = "bench";
/// Messages in that room.
const MESSAGES: u64 = 50;
/// Warm-up of each renderer, long enough for Node.js to JIT-compile the hot code.
const WARM_UP: Duration = Duration::from_secs(3);

/// A server that renders the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Renderer {
    /// Noom, from its database.
    Noom,
    /// Next.js, from memory.
    Next,
    /// SvelteKit, from memory.
    Sveltekit,
}

impl Renderer {
    /// Name in tables and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noom => "Noom",
            Self::Next => "Next.js",
            Self::Sveltekit => "SvelteKit",
        }
    }

    fn start(self, data: &Path) -> Outcome<Server> {
        let port = free_port()?;
        let mut command = Command::new(node());
        match self {
            Self::Noom => return start(noom_in(&noom(), data)),
            Self::Next => command.arg(peers().join("next/.next/standalone/server.js")),
            Self::Sveltekit => command.arg(peers().join("sveltekit/build/index.js")),
        };
        command.env("PORT", port.to_string()).env("HOSTNAME", "127.0.0.1").env("HOST", "127.0.0.1");
        command.env("NODE_ENV", "production").env("ROOM_FILE", data.join("room.json"));
        crate::server::start_at(command, SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

/// Rendering throughput of one server in one block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PageBlock {
    /// Server that was measured.
    pub(crate) renderer: Renderer,
    /// Round: blocks are compared within a round.
    pub(crate) round: usize,
    /// Pages received.
    pub(crate) pages: u64,
    /// Length of the measuring window.
    pub(crate) seconds: f64,
    /// CPU time of the server.
    pub(crate) cpu_seconds: f64,
    /// Size of a response, header included.
    pub(crate) page_bytes: u64,
}

impl PageBlock {
    /// Pages per CPU-second of the server.
    pub(crate) fn efficiency(&self) -> f64 {
        self.pages as f64 / self.cpu_seconds
    }
}

/// Size of one file of the site.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SizeRow {
    /// File name.
    pub(crate) name: String,
    /// The chat page needs it; other files are fetched only for a call.
    pub(crate) first: bool,
    /// Size in bytes.
    pub(crate) raw: u64,
    /// Size in bytes with brotli.
    pub(crate) brotli: u64,
}

/// Cost of appending a message in the browser.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AppendBlock {
    /// Messages that the room already shows.
    pub(crate) shown: u64,
    /// Median main-thread time for one more message.
    pub(crate) median_ms: f64,
}

/// Lab metrics of the page, from Lighthouse and Chromium.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LabBlock {
    /// Emulated device: desktop or mobile.
    pub(crate) device: String,
    /// Largest Contentful Paint.
    pub(crate) lcp_ms: f64,
    /// Interaction to Next Paint while typing and sending messages.
    pub(crate) inp_ms: f64,
    /// Cumulative Layout Shift.
    pub(crate) cls: f64,
    /// Total Blocking Time.
    pub(crate) tbt_ms: f64,
    /// Lighthouse performance score (0 to 1).
    pub(crate) score: f64,
}

/// Compares the renderers. Fails if they do not show the same visible text.
pub(crate) fn measure_pages(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let _on_one_core = OnLoadCore::pin()?;
    let (rounds, window) = if plan.quick { (1, 2) } else { (6, 4) };
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    std::fs::write(data.path().join("room.json"), fill_room(data.path(), ROOM, MESSAGES)?)?;
    let mut seen: Option<String> = None;
    let mut blocks = Vec::new();
    for round in 0..rounds {
        let mut turn = [Renderer::Noom, Renderer::Next, Renderer::Sveltekit];
        if round % 2 == 1 {
            turn.reverse();
        }
        for renderer in turn {
            let server = renderer.start(data.path())?;
            let path = format!("/r/{ROOM}");
            let visible = text::visible_text(&get(server.address, &path)?);
            if let Some(fault) = seen.as_ref().and_then(|seen| text::first_difference(seen, &visible)) {
                return Err(format!("{} shows different text, at {fault}", renderer.name()).into());
            }
            seen.get_or_insert(visible);
            let block = page_block(renderer, round, &server, &path, Duration::from_secs(window))?;
            eprintln!("pages    {:10} {:8.0} pages/CPU-s", renderer.name(), block.efficiency());
            blocks.push(block);
        }
    }
    folder.write("pages", &plan.command, blocks)
}

fn page_block(renderer: Renderer, round: usize, server: &Server, path: &str, window: Duration) -> Outcome<PageBlock> {
    under_load(server.address, path, |counts| {
        std::thread::sleep(WARM_UP);
        let (begin, cpu, (pages, bytes)) = (Instant::now(), cpu_time(&server.process())?, counts.now());
        std::thread::sleep(window);
        let (pages_now, bytes_now) = counts.now();
        let cpu_seconds = (cpu_time(&server.process())? - cpu).as_secs_f64();
        let pages = pages_now - pages;
        let page_bytes = (bytes_now - bytes) / pages.max(1);
        Ok(PageBlock { renderer, round, pages, seconds: begin.elapsed().as_secs_f64(), cpu_seconds, page_bytes })
    })
}

/// Requests Noom's room page under full load: calls `begin` after the warm-up, keeps the load up for `during`, then returns
/// what `begin` returned.
pub(crate) fn load_noom<T>(during: Duration, begin: impl FnOnce(&Server) -> Outcome<T>) -> Outcome<T> {
    let (_data, server) = noom_with_room()?;
    under_load(server.address, &format!("/r/{ROOM}"), |_| {
        std::thread::sleep(WARM_UP);
        let begun = begin(&server)?;
        std::thread::sleep(during);
        Ok(begun)
    })
}

/// Measures the sizes of the site's files.
pub(crate) fn measure_sizes(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let site = project().join("target/site/pkg");
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(&site).map_err(|_| "the site is not built; run make build")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut brotli = path.clone().into_os_string();
        brotli.push(".br");
        let Ok(brotli) = std::fs::metadata(PathBuf::from(brotli)) else { continue };
        if name.ends_with(".js") || name.ends_with(".wasm") {
            let first = !is_for_calls(&name);
            rows.push(SizeRow { name, first, raw: std::fs::metadata(&path)?.len(), brotli: brotli.len() });
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.brotli));
    for row in &rows {
        eprintln!("sizes    {:40} {:8} bytes, {:8} with brotli", row.name, row.raw, row.brotli);
    }
    folder.write("sizes", &plan.command, rows)?;
    // The unstripped WASM exists only where this machine has built the site itself.
    let Some(named) = std::env::var_os("NOOM_BENCH_WASM").map(PathBuf::from).filter(|file| file.exists()) else {
        return Ok(());
    };
    folder.write("wasm", &plan.command, wasm::crates(&named)?)
}

/// Returns true for the files that code splitting makes, which are fetched only for a call.
fn is_for_calls(name: &str) -> bool {
    name.contains("split_") || name.starts_with("chunk_")
}

/// Measures the cost of appending a message to an empty and to a long list.
pub(crate) fn measure_append(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let (rounds, shown) = if plan.quick { (1, 1_000) } else { (3, 10_000) };
    let mut blocks: Vec<AppendBlock> = Vec::new();
    for _ in 0..rounds {
        for shown in [0, shown] {
            let block: AppendBlock = in_browser("append.js", &[shown.to_string()])?;
            eprintln!("append   to {:6} messages: {:.2} ms", block.shown, block.median_ms);
            blocks.push(block);
        }
    }
    folder.write("append", &plan.command, blocks)
}

/// Measures the lab metrics of the page.
pub(crate) fn measure_lab(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let rounds = if plan.quick { 1 } else { 3 };
    let mut blocks: Vec<LabBlock> = Vec::new();
    for _ in 0..rounds {
        for device in ["desktop", "mobile"] {
            let block: LabBlock = in_browser("lab.js", &[device.to_owned()])?;
            eprintln!(
                "lab      {device:8} LCP {:.0} ms, INP {:.0} ms, CLS {:.3}, score {:.2}",
                block.lcp_ms, block.inp_ms, block.cls, block.score
            );
            blocks.push(block);
        }
    }
    folder.write("lab", &plan.command, blocks)
}

/// Starts a fresh Noom with the room in it. Also returns its data folder, which must outlive the server.
fn noom_with_room() -> Outcome<(TempDir, Server)> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    fill_room(data.path(), ROOM, MESSAGES)?;
    let server = start(noom_in(&noom(), data.path()))?;
    Ok((data, server))
}

/// Runs a browser script against a fresh server with the room in it.
fn in_browser<T: DeserializeOwned>(script: &str, arguments: &[String]) -> Outcome<T> {
    let (_data, server) = noom_with_room()?;
    run_in_browser(script, &server, arguments)
}

/// Runs a browser script, and parses the JSON that it prints.
fn run_in_browser<T: DeserializeOwned>(script: &str, server: &Server, arguments: &[String]) -> Outcome<T> {
    let folder = project().join("benches/browser");
    let output = Command::new(node())
        .arg(folder.join(script))
        .arg(format!("http://{}", server.address))
        .args(arguments)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{script} failed").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
