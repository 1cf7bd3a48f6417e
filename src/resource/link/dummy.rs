//! A dummy interface: it drops all packets that are sent through it. Used for addresses that do not depend on a cable.
//!
//! ```yaml
//! dummy0: { dummy: {}, addresses: [192.0.2.1/32] }
//! ```

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::LinkKind;
use super::rules::{Flags, PathCost};
use crate::resource::option::{OptionRow, OptionTable};

/// `dummy: {}`, without options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dummy {}

impl OptionTable for Dummy {
    const NAME: &'static str = "dummy";
    const OPTIONS: &'static [OptionRow<Self>] = &[];
}

impl LinkKind for Dummy {
    fn mtu_limits(&self) -> RangeInclusive<u32> {
        0..=i32::MAX.unsigned_abs()
    }

    fn path_cost(&self) -> PathCost {
        PathCost::Fixed(100)
    }

    fn default_flags(&self, _: Flags) -> Flags {
        Flags { arp: Some(false), multicast: Some(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;

    #[test]
    fn unknown_attributes_are_ignored() {
        let kind = Kind::from(Dummy {});
        assert!(kind.encode_new(None).is_empty());
        assert_eq!(Kind::decode("dummy", &[8, 0, 1, 0, 0, 0, 0, 0]).unwrap(), kind);
    }
}
