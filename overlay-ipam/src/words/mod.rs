//! What is asked and answered.

pub(crate) mod command;
pub(crate) mod config;
pub(crate) mod denied;
pub(crate) mod granted;
pub(crate) mod key;
pub(crate) mod owner;
