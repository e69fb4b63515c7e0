//! The handle: two netlink sockets in one network namespace.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::Entry;
use super::error::ConntrackError;
use crate::link::Family;
use crate::netns::NetNs;
use crate::nft::channel::{Channel, ChannelError, Request};
use crate::nft::wire::Attrs;

/// Connection tracking of one network namespace: the one of the thread that opened it, whichever thread uses it later.
///
/// Blocking; a call takes microseconds, and about a microsecond more for each entry of the namespace. Calls from
/// several threads wait for each other. Needs `CAP_NET_ADMIN` in that namespace.
///
/// ```no_run
/// use std::net::IpAddr;
///
/// use overlay_linux::conntrack::Conntrack;
///
/// // The backend 10.0.1.7 is gone and no rule leads to it any more.
/// let gone = IpAddr::from([10, 0, 1, 7]);
/// let conntrack = Conntrack::open()?;
/// let forgotten = conntrack.forget(|entry| entry.translated_destination().is_some_and(|to| to.ip() == gone))?;
/// println!("{forgotten} connections start anew");
/// # Ok::<(), overlay_linux::conntrack::ConntrackError>(())
/// ```
#[derive(Debug)]
pub struct Conntrack {
    sockets: Mutex<Sockets>,
}

impl Conntrack {
    /// Opens the namespace of the current thread.
    ///
    /// # Errors
    /// [`ConntrackError::Unsupported`] when the kernel has no netfilter; else when there is no socket to spare.
    pub fn open() -> Result<Self, ConntrackError> {
        let open = || Channel::open(SUBSYS_CTNETLINK).map_err(ConntrackError::opening);
        Ok(Self { sockets: Mutex::new(Sockets { lists: open()?, changes: open()? }) })
    }

    /// Opens another namespace.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or as [`Conntrack::open`].
    pub fn open_in(netns: &NetNs) -> Result<Self, ConntrackError> {
        let entered = netns.run(Self::open);
        entered.map_err(|source| ConntrackError::Socket { action: "enter the namespace", source })?
    }

    /// Lists the entries of one family, in no particular order; one may come twice while others vanish.
    ///
    /// There may be as many as the sysctl `net.netfilter.nf_conntrack_max` says; [`forget`](Self::forget) looks at
    /// them without keeping them.
    ///
    /// # Errors
    /// [`ConntrackError::Unsupported`] when the kernel has no ctnetlink; else when it refuses, or one of its entries
    /// makes no sense.
    pub fn entries(&self, family: Family) -> Result<Vec<Entry>, ConntrackError> {
        let mut entries = Vec::new();
        self.sockets().lists.each_entry(number(family), |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Deletes this entry; `false` if it was gone already, also if the same client has been led elsewhere since.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete(&self, entry: &Entry) -> Result<bool, ConntrackError> {
        self.sockets().changes.delete(entry)
    }

    /// Deletes the entries of both families for which `stale` holds, and says how many it deleted.
    ///
    /// The next packet of such a connection is a first one again: the rules of now decide where it goes. Entries are
    /// looked at one by one as the kernel lists them, so memory does not grow with their number. A packet that is on its
    /// way through this host at this moment may bring back an entry that follows the rules of before; where that
    /// matters, call again a moment later. `stale` must not use this handle.
    ///
    /// # Errors
    /// As [`entries`](Self::entries) and [`delete`](Self::delete). An entry that makes no sense, or that the kernel will
    /// not delete, does not spare the others.
    pub fn forget(&self, stale: impl Fn(&Entry) -> bool) -> Result<usize, ConntrackError> {
        let mut sockets = self.sockets();
        let Sockets { lists, changes } = &mut *sockets;
        let mut forgotten = 0;
        let mut failure = None;
        let listed = lists.each_entry(EVERY_FAMILY, |entry| {
            // Without a socket that works there is no sense in going on.
            let broken = matches!(failure, Some(ConntrackError::Socket { .. }));
            if broken || !stale(&entry) {
                return;
            }
            match changes.delete(&entry) {
                Ok(deleted) => forgotten += usize::from(deleted),
                Err(error) => failure = Some(error),
            }
        });
        listed?;
        failure.map_or(Ok(forgotten), Err)
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        // What a panic left half read is drained before the next list.
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One lists while the other deletes: the kernel goes on with its list where an entry vanished meanwhile.
#[derive(Debug)]
struct Sockets {
    lists: Channel,
    changes: Channel,
}

impl Channel {
    fn each_entry(&mut self, family: u8, mut each: impl FnMut(Entry)) -> Result<(), ConntrackError> {
        let step = "list the tracked connections";
        self.drain()?;
        let request = Request { doing: step, kind: GET, family, attrs: &Attrs::default() };
        let mut sound = true;
        let dumped = self.dump(request, |_, attrs| match Entry::parse(attrs) {
            Some(entry) => each(entry),
            None => sound = false,
        });
        dumped.map_err(ConntrackError::listing)?;
        if sound { Ok(()) } else { Err(ConntrackError::Malformed { step }) }
    }

    fn delete(&mut self, entry: &Entry) -> Result<bool, ConntrackError> {
        let family = match entry.original.source {
            IpAddr::V4(_) => number(Family::V4),
            IpAddr::V6(_) => number(Family::V6),
        };
        // A request without a tuple would delete everything; a name always has one.
        let attrs = entry.name();
        let request = Request { doing: "delete a tracked connection", kind: DELETE, family, attrs: &attrs };
        match self.command(request) {
            Ok(()) => Ok(true),
            Err(ChannelError::Refused { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

const fn number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

const SUBSYS_CTNETLINK: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const EVERY_FAMILY: u8 = 0;
