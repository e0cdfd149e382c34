//! Performance goals, and the check of results against them. The worse end of a confidence interval decides.

use crate::Outcome;
use crate::arrivals::{self, ArrivalBlock};
use crate::fanout::subject::Subject;
use crate::fanout::{Block, IdleBlock};
use crate::hostile::{HostileBlock, Target};
use crate::large::{Read, ReadBlock};
use crate::page::links::{self, LinkBlock, Text};
use crate::page::{AppendBlock, LabBlock, PageBlock, Renderer, SizeRow};
use crate::results::{Folder, Results};
use crate::search::{SearchBlock, worst};
use crate::statistics::{Interval, geometric_mean};
use crate::store::{AckBlock, CommitBlock};

/// A goal and the results it is checked against.
pub(crate) struct Goal {
    /// Identifier, such as `F1`.
    pub(crate) id: &'static str,
    /// Description for the report.
    pub(crate) text: &'static str,
    /// Names of the results it is checked against.
    pub(crate) needs: &'static [&'static str],
}

/// All goals, in the order of the report.
pub(crate) const GOALS: [Goal; 15] = [
    Goal {
        id: "F1",
        text: "overload: deliveries per CPU-second at least 15 × socket.io and 1.0 × Bun",
        needs: &["overload"],
    },
    Goal {
        id: "F2",
        text: "200,000 deliveries per second: all delivered, deliveries per CPU-second at least 3.5 × socket.io, p99 latency at most 60 ms",
        needs: &["busy"],
    },
    Goal {
        id: "F3",
        text: "20,000 deliveries per second: deliveries per CPU-second at least 2 × socket.io and 0.8 × the bare `send()` loop, p50 latency at most 0.6 × socket.io",
        needs: &["steady"],
    },
    Goal {
        id: "F4",
        text: "idle: at most 4 KiB of anonymous memory per connection, at least 4 × less than socket.io",
        needs: &["idle"],
    },
    Goal {
        id: "A1",
        text: "the 10,000th arrival in a room: at most 3 × the CPU time and the bytes of the 100th",
        needs: &["arrivals"],
    },
    Goal {
        id: "D1",
        text: "group commit: at least 100 × the throughput of one commit per message, with every message synced; p99 ack latency at most 30 ms",
        needs: &["commit", "acks"],
    },
    Goal {
        id: "D2",
        text: "durable before visible, and still p50 latency at most 1.0 × socket.io, which stores nothing",
        needs: &["steady"],
    },
    Goal {
        id: "H1",
        text: "a hostile stranger sends every command and request at twice the highest rate that the limits allow: p99 ack latency of ordinary people at most 2 × + 5 ms of that with the same load on a sink",
        needs: &["hostile"],
    },
    Goal {
        id: "D3",
        text: "reads from a room with 1,000,000 messages, and from one of 100,000 rooms: at most 1.5 × the time with 1,000 messages and 100 rooms",
        needs: &["large"],
    },
    Goal {
        id: "D4",
        text: "search in 1,000,000 messages, in one room and in 1,000, for a rare word, a common one, its beginning, Korean, and a word that is not there: p50 at most 50 ms, p99 at most 200 ms",
        needs: &["search"],
    },
    Goal {
        id: "S1",
        text: "room page with 50 messages: pages per CPU-second at least 20 × Next.js and 5 × SvelteKit, with the same visible text",
        needs: &["pages"],
    },
    Goal { id: "S3", text: "WASM and JavaScript of the chat page: at most 200 KB with brotli", needs: &["sizes"] },
    Goal {
        id: "S4",
        text: "appending a message to a list of 10,000: at most 1.2 × the time for an empty list",
        needs: &["append"],
    },
    Goal { id: "S5", text: "lab: LCP at most 1 s, INP at most 50 ms, CLS 0", needs: &["lab"] },
    Goal {
        id: "S6",
        text: "room page with 50 messages of 3,990 characters that look like links or markup: at most 2 × the server's time, and the longest task in a browser, of one with words; the longest task also with full-width punctuation",
        needs: &["links"],
    },
];

/// The measured value for one part of a goal.
#[derive(Debug)]
pub(crate) struct Finding {
    /// Value with its unit, for the report.
    pub(crate) text: String,
    /// This part of the goal is met.
    pub(crate) met: bool,
}

impl Goal {
    /// Checks the results. Empty if they do not exist.
    pub(crate) fn findings(&self, folder: &Folder) -> Outcome<Vec<Finding>> {
        let found = match self.id {
            "F1" => fanout_findings(folder, "overload", |blocks| {
                vec![
                    at_least("socket.io", efficiency(blocks, Subject::SocketIo), 15.0),
                    at_least("Bun", efficiency(blocks, Subject::Bun), 1.0),
                ]
            })?,
            "F2" => fanout_findings(folder, "busy", |blocks| {
                let own = || blocks.iter().filter(|block| block.subject == Subject::Noom);
                let carried = own().map(|block| block.carried() * block.seconds / block.due as f64).fold(1.0, f64::min);
                let complete = own().all(|block| block.complete && block.void.is_none()) && carried >= 0.99;
                vec![
                    Some(Finding {
                        text: format!("{:.1} % delivered in time in the worst block", carried * 100.0),
                        met: complete,
                    }),
                    at_least("socket.io", efficiency(blocks, Subject::SocketIo), 3.5),
                    at_most("p99", "ms", mean_of(blocks, Subject::Noom, |block| block.p99_ms), 60.0),
                ]
            })?,
            "F3" => fanout_findings(folder, "steady", |blocks| {
                vec![
                    at_least("socket.io", efficiency(blocks, Subject::SocketIo), 2.0),
                    at_least("bare `send()` loop", efficiency(blocks, Subject::Bare), 0.8),
                    at_most("p50", "× socket.io", ratio(blocks, Subject::SocketIo, |block| block.p50_ms), 0.6),
                ]
            })?,
            "F4" => findings_from(folder.read::<IdleBlock>("idle")?, |blocks| {
                let of = |subject| move |block: &&IdleBlock| block.subject == subject;
                let own: Vec<_> = blocks.iter().filter(of(Subject::Noom)).map(IdleBlock::kib_per_connection).collect();
                let other: Vec<_> =
                    blocks.iter().filter(of(Subject::SocketIo)).map(IdleBlock::kib_per_connection).collect();
                let ratios: Vec<_> = own.iter().zip(&other).map(|(own, other)| other / own).collect();
                vec![
                    at_most("memory", "KiB per connection", geometric_mean(&own), 4.0),
                    at_least("less than socket.io", geometric_mean(&ratios), 4.0),
                ]
            })?,
            "A1" => findings_from(folder.read::<ArrivalBlock>("arrivals")?, |blocks| {
                vec![
                    at_most("CPU time", "× the 100th", arrivals::ratio(blocks, |block| block.cpu_us), 3.0),
                    at_most("bytes", "× the 100th", arrivals::ratio(blocks, |block| block.bytes), 3.0),
                ]
            })?,
            "D1" => {
                let mut found = findings_from(folder.read::<CommitBlock>("commit")?, |blocks| {
                    vec![at_least("one commit per message", commit_ratio(blocks), 100.0)]
                })?;
                found.extend(findings_from(folder.read::<AckBlock>("acks")?, |blocks| {
                    let p99: Vec<_> = blocks.iter().map(|block| block.p99_ms).collect();
                    vec![at_most("ack p99", "ms", geometric_mean(&p99), 30.0)]
                })?);
                found
            }
            "D2" => fanout_findings(folder, "steady", |blocks| {
                vec![at_most("p50", "× socket.io", ratio(blocks, Subject::SocketIo, |block| block.p50_ms), 1.0)]
            })?,
            "H1" => findings_from(folder.read::<HostileBlock>("hostile")?, |blocks| {
                let at_sink = hostile_mean(blocks, Target::Sink, |block| block.p99_ms);
                let bound = at_sink.map(|at_sink| 2.0 * at_sink.mean + 5.0);
                vec![bound.and_then(|bound| {
                    at_most("ack p99", "ms", hostile_mean(blocks, Target::Noom, |block| block.p99_ms), bound)
                        .map(|finding| Finding { text: format!("{}, at most {bound:.1} ms", finding.text), ..finding })
                })]
            })?,
            "S1" => findings_from(folder.read::<PageBlock>("pages")?, |blocks| {
                vec![
                    at_least("Next.js", page_ratio(blocks, Renderer::Next), 20.0),
                    at_least("SvelteKit", page_ratio(blocks, Renderer::Sveltekit), 5.0),
                ]
            })?,
            "S6" => findings_from(folder.read::<LinkBlock>("links")?, |blocks| {
                let cpu = |text| links::ratio(blocks, text, |block| block.cpu_ms);
                let task = |text| links::ratio(blocks, text, |block| block.longest_task_ms);
                vec![
                    at_most("CPU time: links", "× words", cpu(Text::AlmostLinks), 2.0),
                    at_most("markup", "×", cpu(Text::AlmostMarkup), 2.0),
                    at_most("longest task: links", "× words", task(Text::AlmostLinks), 2.0),
                    at_most("markup", "×", task(Text::AlmostMarkup), 2.0),
                    at_most("full-width punctuation", "×", task(Text::FullWidth), 2.0),
                ]
            })?,
            "D3" => findings_from(folder.read::<ReadBlock>("large")?, |blocks| {
                Read::ALL.map(|read| at_most(read.name(), "×", large_ratio(blocks, read), 1.5)).into()
            })?,
            "D4" => findings_from(folder.read::<SearchBlock>("search")?, |blocks| {
                let (p50, p99) = (worst(blocks, |block| block.p50_ms), worst(blocks, |block| block.p99_ms));
                vec![
                    Some(Finding { text: format!("worst p50 {p50:.1} ms"), met: p50 <= 50.0 }),
                    Some(Finding { text: format!("worst p99 {p99:.1} ms"), met: p99 <= 200.0 }),
                ]
            })?,
            "S3" => findings_from(folder.read::<SizeRow>("sizes")?, |sizes| {
                let kb = sizes.iter().filter(|size| size.first).map(|size| size.brotli).sum::<u64>() as f64 / 1_000.0;
                vec![Some(Finding { text: format!("{kb:.0} KB"), met: kb <= 200.0 })]
            })?,
            "S4" => findings_from(folder.read::<AppendBlock>("append")?, |blocks| {
                let times = |full: bool| {
                    blocks.iter().filter(move |block| (block.shown > 0) == full).map(|block| block.median_ms)
                };
                let ratios: Vec<_> = times(true).zip(times(false)).map(|(full, empty)| full / empty).collect();
                vec![at_most("time", "× an empty list", geometric_mean(&ratios), 1.2)]
            })?,
            _ => findings_from(folder.read::<LabBlock>("lab")?, |blocks| {
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

    /// Describes an upper bound of what is reachable, for the goals whose results contain one.
    pub(crate) fn upper_bound(&self, folder: &Folder) -> Outcome<Option<String>> {
        Ok(match self.id {
            "F2" | "F3" => folder.read::<Block>(self.needs[0])?.and_then(|results| {
                let bare = compare(&results.blocks, Subject::Bare, Subject::SocketIo, Block::efficiency)?;
                Some(format!("the bare `send()` loop reaches {bare} × socket.io"))
            }),
            "D1" => folder.read::<CommitBlock>("commit")?.map(|results| {
                format!(
                    "this disk reports a sync as complete after {:.2} ms, so group commit has little waiting time to share; \
                     a disk that does not acknowledge writes early takes 4 to 5 ms, most of which is waiting",
                    results.machine.sync_ms
                )
            }),
            _ => None,
        })
    }
}

/// Ratio of Noom's deliveries per CPU-second to another server's.
pub(crate) fn efficiency(blocks: &[Block], other: Subject) -> Option<Interval> {
    ratio(blocks, other, Block::efficiency)
}

/// Ratio of Noom's value to another server's, paired by round.
pub(crate) fn ratio(blocks: &[Block], other: Subject, value: fn(&Block) -> f64) -> Option<Interval> {
    compare(blocks, Subject::Noom, other, value)
}

/// Ratio of two servers' values, paired by round; rounds with a void block are left out.
fn compare(blocks: &[Block], one: Subject, other: Subject, value: fn(&Block) -> f64) -> Option<Interval> {
    let of = |subject, round| {
        blocks.iter().find(|block| block.subject == subject && block.round == round && block.void.is_none())
    };
    let rounds = blocks.iter().map(|block| block.round + 1).max().unwrap_or_default();
    let ratios: Vec<_> =
        (0..rounds).filter_map(|round| Some(value(of(one, round)?) / value(of(other, round)?))).collect();
    geometric_mean(&ratios)
}

/// Mean of a server's value over its valid blocks.
pub(crate) fn mean_of(blocks: &[Block], subject: Subject, value: fn(&Block) -> f64) -> Option<Interval> {
    let own = blocks.iter().filter(|block| block.subject == subject && block.void.is_none());
    geometric_mean(&own.map(value).collect::<Vec<_>>())
}

/// Ratio of throughput with group commit to throughput with one commit per message.
pub(crate) fn commit_ratio(blocks: &[CommitBlock]) -> Option<Interval> {
    let rates = |single: bool| blocks.iter().filter(move |block| block.is_single() == single).map(CommitBlock::rate);
    geometric_mean(&rates(false).zip(rates(true)).map(|(many, single)| many / single).collect::<Vec<_>>())
}

/// Mean of a value over the blocks in which the hostile load talked to this target.
pub(crate) fn hostile_mean(
    blocks: &[HostileBlock],
    target: Target,
    value: fn(&HostileBlock) -> f64,
) -> Option<Interval> {
    geometric_mean(&blocks.iter().filter(|block| block.target == target).map(value).collect::<Vec<_>>())
}

/// Ratio of the median time of a read from the large database to that from the small one.
pub(crate) fn large_ratio(blocks: &[ReadBlock], read: Read) -> Option<Interval> {
    let times = |large: bool| {
        blocks.iter().filter(move |block| block.read == read && block.large == large).map(|block| block.p50_us)
    };
    geometric_mean(&times(true).zip(times(false)).map(|(large, small)| large / small).collect::<Vec<_>>())
}

/// Ratio of Noom's pages per CPU-second to another renderer's.
pub(crate) fn page_ratio(blocks: &[PageBlock], other: Renderer) -> Option<Interval> {
    let rates = |whose| blocks.iter().filter(move |block| block.renderer == whose).map(PageBlock::efficiency);
    geometric_mean(&rates(Renderer::Noom).zip(rates(other)).map(|(own, other)| own / other).collect::<Vec<_>>())
}

fn fanout_findings(
    folder: &Folder,
    name: &str,
    find: impl Fn(&[Block]) -> Vec<Option<Finding>>,
) -> Outcome<Vec<Finding>> {
    findings_from(folder.read::<Block>(name)?, find)
}

fn findings_from<T>(results: Option<Results<T>>, find: impl Fn(&[T]) -> Vec<Option<Finding>>) -> Outcome<Vec<Finding>> {
    Ok(results.map(|results| find(&results.blocks).into_iter().flatten().collect()).unwrap_or_default())
}

fn at_least(than: &str, found: Option<Interval>, goal: f64) -> Option<Finding> {
    found.map(|found| Finding { text: format!("{found} × {than}"), met: found.low >= goal })
}

fn at_most(name: &str, unit: &str, found: Option<Interval>, goal: f64) -> Option<Finding> {
    found.map(|found| Finding { text: format!("{name} {found} {unit}"), met: found.high <= goal })
}
