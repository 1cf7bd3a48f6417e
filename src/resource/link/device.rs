//! A link of a kind that topo does not make, only observes: hardware, or what other programs make.

use super::contract::LinkKind;
use super::rules::{Flags, MtuAround};
use crate::resource::option::{OptionRow, OptionTable};

/// Such a link, by its IFLA_INFO_KIND, which is empty for hardware.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device(pub String);

impl OptionTable for Device {
    /// What hardware is called.
    const NAME: &'static str = "device";
    const OPTIONS: &'static [OptionRow<Self>] = &[];
}

impl LinkKind for Device {
    fn default_mtu(&self, _: MtuAround) -> Option<u32> {
        None
    }

    fn default_flags(&self, _: Flags) -> Flags {
        Flags::default()
    }

    fn can_be_made(&self) -> bool {
        false
    }
}
