//! The threads that render pages. A page takes milliseconds of CPU at a stretch. On threads of its own it does not delay
//! the frames of people who talk: the operating system shares the cores between the threads.

use std::sync::Arc;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tracing::Instrument;

/// The pages that are rendered at a time, for each thread: while some wait for the store, others are rendered.
const PER_THREAD: usize = 4;
/// The niceness of these threads, relative to that of the process.
const NICER: i32 = 10;

/// A runtime for pages, with a thread for each core.
#[derive(Debug)]
pub(super) struct PageThreads {
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
    turns: Arc<Semaphore>,
}

impl PageThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system refuses more threads.
    pub(super) fn start() -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("pages")
            .on_thread_start(be_nice)
            .enable_all()
            .build()?;
        Ok(Self { runtime: Some(runtime), turns: Arc::new(Semaphore::new(threads * PER_THREAD)) })
    }

    /// Renders a page on these threads, when it has its turn. If the caller goes away meanwhile, the page is rendered to
    /// its end all the same: Leptos panics if a page is dropped while tasks of its own still run. `None` if the threads
    /// have ended.
    ///
    /// # Panics
    /// If rendering panics.
    pub(super) async fn run<T: Send + 'static>(&self, page: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let runtime = self.runtime.as_ref()?;
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        let page = async move {
            let rendered = page.await;
            drop(turn);
            rendered
        };
        match runtime.spawn(page.in_current_span()).await {
            Ok(rendered) => Some(rendered),
            Err(error) => error.try_into_panic().map(|panic| std::panic::resume_unwind(panic)).ok(),
        }
    }
}

impl Drop for PageThreads {
    fn drop(&mut self) {
        // Waiting for its threads would block the thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of the calling thread: on Linux, niceness belongs to threads. It is only an improvement, so a
/// failure does not matter.
fn be_nice() {
    let _ = getpriority_process(None).and_then(|nice| setpriority_process(None, nice + NICER));
}
