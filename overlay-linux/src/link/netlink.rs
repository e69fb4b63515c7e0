use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use super::{LinkError, LinkName, encode};
use crate::netns::NetNs;

/// A conversation with the kernel about the links of one namespace.
///
/// It belongs to the namespace in which it was opened, wherever it is used. Calls block while the kernel works, which is
/// microseconds; the handle may be shared between threads, whose calls then take turns.
pub struct Netlink {
    netns: NetNs,
    wire: Mutex<Wire>,
}

struct Wire {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens one in the namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// Those of opening a socket and `/proc/thread-self/ns/net`.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Best effort: they make errors shorter and clearer.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT))?;
        Ok(Self { netns: NetNs::current()?, wire: Mutex::new(Wire { socket, sequence: 0 }) })
    }

    /// Opens one in another namespace.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open) and [`NetNs::run`].
    pub fn open_in(netns: &NetNs) -> io::Result<Self> {
        netns.run(Self::open)?
    }

    /// The namespace that it talks about.
    #[must_use]
    pub const fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// Lets a link carry traffic.
    ///
    /// # Errors
    ///
    /// [`LinkError`], as `NoLink` if there is none of that name.
    pub fn set_up(&self, name: &LinkName) -> Result<(), LinkError> {
        self.ask(RouteNetlinkMessage::SetLink(encode::link_up(name, true)), 0)
            .map_err(|refusal| refusal.of(format!("link {name:?}: set up"), Some(name)))
            .map(drop)
    }

    /// Removes a link. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`LinkError::Refused`], such as `EPERM` and `EOPNOTSUPP` (for `lo`).
    pub fn delete_link(&self, name: &LinkName) -> Result<bool, LinkError> {
        match self.ask(RouteNetlinkMessage::DelLink(encode::named_link(name)), 0) {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.errno() == Some(Errno::ENODEV) => Ok(false),
            Err(refusal) => Err(refusal.of(format!("link {name:?}: delete"), Some(name))),
        }
    }

    /// Asks for one thing to be done or shown; returns what the kernel showed.
    pub(super) fn ask(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        wire.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        wire.receive().map(|(messages, _)| messages)
    }

    /// Asks for a list; again if it changed while the kernel wrote it.
    pub(super) fn list(&self, message: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tries = LIST_TRIES;
        loop {
            wire.send(message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            let (messages, changed) = wire.receive()?;
            tries -= 1;
            if !changed || tries == 0 {
                return Ok(messages);
            }
        }
    }
}

impl fmt::Debug for Netlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Netlink").field(&self.netns).finish()
    }
}

/// Why a question got no answer, before it is known what the question was.
#[derive(Debug)]
pub(super) enum Refusal {
    Kernel { errno: Errno, hint: String },
    Io(io::Error),
    Unexpected,
}

impl Refusal {
    pub(super) fn errno(&self) -> Option<Errno> {
        if let Self::Kernel { errno, .. } = self { Some(*errno) } else { None }
    }

    /// Names the question; `link` is what a missing device would be.
    pub(super) fn of(self, what: impl Into<String>, link: Option<&LinkName>) -> LinkError {
        let what = what.into();
        match (self, link) {
            (Self::Kernel { errno: Errno::ENODEV, .. }, Some(name)) => {
                LinkError::NoLink { what, name: name.clone() }
            }
            (Self::Kernel { errno, hint }, _) => LinkError::Refused { what, errno, hint },
            (Self::Io(source), _) => LinkError::Io { what, source },
            (Self::Unexpected, _) => LinkError::Unexpected { what },
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Wire {
    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Reads to the end of the answer. The flag tells that a list changed meanwhile and has to be read again.
    fn receive(&self) -> Result<(Vec<RouteNetlinkMessage>, bool), Refusal> {
        let mut messages = Vec::new();
        let mut changed = false;
        loop {
            let mut datagram = Vec::with_capacity(DATAGRAM_LEN);
            match self.socket.recv(&mut datagram, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            let mut rest = datagram.as_slice();
            while let Some((one, after)) = split(rest) {
                rest = after;
                // An interface that this library cannot read is no reason to see none of the others.
                let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(one) else { continue };
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                changed |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => messages.push(inner),
                    NetlinkPayload::Error(error) => return verdict(&error).map(|()| (messages, changed)),
                    NetlinkPayload::Done(_) => return Ok((messages, changed)),
                    NetlinkPayload::Overrun(_) => return Err(Refusal::Unexpected),
                    NetlinkPayload::Noop => {}
                    _ => {}
                }
            }
        }
    }
}

/// The first message of a datagram and what follows it.
fn split(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(u32::from_ne_bytes(*datagram.first_chunk()?)).ok()?;
    if len < HEADER_LEN {
        return None;
    }
    let one = datagram.get(..len)?;
    Some((one, datagram.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

fn verdict(error: &ErrorMessage) -> Result<(), Refusal> {
    match error.code {
        None => Ok(()),
        Some(code) => Err(Refusal::Kernel { errno: Errno::from_raw(-code.get()), hint: hint(&error.header) }),
    }
}

/// The kernel's explanation: the first attribute of type 1 behind the header of the question.
fn hint(question: &[u8]) -> String {
    let mut rest = question.get(HEADER_LEN..).unwrap_or_default();
    while let [len0, len1, kind0, kind1, ..] = *rest {
        let len = usize::from(u16::from_ne_bytes([len0, len1]));
        let value = rest.get(4..len).unwrap_or_default();
        if u16::from_ne_bytes([kind0, kind1]) == 1 {
            return String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
        }
        rest = rest.get(len.next_multiple_of(4).max(4)..).unwrap_or_default();
    }
    String::new()
}

/// The length of a netlink header.
const HEADER_LEN: usize = 16;

/// Room for one datagram of an answer; the kernel fills at most half of it.
const DATAGRAM_LEN: usize = 64 * 1024;

/// How long the kernel may take, in seconds; it answers at once, unless something is very wrong.
const ANSWER_TIMEOUT: i64 = 5;

/// How often a list that changes all the time is read before it is taken as it is.
const LIST_TRIES: u32 = 5;
