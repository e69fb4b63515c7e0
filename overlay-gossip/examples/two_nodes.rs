//! Two nodes in memory: they meet, one publishes a record, the other reads it. No sockets, and no time passes.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a demonstration")]

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use overlay_gossip::{
    Action, Config, Input, Membership, NetworkId, NodeName, Output, Phase, Profile, Publish, StreamId,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut now = Instant::now();
    let addrs: [SocketAddr; 2] = ["10.0.0.1:7946".parse()?, "10.0.0.2:7946".parse()?];
    let mut a = node("a", addrs[0], now)?;
    let mut b = node("b", addrs[1], now)?;

    b.join(now, addrs[0]);
    let network = NetworkId::new("web")?;
    a.join_network(now, &network);
    let at = Publish { network: &network, table: "endpoints", key: "task-1" };
    b.publish(now, at, Phase::Ready, "10.0.9.2".into())?;

    // One turn: b's requests are answered by a at once; datagrams change hands; then the clock jumps.
    for _ in 0..200 {
        let mut to_a = VecDeque::new();
        let mut to_b = VecDeque::new();
        while let Some(output) = b.poll_output() {
            match output {
                Output::Transmit(t) => to_a.push_back(t.payload),
                Output::Event(event) => println!("b: {event:?}"),
                Output::Action(Action::Dial { id, payload, .. }) => {
                    a.handle_input(
                        now,
                        Input::Request { id: StreamId(1), from: addrs[1], payload: &payload },
                    )?;
                    let reply = drain(&mut a, &mut to_b);
                    b.handle_input(now, Input::Replied { id, payload: &reply })?;
                }
                Output::Action(Action::Reply { .. }) => {}
            }
        }
        drain(&mut a, &mut to_b);
        for payload in to_a {
            a.handle_input(now, Input::Datagram { from: addrs[1], payload: &payload })?;
        }
        for payload in to_b {
            b.handle_input(now, Input::Datagram { from: addrs[0], payload: &payload })?;
        }
        now += Duration::from_millis(5);
        a.handle_timeout(now);
        b.handle_timeout(now);
    }
    for record in a.records(&network, "endpoints") {
        println!("a sees: {} of {} is {} ({:?})", record.key, record.owner, record.phase, record.value);
    }
    Ok(())
}

fn node(name: &str, addr: SocketAddr, now: Instant) -> Result<Membership, Box<dyn Error>> {
    let mut config = Config::new(NodeName::new(name)?, Profile::Fast);
    config.advertise = addr;
    Ok(Membership::new(config, now, 42))
}

/// Takes what a node has to say: datagrams into the queue; the reply to a request is returned.
fn drain(node: &mut Membership, datagrams: &mut VecDeque<bytes::Bytes>) -> bytes::Bytes {
    let mut answer = bytes::Bytes::new();
    while let Some(output) = node.poll_output() {
        match output {
            Output::Transmit(t) => datagrams.push_back(t.payload),
            Output::Event(event) => println!("a: {event:?}"),
            Output::Action(Action::Reply { payload, .. }) => answer = payload,
            Output::Action(Action::Dial { .. }) => {}
        }
    }
    answer
}
