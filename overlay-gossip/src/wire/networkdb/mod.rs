//! What Docker's `NetworkDB` puts into memberlist's user messages: protocol buffers in an envelope of their own.
//!
//! ```text
//!   datagram     user │ GossipMessage: a node's, a network's or a table's event, or a compound of them
//!   stream       user │ GossipMessage: bulk sync, whose payload is a GossipMessage: compound of table events
//!   push/pull    user state: GossipMessage: which node is in which network
//! ```
//!
//! Reading borrows; unknown fields are skipped. Writing gives the bytes that Docker writes.
//!
//! ```
//! use overlay_gossip::wire::networkdb::{Message, NodeEvent};
//!
//! let event = Message::Node(NodeEvent { joins: true, ltime: 3, node: "3666b708d70a" });
//! assert_eq!(Message::parse(&event.to_vec())?, event);
//! # Ok::<(), overlay_gossip::WireError>(())
//! ```

mod protobuf;
mod record;

use self::protobuf::{Fields, fields, push};
use super::WireError;

pub use self::record::{EndpointRecord, PeerRecord, Port};

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// A node joins or leaves.
    Node(NodeEvent<'a>),
    /// A node joins or leaves a network.
    Network(NetworkEvent<'a>),
    /// An entry of a table changes.
    Table(TableEvent<'a>),
    /// Who is in which network.
    PushPull(PushPull<'a>),
    /// All entries of some networks.
    BulkSync(BulkSync<'a>),
    /// Several messages, each to be [parsed](Message::parse).
    Compound(Vec<&'a [u8]>),
}

/// A node joins or leaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeEvent<'a> {
    /// Joins, or else leaves.
    pub joins: bool,
    /// When, by the clock of networks.
    pub ltime: u64,
    /// Who.
    pub node: &'a str,
}

/// A node joins or leaves a network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NetworkEvent<'a> {
    /// Joins, or else leaves.
    pub joins: bool,
    /// When, by the clock of networks.
    pub ltime: u64,
    /// Who.
    pub node: &'a str,
    /// Which network.
    pub network: &'a str,
}

/// An entry of a table changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TableEvent<'a> {
    /// How.
    pub change: Change,
    /// When, by the clock of tables.
    pub ltime: u64,
    /// Whose entry it is.
    pub node: &'a str,
    /// In which network.
    pub network: &'a str,
    /// In which table: `endpoint_table`, `overlay_peer_table`.
    pub table: &'a str,
    /// Under which key.
    pub key: &'a str,
    /// What it says; see [`EndpointRecord`] and [`PeerRecord`].
    pub value: &'a [u8],
    /// How many more seconds a deleted entry is remembered.
    pub reap_after: u32,
}

/// How an entry changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It is new.
    Create,
    /// It says something else.
    Update,
    /// It is withdrawn.
    Delete,
}

/// Who is in which network.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PushPull<'a> {
    /// When, by the clock of networks.
    pub ltime: u64,
    /// Each network of each node.
    pub networks: Vec<NetworkEntry<'a>>,
    /// Who says so.
    pub node: &'a str,
}

/// One network of one node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NetworkEntry<'a> {
    /// Which network.
    pub network: &'a str,
    /// Since when, by the clock of networks.
    pub ltime: u64,
    /// Who.
    pub node: &'a str,
    /// It left.
    pub leaving: bool,
}

/// All entries of some networks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BulkSync<'a> {
    /// When, by the clock of tables.
    pub ltime: u64,
    /// It is no answer, and wants one.
    pub unsolicited: bool,
    /// Who says so.
    pub node: &'a str,
    /// Which networks.
    pub networks: Vec<&'a str>,
    /// A message: a compound of table events.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`WireError`] when it is none, or of an unknown type.
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        let (mut kind, mut body): (u64, &[u8]) = (0, &[]);
        fields(message, |field, value| {
            match field {
                1 => kind = value.int()?,
                2 => body = value.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        match kind {
            1 => NetworkEvent::parse(body).map(Self::Network),
            2 => TableEvent::parse(body).map(Self::Table),
            3 => PushPull::parse(body).map(Self::PushPull),
            4 => BulkSync::parse(body).map(Self::BulkSync),
            5 => parse_compound(body).map(Self::Compound),
            6 => NodeEvent::parse(body).map(Self::Node),
            other => Err(u8::try_from(other).map_or(WireError::Malformed, WireError::Unknown)),
        }
    }

    /// The message as bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut body = Fields::default();
        let kind = match self {
            Self::Network(event) => {
                event.emit(&mut body);
                1
            }
            Self::Table(event) => {
                event.emit(&mut body);
                2
            }
            Self::PushPull(state) => {
                state.emit(&mut body);
                3
            }
            Self::BulkSync(sync) => {
                sync.emit(&mut body);
                4
            }
            Self::Compound(messages) => {
                for message in messages {
                    let mut simple = Fields::default();
                    simple.bytes(1, message);
                    body.item(1, &simple.0);
                }
                5
            }
            Self::Node(event) => {
                event.emit(&mut body);
                6
            }
        };
        let mut out = Fields::default();
        out.int(1, kind).bytes(2, &body.0);
        out.0
    }
}

impl<'a> NodeEvent<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut event = Self { joins: false, ltime: 0, node: "" };
        fields(body, |field, value| {
            match field {
                1 => event.joins = joins(value.int()?)?,
                2 => event.ltime = value.int()?,
                3 => event.node = value.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(event)
    }

    fn emit(&self, out: &mut Fields) {
        out.int(1, if self.joins { 1 } else { 2 }).int(2, self.ltime).bytes(3, self.node.as_bytes());
    }
}

impl<'a> NetworkEvent<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut event = Self { joins: false, ltime: 0, node: "", network: "" };
        fields(body, |field, value| {
            match field {
                1 => event.joins = joins(value.int()?)?,
                2 => event.ltime = value.int()?,
                3 => event.node = value.text()?,
                4 => event.network = value.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(event)
    }

    fn emit(&self, out: &mut Fields) {
        out.int(1, if self.joins { 1 } else { 2 }).int(2, self.ltime);
        out.bytes(3, self.node.as_bytes()).bytes(4, self.network.as_bytes());
    }
}

impl<'a> TableEvent<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut event = Self {
            change: Change::Create,
            ltime: 0,
            node: "",
            network: "",
            table: "",
            key: "",
            value: &[],
            reap_after: 0,
        };
        fields(body, |field, value| {
            match field {
                1 => {
                    event.change = match value.int()? {
                        1 => Change::Create,
                        2 => Change::Update,
                        3 => Change::Delete,
                        _ => return Err(WireError::Malformed),
                    }
                }
                2 => event.ltime = value.int()?,
                3 => event.node = value.text()?,
                4 => event.network = value.text()?,
                5 => event.table = value.text()?,
                6 => event.key = value.text()?,
                7 => event.value = value.bytes()?,
                8 => event.reap_after = value.u32()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(event)
    }

    fn emit(&self, out: &mut Fields) {
        let change = match self.change {
            Change::Create => 1,
            Change::Update => 2,
            Change::Delete => 3,
        };
        out.int(1, change).int(2, self.ltime).bytes(3, self.node.as_bytes());
        out.bytes(4, self.network.as_bytes()).bytes(5, self.table.as_bytes()).bytes(6, self.key.as_bytes());
        out.bytes(7, self.value).int(8, self.reap_after.into());
    }
}

impl<'a> PushPull<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut state = Self::default();
        fields(body, |field, value| {
            match field {
                1 => state.ltime = value.int()?,
                2 => push(&mut state.networks, NetworkEntry::parse(value.bytes()?)?)?,
                3 => state.node = value.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(state)
    }

    fn emit(&self, out: &mut Fields) {
        out.int(1, self.ltime);
        for entry in &self.networks {
            let mut item = Fields::default();
            item.bytes(1, entry.network.as_bytes()).int(2, entry.ltime).bytes(3, entry.node.as_bytes());
            item.int(4, entry.leaving.into());
            out.item(2, &item.0);
        }
        out.bytes(3, self.node.as_bytes());
    }
}

impl<'a> NetworkEntry<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut entry = Self::default();
        fields(body, |field, value| {
            match field {
                1 => entry.network = value.text()?,
                2 => entry.ltime = value.int()?,
                3 => entry.node = value.text()?,
                4 => entry.leaving = value.int()? != 0,
                _ => {}
            }
            Ok(())
        })?;
        Ok(entry)
    }
}

impl<'a> BulkSync<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut sync = Self::default();
        fields(body, |field, value| {
            match field {
                1 => sync.ltime = value.int()?,
                2 => sync.unsolicited = value.int()? != 0,
                3 => sync.node = value.text()?,
                4 => push(&mut sync.networks, value.text()?)?,
                5 => sync.payload = value.bytes()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(sync)
    }

    fn emit(&self, out: &mut Fields) {
        out.int(1, self.ltime).int(2, self.unsolicited.into()).bytes(3, self.node.as_bytes());
        for network in &self.networks {
            out.item(4, network.as_bytes());
        }
        out.bytes(5, self.payload);
    }
}

fn parse_compound(body: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let mut messages = Vec::new();
    fields(body, |field, value| {
        if field == 1 {
            let mut payload: &[u8] = &[];
            fields(value.bytes()?, |field, value| {
                if field == 1 {
                    payload = value.bytes()?;
                }
                Ok(())
            })?;
            push(&mut messages, payload)?;
        }
        Ok(())
    })?;
    Ok(messages)
}

fn joins(kind: u64) -> Result<bool, WireError> {
    match kind {
        1 => Ok(true),
        2 => Ok(false),
        _ => Err(WireError::Malformed),
    }
}
