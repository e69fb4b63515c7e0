//! A small client of the Engine API: one request, one connection, JSON in and out.

mod client;
mod error;
mod value;

pub(crate) use client::Client;
pub(crate) use error::ApiError;
pub(crate) use value::{encode, filters, items, number, text};
