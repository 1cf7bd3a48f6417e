//! Links of kinds that topo only observes: hardware, and kinds that topo does not know.

use super::common::Queues;
use super::contract::LinkKind;
use super::rules::{Carrier, Flags, MtuAround};
use crate::resource::option::{OptionRow, OptionTable};

/// The kind of such a link (IFLA_INFO_KIND); empty for hardware.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device(pub String);

impl OptionTable for Device {
    /// The name of hardware in plans.
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

    fn default_queues(&self) -> Option<Queues> {
        None
    }

    fn can_be_made(&self) -> bool {
        false
    }

    fn carrier(&self) -> Carrier {
        Carrier::Unknown
    }
}
