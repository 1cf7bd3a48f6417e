//! The loopback interface `lo`, which the kernel creates with each namespace.

use std::ops::RangeInclusive;

use super::contract::LinkKind;
use super::rules::{Flags, MtuAround};
use crate::resource::option::{OptionRow, OptionTable};

/// The mtu of a new loopback, in bytes.
const MTU: u32 = 65536;

/// `lo`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loopback;

impl OptionTable for Loopback {
    const NAME: &'static str = "loopback";
    const OPTIONS: &'static [OptionRow<Self>] = &[];
}

impl LinkKind for Loopback {
    fn mtu_limits(&self) -> RangeInclusive<u32> {
        0..=i32::MAX.unsigned_abs()
    }

    fn default_mtu(&self, _: MtuAround) -> Option<u32> {
        Some(MTU)
    }

    /// Without defaults: topo does not change the flags.
    fn default_flags(&self, _: Flags) -> Flags {
        Flags::default()
    }

    fn can_be_made(&self) -> bool {
        false
    }
}
