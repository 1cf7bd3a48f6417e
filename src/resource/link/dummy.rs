//! A dummy interface: it swallows what is sent; an address on it is always up.
//!
//! ```yaml
//! dummy0: { dummy: {}, addresses: [192.0.2.1/32] }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::LinkKind;
use crate::resource::option::{OptionRow, OptionTable};

/// `dummy: {}`; it has no options of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dummy {}

impl OptionTable for Dummy {
    const NAME: &'static str = "dummy";
    const OPTIONS: &'static [OptionRow<Self>] = &[];
}

impl LinkKind for Dummy {
    const ARP: Option<bool> = Some(false);
    const MULTICAST: Option<bool> = Some(false);
}
