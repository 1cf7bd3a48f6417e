//! An 802.1Q or 802.1ad sub-interface, ip-link(8) "VLAN Type Support".
//!
//! ```yaml
//! eth0.10: { vlan: { parent: eth0, id: 10 } }
//! ```

use std::ops::RangeInclusive;

use netlink_packet_core::DefaultNla;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::LinkKind;
use super::ipvlan::{Ipvlan, Ipvtap};
use super::loopback::Loopback;
use super::rules::{Among, Carrier, Cause, Flags, Identity, MtuBound, ParentRule, PathCost, Refusal, Segment};
use super::vrf::Vrf;
use crate::name::LinkRef;
use crate::resource::option::{Be16, Invalid, OptionRow, OptionTable, U16};
use crate::{kernel_enum, option};

const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_FLAGS: u16 = 2;
const IFLA_VLAN_PROTOCOL: u16 = 5;

/// The tag protocol (IFLA_VLAN_PROTOCOL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VlanProtocol {
    /// IEEE 802.1Q, ethertype 0x8100.
    #[serde(rename = "802.1Q")]
    Dot1Q,
    /// IEEE 802.1ad (QinQ), ethertype 0x88a8.
    #[serde(rename = "802.1ad")]
    Dot1Ad,
}
kernel_enum!(Be16, u16, VlanProtocol { Dot1Q = 0x8100, Dot1Ad = 0x88a8 });

/// `vlan: { parent, id, … }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// The interface that carries the tagged frames, in any namespace (IFLA_LINK).
    #[schemars(required, with = "LinkRef")]
    pub parent: Option<LinkRef>,
    /// VLAN ID: 1 to 4094 (IFLA_VLAN_ID).
    #[schemars(required, with = "u16", range(min = 1, max = 4094))]
    pub id: Option<u16>,
    /// Tag protocol: `802.1Q` or `802.1ad`, default `802.1Q` (IFLA_VLAN_PROTOCOL).
    pub protocol: Option<VlanProtocol>,
    /// Remove the tag from received frames; default true (VLAN_FLAG_REORDER_HDR).
    pub reorder_hdr: Option<bool>,
    /// Register the VLAN with the switch by GVRP; default false (VLAN_FLAG_GVRP).
    pub gvrp: Option<bool>,
    /// Register the VLAN with the switch by MVRP; default false (VLAN_FLAG_MVRP).
    pub mvrp: Option<bool>,
    /// Do not go up and down with the parent; default false (VLAN_FLAG_LOOSE_BINDING).
    pub loose_binding: Option<bool>,
    /// On a bridge, have carrier only while a port of the VLAN is up; default false (VLAN_FLAG_BRIDGE_BINDING).
    pub bridge_binding: Option<bool>,
}

/// The bits of `struct ifla_vlan_flags`, and their fields.
const FLAGS: [(u32, Field); 5] = [
    (1, |vlan| &mut vlan.reorder_hdr),
    (2, |vlan| &mut vlan.gvrp),
    (4, |vlan| &mut vlan.loose_binding),
    (8, |vlan| &mut vlan.mvrp),
    (16, |vlan| &mut vlan.bridge_binding),
];
type Field = fn(&mut Vlan) -> &mut Option<bool>;

impl OptionTable for Vlan {
    const NAME: &'static str = "vlan";
    const OPTIONS: &'static [OptionRow<Self>] = &[
        option!(id: U16 = IFLA_VLAN_ID, Replace),
        option!(protocol: Be16 = IFLA_VLAN_PROTOCOL, Replace, default VlanProtocol::Dot1Q),
        option!(reorder_hdr, InPlace, default true),
        option!(gvrp, InPlace, default false),
        option!(mvrp, InPlace, default false),
        option!(loose_binding, InPlace, default false),
        option!(bridge_binding, InPlace, default false),
    ];

    fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        match self.id {
            None => invalid.push(Invalid { key: "id", message: "a vlan needs an `id`".into() }),
            Some(1..=4094) => {}
            Some(id) => {
                invalid.push(Invalid { key: "id", message: format!("{id} is not a valid VLAN ID; the range is 1 to 4094") });
            }
        }
        invalid
    }

    fn encode_rest(&self, attributes: &mut Vec<DefaultNla>) {
        let (mut flags, mut mask) = (0_u32, 0_u32);
        for (bit, field) in FLAGS {
            if let Some(set) = *field(&mut self.clone()) {
                mask |= bit;
                flags |= if set { bit } else { 0 };
            }
        }
        if mask != 0 {
            attributes.push(DefaultNla::new(IFLA_VLAN_FLAGS, [flags.to_ne_bytes(), mask.to_ne_bytes()].concat()));
        }
    }

    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        if let (IFLA_VLAN_FLAGS, Some(flags)) = (attribute, bytes.first_chunk()) {
            let flags = u32::from_ne_bytes(*flags);
            for (bit, field) in FLAGS {
                *field(self) = Some(flags & bit != 0);
            }
        }
    }
}

impl LinkKind for Vlan {
    fn module(&self) -> Option<&'static str> {
        Some("8021q")
    }

    fn parent_rule(&self) -> ParentRule {
        ParentRule::Required
    }

    fn segment(&self) -> Segment {
        let protocol = match self.protocol.unwrap_or(VlanProtocol::Dot1Q) {
            VlanProtocol::Dot1Q => 0x8100,
            VlanProtocol::Dot1Ad => 0x88a8,
        };
        self.id.map_or(Segment::Own, |id| Segment::Tagged { protocol, id })
    }

    fn path_cost(&self) -> PathCost {
        PathCost::Parents
    }

    /// With `bridge_binding`, ports decide that the lab file does not name.
    fn carrier(&self) -> Carrier {
        if self.bridge_binding == Some(true) { Carrier::Unknown } else { Carrier::Below }
    }

    fn parent(&self) -> Option<&LinkRef> {
        self.parent.as_ref()
    }

    fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
        Some(&mut self.parent)
    }

    /// Loopbacks, ipvlans, ipvtaps and VRFs have NETIF_F_VLAN_CHALLENGED.
    fn refuses_parent(&self, parent: &str) -> Option<Refusal> {
        let refusal = Refusal::new(Cause::Unsupported).message("VLANs not supported on device");
        [Loopback::NAME, Ipvlan::NAME, Ipvtap::NAME, Vrf::NAME].contains(&parent).then_some(refusal)
    }

    fn follows_parent(&self) -> bool {
        self.loose_binding != Some(true)
    }

    fn identity(&self) -> Option<Identity> {
        let (id, outer) = (self.id?, self.protocol == Some(VlanProtocol::Dot1Ad));
        Some(Identity {
            among: Among::Siblings,
            key: vec![id.into(), outer.into()],
            options: &["id", "protocol", "parent"],
            option: "id",
            relation: format!("have the same VLAN ID {id} on"),
            refusal: Refusal::new(Cause::Exists).message("VLAN device already exists"),
        })
    }

    fn mtu_limits(&self) -> RangeInclusive<u32> {
        0..=65535
    }

    fn mtu_bound(&self, parent: u32) -> Option<MtuBound> {
        Some(MtuBound { refusal: Cause::OutOfRange, ..MtuBound::shrinking(parent) })
    }

    /// The kernel copies the flags of the parent.
    fn default_flags(&self, parent: Flags) -> Flags {
        parent
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;
    use crate::resource::option::Mutability;

    #[test]
    fn flags_survive_the_wire_and_change_in_place() {
        let gvrp = Kind::from(Vlan { id: Some(10), gvrp: Some(true), ..Vlan::default() });
        let live = Kind::decode("vlan", &gvrp.complete().encode(None)).unwrap();
        assert_eq!(live, gvrp.complete());
        let changes = Kind::from(Vlan { id: Some(10), ..Vlan::default() }).compare(&live).unwrap();
        assert_eq!(changes.iter().map(|c| (c.name, c.mutability)).collect::<Vec<_>>(), [("gvrp", Mutability::InPlace)]);
    }

    #[test]
    fn a_change_of_the_id_replaces_the_link() {
        let with = |id| Kind::from(Vlan { id: Some(id), ..Vlan::default() });
        let changes = with(11).compare(&with(10).complete()).unwrap();
        assert_eq!(changes.iter().map(|c| (c.name, c.mutability)).collect::<Vec<_>>(), [("id", Mutability::Replace)]);
    }

    #[test]
    fn it_needs_a_parent_and_a_possible_id() {
        let keys = |vlan: Vlan| Kind::from(vlan).validate().into_iter().map(|invalid| invalid.key).collect::<Vec<_>>();
        assert_eq!(keys(Vlan::default()), ["parent", "id"]);
        let parent: Option<LinkRef> = "eth0".parse().ok();
        for (id, refused) in [(0, true), (1, false), (4094, false), (4095, true)] {
            let vlan = Vlan { parent: parent.clone(), id: Some(id), ..Vlan::default() };
            assert_eq!(keys(vlan), ["id"][..usize::from(refused)]);
        }
    }

    #[test]
    fn the_tag_protocol_is_part_of_its_identity() {
        let identity = |protocol| Vlan { id: Some(10), protocol, ..Vlan::default() }.identity().unwrap().key;
        assert_eq!(identity(None), identity(Some(VlanProtocol::Dot1Q)));
        assert_ne!(identity(None), identity(Some(VlanProtocol::Dot1Ad)));
    }
}
