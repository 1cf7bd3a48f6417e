//! Resources: everything that a lab can want and a kernel can have: links of many kinds, objects of several sorts, settings.
//!
//! One kind of link is one file in [`link`]; one sort of [`object`] is one file here.

pub mod address;
pub mod ignore;
pub mod link;
pub mod neighbor;
pub mod node;
pub mod object;
pub mod option;
pub mod qdisc;
pub mod route;
pub mod rule;
pub mod sysctl;

use serde_json::Value;

/// One attribute that differs between the desired and the live resource.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// The lab file's key for it.
    pub name: String,
    /// The live value; null when there is none.
    pub before: Value,
    /// The desired value; null when it goes.
    pub after: Value,
    /// Whether the kernel cannot change it on the living object.
    pub forces_replacement: bool,
}

impl FieldChange {
    /// A change in place.
    pub fn new(name: impl Into<String>, before: Value, after: Value) -> Self {
        Self { name: name.into(), before, after, forces_replacement: false }
    }
}

/// What changes when a foreign object becomes the lab's, or, going back, the lab's foreign.
fn owner_change(live_is_foreign: bool) -> FieldChange {
    const OWNERS: [&str; 2] = ["the lab", "somebody else"];
    let (before, after) = (OWNERS[usize::from(live_is_foreign)], OWNERS[usize::from(!live_is_foreign)]);
    FieldChange::new(OWNER, before.into(), after.into())
}

impl FieldChange {
    /// Whether it says that a foreign object becomes the lab's.
    pub fn adopts(&self) -> bool {
        *self == owner_change(true)
    }
}

/// The name under which a change of owner is shown.
pub const OWNER: &str = "owner";
