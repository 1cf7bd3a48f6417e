//! A VRF: a routing table of its own for the interfaces that are its ports, ip-link(8) "VRF Type Support".
//!
//! ```yaml
//! red: { vrf: { table: 10, ports: [eth0, eth1] } }
//! ```
//!
//! Routes name the table: `{ to: default, via: 10.0.0.1, table: 10 }`.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LEAST_IPV6_MTU;
use super::contract::LinkKind;
use super::loopback::Loopback;
use super::rules::{Cause, Exclusive, Flags, MtuAround, Refusal};
use crate::name::NamePattern;
use crate::option;
use crate::resource::option::{Invalid, OptionRow, OptionTable, U32};

const IFLA_VRF_TABLE: u16 = 1;
/// The mtu of a new VRF and its largest one, in bytes (IP6_MAX_MTU).
const MTU: u32 = 65575;

/// `vrf: { table, ports }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vrf {
    /// The number of its routing table: 1 to 4294967295. A change replaces the link (IFLA_VRF_TABLE).
    #[schemars(required, with = "u32", range(min = 1))]
    pub table: Option<u32>,
    /// Ports: names of interfaces of this namespace, or globs (IFLA_MASTER of each).
    #[serde(default)]
    pub ports: Vec<NamePattern>,
}

impl OptionTable for Vrf {
    const NAME: &'static str = "vrf";
    const OPTIONS: &'static [OptionRow<Self>] = &[OptionRow {
        samples: |_| vec![10.into(), 20.into(), u32::MAX.into()],
        ..option!(table: U32 = IFLA_VRF_TABLE, Replace)
    }];

    fn validate(&self) -> Vec<Invalid> {
        let message = match self.table {
            None => "a vrf needs a `table`, the number of its routing table",
            Some(0) => "a vrf cannot have the table 0",
            Some(_) => return Vec::new(),
        };
        vec![Invalid { key: "table", message: message.into() }]
    }
}

impl LinkKind for Vrf {
    fn most_ports(&self) -> usize {
        usize::MAX
    }

    fn ports(&self) -> &[NamePattern] {
        &self.ports
    }

    fn set_ports(&mut self, ports: Vec<NamePattern>) {
        self.ports = ports;
    }

    /// `do_vrf_add_slave`, `vrf_add_slave`
    fn refuses_port(&self, port: &str) -> Option<Refusal> {
        match port {
            Loopback::NAME => Some(Refusal::new(Cause::Invalid).message("Can not enslave loopback device to a VRF")),
            Self::NAME => Some(Refusal::new(Cause::Invalid).message("Can not enslave an L3 master device to a VRF")),
            _ => None,
        }
    }

    fn routing_table(&self) -> Option<u32> {
        self.table
    }

    /// `cycle_netdev`
    fn restarts_ports(&self) -> bool {
        true
    }

    /// `vrf_map_register_dev`
    fn exclusive(&self) -> Option<Exclusive> {
        Some(Exclusive {
            option: "table",
            value: self.table?,
            sysctl: "net.vrf.strict_mode",
            refusal: Refusal::new(Cause::Exists).message("Table is used by another VRF"),
        })
    }

    /// `vrf_setup`
    fn mtu_limits(&self) -> RangeInclusive<u32> {
        LEAST_IPV6_MTU..=MTU
    }

    fn default_mtu(&self, _: MtuAround) -> Option<u32> {
        Some(MTU)
    }

    /// `vrf_dev_init`
    fn default_flags(&self, _: Flags) -> Flags {
        Flags { arp: Some(false), multicast: Some(false) }
    }

    /// `addrconf_addr_gen`, `addrconf_dev_config`
    fn has_automatic_inet6(&self) -> bool {
        false
    }
}

/// Returns the refusal if a link of this kind is a VRF, which takes no part in layer 2: it cannot carry such links, or be a port of their
/// masters.
pub fn refuses(kind: &str) -> Option<Refusal> {
    (kind == Vrf::NAME).then_some(Refusal::new(Cause::Invalid))
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;
    use crate::resource::option::Mutability;

    fn vrf(table: u32) -> Kind {
        Kind::from(Vrf { table: Some(table), ..Vrf::default() })
    }

    #[test]
    fn a_table_survives_the_wire() {
        for table in [1, 254, 1_000_000, u32::MAX] {
            assert_eq!(Kind::decode("vrf", &vrf(table).encode_new(None)).unwrap(), vrf(table));
        }
        assert_eq!(vrf(10).encode_new(None), [8, 0, 1, 0, 10, 0, 0, 0]);
    }

    #[test]
    fn another_table_is_another_link() {
        let changes = vrf(11).compare(&vrf(10)).unwrap();
        assert_eq!((changes.len(), changes[0].name, changes[0].mutability), (1, "table", Mutability::Replace));
        assert_eq!(vrf(10).compare(&vrf(10)).unwrap(), []);
    }

    #[test]
    fn a_table_is_required_and_not_zero() {
        let keys = |vrf: Vrf| Kind::from(vrf).validate().into_iter().map(|invalid| invalid.key).collect::<Vec<_>>();
        assert_eq!(keys(Vrf::default()), ["table"]);
        assert_eq!(keys(Vrf { table: Some(0), ..Vrf::default() }), ["table"]);
        assert_eq!(keys(Vrf { table: Some(1), ..Vrf::default() }), [""; 0]);
    }

    #[test]
    fn loopbacks_and_vrfs_cannot_be_ports() {
        assert!(vrf(1).refuses_port("loopback").is_some() && vrf(1).refuses_port("vrf").is_some());
        assert!(["bridge", "vlan", "veth", "macvlan", "dummy", ""].iter().all(|kind| vrf(1).refuses_port(kind).is_none()));
    }
}
