//! The system calls that no safe wrapper covers, each behind a safe function.

mod device;
mod message;
mod option;
mod receive;
mod schedule;
mod send;

pub(super) use device::{bind_packet, exists, open_tap, promiscuous};
pub(super) use option::{Instruction, drops, filter, integer, largest_buffer};
pub(super) use receive::ReceiveBatch;
pub(super) use schedule::{set_nice, set_realtime};
pub(super) use send::{Name, SendBatch};
