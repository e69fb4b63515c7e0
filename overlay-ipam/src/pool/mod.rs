//! What is free, without owners: the addresses of a prefix, the subnets of a pool.

pub(crate) mod addr_pool;
pub(crate) mod clock;
pub(crate) mod subnet_pool;
pub(crate) mod taken;
