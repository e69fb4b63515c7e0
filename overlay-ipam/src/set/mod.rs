//! Sets of numbers: what everything else is made of.

pub(crate) mod addr_set;
pub(crate) mod bitmap;
pub(crate) mod id_space;
pub(crate) mod ranges;
