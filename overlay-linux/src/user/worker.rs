//! The plane's thread: waits, and carries frames from one side to the other.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity, sched_yield};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::Pid;
use overlay_core::offload::Verify;
use overlay_core::seal::Seal;
use overlay_core::{PortId, Vtep};

use super::control::{Command, Orders};
use super::outbox::Outbox;
use super::patience::Patience;
use super::port::Port;
use super::stats::{PlaneStats, PortStats};
use super::sys::{self, ReceiveBatch};
use super::underlay::Underlay;
use super::{Attachment, Integrity, PlaneConfig, Priority};

mod traffic;

/// Everything that the thread owns.
pub(super) struct Worker {
    config: PlaneConfig,
    underlay: Underlay,
    orders: Orders,
    epoll: Epoll,
    vtep: Vtep,
    seal: Seal,
    ports: BTreeMap<PortId, Port>,
    /// What is left of ports whose device vanished.
    gone: BTreeMap<PortId, PortStats>,
    /// Set by a port that is in trouble, and when to look after such ports again.
    alarm: Rc<Cell<bool>>,
    check_at: Option<Instant>,
    frames: ReceiveBatch,
    messages: ReceiveBatch,
    outbox: Outbox,
    stats: PlaneStats,
    /// Ports for which frames are being put together.
    dirty: Vec<PortId>,
    /// Scratch: where the frame at hand goes.
    to_ports: Vec<PortId>,
    to_endpoints: Vec<IpAddr>,
}

/// Who wants to be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    Orders,
    Underlay,
    Port(PortId),
}

impl Worker {
    /// The epoll of a worker, made where errors can still be told.
    pub(super) fn waiter(underlay: &Underlay, orders: &Orders) -> io::Result<Epoll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*orders.bell, Source::Orders.event())?;
        epoll.add(&underlay.receive, Source::Underlay.event())?;
        Ok(epoll)
    }

    pub(super) fn new(config: &PlaneConfig, underlay: Underlay, orders: Orders, epoll: Epoll) -> Self {
        Self {
            config: config.clone(),
            underlay,
            orders,
            epoll,
            vtep: Vtep::new(),
            seal: Seal::new(config.session),
            ports: BTreeMap::new(),
            gone: BTreeMap::new(),
            alarm: Rc::default(),
            check_at: None,
            frames: ReceiveBatch::new(config.frames.clamp(1, MAX_BATCH), BUFFER),
            messages: ReceiveBatch::new(config.messages.clamp(1, MAX_BATCH), BUFFER),
            outbox: Outbox::new(),
            stats: PlaneStats::default(),
            dirty: Vec::new(),
            to_ports: Vec::new(),
            to_endpoints: Vec::new(),
        }
    }

    /// Works until it is told to stop.
    pub(super) fn run(mut self) {
        self.stats.refused = self.take_place().err();
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut patience = Patience::new(self.busy_poll(), now());
        loop {
            let looking = patience.looks_again(now());
            let timeout = if looking { EpollTimeout::ZERO } else { self.sleep_time() };
            let ready = match self.epoll.wait(&mut events, timeout) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                // It is our own descriptor: nothing could be waited for any more.
                Err(_) => return,
            };
            if looking && ready == 0 {
                self.stats.spins += 1;
                // Whoever has our work to do gets the processor.
                let _ = sched_yield();
                continue;
            }
            self.stats.sleeps += u64::from(!looking);
            let now = now();
            patience.worked(now, looking);
            if self.vtep.poll_timeout().is_some_and(|deadline| deadline <= now) {
                self.vtep.handle_timeout(now);
            }
            for event in events.iter().take(ready) {
                match Source::of(event) {
                    Source::Orders if self.obey() => return,
                    Source::Orders => {}
                    Source::Underlay => self.up(now),
                    Source::Port(port) => self.down(now, port),
                }
            }
            self.look_after_ports(now);
        }
    }

    /// A real-time thread never looks again: nobody else would get the processor.
    const fn busy_poll(&self) -> Duration {
        match self.config.priority {
            Priority::RealTime(_) => Duration::ZERO,
            Priority::Inherited | Priority::Nice(_) => self.config.busy_poll,
        }
    }

    /// Priority and processor, as far as permitted.
    fn take_place(&self) -> Result<(), Errno> {
        let scheduled = match self.config.priority {
            Priority::Inherited => Ok(()),
            Priority::Nice(value) => sys::set_nice(value),
            Priority::RealTime(priority) => sys::set_realtime(priority),
        };
        if let Some(processor) = self.config.processor {
            let mut set = CpuSet::new();
            set.set(processor)?;
            sched_setaffinity(Pid::from_raw(0), &set)?;
        }
        scheduled
    }

    /// How long nothing has to be done but what a socket asks for.
    fn sleep_time(&self) -> EpollTimeout {
        let Some(deadline) = self.vtep.poll_timeout().into_iter().chain(self.check_at).min() else {
            return EpollTimeout::NONE;
        };
        let wait = deadline.saturating_duration_since(now());
        // Rounded up: too early would be in vain.
        EpollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
    }

    /// Does what it is told. Says whether to stop.
    fn obey(&mut self) -> bool {
        let _ = self.orders.bell.read();
        // Whoever does not wait for an answer any more does not need one.
        while let Ok(command) = self.orders.commands.try_recv() {
            match command {
                Command::SetNetwork(vni, network, done) => {
                    let _ = done.send(self.vtep.set_network(vni, *network));
                }
                Command::RemoveNetwork(vni) => {
                    self.vtep.remove_network(vni);
                    self.seal.remove_network(vni);
                }
                Command::SetKeys { vni, active, keys, done } => {
                    let _ = done.send(self.seal.set_keys(vni, active, &keys));
                }
                Command::Attach(port, device, done) => {
                    let _ = done.send(self.attach(port, device));
                }
                Command::Detach(port) => self.detach(port),
                Command::Stats(done) => {
                    let _ = done.send(Box::new(self.stats()));
                }
                Command::Stop => return true,
            }
        }
        false
    }

    fn attach(&mut self, id: PortId, device: Attachment) -> io::Result<()> {
        let large_frames = self.config.large_frames.clamp(1, MAX_BATCH);
        let port = Port::new(device, self.verify(), large_frames, Rc::clone(&self.alarm));
        self.detach(id);
        self.epoll.add(port.fd(), Source::Port(id).event())?;
        self.ports.insert(id, port);
        Ok(())
    }

    fn detach(&mut self, id: PortId) {
        self.gone.remove(&id);
        if let Some(port) = self.ports.remove(&id) {
            // Closing would do, unless somebody else has the descriptor too.
            let _ = self.epoll.delete(port.fd());
        }
    }

    /// Lets go of ports whose device vanished. The kernel tells of an interface that goes down, but not whether it will
    /// be removed next: as long as one is down, it is looked for now and then.
    fn look_after_ports(&mut self, now: Instant) {
        let due = self.check_at.is_some_and(|at| at <= now);
        if !self.alarm.take() && !due {
            return;
        }
        self.ports.values_mut().for_each(Port::check);
        while let Some(id) = self.ports.iter().find(|(_, port)| port.stats.gone).map(|(id, _)| *id) {
            let stats = self.ports.get(&id).map(|port| port.stats.clone()).unwrap_or_default();
            self.detach(id);
            self.gone.insert(id, stats);
        }
        self.check_at = self.ports.values().any(Port::is_down).then(|| now + CHECK_PERIOD);
    }

    fn stats(&self) -> PlaneStats {
        let mut stats = self.stats.clone();
        stats.vtep = self.vtep.stats().clone();
        stats.seal = self.seal.stats().clone();
        stats.underlay.kernel_drops = sys::drops(self.underlay.receive.as_fd()).unwrap_or(0);
        let attached = self
            .ports
            .iter()
            .map(|(id, port)| (*id, PortStats { kernel_drops: port.kernel_drops(), ..port.stats.clone() }));
        stats.ports = self.gone.clone();
        stats.ports.extend(attached);
        stats
    }

    const fn verify(&self) -> Verify {
        match self.config.integrity {
            Integrity::Outer => Verify::Outer,
            Integrity::Inner => Verify::Inner,
        }
    }
}

impl Source {
    const fn event(self) -> EpollEvent {
        let number = match self {
            Self::Orders => ORDERS,
            Self::Underlay => UNDERLAY,
            Self::Port(port) => port.get() as u64,
        };
        EpollEvent::new(EpollFlags::EPOLLIN, number)
    }

    fn of(event: &EpollEvent) -> Self {
        match event.data() {
            ORDERS => Self::Orders,
            UNDERLAY => Self::Underlay,
            port => Self::Port(PortId::new(u32::try_from(port).unwrap_or(u32::MAX))),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a driver is where time comes from")]
fn now() -> Instant {
    Instant::now()
}

const ORDERS: u64 = u64::MAX;
const UNDERLAY: u64 = u64::MAX - 1;
/// Sources that one wait can name.
const EVENTS: usize = 64;
/// What a call may bring at most.
const MAX_BATCH: usize = 1024;
/// The longest frame or datagram, and an offload header.
const BUFFER: usize = 65_536 + 64;
/// How often an interface that is down is looked for.
const CHECK_PERIOD: Duration = Duration::from_millis(250);
