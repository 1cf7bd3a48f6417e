//! Links: interfaces of every kind, and what they have in common.
//!
//! A new kind is one file here, its `mod` line, and its line in `for_each_kind`: the lab file's key, the schema, encoding,
//! decoding, comparing and printing follow.

pub mod bridge;
pub mod bridge_port;
pub mod bridge_vlans;
pub mod contract;
pub mod device;
pub mod dummy;
pub mod geneve;
pub mod ifb;
pub mod ipvlan;
pub mod kind;
pub mod loopback;
pub mod macvlan;
pub mod port;
pub mod rules;
pub mod veth;
pub mod vlan;
pub mod vrf;
pub mod vxlan;

mod common;
mod delta;
mod plain;
mod settings;
mod taken;

pub use common::{Inherited, Link, Marked, Queues};
pub use delta::{LinkDelta, MasterChange};
pub use kind::Kind;
pub use port::Port;
pub(crate) use port::for_each_port;
pub(crate) use settings::for_each_setting;
pub use settings::{FlagBits, LinkSettings};
pub use taken::{TakenPort, entry_title, static_entry, static_entry_words};

/// The index of an interface within its namespace (`ifi_index`), at least 1.
pub type Ifindex = u32;

/// The smallest mtu of any link in bytes (ETH_MIN_MTU).
pub const LEAST_MTU: u32 = 68;

/// The smallest mtu of a link with IPv6 in bytes (IPV6_MIN_MTU).
pub const LEAST_IPV6_MTU: u32 = 1280;

/// The registry: hands every kind that has a key in the lab file to the macro `$then`.
macro_rules! for_each_kind {
    ($then:ident) => {
        $then! {
            bridge => Bridge($crate::resource::link::bridge::Bridge),
            dummy => Dummy($crate::resource::link::dummy::Dummy),
            geneve => Geneve($crate::resource::link::geneve::Geneve),
            ifb => Ifb($crate::resource::link::ifb::Ifb),
            ipvlan => Ipvlan($crate::resource::link::ipvlan::Ipvlan),
            ipvtap => Ipvtap($crate::resource::link::ipvlan::Ipvtap),
            macvlan => Macvlan($crate::resource::link::macvlan::Macvlan),
            macvtap => Macvtap($crate::resource::link::macvlan::Macvtap),
            vlan => Vlan($crate::resource::link::vlan::Vlan),
            vrf => Vrf($crate::resource::link::vrf::Vrf),
            vxlan => Vxlan($crate::resource::link::vxlan::Vxlan),
        }
    };
}
pub(crate) use for_each_kind;
