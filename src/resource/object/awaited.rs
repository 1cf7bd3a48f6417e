//! Addresses that the kernel uses only after a time, which objects wait for.

use std::fmt;
use std::net::IpAddr;

use crate::name::LinkId;
use crate::value::Duration;

/// A local address that an object needs, and the time until the kernel uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The address.
    pub source: IpAddr,
    /// The time until then.
    pub time: SettlingTime,
}

/// The longest time that the kernel takes by the lab file until it uses a new IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettlingTime {
    /// Duplicate address detection.
    pub detection: Duration,
    /// Bridges with the spanning tree that get their carrier first, and the time that each takes.
    pub spanning_trees: Vec<(LinkId, Duration)>,
}

impl SettlingTime {
    /// Returns the sum.
    pub fn total(&self) -> Duration {
        Duration(self.spanning_trees.iter().fold(self.detection.0, |sum, (_, time)| sum.saturating_add(time.0)))
    }
}

/// Writes what takes the time: `duplicate address detection (2s) and the spanning tree of `a:br0` (30s)`.
impl fmt::Display for SettlingTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "duplicate address detection ({})", self.detection)?;
        for (bridge, time) in &self.spanning_trees {
            write!(f, " and the spanning tree of `{bridge}` (2 × `forward_delay`: {time})")?;
        }
        Ok(())
    }
}
