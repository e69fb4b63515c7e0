//! The plane's thread: waits, and carries frames from one side to the other.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity, sched_yield};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::Pid;
use overlay_core::offload::{Offload, Verify};
use overlay_core::seal::Seal;
use overlay_core::{PortId, Verdict, Vtep};

use super::control::{Command, Orders};
use super::outbox::{Leaving, Outbox, Way};
use super::port::Port;
use super::stats::{PlaneStats, PortStats};
use super::sys::{self, ReceiveBatch};
use super::uncut::uncut;
use super::underlay::Underlay;
use super::{Attachment, Integrity, PlaneConfig, Priority};

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
        let mut last_work = now();
        loop {
            let spinning = !self.config.busy_poll.is_zero() && last_work.elapsed() < self.config.busy_poll;
            let timeout = if spinning { EpollTimeout::ZERO } else { self.sleep_time() };
            let ready = match self.epoll.wait(&mut events, timeout) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                // It is our own descriptor: nothing could be waited for any more.
                Err(_) => return,
            };
            match (ready, spinning) {
                (0, true) => {
                    self.stats.spins += 1;
                    // Whoever has our work to do gets the processor.
                    let _ = sched_yield();
                    continue;
                }
                (_, false) => self.stats.sleeps += 1,
                (_, true) => {}
            }
            last_work = now();
            if self.vtep.poll_timeout().is_some_and(|deadline| deadline <= last_work) {
                self.vtep.handle_timeout(last_work);
            }
            for event in events.iter().take(ready) {
                match Source::of(event) {
                    Source::Orders if self.obey() => return,
                    Source::Orders => {}
                    Source::Underlay => self.up(last_work),
                    Source::Port(port) => self.down(last_work, port),
                }
            }
            self.bury();
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
        let Some(deadline) = self.vtep.poll_timeout() else { return EpollTimeout::NONE };
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
        let port = Port::new(device, self.verify(), self.config.large_frames.clamp(1, MAX_BATCH));
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

    /// Lets go of ports whose device vanished.
    fn bury(&mut self) {
        while let Some(id) = self.ports.iter().find(|(_, port)| port.stats.gone).map(|(id, _)| *id) {
            let stats = self.ports.get(&id).map(|port| port.stats.clone()).unwrap_or_default();
            self.detach(id);
            self.gone.insert(id, stats);
        }
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

    /// From a task: one batch.
    fn down(&mut self, now: Instant, id: PortId) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let count = port.receive(&mut self.frames);
        for index in 0..count {
            let Some(received) = self.frames.get(index) else { break };
            if let Some(port) = self.ports.get_mut(&id) {
                port.stats.received_frames += 1;
                port.stats.received_bytes += received.len.saturating_sub(Offload::LEN) as u64;
                port.stats.tagged += u64::from(received.tagged);
                port.stats.malformed += u64::from(received.truncated);
            }
            if !received.tagged && !received.truncated {
                self.frame(now, id, received.range());
            }
        }
        let Self { underlay, seal, stats, .. } = self;
        let mut way = Way { underlay, seal, stats: &mut stats.underlay };
        self.outbox.flush(self.frames.storage(), &mut way);
    }

    /// One frame from a task; `range` is that of its offload header and the frame.
    fn frame(&mut self, now: Instant, id: PortId, range: Range<usize>) {
        let base = self.frames.storage().as_ptr().addr();
        let bytes = self.frames.storage_mut().get_mut(range).unwrap_or_default();
        let Some((header, frame)) = bytes.split_first_chunk_mut::<{ Offload::LEN }>() else { return };
        let Ok(offload) = Offload::parse(header) else {
            if let Some(port) = self.ports.get_mut(&id) {
                port.stats.malformed += 1;
            }
            return;
        };
        let deliver = |ports: &mut BTreeMap<PortId, Port>, to, frame: &[u8]| {
            for port in to {
                if let Some(port) = ports.get_mut(&port) {
                    port.write(offload, frame);
                }
            }
        };
        let (encap, source_port, endpoints, frame) = match self.vtep.handle_frame(now, id, offload, frame) {
            Verdict::Send { encap, source_port, endpoints, frame } => (encap, source_port, endpoints, frame),
            Verdict::Deliver { ports, frame } => return deliver(&mut self.ports, ports, frame),
            Verdict::Flood { ports, encap, source_port, endpoints, frame } => {
                deliver(&mut self.ports, ports, frame);
                (encap, source_port, endpoints, frame)
            }
            Verdict::Answer(reply) => {
                if let Some(port) = self.ports.get_mut(&id) {
                    port.write(Offload::NONE, reply.frame());
                }
                return;
            }
            Verdict::Drop(_) => return,
        };
        let (start, len) = (frame.as_ptr().addr() - base, frame.len());
        self.to_endpoints.clear();
        self.to_endpoints.extend_from_slice(endpoints);
        let Self { underlay, seal, stats, .. } = self;
        let mut way = Way { underlay, seal, stats: &mut stats.underlay };
        let leaving = Leaving { storage: self.frames.storage(), start, len, offload, encap, source_port };
        self.outbox.add(&leaving, &self.to_endpoints, &mut way);
    }

    /// From other hosts: one batch.
    fn up(&mut self, now: Instant) {
        let count = match self.messages.receive(self.underlay.receive.as_fd(), self.config.messages) {
            Ok(0) => return,
            Ok(count) => count,
            Err(_) => {
                self.stats.underlay.receive_errors += 1;
                return;
            }
        };
        self.stats.underlay.receive_calls += 1;
        for index in 0..count {
            let Some(received) = self.messages.get(index) else { break };
            let stats = &mut self.stats.underlay;
            stats.received_messages += 1;
            stats.received_bytes += received.len as u64;
            let (Some(from), false) = (received.from, received.truncated) else {
                stats.malformed += 1;
                continue;
            };
            let Range { mut start, end } = received.range();
            let message = self.messages.storage().get(start..end).unwrap_or_default();
            if let Some(offload) = uncut(message, received.segment) {
                self.stats.underlay.received_datagrams += 1;
                self.stats.underlay.received_uncut += 1;
                self.datagram(now, from, start..end, Some(offload));
                continue;
            }
            let segment = received.segment.map_or(received.len, usize::from).max(1);
            while start < end {
                let next = end.min(start + segment);
                self.stats.underlay.received_datagrams += 1;
                self.datagram(now, from, start..next, None);
                start = next;
            }
        }
        while let Some(id) = self.dirty.pop() {
            if let Some(port) = self.ports.get_mut(&id) {
                port.flush(self.messages.storage());
            }
        }
    }

    /// One datagram from another host, and what is left to do in its frame if that is known already.
    fn datagram(&mut self, now: Instant, from: IpAddr, range: Range<usize>, offload: Option<Offload>) {
        let verify = self.verify();
        let base = self.messages.storage().as_ptr().addr();
        let payload = self.messages.storage_mut().get_mut(range).unwrap_or_default();
        let (verdict, verify) = if Seal::is_sealed(payload) {
            // Counted there.
            let Ok(opened) = self.seal.open(from, payload) else { return };
            (self.vtep.handle_opened(now, from, opened), Verify::Outer)
        } else {
            (self.vtep.handle_datagram(now, from, payload), verify)
        };
        // What comes from a tunnel goes to ports, and nowhere else.
        let Verdict::Deliver { ports, frame } = verdict else { return };
        let (offset, len) = (frame.as_ptr().addr() - base, frame.len());
        self.to_ports.clear();
        self.to_ports.extend(ports);
        for id in &self.to_ports {
            if let Some(port) = self.ports.get_mut(id) {
                if let Some(offload) = offload {
                    port.flush(self.messages.storage());
                    let frame = self.messages.storage().get(offset..offset + len);
                    port.write(offload, frame.unwrap_or_default());
                    continue;
                }
                port.push(self.messages.storage(), offset, len, verify);
                if self.dirty.last() != Some(id) {
                    self.dirty.push(*id);
                }
            }
        }
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
