//! A host of the user plane, as a process of its own inside of the host's namespace.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use overlay_core::seal::{Algorithm, KeyId, SealKey};
use overlay_core::{Location, MacAddr, Network, PortId, VXLAN_PORT};
use overlay_linux::link::Netlink;
use overlay_linux::netns::NetNs;
use overlay_linux::user::{Attachment, PacketSocket, PlaneConfig, PlaneStats, Priority, Tap, UserPlane};

use super::error::BenchError;
use super::lab::{Container, Crowd, Host, Site, name, stranger, vni};
use super::load::READY;
use super::program::ourselves;
use crate::out;

/// One host with one container and a way to another one (internal)
///
/// Prints `ready`, runs until standard input ends, and then prints its counters.
#[derive(Clone, Debug, Args)]
pub(crate) struct HostArgs {
    /// Its address on the underlay
    #[arg(long)]
    local: Ipv4Addr,
    /// The other host's
    #[arg(long)]
    remote: Ipv4Addr,
    /// Its container
    #[arg(long, value_parser = station)]
    own: (Ipv4Addr, MacAddr),
    /// The other host's container
    #[arg(long, value_parser = station)]
    far: (Ipv4Addr, MacAddr),
    /// The MTU inside of the network
    #[arg(long)]
    mtu: u16,
    /// A packet socket on this interface
    #[arg(long, conflicts_with = "tap")]
    packet: Option<String>,
    /// A TAP device `eth0` in this namespace
    #[arg(long)]
    tap: Option<PathBuf>,
    /// Encrypts with this algorithm
    #[arg(long)]
    seal: Option<Algorithm>,
    /// Further stations of the network, on the other host
    #[arg(long, default_value_t = 0)]
    stations: u16,
    /// Further networks
    #[arg(long, default_value_t = 0)]
    networks: u16,
    #[command(flatten)]
    tuning: Tuning,
}

/// What can be turned at the user plane; the defaults are those of production.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Tuning {
    /// How long the user plane looks for work before it sleeps
    #[arg(long, help_heading = HEADING, value_name = "MICROSECONDS")]
    pub(super) busy_poll: Option<u64>,
    /// The nice value of the user plane's thread
    #[arg(long, help_heading = HEADING, value_name = "-20 to 19", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i8).range(-20..=19))]
    pub(super) nice: Option<i8>,
    /// The real-time priority of the user plane's thread, instead
    #[arg(long, help_heading = HEADING, value_name = "1 to 99", conflicts_with = "nice")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=99))]
    pub(super) real_time: Option<u8>,
}

/// How the container is attached.
#[derive(Clone, Debug)]
pub(super) enum Attach {
    /// By a packet socket on the near end of a veth pair.
    Packet { dev: String },
    /// By a TAP device in the container's namespace.
    Tap { netns: PathBuf },
}

/// How the network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inside {
    /// Bytes of the largest packet.
    pub(super) mtu: u16,
    /// How it is encrypted.
    pub(super) seal: Option<Algorithm>,
    /// What else there is.
    pub(super) crowd: Crowd,
}

impl HostArgs {
    /// A command that runs a host: `ends` are its own and the far host with its container.
    pub(super) fn command(
        site: &Site,
        attach: Attach,
        ends: [(&Host, &Container); 2],
        inside: Inside,
    ) -> Command {
        let [(host, own), (far_host, far)] = ends;
        let station = |container: &Container| format!("{}={}", container.addr, container.mac);
        let mut command = ourselves();
        command.arg("bench-host").args(["--local", &host.addr.to_string()]);
        command.args(["--remote", &far_host.addr.to_string(), "--mtu", &inside.mtu.to_string()]);
        command.args(["--own", &station(own), "--far", &station(far)]);
        match attach {
            Attach::Packet { dev } => command.arg("--packet").arg(dev),
            Attach::Tap { netns } => command.arg("--tap").arg(netns),
        };
        if let Some(algorithm) = inside.seal {
            command.args(["--seal", &algorithm.to_string()]);
        }
        let Crowd { stations, networks } = inside.crowd;
        command.args(["--stations", &stations.to_string(), "--networks", &networks.to_string()]);
        command.args(site.tuning.words());
        command
    }

    /// Runs until standard input ends.
    ///
    /// # Errors
    ///
    /// The plane did not start.
    pub(crate) fn run(self) -> Result<(), BenchError> {
        let plane = UserPlane::start(self.tuning.config((self.local, VXLAN_PORT).into()))
            .map_err(failed("start the plane"))?;
        let own = vni(0)?;
        plane.set_network(own, self.network()).map_err(failed("describe the network"))?;
        for further in 1..=self.networks {
            let peers = [self.remote.into()].into();
            let network = Network { peers, mtu: Some(self.mtu), ..Network::default() };
            plane.set_network(vni(further)?, network).map_err(failed("describe a further network"))?;
        }
        if let Some(algorithm) = self.seal {
            // Nobody else is on this wire; what counts is the work.
            let key = SealKey::new(algorithm, &vec![0x5a; algorithm.key_len()]);
            let keys = BTreeMap::from([(KeyId::new(1), key.map_err(failed("make a key"))?)]);
            plane.set_keys(own, KeyId::new(1), keys).map_err(failed("set keys"))?;
        }
        plane.attach(PORT, self.attachment()?).map_err(failed("attach the container"))?;
        out::line(READY);
        let _ = io::stdin().lock().read(&mut [0]);
        out::line(told(&plane.stats()));
        plane.stop();
        Ok(())
    }

    fn network(&self) -> Network {
        let there = Location::Endpoint(self.remote.into());
        let strangers = (0..self.stations).map(|index| (stranger(index), there));
        let known = [(self.own.1, Location::Port(PORT)), (self.far.1, there)];
        Network {
            peers: [self.remote.into()].into(),
            stations: strangers.chain(known).collect(),
            neighbours: [(self.own.0.into(), self.own.1), (self.far.0.into(), self.far.1)].into(),
            sealed: self.seal.is_some(),
            mtu: Some(self.mtu),
            spoof_guard: [(PORT, [self.own.0.into()].into())].into(),
            ..Network::default()
        }
    }

    fn attachment(&self) -> Result<Attachment, BenchError> {
        let at = BenchError::system;
        if let Some(netns) = &self.tap {
            let (netns, eth0) = (NetNs::open(netns).map_err(at("open the container"))?, name("eth0")?);
            let tap = netns.run(|| Tap::open(&eth0)).and_then(|tap| tap);
            return Ok(Attachment::Tap(tap.map_err(at("make a TAP device"))?));
        }
        let dev = self.packet.as_deref().unwrap_or_default();
        let netlink = Netlink::open().map_err(at("talk to the kernel about links"))?;
        let index = netlink.interface(dev)?.map(|near| near.index).unwrap_or_default();
        Ok(Attachment::Packet(PacketSocket::open(index).map_err(at("open a packet socket"))?))
    }
}

impl Tuning {
    fn config(self, local: SocketAddr) -> PlaneConfig {
        let mut config = PlaneConfig { local, ..PlaneConfig::default() };
        self.busy_poll.into_iter().for_each(|micros| config.busy_poll = Duration::from_micros(micros));
        self.nice.into_iter().for_each(|nice| config.priority = Priority::Nice(nice));
        self.real_time.into_iter().for_each(|real_time| config.priority = Priority::RealTime(real_time));
        config
    }

    /// The same on a command line.
    pub(super) fn words(self) -> Vec<String> {
        let word = |name: &str, value: Option<String>| value.map(|value| format!("--{name}={value}"));
        let words = [
            word("busy-poll", self.busy_poll.map(|micros| micros.to_string())),
            word("nice", self.nice.map(|nice| nice.to_string())),
            word("real-time", self.real_time.map(|priority| priority.to_string())),
        ];
        words.into_iter().flatten().collect()
    }
}

/// The counters, one line for each side; of reasons for drops only those that happened.
fn told(stats: &PlaneStats) -> String {
    let happened = stats.vtep.drops().filter(|(_, count)| *count > 0);
    let drops: Vec<_> = happened.map(|(reason, count)| format!("{count} × {reason}")).collect();
    let PlaneStats { underlay, ports, sleeps, spins, refused, .. } = stats;
    let mut lines = vec![
        format!("  dropped: {}", if drops.is_empty() { "nothing".to_owned() } else { drops.join(", ") }),
        format!("  slept {sleeps} times, looked in vain {spins} times, scheduling refused: {refused:?}"),
        format!("  {underlay:?}"),
    ];
    lines.extend(ports.values().map(|port| format!("  {port:?}")));
    lines.join("\n")
}

fn failed<E>(what: &'static str) -> impl FnOnce(E) -> BenchError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| BenchError::Plane { what, source: Box::new(source) }
}

fn station(text: &str) -> Result<(Ipv4Addr, MacAddr), String> {
    let (addr, mac) = text.split_once('=').ok_or("not ADDRESS=MAC")?;
    let addr = addr.parse().map_err(|_| "no address")?;
    Ok((addr, mac.parse().map_err(|_| "no hardware address")?))
}

const PORT: PortId = PortId::new(1);
const HEADING: &str = "The user plane";
