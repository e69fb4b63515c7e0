//! What arrives: taking it apart, and who in this node handles it.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::{Leaving, Membership};
use crate::wire::message::Message;
use crate::wire::stream::StreamMessage;
use crate::wire::{Decoder, WireError};
use crate::{Action, InputError, Output, Stats, StreamId};

impl Membership {
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
    ) -> Result<(), InputError> {
        if self.leaving == Leaving::Done {
            return Ok(());
        }
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let mut decoder = std::mem::take(&mut self.decoder);
        let result = self.take_apart(now, from, &mut decoder, payload);
        self.decoder = decoder;
        self.flush_tables(now);
        result.inspect_err(|error| self.stats.count(*error)).map_err(InputError::from)
    }

    /// Handles the messages of a datagram. An error after the first one is counted, and ends it.
    fn take_apart(
        &mut self,
        now: Instant,
        from: SocketAddr,
        decoder: &mut Decoder,
        payload: &[u8],
    ) -> Result<(), WireError> {
        let mut first = true;
        for message in decoder.datagram(&self.envelope, payload)? {
            match message {
                Ok(message) => {
                    if std::mem::take(&mut first) {
                        self.heard_from(now, from);
                    }
                    match Message::parse(message) {
                        Ok(message) => self.handle_message(now, from, message),
                        Err(error) => self.stats.count(error),
                    }
                }
                Err(error) if first => return Err(error),
                Err(error) => self.stats.count(error),
            }
        }
        Ok(())
    }

    fn handle_message(&mut self, now: Instant, from: SocketAddr, message: Message<'_>) {
        match message {
            Message::Ping(ping) => self.on_ping(now, from, &ping),
            Message::IndirectPing(ping) => self.on_indirect_ping(now, from, &ping),
            Message::Ack(ack) => self.on_ack(now, from, &ack),
            Message::Nack { seq } => self.on_nack(seq),
            Message::Suspect(claim) => {
                self.object_again(now, from, &claim);
                self.on_suspect(now, &claim);
            }
            Message::Alive(alive) => self.on_alive(now, &alive),
            Message::Dead(claim) => {
                self.object_again(now, from, &claim);
                self.on_dead(now, &claim);
            }
            Message::User(body) => self.on_user(now, body),
            Message::Error(_) => self.stats.ignored += 1,
        }
    }

    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        (id, _from): (StreamId, SocketAddr),
        payload: &[u8],
    ) -> Result<(), InputError> {
        self.stats.streams_in += 1;
        let silent = self.leaving == Leaving::Done;
        let result = if silent { Ok(Answer::Close) } else { self.answer(now, id, payload) };
        let reply = match &result {
            Ok(Answer::Reply(message)) => Some(self.envelope.wrap_stream(message, false, &mut self.rng)),
            Ok(Answer::Hold) => None,
            Ok(Answer::Close) | Err(_) => Some(Bytes::new()),
        };
        if let Some(payload) = reply {
            self.outputs.push_back(Output::Action(Action::Reply { id, payload }));
        }
        self.flush_tables(now);
        result.map(drop).map_err(|error| {
            self.stats.count(error);
            error.into()
        })
    }

    /// What a request gets for an answer, if anything.
    fn answer(&mut self, now: Instant, id: StreamId, payload: &[u8]) -> Result<Answer, WireError> {
        let plain = self.envelope.unwrap_stream(payload, true, self.config.max_stream)?;
        match StreamMessage::parse(&plain, self.config.max_members)? {
            StreamMessage::PushPull(theirs) => {
                let tables = self.shares_tables(theirs.user);
                let reply = self.push_pull_state(false, tables);
                self.merge_push_pull(now, &theirs, false)?;
                Ok(Answer::Reply(reply))
            }
            StreamMessage::Message(Message::Ping(ping)) => Ok(match self.stream_ack(&ping) {
                Some(_) if ping.watch && self.hold(now, id, ping.seq) => Answer::Hold,
                Some(ack) => Answer::Reply(ack),
                None => Answer::Close,
            }),
            StreamMessage::User(body) => {
                self.on_user(now, body);
                Ok(Answer::Close)
            }
            StreamMessage::Message(_) => {
                self.stats.ignored += 1;
                Ok(Answer::Close)
            }
        }
    }
}

/// What becomes of a stream that somebody opened.
#[derive(Debug)]
enum Answer {
    Reply(Vec<u8>),
    /// It stays open.
    Hold,
    Close,
}

impl Stats {
    pub(crate) fn count(&mut self, error: WireError) {
        match error {
            WireError::Sealed => self.undecryptable += 1,
            WireError::Label => self.wrong_label += 1,
            WireError::Unknown(_) => self.ignored += 1,
            WireError::Truncated | WireError::Malformed | WireError::Checksum | WireError::Limit => {
                self.malformed += 1;
            }
        }
    }
}
