//! One end of a veth pair, veth(4): a cable between two namespaces.
//!
//! ```yaml
//! links:
//!   - endpoints: [red:eth0, blue:eth0]
//! ```
//!
//! A pair is born with each end in its namespace, in one message, and dies with either end.

use serde_json::Value;

use crate::name::LinkRef;
use crate::resource::option::{Mutability, OptionChange};

/// Attribute of IFLA_INFO_DATA that describes the other end: a link message within the message.
pub const VETH_INFO_PEER: u16 = 1;

/// One end; the other is named, not contained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Veth {
    /// The other end; `None` on a live link whose other end is in a namespace that topo does not see.
    pub peer: Option<LinkRef>,
}

impl Veth {
    /// IFLA_INFO_KIND.
    pub const NAME: &'static str = "veth";

    /// A different other end cannot be had without a new pair.
    pub fn compare_peer(&self, live: &Self) -> Vec<OptionChange> {
        if self.peer == live.peer {
            return Vec::new();
        }
        let show = |peer: &Option<LinkRef>| peer.as_ref().map(|peer| Value::from(peer.to_string()));
        vec![OptionChange { name: "peer", before: show(&live.peer), after: show(&self.peer), mutability: Mutability::Replace }]
    }
}
