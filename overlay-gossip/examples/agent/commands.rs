//! What is typed.

use std::collections::BTreeMap;
use std::error::Error;

use overlay_gossip::serf::{Query, Question};
use overlay_gossip::tokio::Agent;
use overlay_gossip::{Event, NetworkId, NodeName, Phase};

use crate::report::{print_members, print_query, print_records};

pub(crate) struct Commands {
    agent: Agent,
    /// The last question of each name.
    questions: BTreeMap<String, Question>,
}

impl Commands {
    pub(crate) fn new(agent: Agent) -> Self {
        Self { agent, questions: BTreeMap::new() }
    }

    /// Takes note of what may be answered.
    pub(crate) fn note(&mut self, event: Event) {
        if let Event::Query(question) = event {
            if self.questions.len() >= MOST_QUESTIONS && !self.questions.contains_key(&question.name) {
                self.questions.pop_first();
            }
            self.questions.insert(question.name.clone(), question);
        }
    }

    /// Does what a line says; `true`: leave.
    pub(crate) async fn obey(&mut self, line: &str) -> bool {
        let (command, rest) = first_word(line.trim());
        if command == "leave" && rest.is_empty() {
            return true;
        }
        if let Err(error) = self.run(command, rest).await {
            eprintln!("agent: {error}");
        }
        false
    }

    async fn run(&mut self, command: &str, rest: &str) -> Result<(), Box<dyn Error>> {
        let (first, more) = first_word(rest);
        match (command, first, more) {
            ("", _, _) => {}
            ("members", "", _) => print_members(&self.agent.members()),
            ("event", name, text) if !name.is_empty() => {
                self.agent.send_event(name, text.to_owned().into(), false)?;
            }
            ("query", name, more) if !name.is_empty() => {
                let id = self.agent.query(query(name, more)?).await?;
                print_query(id);
            }
            ("answer", name, text) if !name.is_empty() => {
                let question = self.questions.remove(name).ok_or("nobody asks that")?;
                self.agent.answer_query(question, text.to_owned().into());
            }
            ("join", peer, _) if !peer.is_empty() => {
                for peer in rest.split_whitespace() {
                    self.agent.join(vec![peer.parse().map_err(|_| format!("{peer} is not IP:PORT"))?]);
                }
            }
            ("join-network", network, "") => self.agent.join_network(NetworkId::new(network)?),
            ("leave-network", network, "") => self.agent.leave_network(NetworkId::new(network)?),
            ("publish", place, more) if !more.is_empty() => {
                let (key, value) = first_word(more);
                self.publish(place, key, (Phase::Ready, value)).await?;
            }
            ("withdraw", place, key) if !key.is_empty() => {
                self.publish(place, key, (Phase::Gone, "")).await?;
            }
            ("records", place, "") if !place.is_empty() => {
                let (network, table) = table_of(place)?;
                print_records(&network, table, &self.agent.records(&network, table));
            }
            _ => return Err(USAGE.into()),
        }
        Ok(())
    }

    async fn publish(
        &self,
        place: &str,
        key: &str,
        (phase, value): (Phase, &str),
    ) -> Result<(), Box<dyn Error>> {
        let (network, table) = table_of(place)?;
        Ok(self.agent.try_publish(network, table, key, phase, value.to_owned().into()).await?)
    }
}

/// `NETWORK`, or `NETWORK/TABLE`.
fn table_of(place: &str) -> Result<(NetworkId, &str), Box<dyn Error>> {
    let (network, table) = place.split_once('/').unwrap_or((place, "endpoints"));
    Ok((NetworkId::new(network)?, table))
}

/// `[PAYLOAD] [--node NAME]... [--tag KEY=EXPRESSION]...`
fn query(name: &str, more: &str) -> Result<Query, Box<dyn Error>> {
    let mut query = Query { ack: true, ..Query::new(name, "") };
    let mut payload = Vec::new();
    let mut words = more.split_whitespace();
    while let Some(word) = words.next() {
        match word {
            "--node" => query.nodes.push(NodeName::new(words.next().ok_or("--node needs a name")?)?),
            "--tag" => {
                let tag = words.next().and_then(|tag| tag.split_once('='));
                let (tag, expression) = tag.ok_or("--tag needs KEY=EXPRESSION")?;
                query.tags.insert(tag.to_owned(), expression.to_owned());
            }
            word => payload.push(word),
        }
    }
    query.payload = payload.join(" ").into();
    Ok(query)
}

fn first_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

const MOST_QUESTIONS: usize = 64;

const USAGE: &str = "commands are: members, join, event, query, answer, join-network, leave-network, publish, withdraw, \
                     records, leave (see --help)";
