//! Serves the output of local tasks to the manager that asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use swarm_state::{NodeId, TaskId};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::Worker;
use crate::{
    manager::wire::{SessionUp, WireLine, WireLogOptions},
    runtime::{LogEntry, LogReader, Stream},
};

/// Lines per message.
const BATCH: usize = 64;
/// How often a followed log is looked at.
const FOLLOW: Duration = Duration::from_millis(200);

/// The requests of one session; all end with it.
pub(super) struct LogDesk {
    worker: Arc<Worker>,
    answers: mpsc::Sender<SessionUp>,
    running: JoinSet<()>,
    open: BTreeMap<u64, AbortHandle>,
}

impl LogDesk {
    pub(super) fn new(worker: Arc<Worker>, answers: mpsc::Sender<SessionUp>) -> Self {
        Self { worker, answers, running: JoinSet::new(), open: BTreeMap::new() }
    }

    pub(super) fn open(&mut self, request: u64, tasks: Vec<TaskId>, options: WireLogOptions) {
        while self.running.try_join_next().is_some() {}
        self.open.retain(|_, handle| !handle.is_finished());
        let (worker, answers) = (Arc::clone(&self.worker), self.answers.clone());
        let handle = self.running.spawn(async move {
            let _ = serve(&worker, &answers, (request, tasks, options)).await;
            let _ = answers.send(SessionUp::Logs { request, lines: Vec::new(), done: true }).await;
        });
        self.open.insert(request, handle);
    }

    pub(super) fn close(&mut self, request: u64) {
        if let Some(handle) = self.open.remove(&request) {
            handle.abort();
        }
    }
}

/// `None` when the session is gone.
async fn serve(
    worker: &Worker,
    answers: &mpsc::Sender<SessionUp>,
    (request, tasks, options): (u64, Vec<TaskId>, WireLogOptions),
) -> Option<()> {
    let node = worker.assignment.borrow().as_ref()?.node;
    let mut readers: Vec<(TaskId, LogReader)> =
        tasks.into_iter().filter_map(|task| Some((task, worker.runtime.logs(task.as_str()).ok()?))).collect();
    let mut lines: Vec<WireLine> = Vec::new();
    for (task, reader) in &mut readers {
        let mut entries = read(reader, options);
        if let Some(tail) = options.tail {
            entries.drain(..entries.len().saturating_sub(tail));
        }
        lines.extend(entries.into_iter().map(|entry| wire(*task, node, entry)));
    }
    loop {
        for batch in lines.chunks(BATCH) {
            let message = SessionUp::Logs { request, lines: batch.to_vec(), done: false };
            answers.send(message).await.ok()?;
        }
        if !options.follow {
            return Some(());
        }
        sleep(FOLLOW).await;
        lines.clear();
        for (task, reader) in &mut readers {
            lines.extend(read(reader, options).into_iter().map(|entry| wire(*task, node, entry)));
        }
    }
}

fn read(reader: &mut LogReader, options: WireLogOptions) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    while let Ok(Some(entry)) = reader.next_entry() {
        let wanted = match entry.stream {
            Stream::Stdout => options.stdout,
            Stream::Stderr => options.stderr,
        };
        if wanted && entry.at_ns >= options.since_ns {
            entries.push(entry);
        }
    }
    entries
}

fn wire(task: TaskId, node: NodeId, entry: LogEntry) -> WireLine {
    WireLine { task, node, stderr: entry.stream == Stream::Stderr, at_ns: entry.at_ns, line: entry.line }
}
