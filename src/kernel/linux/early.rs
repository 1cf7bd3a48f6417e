//! Work that begins before it is needed, on idle threads.
//!
//! While the lab file is parsed, other threads already read the network ([`observations`]) and create the namespaces that are probably
//! missing ([`namespaces`]). While a plan is executed, they read the namespaces that the rest of the plan does not change.
//!
//! This is only an optimization: an observation or a namespace that is not ready is made when it is needed. Unused namespaces have no
//! name and no effect, and disappear when they are closed.

mod namespaces;
mod observations;

pub(super) use namespaces::EarlyNamespaces;
pub use observations::Listing;
pub(super) use observations::{EarlyObservations, Follower, collect, look_everywhere};
