//! What Noom wants to reach, and whether the results say that it does. Of an interval the worse end counts.

use crate::Outcome;
use crate::fanout::subject::Subject;
use crate::fanout::{Block, IdleBlock};
use crate::page::{AppendBlock, LabBlock, PageBlock, Renderer, SizeRow};
use crate::results::{Folder, Results};
use crate::statistics::{Interval, geometric_mean};
use crate::store::{AckBlock, CommitBlock};

/// A goal, and the results that it depends on.
pub(crate) struct Goal {
    /// Its name.
    pub(crate) id: &'static str,
    /// In words.
    pub(crate) text: &'static str,
    /// The names of results.
    pub(crate) needs: &'static [&'static str],
}

/// Every goal.
pub(crate) const GOALS: [Goal; 10] = [
    Goal {
        id: "F1",
        text: "overload: at least 15 × socket.io's deliveries per CPU-second, at least 1.0 × Bun's",
        needs: &["overload"],
    },
    Goal {
        id: "F2",
        text: "200,000 deliveries a second offered: carried in full, at least 3.5 × socket.io's efficiency, p99 at most 60 ms",
        needs: &["busy"],
    },
    Goal {
        id: "F3",
        text: "steady 20,000 a second: at least 2 × socket.io's efficiency, at least 0.8 × a bare `send()`'s, p50 at most 0.6 × socket.io's",
        needs: &["steady"],
    },
    Goal {
        id: "F4",
        text: "idle: at most 4 KiB of the server's own memory a connection, at least 4 × below socket.io",
        needs: &["idle"],
    },
    Goal {
        id: "D1",
        text: "at least 100 × the throughput of a commit per message, each on disk; ack p99 at most 30 ms",
        needs: &["commit", "acks"],
    },
    Goal {
        id: "D2",
        text: "on disk before anyone sees it, and still p50 no worse than socket.io's, which stores nothing",
        needs: &["steady"],
    },
    Goal {
        id: "S1",
        text: "room page with 50 messages: at least 20 × Next.js' and 5 × SvelteKit's requests per CPU-second, same visible text",
        needs: &["pages"],
    },
    Goal { id: "S3", text: "WASM and JS of the chat page at most 200 KB with brotli", needs: &["sizes"] },
    Goal {
        id: "S4",
        text: "appending a message to a room that shows 10,000: at most 1.2 × an empty one",
        needs: &["append"],
    },
    Goal { id: "S5", text: "lab LCP at most 1 s, INP at most 50 ms, CLS 0", needs: &["lab"] },
];

/// What was measured for one part of a goal.
#[derive(Debug)]
pub(crate) struct Finding {
    /// In words.
    pub(crate) text: String,
    /// Whether that part is met.
    pub(crate) met: bool,
}

impl Goal {
    /// What the results say. Empty when it was not measured.
    pub(crate) fn findings(&self, folder: &Folder) -> Outcome<Vec<Finding>> {
        let found = match self.id {
            "F1" => fanout(folder, "overload", |blocks| {
                vec![
                    at_least("socket.io", efficiency(blocks, Subject::SocketIo), 15.0),
                    at_least("Bun", efficiency(blocks, Subject::Bun), 1.0),
                ]
            })?,
            "F2" => fanout(folder, "busy", |blocks| {
                let own = || blocks.iter().filter(|block| block.subject == Subject::Noom);
                let carried = own().map(|block| block.carried() * block.seconds / block.due as f64).fold(1.0, f64::min);
                let complete = own().all(|block| block.complete && block.void.is_none()) && carried >= 0.99;
                vec![
                    Some(Finding {
                        text: format!("{:.1} % carried in time in the worst block", carried * 100.0),
                        met: complete,
                    }),
                    at_least("socket.io", efficiency(blocks, Subject::SocketIo), 3.5),
                    at_most("p99", "ms", of(blocks, Subject::Noom, |block| block.p99_ms), 60.0),
                ]
            })?,
            "F3" => fanout(folder, "steady", |blocks| {
                vec![
                    at_least("socket.io", efficiency(blocks, Subject::SocketIo), 2.0),
                    at_least("bare `send()`", efficiency(blocks, Subject::Bare), 0.8),
                    at_most("p50", "× socket.io's", ratio(blocks, Subject::SocketIo, |block| block.p50_ms), 0.6),
                ]
            })?,
            "F4" => rows(folder.read::<IdleBlock>("idle")?, |blocks| {
                let of = |subject| move |block: &&IdleBlock| block.subject == subject;
                let own: Vec<_> = blocks.iter().filter(of(Subject::Noom)).map(IdleBlock::kib_per_connection).collect();
                let other: Vec<_> =
                    blocks.iter().filter(of(Subject::SocketIo)).map(IdleBlock::kib_per_connection).collect();
                let ratios: Vec<_> = own.iter().zip(&other).map(|(own, other)| other / own).collect();
                vec![
                    at_most("memory", "KiB a connection", geometric_mean(&own), 4.0),
                    at_least("below socket.io", geometric_mean(&ratios), 4.0),
                ]
            })?,
            "D1" => {
                let mut found = rows(folder.read::<CommitBlock>("commit")?, |blocks| {
                    vec![at_least("a commit per message", commit_ratio(blocks), 100.0)]
                })?;
                found.extend(rows(folder.read::<AckBlock>("acks")?, |blocks| {
                    let p99: Vec<_> = blocks.iter().map(|block| block.p99_ms).collect();
                    vec![at_most("ack p99", "ms", geometric_mean(&p99), 30.0)]
                })?);
                found
            }
            "D2" => fanout(folder, "steady", |blocks| {
                vec![at_most("p50", "× socket.io's", ratio(blocks, Subject::SocketIo, |block| block.p50_ms), 1.0)]
            })?,
            "S1" => rows(folder.read::<PageBlock>("pages")?, |blocks| {
                vec![
                    at_least("Next.js", page_ratio(blocks, Renderer::Next), 20.0),
                    at_least("SvelteKit", page_ratio(blocks, Renderer::Sveltekit), 5.0),
                ]
            })?,
            "S3" => rows(folder.read::<SizeRow>("sizes")?, |sizes| {
                let kb = sizes.iter().filter(|size| size.first).map(|size| size.brotli).sum::<u64>() as f64 / 1_000.0;
                vec![Some(Finding { text: format!("{kb:.0} KB"), met: kb <= 200.0 })]
            })?,
            "S4" => rows(folder.read::<AppendBlock>("append")?, |blocks| {
                let times = |full: bool| {
                    blocks.iter().filter(move |block| (block.shown > 0) == full).map(|block| block.median_ms)
                };
                let ratios: Vec<_> = times(true).zip(times(false)).map(|(full, empty)| full / empty).collect();
                vec![at_most("time", "× an empty room's", geometric_mean(&ratios), 1.2)]
            })?,
            _ => rows(folder.read::<LabBlock>("lab")?, |blocks| {
                let worst = |of: fn(&LabBlock) -> f64| blocks.iter().map(of).fold(0.0, f64::max);
                let (lcp, inp, cls) =
                    (worst(|block| block.lcp_ms), worst(|block| block.inp_ms), worst(|block| block.cls));
                vec![
                    Some(Finding { text: format!("LCP {lcp:.0} ms"), met: lcp <= 1_000.0 }),
                    Some(Finding { text: format!("INP {inp:.0} ms"), met: inp <= 50.0 }),
                    Some(Finding { text: format!("CLS {cls:.3}"), met: cls == 0.0 }),
                ]
            })?,
        };
        Ok(found)
    }

    /// What there is to gain at most, where the results know.
    pub(crate) fn bound(&self, folder: &Folder) -> Outcome<Option<String>> {
        Ok(match self.id {
            "F2" | "F3" => folder.read::<Block>(self.needs[0])?.and_then(|results| {
                let bare = compare(&results.blocks, Subject::Bare, Subject::SocketIo, Block::efficiency)?;
                Some(format!("a bare `send()` for each delivery, and nothing else, is at {bare} × socket.io's efficiency"))
            }),
            "D1" => folder.read::<CommitBlock>("commit")?.map(|results| {
                format!(
                    "this disk says after {:.2} ms that a page is safe, so there is little waiting to share; with the 4 to \
                     5 ms of a disk that does not say so early, most of the time is waiting",
                    results.machine.sync_ms
                )
            }),
            _ => None,
        })
    }
}

/// How much more Noom delivers per CPU-second than another.
pub(crate) fn efficiency(blocks: &[Block], other: Subject) -> Option<Interval> {
    ratio(blocks, other, Block::efficiency)
}

/// Noom's value to another's, round by round.
pub(crate) fn ratio(blocks: &[Block], other: Subject, value: fn(&Block) -> f64) -> Option<Interval> {
    compare(blocks, Subject::Noom, other, value)
}

/// One's value to another's, round by round.
fn compare(blocks: &[Block], one: Subject, other: Subject, value: fn(&Block) -> f64) -> Option<Interval> {
    let of = |subject, round| {
        blocks.iter().find(|block| block.subject == subject && block.round == round && block.void.is_none())
    };
    let rounds = blocks.iter().map(|block| block.round + 1).max().unwrap_or_default();
    let ratios: Vec<_> =
        (0..rounds).filter_map(|round| Some(value(of(one, round)?) / value(of(other, round)?))).collect();
    geometric_mean(&ratios)
}

/// One server's value over its blocks.
pub(crate) fn of(blocks: &[Block], subject: Subject, value: fn(&Block) -> f64) -> Option<Interval> {
    let own = blocks.iter().filter(|block| block.subject == subject && block.void.is_none());
    geometric_mean(&own.map(value).collect::<Vec<_>>())
}

/// How much more is stored with group commit.
pub(crate) fn commit_ratio(blocks: &[CommitBlock]) -> Option<Interval> {
    let rates = |single: bool| blocks.iter().filter(move |block| block.is_single() == single).map(CommitBlock::rate);
    geometric_mean(&rates(false).zip(rates(true)).map(|(many, single)| many / single).collect::<Vec<_>>())
}

/// How many more pages Noom renders per CPU-second.
pub(crate) fn page_ratio(blocks: &[PageBlock], other: Renderer) -> Option<Interval> {
    let rates = |whose| blocks.iter().filter(move |block| block.renderer == whose).map(PageBlock::efficiency);
    geometric_mean(&rates(Renderer::Noom).zip(rates(other)).map(|(own, other)| own / other).collect::<Vec<_>>())
}

fn fanout(folder: &Folder, name: &str, find: impl Fn(&[Block]) -> Vec<Option<Finding>>) -> Outcome<Vec<Finding>> {
    rows(folder.read::<Block>(name)?, find)
}

fn rows<T>(results: Option<Results<T>>, find: impl Fn(&[T]) -> Vec<Option<Finding>>) -> Outcome<Vec<Finding>> {
    Ok(results.map(|results| find(&results.blocks).into_iter().flatten().collect()).unwrap_or_default())
}

fn at_least(than: &str, found: Option<Interval>, goal: f64) -> Option<Finding> {
    found.map(|found| Finding { text: format!("{found} × {than}"), met: found.low >= goal })
}

fn at_most(what: &str, unit: &str, found: Option<Interval>, goal: f64) -> Option<Finding> {
    found.map(|found| Finding { text: format!("{what} {found} {unit}"), met: found.high <= goal })
}
