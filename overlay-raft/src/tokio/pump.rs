use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ::tokio::sync::{mpsc, oneshot, watch};
use bytes::Bytes;

use super::disk::Disk;
use super::{Applied, Failure, Outgoing, ProposeError, Shared};
use crate::output::{Action, Event, Input, Output, ProposalId, Status, Transmit};
use crate::{Consensus, MemberChange, MemberId, StateMachine};

/// What a handle asks of the task.
pub(crate) enum Ask {
    Propose { command: Bytes, answer: Answer<Applied> },
    Change { change: MemberChange, answer: Answer<Applied> },
    Read { answer: Answer<u64> },
    Transfer { to: MemberId, answer: oneshot::Sender<Duration> },
    Receive(Bytes),
    Unreachable(MemberId),
    Stop { answer: oneshot::Sender<()> },
}

type Answer<T> = oneshot::Sender<Result<T, ProposeError>>;

/// Who waits for the answer to a proposal.
pub(super) enum Waiter {
    Applied(Answer<Applied>),
    Read(Answer<u64>),
}

/// The task: it fits inputs and outputs together and decides nothing.
pub(super) struct Pump<S> {
    pub(super) consensus: Consensus,
    pub(super) shared: Arc<Shared<S>>,
    pub(super) inbox: mpsc::UnboundedReceiver<Ask>,
    pub(super) outgoing: mpsc::UnboundedSender<Outgoing>,
    pub(super) status: watch::Sender<Status>,
    pub(super) applied: watch::Sender<u64>,
    pub(super) disk: Disk,
    pub(super) waiting: BTreeMap<ProposalId, Waiter>,
    /// Confirmed reads by the index that must be applied first.
    pub(super) reads: BTreeMap<u64, Vec<Answer<u64>>>,
    pub(super) next: u64,
}

#[expect(clippy::disallowed_methods, reason = "the driver is where time comes from")]
impl<S: StateMachine> Pump<S> {
    pub(super) async fn run(mut self) {
        let stopped = match self.pump().await {
            Ok(answer) => {
                self.finish().await;
                answer
            }
            Err(failure) => {
                let _ = self.shared.failure.set(failure);
                None
            }
        };
        self.disk.close().await;
        drop((self.waiting, self.inbox)); // whoever waits hears `Stopped`
        if let Some(answer) = stopped {
            let _ = answer.send(());
        }
    }

    async fn pump(&mut self) -> Result<Option<oneshot::Sender<()>>, Failure> {
        loop {
            self.drain()?;
            ::tokio::select! {
                ask = self.inbox.recv() => {
                    let mut ask = ask;
                    for _ in 0..BURST {
                        match ask {
                            None => return Ok(None),
                            Some(Ask::Stop { answer }) => return Ok(Some(answer)),
                            Some(other) => self.take(other),
                        }
                        match self.inbox.try_recv() {
                            Ok(next) => ask = Some(next),
                            Err(_) => break,
                        }
                    }
                }
                Some(done) = self.disk.done.recv() => self.input(Input::Persisted { id: done? }),
                () = until(self.consensus.poll_timeout()) => self.consensus.handle_timeout(Instant::now()),
            }
        }
    }

    /// Writes what is known, and waits for the disk.
    async fn finish(&mut self) {
        self.consensus.save_commit();
        while self.drain().is_ok() && self.consensus.is_persisting() {
            match self.disk.done.recv().await {
                Some(Ok(id)) => self.input(Input::Persisted { id }),
                Some(Err(_)) | None => return,
            }
        }
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Propose { command, answer } => {
                let id = self.wait(Waiter::Applied(answer));
                self.input(Input::Proposal { id, command });
            }
            Ask::Change { change, answer } => {
                let id = self.wait(Waiter::Applied(answer));
                self.input(Input::Change { id, change });
            }
            Ask::Read { answer } => {
                let id = self.wait(Waiter::Read(answer));
                self.input(Input::Read { id });
            }
            Ask::Transfer { to, answer } => {
                let _ = answer.send(self.consensus.election_timeout() * 2);
                self.input(Input::Transfer { to });
            }
            Ask::Receive(bytes) => {
                self.shared.inbox.fetch_sub(bytes.len(), Ordering::Relaxed);
                self.input(Input::Message(bytes));
            }
            Ask::Unreachable(member) => self.input(Input::Unreachable { member }),
            Ask::Stop { .. } => {}
        }
    }

    fn drain(&mut self) -> Result<(), Failure> {
        while let Some(output) = self.consensus.poll_output() {
            match output {
                Output::Transmit(Transmit { to, message }) => {
                    drop(self.outgoing.send(Outgoing { to, message }))
                }
                Output::Event(Event::Refused { id, why }) => self.refuse(id, why.into()),
                Output::Event(Event::ReadConfirmed { id, index }) => {
                    if let Some(Waiter::Read(answer)) = self.waiting.remove(&id) {
                        self.reads.entry(index).or_default().push(answer);
                    }
                }
                Output::Event(
                    Event::LeaderChanged { .. } | Event::Removed | Event::SnapshotTooLarge { .. },
                ) => {}
                Output::Action(action) => self.act(action)?,
            }
        }
        self.publish();
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Failure> {
        match action {
            Action::Persist(persist) => self.disk.write(persist),
            Action::Apply { index, command, proposal } => {
                let reply = self.shared.machine().apply(index, &command);
                self.answer(proposal, Applied { index, reply });
            }
            Action::ChangeMembers { index, members, proposal } => {
                self.shared.machine().members_changed(index, &members);
                self.answer(proposal, Applied { index, reply: Vec::new() });
            }
            Action::Restore(snapshot) => {
                let mut machine = self.shared.machine();
                machine.restore(&snapshot.data)?;
                machine.members_changed(snapshot.index, &snapshot.membership.members);
            }
            Action::TakeSnapshot { index } => {
                let data = self.shared.machine().snapshot().into();
                self.input(Input::SnapshotTaken { index, data });
            }
        }
        Ok(())
    }

    /// Errors of inputs are counted inside.
    fn input(&mut self, input: Input) {
        let _ = self.consensus.handle_input(Instant::now(), input);
    }

    fn publish(&mut self) {
        let status = self.consensus.status();
        let applied = status.applied;
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
        self.applied.send_if_modified(|old| std::mem::replace(old, applied) != applied);
        let later = self.reads.split_off(&(applied + 1));
        for (index, answers) in std::mem::replace(&mut self.reads, later) {
            for answer in answers {
                let _ = answer.send(Ok(index));
            }
        }
        *self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner) = self.consensus.stats();
    }

    fn wait(&mut self, waiter: Waiter) -> ProposalId {
        self.next += 1;
        let id = ProposalId(self.next);
        self.waiting.insert(id, waiter);
        id
    }

    fn answer(&mut self, proposal: Option<ProposalId>, applied: Applied) {
        if let Some(Waiter::Applied(answer)) = proposal.and_then(|id| self.waiting.remove(&id)) {
            let _ = answer.send(Ok(applied));
        }
    }

    fn refuse(&mut self, id: ProposalId, why: ProposeError) {
        match self.waiting.remove(&id) {
            Some(Waiter::Applied(answer)) => drop(answer.send(Err(why))),
            Some(Waiter::Read(answer)) => drop(answer.send(Err(why))),
            None => {}
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => ::tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Asks that are taken in before the outputs are looked at; they share one round.
const BURST: usize = 1024;
