//! What is under way, by the time when it arrives.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::{DialFailure, DialId};

/// Something that happens to a node.
#[derive(Clone, Debug)]
pub(super) enum Parcel {
    /// Time to wake.
    Alarm {
        at: usize,
    },
    Datagram {
        from: SocketAddr,
        to: usize,
        payload: Bytes,
    },
    Request {
        stream: u64,
        from: SocketAddr,
        to: usize,
        payload: Bytes,
    },
    Reply {
        to: usize,
        life: u64,
        id: DialId,
        payload: Bytes,
    },
    Failed {
        to: usize,
        life: u64,
        id: DialId,
        failure: DialFailure,
    },
    /// An exchange has had its time.
    GiveUp {
        stream: u64,
    },
}

/// Parcels in order of time, then of posting.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    parcels: Vec<Option<Parcel>>,
    free: Vec<usize>,
    posted: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Instant, parcel: Parcel) {
        self.posted += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.parcels[place] = Some(parcel);
                place
            }
            None => {
                self.parcels.push(Some(parcel));
                self.parcels.len() - 1
            }
        };
        self.heap.push(Reverse((at, self.posted, place)));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(super) fn pop(&mut self) -> Option<Parcel> {
        let Reverse((_, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.parcels[place].take()
    }
}
