//! An embeddable swarm node: manager, worker and data plane composed

pub mod rpc;
pub mod security;
