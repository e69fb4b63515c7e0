//! A machine in a hostile world: a script of bytes says what arrives, in which order, and how the clock jumps.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use overlay_gossip::serf::Options;
use overlay_gossip::{
    Action, Config, DialFailure, DialId, Input, Membership, NetworkId, NodeName, Output, Phase, Profile,
    Publish, StreamId, TableFormat,
};

/// What came out of it.
#[derive(Debug, Default)]
pub struct Summary {
    pub steps: usize,
    pub outputs: usize,
    /// The largest number of outputs that one step led to.
    pub burst: usize,
}

/// Runs a script: one byte says what happens, two how long the following bytes are that it happens with. The tables
/// have this format; with that of this crate, the node speaks serf.
pub fn run(mut script: &[u8], format: TableFormat) -> Summary {
    let mut now = Instant::now();
    let mut config = Config::new(NodeName::new("me").unwrap(), Profile::Fast);
    config.max_members = 1000;
    config.max_records = 1000;
    config.table_format = format;
    let mut node = Membership::with_serf(config, Options::default(), now, 1);
    node.join_network(now, &NetworkId::new("net").unwrap());
    let mut dials: Vec<DialId> = Vec::new();
    let mut summary = Summary::default();
    while let Some((&what, rest)) = script.split_first() {
        let (len, rest) = match rest {
            [a, b, rest @ ..] => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            _ => (0, rest),
        };
        let (bytes, rest) = rest.split_at(len.min(rest.len()));
        script = rest;
        let from = SocketAddr::from(([127, 0, 0, what >> 4], 7946));
        let _ = match what & 15 {
            0..=5 => node.handle_input(now, Input::Datagram { from, payload: bytes }),
            6 | 7 => {
                node.handle_input(now, Input::Request { id: StreamId(len as u64), from, payload: bytes })
            }
            8 | 9 => match dials.pop() {
                Some(id) => node.handle_input(now, Input::Replied { id, payload: bytes }),
                None => Ok(()),
            },
            10 => match dials.pop() {
                Some(id) if len % 2 == 0 => {
                    node.handle_input(now, Input::DialFailed { id, failure: DialFailure::Refused })
                }
                Some(id) => node.handle_input(now, Input::DialFailed { id, failure: DialFailure::TimedOut }),
                None => Ok(()),
            },
            11 => {
                let network = NetworkId::new("net").unwrap();
                let at = Publish { network: &network, table: "t", key: "k" };
                let phase = if len % 2 == 0 { Phase::Ready } else { Phase::Gone };
                let _ = node.publish(now, at, phase, bytes.to_vec().into());
                Ok(())
            }
            12 => {
                node.join(now, from);
                let _ = node.send_event(now, "event", bytes, what > 127);
                Ok(())
            }
            13 if what == 0xfd => {
                node.leave(now);
                Ok(())
            }
            // From a millisecond to a day.
            jump => {
                let ms = u64::from(len as u16) << (u32::from(jump) * 2 % 12);
                now += Duration::from_millis(ms.min(86_400_000));
                node.handle_timeout(now);
                Ok(())
            }
        };
        let mut outputs = 0;
        while let Some(output) = node.poll_output() {
            outputs += 1;
            if let Output::Action(Action::Dial { id, .. }) = output {
                dials.push(id);
            }
        }
        dials.truncate(64);
        summary.steps += 1;
        summary.outputs += outputs;
        summary.burst = summary.burst.max(outputs);
        assert!(node.members().count() <= 1001);
    }
    summary
}
