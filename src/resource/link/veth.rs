//! One end of a veth pair, veth(4): a virtual cable between two namespaces.
//!
//! ```yaml
//! links:
//!   - endpoints: [red:eth0, blue:eth0]
//! ```
//!
//! One message creates both ends of a pair, each in its namespace. They are deleted together.

use super::contract::LinkKind;
use super::rules::PathCost;
use crate::name::LinkRef;
use crate::resource::option::{OptionRow, OptionTable};

/// The attribute of IFLA_INFO_DATA that contains the link message of the other end.
pub const VETH_INFO_PEER: u16 = 1;

/// One end of a pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Veth {
    /// The other end; `None` for a live link whose other end is in a namespace that topo does not observe.
    pub peer: Option<LinkRef>,
}

impl OptionTable for Veth {
    const NAME: &'static str = "veth";
    const OPTIONS: &'static [OptionRow<Self>] = &[];
}

impl LinkKind for Veth {
    fn is_pair(&self) -> bool {
        true
    }

    /// Its speed is 10 Gb/s.
    fn path_cost(&self) -> PathCost {
        PathCost::Fixed(2)
    }

    fn parent(&self) -> Option<&LinkRef> {
        self.peer.as_ref()
    }

    fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
        Some(&mut self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;
    use crate::resource::option::Mutability;

    #[test]
    fn a_change_of_the_other_end_replaces_the_pair() {
        let with = |peer: &str| Kind::from(Veth { peer: peer.parse().ok() });
        assert_eq!(with("red:a").compare(&with("red:a")).unwrap(), []);
        let changes = with("red:b").compare(&with("red:a")).unwrap();
        assert_eq!(
            changes.iter().map(|change| (change.name, change.mutability)).collect::<Vec<_>>(),
            [("peer", Mutability::Replace)]
        );
    }
}
