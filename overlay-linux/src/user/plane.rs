use std::collections::BTreeMap;
use std::io;
use std::thread::{self, JoinHandle};

use nix::sys::eventfd::{EfdFlags, EventFd};
use overlay_core::seal::{KeyId, SealKey};
use overlay_core::{Network, PortId, Vni};

use super::control::{Command, Control};
use super::underlay::Underlay;
use super::worker::Worker;
use super::{Attachment, PlaneConfig, PlaneError, PlaneStats};

/// A running plane: a thread that moves frames between this host's tasks and other hosts.
///
/// It belongs to the network namespace of the thread that started it, and ends when it is dropped. The methods may be
/// called from any thread; each takes as long as the batch that the plane is working on, microseconds.
///
/// ```no_run
/// use overlay_core::{Location, MacAddr, Network, PortId, Vni};
/// use overlay_linux::user::{Attachment, PacketSocket, PlaneConfig, UserPlane};
///
/// let (here, there) = (MacAddr::new([2, 0, 0, 0, 0, 1]), MacAddr::new([2, 0, 0, 0, 0, 2]));
/// let plane = UserPlane::start(PlaneConfig::default())?;
/// plane.attach(PortId::new(7), Attachment::Packet(PacketSocket::open(12)?))?;
/// plane.set_network(Vni::new(4097)?, Network {
///     stations: [
///         (here, Location::Port(PortId::new(7))),
///         (there, Location::Endpoint([192, 0, 2, 2].into())),
///     ].into(),
///     ..Network::default()
/// })?;
/// println!("{:?}", plane.stats());
/// plane.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UserPlane {
    control: Control,
    thread: Option<JoinHandle<()>>,
}

impl UserPlane {
    /// Opens the sockets in the calling thread's network namespace and starts the thread.
    ///
    /// # Errors
    /// [`PlaneError::Listen`] if somebody has the port, [`PlaneError::Send`] or [`PlaneError::Start`].
    pub fn start(config: PlaneConfig) -> Result<Self, PlaneError> {
        let trouble = |what| move |source| PlaneError::Start { what, source };
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = EventFd::from_value_and_flags(0, flags).map_err(io::Error::from);
        let (control, orders) = Control::new(bell.map_err(trouble("make an eventfd"))?);
        let underlay = Underlay::open(&config)?;
        let waiter = Worker::waiter(&underlay, &orders).map_err(trouble("wait for sockets"))?;
        let thread = thread::Builder::new()
            .name("overlay-plane".to_owned())
            .spawn(move || Worker::new(&config, underlay, orders, waiter).run())
            .map_err(trouble("start a thread"))?;
        Ok(Self { control, thread: Some(thread) })
    }

    /// Replaces everything that is known about a network.
    ///
    /// # Errors
    /// [`PlaneError::Network`] if it makes no sense; [`PlaneError::Stopped`].
    pub fn set_network(&self, vni: Vni, network: Network) -> Result<(), PlaneError> {
        let network = Box::new(network);
        Ok(self.control.ask(|done| Command::SetNetwork(vni, network, done))??)
    }

    /// Forgets a network and its keys: its frames are dropped from now on.
    pub fn remove_network(&self, vni: Vni) {
        // A plane that has stopped has no network.
        let _ = self.control.tell(Command::RemoveNetwork(vni));
    }

    /// Replaces the keys of a sealed network: `active` seals, all of `keys` open.
    ///
    /// # Errors
    /// [`PlaneError::Keys`] if `active` is not among them; [`PlaneError::Stopped`].
    pub fn set_keys(
        &self,
        vni: Vni,
        active: KeyId,
        keys: BTreeMap<KeyId, SealKey>,
    ) -> Result<(), PlaneError> {
        Ok(self.control.ask(|done| Command::SetKeys { vni, active, keys, done })??)
    }

    /// Connects a port to a device, in place of the one that it had.
    ///
    /// # Errors
    /// [`PlaneError::Attach`] if the kernel has no room to watch it; [`PlaneError::Stopped`].
    pub fn attach(&self, port: PortId, device: Attachment) -> Result<(), PlaneError> {
        let done = self.control.ask(|done| Command::Attach(port, device, done))?;
        done.map_err(|source| PlaneError::Attach { port, source })
    }

    /// Closes the device of a port.
    pub fn detach(&self, port: PortId) {
        let _ = self.control.tell(Command::Detach(port));
    }

    /// What it did so far; nothing, if it has stopped.
    #[must_use]
    pub fn stats(&self) -> PlaneStats {
        self.control.ask(Command::Stats).map(|stats| *stats).unwrap_or_default()
    }

    /// Ends the thread and waits for it. Dropping the plane does the same.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for UserPlane {
    fn drop(&mut self) {
        let _ = self.control.tell(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic has been printed by its own thread.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a peer, and its patience")]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_smallest_batch_is_one_message() {
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let plane = UserPlane::start(PlaneConfig { local: free, messages: 0, ..PlaneConfig::default() });
        let (plane, patience) = (plane.unwrap(), Instant::now() + Duration::from_secs(5));
        peer.send_to(&[0; 8], free).unwrap();
        while plane.stats().underlay.received_datagrams == 0 {
            assert!(Instant::now() < patience, "the thread is woken again and again, and reads nothing");
        }
    }
}
