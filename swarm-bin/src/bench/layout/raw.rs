//! No overlay at all: the two containers on one cable.

use super::super::error::BenchError;
use super::super::lab::{Built, Container, Site, cable};

/// Builds it.
///
/// # Errors
///
/// The kernel refused.
pub(super) fn build(_: &Site) -> Result<Built, BenchError> {
    let [one, two] = Container::pair()?;
    cable(&one.netns, one.addr, &two.netns, two.addr)?;
    Ok(Built::between(one.netns, two.netns, two.addr))
}
