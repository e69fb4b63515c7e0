//! The handle: a netlink socket in one network namespace.

use std::collections::BTreeMap;
use std::io;

use super::batch::{Batch, Op};
use super::channel::{Channel, Failure, Request};
use super::error::NftError;
use super::model::{Ruleset, TableKey};
use super::observe::Observed;
use super::plan::plan;
use super::wire::{
    Attrs, Message, NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NLM_F_ACK, NLMSG_ERROR, SUBSYS_NFTABLES,
    find_str, messages,
};
use crate::netns::NetNs;

/// What a [`Nft::sync`] did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// The operations that were applied, in order; empty if everything was as desired.
    pub ops: Vec<String>,
}

/// nf_tables of one network namespace: the one of the thread that opened it, whichever thread uses it later.
///
/// Blocking; a call takes microseconds to milliseconds. Needs `CAP_NET_ADMIN` in that namespace.
#[derive(Debug)]
pub struct Nft {
    channel: Channel,
    owner: String,
}

impl Nft {
    /// Opens the namespace of the current thread, as owner `overlay`.
    ///
    /// # Errors
    /// When the kernel has no nf_tables or no socket to spare.
    pub fn open() -> Result<Self, NftError> {
        Ok(Self { channel: Channel::open(SUBSYS_NFTABLES)?, owner: DEFAULT_OWNER.to_owned() })
    }

    /// Opens another namespace, as owner `overlay`.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or as [`Nft::open`].
    pub fn open_in(netns: &NetNs) -> Result<Self, NftError> {
        netns.run(Self::open).map_err(|source| NftError::Socket { action: "enter the namespace", source })?
    }

    /// Names the owner: it sees, changes and deletes only tables that it made. 1 to 64 bytes.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Makes the kernel's state the desired one: observes, plans and applies, again if somebody interferes.
    ///
    /// # Errors
    /// When the plan is impossible or the kernel refuses it; nothing is changed then.
    pub fn sync(&mut self, desired: &Ruleset) -> Result<Report, NftError> {
        for _ in 0..ATTEMPTS {
            let batch = plan(&self.observe()?, desired)?;
            match self.apply(&batch) {
                Ok(()) => return Ok(Report { ops: batch.ops().iter().map(ToString::to_string).collect() }),
                Err(NftError::Busy { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(NftError::Busy { doing: "wrote" })
    }

    /// Deletes every table of this owner.
    ///
    /// # Errors
    /// As [`Nft::sync`].
    pub fn clear(&mut self) -> Result<Report, NftError> {
        self.sync(&Ruleset::default())
    }

    /// Reads our tables.
    ///
    /// # Errors
    /// When the kernel refuses, or the rules keep changing while we read them.
    pub fn observe(&mut self) -> Result<Observed, NftError> {
        for _ in 0..ATTEMPTS {
            let before = self.channel.generation()?;
            match self.read_tables() {
                Ok(mut observed) if self.channel.generation()? == before => {
                    observed.generation = Some(before);
                    return Ok(observed);
                }
                Ok(_) | Err(NftError::Busy { .. }) => {}
                // A set was deleted between two dumps.
                Err(NftError::Refused { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(NftError::Busy { doing: "read" })
    }

    /// Applies a plan as one transaction.
    ///
    /// # Errors
    /// [`NftError::Busy`] when the rules changed since they were observed; [`NftError::Refused`] names the first
    /// operation that the kernel refused. Nothing is changed then.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), NftError> {
        if batch.is_empty() {
            return Ok(());
        }
        let Transaction { bytes, seqs } = self.emit(batch)?;
        self.channel.fit_send_buffer(bytes.len())?;
        self.channel.send(&bytes)?;
        // The kernel handles the batch while we send it: every answer is there by now.
        let mut done = false;
        let mut failure = None;
        let mut buffer = Vec::new();
        while self.channel.receive(&mut buffer, nix::libc::MSG_DONTWAIT)? {
            for message in messages(&buffer) {
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                let Some(error) = Failure::parse(message) else {
                    return Err(NftError::Malformed { doing: "applied a batch" });
                };
                done |= error.errno == 0;
                if error.errno != 0 && failure.is_none() {
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(failure) if failure.errno == nix::libc::ERESTART => Err(NftError::Busy { doing: "wrote" }),
            Some(failure) => {
                let op = seqs.get(&failure.seq).map_or_else(|| "commit".to_owned(), ToString::to_string);
                Err(failure.into_error(op).into())
            }
            None if done => Ok(()),
            None => Err(NftError::Malformed { doing: "applied a batch" }),
        }
    }

    fn emit<'b>(&mut self, batch: &'b Batch) -> Result<Transaction<'b>, NftError> {
        let mut transaction = Transaction { bytes: Vec::new(), seqs: BTreeMap::new() };
        let mut begin = Attrs::default();
        if let Some(generation) = batch.generation {
            begin.put_u32(1, generation);
        }
        let mut put = |message: &Message, op: Option<&'b Op>| {
            let seq = self.channel.next_seq();
            transaction.seqs.extend(op.map(|op| (seq, op)));
            let too_long = || NftError::TooLong { op: op.map(ToString::to_string).unwrap_or_default() };
            message.emit(seq, &mut transaction.bytes).ok_or_else(too_long)
        };
        put(&control(NFNL_MSG_BATCH_BEGIN, begin), None)?;
        let mut next_set = 0;
        for (at, op) in batch.ops.iter().enumerate() {
            let mut messages = op.messages(&mut next_set);
            if let Some(last) = messages.last_mut().filter(|_| at + 1 == batch.ops.len()) {
                last.flags |= NLM_F_ACK;
            }
            for message in &messages {
                put(message, Some(op))?;
            }
        }
        put(&control(NFNL_MSG_BATCH_END, Attrs::default()), None)?;
        Ok(transaction)
    }

    fn read_tables(&mut self) -> Result<Observed, NftError> {
        let mut observed = Observed::empty(self.owner.clone());
        let request = Request { doing: "list tables", kind: GETTABLE, family: 0, attrs: &Attrs::default() };
        self.channel.dump(request, |family, attrs| {
            observed.add_table(family, attrs);
        })?;
        let tables: Vec<TableKey> = observed.owned().cloned().collect();
        for table in &tables {
            let family = table.family.number();
            let mut filter = Attrs::default();
            filter.put_str(1, &table.name);
            let request = Request { doing: "list chains", kind: GETCHAIN, family, attrs: &filter };
            self.channel.dump(request, |family, attrs| {
                if find_str(attrs, 1).as_ref() == Some(&table.name) {
                    observed.add_chain(family, attrs);
                }
            })?;
            let request = Request { doing: "list rules", kind: GETRULE, family, attrs: &filter };
            self.channel.dump(request, |family, attrs| {
                if find_str(attrs, 1).as_ref() == Some(&table.name) {
                    observed.add_rule(family, attrs);
                }
            })?;
            let request = Request { doing: "list sets", kind: GETSET, family, attrs: &filter };
            self.channel.dump(request, |family, attrs| {
                if find_str(attrs, 1).as_ref() == Some(&table.name) {
                    observed.add_set(family, attrs);
                }
            })?;
        }
        for (table, set) in observed.static_sets() {
            let mut filter = Attrs::default();
            filter.put_str(1, &table.name).put_str(2, &set);
            let request = Request {
                doing: "list elements",
                kind: GETSETELEM,
                family: table.family.number(),
                attrs: &filter,
            };
            self.channel.dump(request, |family, attrs| {
                observed.add_elements(family, attrs);
            })?;
        }
        Ok(observed)
    }
}

/// The bytes of a transaction, and which operation each of its messages belongs to.
struct Transaction<'b> {
    bytes: Vec<u8>,
    seqs: BTreeMap<u32, &'b Op>,
}

fn control(kind: u16, attrs: Attrs) -> Message {
    Message { kind, flags: 0, family: 0, resource: SUBSYS_NFTABLES, attrs }
}

const GETTABLE: u16 = 1;
const GETCHAIN: u16 = 4;
const GETRULE: u16 = 7;
const GETSET: u16 = 10;
const GETSETELEM: u16 = 13;
const DEFAULT_OWNER: &str = "overlay";
/// How often an observation or a plan is tried again when others change the rules meanwhile.
const ATTEMPTS: usize = 8;
