use std::sync::mpsc;
use std::thread::JoinHandle;

use ::tokio::sync::mpsc as async_mpsc;

use crate::output::{Persist, PersistId};
use crate::{LogStore, StoreError};

/// The thread that waits for fsync, so that the runtime never does.
pub(super) struct Disk {
    to: Option<mpsc::Sender<Persist>>,
    pub(super) done: async_mpsc::UnboundedReceiver<Result<PersistId, StoreError>>,
    thread: Option<JoinHandle<()>>,
}

/// What piles up during one fsync goes into the next one as a whole.
pub(super) fn spawn(mut store: impl LogStore) -> Disk {
    let (to, todo) = mpsc::channel::<Persist>();
    let (report, done) = async_mpsc::unbounded_channel();
    let thread = std::thread::spawn(move || {
        while let Ok(first) = todo.recv() {
            let mut batch = vec![first];
            batch.extend(todo.try_iter());
            let result = store.save(&batch);
            let Some(last) = batch.last().map(|persist| persist.id) else { continue };
            let failed = result.is_err();
            if report.send(result.map(|()| last)).is_err() || failed {
                return;
            }
        }
    });
    Disk { to: Some(to), done, thread: Some(thread) }
}

impl Disk {
    pub(super) fn write(&self, persist: Persist) {
        if let Some(to) = &self.to {
            let _ = to.send(persist); // a disk that is gone has said why
        }
    }

    /// Ends the thread and closes the store.
    pub(super) async fn close(&mut self) {
        self.to = None;
        while self.done.recv().await.is_some() {}
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has dropped `report`, its last act but dropping the store
        }
    }
}
