//! Machines that speak serf, without sockets.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use overlay_gossip::serf::{AnswerError, Options, Query, QueryError, QueryId, Question, Tags};
use overlay_gossip::{
    Action, Config, DialFailure, DialId, Event, Input, MemberState, Membership, NodeName, Output, Profile,
    StreamId,
};

/// Nodes that have joined the first one.
pub struct Cluster {
    pub now: Instant,
    pub nodes: Vec<Membership>,
    pub events: Vec<Vec<Event>>,
    /// Answers from one to the other get lost.
    pub cut: Option<(usize, usize)>,
    dead: BTreeSet<usize>,
}

impl Cluster {
    pub fn new(roles: &[&str]) -> Self {
        let now = Instant::now();
        let node = |(i, role): (usize, &&str)| {
            let mut config = Config::new(name(i), Profile::Fast);
            config.advertise = addr(i);
            let mut tags = Tags::new();
            tags.insert("role", *role).unwrap();
            Membership::with_serf(config, Options { tags, ..Options::default() }, now, i as u64)
        };
        let nodes: Vec<_> = roles.iter().enumerate().map(node).collect();
        let events = vec![Vec::new(); nodes.len()];
        let mut cluster = Self { now, nodes, events, cut: None, dead: BTreeSet::new() };
        for i in 1..roles.len() {
            cluster.nodes[i].join(now, addr(0));
        }
        cluster.run(3000);
        let all = roles.len();
        assert!(
            cluster
                .nodes
                .iter()
                .all(|n| n.members().filter(|m| m.state == MemberState::Alive).count() == all)
        );
        cluster
    }

    pub fn query(&mut self, i: usize, query: &Query) -> Result<QueryId, QueryError> {
        let id = self.nodes[i].query(self.now, query);
        self.drain();
        id
    }

    pub fn answer(&mut self, i: usize, question: &Question, payload: &str) -> Result<(), AnswerError> {
        let answered = self.nodes[i].answer_query(self.now, question, payload.as_bytes());
        self.drain();
        answered
    }

    /// A datagram of somebody's arrives.
    pub fn hear(&mut self, i: usize, payload: &[u8]) {
        let _ = self.nodes[i].handle_input(self.now, Input::Datagram { from: addr(9), payload });
        self.drain();
    }

    /// The process ends, without a word.
    pub fn kill(&mut self, i: usize) {
        self.dead.insert(i);
    }

    /// What one believes about another.
    pub fn state(&self, i: usize, of: usize) -> MemberState {
        self.nodes[i].members().find(|member| member.name == name(of)).unwrap().state
    }

    pub fn questions(&self, i: usize) -> Vec<Question> {
        let question = |event: &Event| match event {
            Event::Query(question) => Some(question.clone()),
            _ => None,
        };
        self.events[i].iter().filter_map(question).collect()
    }

    /// Who acknowledged, and who answered what.
    pub fn heard(&self, i: usize) -> (Vec<String>, Vec<String>) {
        let (mut acks, mut answers) = (Vec::new(), Vec::new());
        for event in &self.events[i] {
            match event {
                Event::QueryAck { from, .. } => acks.push(from.to_string()),
                Event::QueryAnswer { from, payload, .. } => {
                    answers.push(format!("{from} {}", String::from_utf8_lossy(payload)));
                }
                _ => {}
            }
        }
        acks.sort();
        answers.sort();
        (acks, answers)
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while self.now < end {
            self.now += Duration::from_millis(5);
            for (i, node) in self.nodes.iter_mut().enumerate() {
                if !self.dead.contains(&i) {
                    node.handle_timeout(self.now);
                }
            }
            self.drain();
        }
    }

    pub fn drain(&mut self) {
        while let Some((i, output)) =
            self.nodes.iter_mut().enumerate().find_map(|(i, node)| node.poll_output().map(|out| (i, out)))
        {
            match output {
                Output::Transmit(t) => {
                    let to = index(t.to);
                    // Answers travel alone; what is gossiped is compound, and what is asked is long.
                    let answer = matches!(*t.payload, [8, 5, ..]);
                    let lost = answer && self.cut == Some((i, to));
                    if !lost && !self.dead.contains(&to) {
                        let input = Input::Datagram { from: addr(i), payload: &t.payload };
                        let _ = self.nodes[to].handle_input(self.now, input);
                    }
                }
                Output::Event(event) => self.events[i].push(event),
                Output::Action(Action::Dial { id, to, payload, .. }) => {
                    self.dial((i, id), index(to), &payload);
                }
                Output::Action(Action::Reply { .. }) => {}
            }
        }
    }

    pub fn dial(&mut self, (i, id): (usize, DialId), to: usize, payload: &[u8]) {
        if self.dead.contains(&to) {
            let refused = Input::DialFailed { id, failure: DialFailure::Refused };
            let _ = self.nodes[i].handle_input(self.now, refused);
            return;
        }
        let request = Input::Request { id: StreamId(0), from: addr(i), payload };
        let _ = self.nodes[to].handle_input(self.now, request);
        let mut others = Vec::new();
        while let Some(output) = self.nodes[to].poll_output() {
            match output {
                Output::Action(Action::Reply { payload, .. }) => {
                    let _ = self.nodes[i].handle_input(self.now, Input::Replied { id, payload: &payload });
                }
                Output::Event(event) => self.events[to].push(event),
                other => others.push(other),
            }
        }
        for output in others {
            if let Output::Transmit(t) = output {
                let input = Input::Datagram { from: addr(to), payload: &t.payload };
                let _ = self.nodes[index(t.to)].handle_input(self.now, input);
            }
        }
    }
}

pub fn name(i: usize) -> NodeName {
    NodeName::new(format!("n{i}")).unwrap()
}

pub fn addr(i: usize) -> SocketAddr {
    format!("127.0.0.{}:7946", i + 1).parse().unwrap()
}

pub fn index(addr: SocketAddr) -> usize {
    usize::from(
        addr.to_string().trim_start_matches("127.0.0.").split_once(':').unwrap().0.parse::<u8>().unwrap(),
    ) - 1
}
