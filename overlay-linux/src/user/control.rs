//! What the plane's thread is told, and how it is woken for that.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use nix::sys::eventfd::EventFd;
use overlay_core::seal::{KeyError, KeyId, SealKey};
use overlay_core::{Network, NetworkError, PortId, Vni};

use super::{Attachment, PlaneError, PlaneStats};

/// An order; those that can fail carry the way back.
pub(super) enum Command {
    SetNetwork(Vni, Box<Network>, SyncSender<Result<(), NetworkError>>),
    RemoveNetwork(Vni),
    SetKeys {
        vni: Vni,
        active: KeyId,
        keys: BTreeMap<KeyId, SealKey>,
        done: SyncSender<Result<(), KeyError>>,
    },
    Attach(PortId, Attachment, SyncSender<io::Result<()>>),
    Detach(PortId),
    Stats(SyncSender<Box<PlaneStats>>),
    Stop,
}

/// The caller's end.
#[derive(Clone, Debug)]
pub(super) struct Control {
    commands: SyncSender<Command>,
    bell: Arc<EventFd>,
}

/// The thread's end.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) commands: Receiver<Command>,
    pub(super) bell: Arc<EventFd>,
}

impl Control {
    pub(super) fn new(bell: EventFd) -> (Self, Orders) {
        let bell = Arc::new(bell);
        let (sender, receiver) = sync_channel(QUEUE);
        (Self { commands: sender, bell: Arc::clone(&bell) }, Orders { commands: receiver, bell })
    }

    pub(super) fn tell(&self, command: Command) -> Result<(), PlaneError> {
        self.commands.send(command).map_err(|_| PlaneError::Stopped)?;
        self.bell.write(1).map(drop).map_err(|_| PlaneError::Stopped)
    }

    /// Tells and waits for the answer.
    pub(super) fn ask<R>(&self, command: impl FnOnce(SyncSender<R>) -> Command) -> Result<R, PlaneError> {
        let (sender, receiver) = sync_channel(1);
        self.tell(command(sender))?;
        receiver.recv().map_err(|_| PlaneError::Stopped)
    }
}

/// Orders that wait; more make their senders wait.
const QUEUE: usize = 64;
