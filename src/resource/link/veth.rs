//! One end of a veth pair, veth(4): a cable between two namespaces.
//!
//! ```yaml
//! links:
//!   - endpoints: [red:eth0, blue:eth0]
//! ```
//!
//! Both ends of a pair are made by one message, each in its namespace, and are deleted together.

use super::contract::LinkKind;
use crate::name::LinkRef;
use crate::resource::option::{OptionRow, OptionTable};

/// Attribute of IFLA_INFO_DATA that describes the other end: a link message within the message.
pub const VETH_INFO_PEER: u16 = 1;

/// One end; the other is named, not contained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Veth {
    /// The other end; `None` on a live link whose other end is in a namespace that topo does not see.
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
    fn another_other_end_needs_another_pair() {
        let with = |peer: &str| Kind::from(Veth { peer: peer.parse().ok() });
        assert_eq!(with("red:a").compare(&with("red:a")).unwrap(), []);
        let changes = with("red:b").compare(&with("red:a")).unwrap();
        assert_eq!(
            changes.iter().map(|change| (change.name, change.mutability)).collect::<Vec<_>>(),
            [("peer", Mutability::Replace)]
        );
    }
}
