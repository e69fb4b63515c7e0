//! How the cost of a frame grows with stations and networks: `cargo bench -p overlay-core --bench scale [-- --json]`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and may panic")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::{hint::black_box, net::IpAddr, time::Instant};

use overlay_core::offload::Offload;
use overlay_core::wire::{EtherType, EthernetHeader, Ipv4Header, VxlanHeader};
use overlay_core::{Learning, Location, MacAddr, Network, PortId, Snooping, Vni, Vtep};

const HOSTS: u32 = 16;

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut rows = Vec::new();
    for (networks, stations) in [(1, 1), (1, 100), (1, 10_000), (16, 100), (256, 100)] {
        let mut world = World::new(networks, stations, Network::default());
        let name = format!("{networks}_networks/{stations}_stations");
        rows.push((format!("frame/{name}"), measure(|step| world.frame(step))));
        rows.push((format!("datagram/{name}"), measure(|step| world.datagram(step))));
    }
    for (what, options) in [
        ("guarded", guarded()),
        ("mtu", Network { mtu: Some(1400), ..Network::default() }),
        ("learning", Network { learning: Some(Learning::default()), ..Network::default() }),
        (
            "flood_snooping",
            Network { flood: true, snooping: Some(Snooping::default()), ..Network::default() },
        ),
    ] {
        let mut world = World::new(1, 100, options);
        rows.push((format!("frame/{what}"), measure(|step| world.frame(step))));
        rows.push((format!("datagram/{what}"), measure(|step| world.datagram(step))));
    }
    if json {
        let rows: Vec<_> = rows.iter().map(|(what, rounds)| row(what, rounds)).collect();
        println!("{{\"benchmark\":\"scale\",\"rounds\":{ROUNDS},\"rows\":[{}]}}", rows.join(","));
        return;
    }
    println!("{:>8} {:>8} {:>8}", "median", "min", "max");
    for (what, [min, median, max]) in rows {
        println!("{median:8.1} {min:8.1} {max:8.1} ns  {what}");
    }
}

/// Networks that look the same but for their VNI and port; frames go round through all networks and stations.
struct World {
    vtep: Vtep,
    networks: u32,
    sent: Vec<Vec<u8>>,
    received: Vec<Vec<u8>>,
    now: Instant,
}

impl World {
    fn new(networks: u32, stations: u32, options: Network) -> Self {
        let mut vtep = Vtep::new();
        let ours = mac(u32::MAX);
        for index in 0..networks {
            let port = Location::Port(PortId::new(index));
            let others =
                (0..stations).map(|station| (mac(station), Location::Endpoint(host(station % HOSTS))));
            let network = Network { stations: others.chain([(ours, port)]).collect(), ..options.clone() };
            vtep.set_network(Vni::new(index * 8 + 1).unwrap(), network).unwrap();
        }
        let targets = (0..1024u32).map(|step| mac(step.wrapping_mul(2_654_435_761) % stations));
        let sent = targets.clone().map(|to| frame(ours, to)).collect();
        let received = targets.zip(0u32..).map(|(from, step)| {
            let vni = Vni::new(step % networks * 8 + 1).unwrap();
            [&VxlanHeader { vni }.to_bytes()[..], &frame(from, ours)].concat()
        });
        Self { vtep, networks, sent, received: received.collect(), now: Instant::now() }
    }

    fn frame(&mut self, step: usize) {
        let port = PortId::new(u32::try_from(step).unwrap() % self.networks);
        let Some(frame) = self.sent.get_mut(step % 1024) else { return };
        let _ = black_box(self.vtep.handle_frame(self.now, port, Offload::NONE, black_box(frame)));
    }

    fn datagram(&mut self, step: usize) {
        let Some(payload) = self.received.get_mut(step % 1024) else { return };
        let from = host(u32::from(payload.last().copied().unwrap_or(0)));
        let _ = black_box(self.vtep.handle_datagram(self.now, from, black_box(payload)));
    }
}

/// Smallest, median and largest of some rounds, in nanoseconds per step.
fn measure(mut step: impl FnMut(usize)) -> [f64; 3] {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..STEPS).for_each(&mut step);
            start.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(STEPS).unwrap())
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    [rounds.first(), rounds.get(ROUNDS / 2), rounds.last()].map(|round| round.copied().unwrap_or(f64::NAN))
}

fn row(what: &str, [min, median, max]: &[f64; 3]) -> String {
    format!(
        "{{\"what\":\"{what}\",\"median\":{median:.1},\"min\":{min:.1},\"max\":{max:.1},\"unit\":\"ns\"}}"
    )
}

/// A packet whose last byte says which host it came from.
fn frame(source: MacAddr, destination: MacAddr) -> Vec<u8> {
    let mut bytes = vec![0; EthernetHeader::LEN + Ipv4Header::LEN + 64];
    let (ethernet, rest) = bytes.split_first_chunk_mut().unwrap();
    EthernetHeader { destination, source, ethertype: EtherType::IPV4 }.emit(ethernet);
    let header = Ipv4Header {
        traffic_class: 0,
        payload_len: 64,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: 17,
        source: [10, 0, 1, 3].into(),
        destination: [10, 0, 1, 4].into(),
    };
    header.emit(rest.first_chunk_mut().unwrap());
    let [.., low] = source.octets();
    if let Some(last) = bytes.last_mut() {
        *last = low % 16;
    }
    bytes
}

fn guarded() -> Network {
    let guard = [(PortId::new(0), [IpAddr::from([10, 0, 1, 3])].into())].into();
    Network { spoof_guard: guard, ..Network::default() }
}

fn host(index: u32) -> IpAddr {
    let [.., low] = index.to_be_bytes();
    [192, 0, 2, low].into()
}

fn mac(index: u32) -> MacAddr {
    let [a, b, c, d] = index.to_be_bytes();
    MacAddr::new([2, 0, a, b, c, d])
}

const ROUNDS: usize = 9;
const STEPS: usize = 100_000;
