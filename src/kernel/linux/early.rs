//! Work that begins before it is asked for, on threads that would otherwise be idle.
//!
//! A run of topo waits for its lab file to be parsed, and then for the kernel, one namespace after the other. So, while the file is
//! parsed, the network is already read ([`observations`]) and as many namespaces are made as will probably be missing ([`namespaces`]).
//! While a plan is carried out in one place, those namespaces are read in which it has nothing more to do.
//!
//! Nothing depends on it: whoever needs a look or a namespace takes the one that has been begun, or makes its own. What was begun in
//! vain has no name and no effect, and is dropped.

mod namespaces;
mod observations;

pub(super) use namespaces::EarlyNamespaces;
pub use observations::Listing;
pub(super) use observations::{EarlyObservations, Follower, collect, look_everywhere};
