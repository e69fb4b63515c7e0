//! The netlink socket: requests, dumps and the kernel's refusals.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::wire::{
    Attrs, Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, Received, find_str,
    find_u32, messages,
};

/// A socket in the network namespace of the thread that opened it, for one subsystem of netfilter.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: Socket,
    subsystem: u16,
    seq: u32,
}

/// What the kernel is asked for or told, in one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) doing: &'static str,
    pub(crate) kind: u16,
    pub(crate) family: u8,
    pub(crate) attrs: &'a Attrs,
}

/// Why a request got no good answer.
#[derive(Debug)]
pub(crate) enum ChannelError {
    Socket { action: &'static str, source: io::Error },
    Refused { op: String, source: io::Error, detail: Option<String> },
    Busy { doing: &'static str },
    Malformed { doing: &'static str },
    TooLong { op: String },
}

impl Channel {
    pub(crate) fn open(subsystem: u16) -> Result<Self, ChannelError> {
        let at = |action| move |source| ChannelError::Socket { action, source };
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(at("open"))?;
        socket.bind_auto().map_err(at("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(at("connect"))?;
        socket.set_cap_ack(true).map_err(at("configure"))?;
        socket.set_ext_ack(true).map_err(at("configure"))?;
        let timeout = TimeVal::milliseconds(i64::try_from(TIMEOUT.as_millis()).unwrap_or(i64::MAX));
        let fd = socket.as_fd();
        setsockopt(&fd, sockopt::ReceiveTimeout, &timeout).map_err(|e| at("configure")(e.into()))?;
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER).map_err(|e| at("configure")(e.into()))?;
        }
        Ok(Self { socket, subsystem, seq: 0 })
    }

    pub(super) const fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }

    /// Number of the kernel's current rule set; every transaction of anybody raises it.
    pub(super) fn generation(&mut self) -> Result<u32, ChannelError> {
        let doing = "read the generation";
        let seq = self.request(0, Request { doing, kind: GETGEN, family: 0, attrs: &Attrs::default() })?;
        let mut buffer = Vec::new();
        while self.receive(&mut buffer, 0)? {
            let Some(message) = messages(&buffer).find(|message| message.seq == seq) else { continue };
            if message.kind == NLMSG_ERROR {
                let failure = Failure::parse(message).ok_or(ChannelError::Malformed { doing })?;
                return Err(failure.into_error(doing.to_owned()));
            }
            let generation = message.netfilter().and_then(|(_, attrs)| find_u32(attrs, 1));
            return generation.ok_or(ChannelError::Malformed { doing });
        }
        Err(ChannelError::Malformed { doing })
    }

    /// The kernel takes a batch only whole, and only if the socket's buffer could hold it.
    pub(super) fn fit_send_buffer(&self, len: usize) -> Result<(), ChannelError> {
        let wanted = len.saturating_add(SEND_SLACK);
        let fd = self.socket.as_fd();
        if setsockopt(&fd, sockopt::SndBufForce, &wanted).is_ok() {
            return Ok(());
        }
        setsockopt(&fd, sockopt::SndBuf, &wanted)
            .map_err(|errno| ChannelError::Socket { action: "grow the send buffer", source: errno.into() })
    }

    /// Asks for a list and hands over the family and attributes of each entry.
    pub(crate) fn dump(
        &mut self,
        request: Request<'_>,
        mut each: impl FnMut(u8, &[u8]),
    ) -> Result<(), ChannelError> {
        let doing = request.doing;
        let seq = self.request(NLM_F_DUMP, request)?;
        let mut interrupted = false;
        let mut buffer = Vec::new();
        while self.receive(&mut buffer, 0)? {
            for message in messages(&buffer).filter(|message| message.seq == seq) {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE if interrupted => return Err(ChannelError::Busy { doing: "read" }),
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let failure = Failure::parse(message).ok_or(ChannelError::Malformed { doing })?;
                        return Err(failure.into_error(doing.to_owned()));
                    }
                    _ => {
                        let (family, attrs) = message.netfilter().ok_or(ChannelError::Malformed { doing })?;
                        each(family, attrs);
                    }
                }
            }
        }
        Err(ChannelError::Malformed { doing })
    }

    /// Tells the kernel to do something and waits until it did.
    pub(crate) fn command(&mut self, request: Request<'_>) -> Result<(), ChannelError> {
        let doing = request.doing;
        let seq = self.request(NLM_F_ACK, request)?;
        let mut buffer = Vec::new();
        while self.receive(&mut buffer, 0)? {
            let answer = messages(&buffer).find(|message| message.seq == seq && message.kind == NLMSG_ERROR);
            let Some(answer) = answer else { continue };
            let answer = Failure::parse(answer).ok_or(ChannelError::Malformed { doing })?;
            return if answer.errno == 0 { Ok(()) } else { Err(answer.into_error(doing.to_owned())) };
        }
        Err(ChannelError::Malformed { doing })
    }

    /// Throws away what is left of an answer that was not read to its end; a dump under way would block the next.
    pub(crate) fn drain(&self) -> Result<(), ChannelError> {
        let mut buffer = Vec::new();
        while self.receive(&mut buffer, nix::libc::MSG_DONTWAIT)? {}
        Ok(())
    }

    fn request(&mut self, flags: u16, request: Request<'_>) -> Result<u32, ChannelError> {
        let Request { doing, kind, family, attrs } = request;
        let seq = self.next_seq();
        let mut bytes = Vec::new();
        let kind = (self.subsystem << 8) | kind;
        let message = Message { kind, flags, family, resource: 0, attrs: attrs.clone() };
        message.emit(seq, &mut bytes).ok_or_else(|| ChannelError::TooLong { op: doing.to_owned() })?;
        self.send(&bytes)?;
        Ok(seq)
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), ChannelError> {
        let sent = self.socket.send(bytes, 0);
        sent.map(|_| ()).map_err(|source| ChannelError::Socket { action: "send", source })
    }

    /// One datagram; `false` if there is none and the flags say not to wait.
    pub(super) fn receive(&self, buffer: &mut Vec<u8>, flags: i32) -> Result<bool, ChannelError> {
        buffer.clear();
        buffer.reserve(DATAGRAM);
        loop {
            match self.socket.recv(buffer, flags) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && flags != 0 => return Ok(false),
                Err(source) => return Err(ChannelError::Socket { action: "receive", source }),
            }
        }
    }
}

/// An `NLMSG_ERROR`; errno 0 is an acknowledgement.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) seq: u32,
    pub(super) errno: i32,
    detail: Option<String>,
}

impl Failure {
    pub(super) fn parse(message: Received<'_>) -> Option<Self> {
        let (errno, rest) = message.body.split_first_chunk::<4>()?;
        // After the errno comes the header of the refused message, then what the kernel has to say about it.
        let detail = rest.get(NLMSG_HEADER..).and_then(|attrs| find_str(attrs, NLMSGERR_ATTR_MSG));
        Some(Self { seq: message.seq, errno: i32::from_ne_bytes(*errno).saturating_neg(), detail })
    }

    pub(super) fn into_error(self, op: String) -> ChannelError {
        ChannelError::Refused { op, source: io::Error::from_raw_os_error(self.errno), detail: self.detail }
    }
}

const NETLINK_NETFILTER: isize = 12;
const GETGEN: u16 = 16;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSG_HEADER: usize = 16;
/// Longest wait for an answer of the kernel.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The kernel fills dumps with up to 32 KiB at a time.
const DATAGRAM: usize = 64 * 1024;
const RECEIVE_BUFFER: usize = 4 << 20;
/// What the kernel itself needs of a send buffer, with room.
const SEND_SLACK: usize = 64 * 1024;
