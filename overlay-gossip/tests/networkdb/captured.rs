//! What two nodes of Docker's code sent to one of ours, recorded, and the tables that they had in the end.
//!
//! Lines of `captured.txt`: `u` a datagram, `s` a stream, each with who sent it and the bytes in hexadecimal; `=` a
//! table and one of its entries at Docker's nodes.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use overlay_gossip::wire::networkdb::Message;
use overlay_gossip::*;

use crate::peer::Docker;

const NET: &str = "netidaaaaaaaaaaaaaaaaaaaa";
const TABLES: [&str; 2] = ["endpoint_table", "overlay_peer_table"];

#[test]
fn what_dockers_nodes_sent_gives_the_tables_that_they_had() {
    let now = Instant::now();
    let mut machine = ours(now, ip(3));
    let (mut wanted, mut inputs) = (Vec::new(), 0);
    for (i, line) in include_str!("captured.txt").lines().enumerate() {
        let now = now + Duration::from_millis(20) * u32::try_from(i).unwrap();
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "=" {
            wanted.push(rest.to_owned());
            continue;
        }
        let (from, hex) = rest.split_once(' ').unwrap();
        let (from, payload) = (from.parse().unwrap(), &*unhex(hex));
        let id = StreamId(i as u64);
        let input = if kind == "u" {
            Input::Datagram { from, payload }
        } else {
            Input::Request { id, from, payload }
        };
        machine.handle_input(now, input).unwrap();
        machine.handle_timeout(now);
        inputs += 1;
    }
    assert!(inputs > 10 && wanted.len() > 10);
    assert_eq!(tables(&machine), wanted);
    assert_eq!((machine.stats().malformed, machine.stats().records_refused), (0, 0));
}

#[test]
fn each_message_that_docker_wrote_is_written_again_byte_for_byte() {
    let mut kinds = std::collections::BTreeMap::new();
    for line in include_str!("captured.txt").lines().filter(|line| !line.starts_with('=')) {
        let (kind, rest) = line.split_once(' ').unwrap();
        for message in user_messages(kind == "s", &unhex(rest.split_once(' ').unwrap().1)) {
            again(&message, &mut kinds);
        }
    }
    println!("{kinds:?}");
    assert_eq!(kinds.len(), 6, "all six kinds");
}

/// Writes `captured.txt` anew.
#[test]
#[ignore = "needs networkdb-peer, and changes a file"]
fn record() {
    let mut d1 = Docker::start("d1", ip(1), None).expect("networkdb-peer");
    let mut d2 = Docker::start("d2", ip(2), None).expect("networkdb-peer");
    let mut tap = Tap::new(ip(3));
    let script = std::thread::spawn(move || {
        let rest = |ms| std::thread::sleep(Duration::from_millis(ms));
        d1.call(&format!("network {NET}"));
        for k in 0..12 {
            d1.call(&format!("create {NET} {} early-{k} value-{k}", TABLES[k % 2]));
        }
        d1.call(&format!("delete {NET} {} early-0", TABLES[0]));
        d1.call(&format!("join {}", ip(3)));
        d2.call(&format!("join {}", ip(3)));
        rest(600);
        d2.call(&format!("network {NET}"));
        d2.call(&format!("burst {NET} {} 12", TABLES[0]));
        rest(400);
        d1.call(&format!("update {NET} {} early-1 changed", TABLES[1]));
        d2.call(&format!("delete {NET} {} p3", TABLES[0]));
        d1.call(&format!("create {NET} {} late again", TABLES[0]));
        rest(1500);
        let mut wanted = Vec::new();
        for table in TABLES {
            let (one, two) = (d1.entries(NET, table), d2.entries(NET, table));
            assert_eq!(one, two);
            wanted.extend(one.into_iter().map(|entry| format!("{table} {entry}")));
        }
        d2.call("leave");
        rest(500);
        wanted.retain(|line| !line.contains(" p"));
        wanted
    });
    while !script.is_finished() {
        tap.step();
    }
    let wanted = script.join().unwrap();
    assert_eq!(tables(&tap.machine), wanted);
    let wanted: String = wanted.into_iter().map(|line| format!("= {line}\n")).collect();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/networkdb/captured.txt");
    std::fs::write(file, tap.log + &wanted).unwrap();
}

fn ip(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 66, 0, host], 7946))
}

/// A driver that writes down what arrives.
struct Tap {
    machine: Membership,
    udp: UdpSocket,
    tcp: TcpListener,
    log: String,
    streams: u64,
}

impl Tap {
    fn new(addr: SocketAddr) -> Self {
        let (udp, tcp) = (UdpSocket::bind(addr).unwrap(), TcpListener::bind(addr).unwrap());
        udp.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        Self { machine: ours(Instant::now(), addr), udp, tcp, log: String::new(), streams: 0 }
    }

    fn step(&mut self) {
        let mut buf = [0; 65_536];
        if let Ok((len, from)) = self.udp.recv_from(&mut buf) {
            let payload = &buf[..len];
            if !user_messages(false, payload).is_empty() || tells_of_members(payload) {
                self.write("u", from, payload);
            }
            let _ = self.machine.handle_input(Instant::now(), Input::Datagram { from, payload });
        }
        if let Ok((mut stream, from)) = self.tcp.accept()
            && let Some(payload) = read(&mut stream)
        {
            if !payload.starts_with(&[0]) {
                self.write("s", from, &payload);
            }
            self.streams += 1;
            let id = StreamId(self.streams);
            let _ = self.machine.handle_input(Instant::now(), Input::Request { id, from, payload: &payload });
            self.flush(Some(stream));
        }
        self.machine.handle_timeout(Instant::now());
        self.flush(None);
        std::thread::sleep(Duration::from_micros(200));
    }

    fn flush(&mut self, mut open: Option<TcpStream>) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Transmit(t) => drop(self.udp.send_to(&t.payload, t.to)),
                Output::Action(Action::Reply { payload, .. }) => {
                    open.take().into_iter().for_each(|mut stream| drop(stream.write_all(&payload)));
                }
                Output::Action(Action::Dial { id, to, payload, reply, .. }) => {
                    let mut stream = TcpStream::connect(to).unwrap();
                    stream.write_all(&payload).unwrap();
                    let answer = if reply { read(&mut stream) } else { Some(Vec::new()) };
                    let input = match &answer {
                        Some(payload) => Input::Replied { id, payload },
                        None => Input::DialFailed { id, failure: DialFailure::Broken },
                    };
                    let _ = self.machine.handle_input(Instant::now(), input);
                }
                Output::Event(_) => {}
            }
        }
    }

    fn write(&mut self, kind: &str, from: SocketAddr, payload: &[u8]) {
        write!(self.log, "{kind} {from} ").unwrap();
        payload.iter().for_each(|byte| write!(self.log, "{byte:02x}").unwrap());
        self.log.push('\n');
    }
}

fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let (mut frame, mut payload, mut buf) = (Frame::new(1 << 24), Vec::new(), [0; 65_536]);
    loop {
        if let Some(end) = frame.end(&payload).ok()? {
            payload.truncate(end);
            return Some(payload);
        }
        match stream.read(&mut buf).ok()? {
            0 => return None,
            len => payload.extend_from_slice(&buf[..len]),
        }
    }
}

fn ours(now: Instant, advertise: SocketAddr) -> Membership {
    let mut config = Config::new(NodeName::new("us").unwrap(), Profile::Lan);
    config.table_format = TableFormat::NetworkDb;
    config.push_pull_interval = Duration::ZERO;
    config.advertise = advertise;
    let mut machine = Membership::new(config, now, 3);
    machine.join_network(now, &NetworkId::new(NET).unwrap());
    machine
}

fn tables(machine: &Membership) -> Vec<String> {
    let network = NetworkId::new(NET).unwrap();
    let mut lines = Vec::new();
    for table in TABLES {
        let records = machine.records(&network, table).into_iter().filter(|record| !record.suspended);
        let mut rows: Vec<String> =
            records.map(|r| format!("{table} {}={}", r.key, String::from_utf8_lossy(&r.value))).collect();
        rows.sort();
        lines.append(&mut rows);
    }
    lines
}

fn again(message: &[u8], kinds: &mut std::collections::BTreeMap<&str, usize>) {
    let parsed = Message::parse(message).unwrap();
    assert_eq!(parsed.to_vec(), message);
    let kind = match parsed {
        Message::Node(_) => "node",
        Message::Network(_) => "network",
        Message::Table(_) => "table",
        Message::PushPull(_) => "push/pull",
        Message::BulkSync(sync) => {
            again(sync.payload, kinds);
            "bulk sync"
        }
        Message::Compound(parts) => {
            parts.into_iter().for_each(|part| again(part, kinds));
            "compound"
        }
    };
    *kinds.entry(kind).or_default() += 1;
}

fn user_messages(stream: bool, payload: &[u8]) -> Vec<Vec<u8>> {
    let envelope = wire::Envelope::default();
    if stream {
        let Ok(plain) = envelope.unwrap_stream(payload, true, 1 << 24) else { return Vec::new() };
        return match wire::StreamMessage::parse(&plain, 100) {
            Ok(wire::StreamMessage::User(body)) => vec![body.to_vec()],
            Ok(wire::StreamMessage::PushPull(state)) => vec![state.user.to_vec()],
            Ok(wire::StreamMessage::Message(_)) | Err(_) => Vec::new(),
        };
    }
    messages(payload, |message| match message {
        wire::Message::User(body) => Some(body.to_vec()),
        _ => None,
    })
}

fn tells_of_members(payload: &[u8]) -> bool {
    !messages(payload, |message| matches!(message, wire::Message::Alive(_)).then(Vec::new)).is_empty()
}

fn messages(payload: &[u8], pick: impl Fn(wire::Message<'_>) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut decoder = wire::Decoder::default();
    let Ok(all) = decoder.datagram(&wire::Envelope::default(), payload) else { return Vec::new() };
    all.filter_map(|message| pick(wire::Message::parse(message.ok()?).ok()?)).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().map(|b| (b as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
