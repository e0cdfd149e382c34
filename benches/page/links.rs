//! The cost of a page whose messages are expensive to process, against one with plain messages of the same length.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PageBlock, ROOM, Renderer, get, page_block, run_in_browser};
use crate::machine::OnLoadCore;
use crate::results::Folder;
use crate::server::{noom, noom_in, start};
use crate::statistics::{Interval, geometric_mean};
use crate::store::fill_room_with;
use crate::{Outcome, Plan};

/// Messages on the page.
const MESSAGES: u64 = 50;
/// Length of each message, in characters.
const LENGTH: usize = 3_990;
/// Beginnings of addresses that never end, or end where only a look at the whole text tells.
const ALMOST_LINKS: [(&str, &str); 5] =
    [("https://a", ")"), ("https://a", "]"), ("", "https://"), ("a", "@a"), ("www.", "(")];

/// Beginnings of markup that never end, or end where only a look at the whole text tells; and as many elements as a
/// message may have.
const ALMOST_MARKUP: [(&str, &str); 8] =
    [("**a", "*_"), ("", " **a"), ("", "`a``"), ("", "[("), ("", "> "), ("", "```\n"), ("", "*a* "), ("", "- a\n")];

/// The text of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Text {
    /// Words.
    Words,
    /// Text that looks like addresses.
    AlmostLinks,
    /// Text that looks like Markdown.
    AlmostMarkup,
    /// Full-width punctuation, which browsers lay out with special rules.
    FullWidth,
}

impl Text {
    const ALL: [Self; 4] = [Self::Words, Self::AlmostLinks, Self::AlmostMarkup, Self::FullWidth];

    /// Name in tables.
    fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::AlmostLinks => "looks like links",
            Self::AlmostMarkup => "looks like markup",
            Self::FullWidth => "full-width punctuation",
        }
    }

    fn message(self, number: u64) -> String {
        let (first, rest) = match self {
            Self::Words => ("Once more", " the same words"),
            Self::AlmostLinks => ALMOST_LINKS[number as usize % ALMOST_LINKS.len()],
            Self::AlmostMarkup => ALMOST_MARKUP[number as usize % ALMOST_MARKUP.len()],
            Self::FullWidth => ("https://a/", "．「、"),
        };
        first.chars().chain(rest.chars().cycle()).take(LENGTH).collect()
    }

    fn fill(self, folder: &Path) -> Outcome<()> {
        fill_room_with(folder, ROOM, MESSAGES, |number| self.message(number)).map(drop)
    }
}

/// One page in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinkBlock {
    /// Text of the messages.
    pub(crate) text: Text,
    /// Round: blocks are compared within a round.
    pub(crate) round: usize,
    /// CPU time of the server for a page.
    pub(crate) cpu_ms: f64,
    /// Size of a response, header included.
    pub(crate) page_bytes: u64,
    /// The longest task of the main thread while a browser opens the page.
    pub(crate) longest_task_ms: f64,
}

/// The longest task of a page, as the browser script prints it.
#[derive(Deserialize)]
struct LongestTask {
    longest_ms: f64,
}

/// Measures pages with each text, in the server and in a browser.
pub(crate) fn measure(plan: &Plan, folder: &Folder) -> Outcome<()> {
    let (rounds, window) = if plan.quick { (1, 2) } else { (6, 4) };
    let data = |text: Text| {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        text.fill(data.path())?;
        Outcome::Ok((text, data))
    };
    let mut turn = Text::ALL.map(data).into_iter().collect::<Outcome<Vec<_>>>()?;
    let mut blocks = Vec::new();
    for round in 0..rounds {
        for (text, data) in &turn {
            let server = start(noom_in(&noom(), data.path()))?;
            let LongestTask { longest_ms } = run_in_browser("tasks.js", &server, &[ROOM.to_owned()])?;
            let path = format!("/r/{ROOM}");
            get(server.address, &path)?;
            let PageBlock { pages, cpu_seconds, page_bytes, .. } = {
                let _on_one_core = OnLoadCore::pin()?;
                page_block(Renderer::Noom, round, &server, &path, Duration::from_secs(window))?
            };
            let cpu_ms = cpu_seconds * 1_000.0 / pages as f64;
            eprintln!("links    {text:12?} {cpu_ms:6.2} ms, {page_bytes} bytes, longest task {longest_ms:.0} ms");
            blocks.push(LinkBlock { text: *text, round, cpu_ms, page_bytes, longest_task_ms: longest_ms });
        }
        turn.reverse();
    }
    folder.write("links", &plan.command, blocks)
}

/// A text compared with plain words, round by round.
pub(crate) fn ratio(blocks: &[LinkBlock], text: Text, of: impl Fn(&LinkBlock) -> f64) -> Option<Interval> {
    let words = |round| blocks.iter().find(|block| block.text == Text::Words && block.round == round);
    let own = blocks.iter().filter(|block| block.text == text);
    geometric_mean(&own.filter_map(|block| Some(of(block) / of(words(block.round)?))).collect::<Vec<_>>())
}

/// Writes the table of the results.
pub(crate) fn report(page: &mut String, folder: &Folder) -> Outcome<()> {
    let Some(results) = folder.read::<LinkBlock>("links")? else { return Ok(()) };
    page.push_str("\n## Page: 50 messages of 3,990 characters\n\n");
    page.push_str(
        "| text | server, ms of CPU | bytes per page | longest task in the browser, ms |\n|---|---|---|---|\n",
    );
    for text in Text::ALL {
        let own: Vec<_> = results.blocks.iter().filter(|block| block.text == text).collect();
        let mean = |of: fn(&LinkBlock) -> f64| {
            let values: Vec<_> = own.iter().map(|block| of(block)).collect();
            geometric_mean(&values).map_or("–".into(), |mean| mean.to_string())
        };
        let bytes = own.first().map_or(0, |block| block.page_bytes);
        let (cpu, task) = (mean(|block| block.cpu_ms), mean(|block| block.longest_task_ms));
        writeln!(page, "| {} | {cpu} | {bytes} | {task} |", text.name())?;
    }
    Ok(())
}
