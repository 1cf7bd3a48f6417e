//! An 802.1Q or 802.1ad sub-interface, ip-link(8) "VLAN Type Support".
//!
//! ```yaml
//! eth0.10: { vlan: { parent: eth0, id: 10 } }
//! ```

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use netlink_packet_core::DefaultNla;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contract::LinkKind;
use super::ipvlan::{Ipvlan, Ipvtap};
use super::loopback::Loopback;
use super::rules::{Among, Carrier, Cause, Flags, Identity, MtuBound, ParentRule, PathCost, Refusal, Segment};
use super::vrf::Vrf;
use crate::iproute2::{Phrase, Word};
use crate::name::LinkRef;
use crate::resource::object::wire::attributes;
use crate::resource::option::{Be16, Invalid, OptionRow, OptionTable, Sample, U16, emit, said};
use crate::value_schema::value_schema;
use crate::{kernel_enum, option, scalar, words};

const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_FLAGS: u16 = 2;
const IFLA_VLAN_EGRESS_QOS: u16 = 3;
const IFLA_VLAN_INGRESS_QOS: u16 = 4;
const IFLA_VLAN_PROTOCOL: u16 = 5;
const IFLA_VLAN_QOS_MAPPING: u16 = 1;
/// The largest priority in a tag.
const MOST_PRIORITY: u32 = 7;

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

/// A map of priorities: of tags, 0 to 7, and of packets within the machine (`skb->priority`), 0 to 4294967295.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct QosMap(BTreeMap<u32, u32>);
value_schema!(QosMap, "Map of priorities", "A map of a priority to another one: `1: 5`.", {
    "type": "object",
    "patternProperties": { "^[0-9]+$": { "description": "A priority.", "type": "integer", "minimum": 1, "maximum": u32::MAX } },
    "additionalProperties": false,
    "examples": [{ "1": 5 }],
});

/// A key of the map: YAML has it as a number, JSON as a text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Priority(u32);
scalar!(
    Priority,
    "a priority",
    |number: i128| u32::try_from(number).map(Priority).map_err(|_| format!("{number} is not a priority")),
    |text: &str| text.parse().map(Priority).map_err(|_| format!("`{text}` is not a priority"))
);

impl<'de> Deserialize<'de> for QosMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<Priority, u32>::deserialize(deserializer)?;
        Ok(Self(map.into_iter().map(|(from, to)| (from.0, to)).collect()))
    }
}

impl Sample for QosMap {
    fn samples() -> Vec<Self> {
        [vec![(1, 5), (2, 3)], Vec::new(), vec![(0, 7), (2, 4)]].into_iter().map(|map| Self(map.into_iter().collect())).collect()
    }
}

impl QosMap {
    /// Encodes an attribute with a `struct ifla_vlan_qos_mapping` for each entry.
    fn encode(&self, attribute: u16) -> Option<DefaultNla> {
        let entry =
            |(from, to): (&u32, &u32)| DefaultNla::new(IFLA_VLAN_QOS_MAPPING, [from, to].map(|n| n.to_ne_bytes()).concat());
        let entries: Vec<_> = self.0.iter().map(entry).collect();
        (!entries.is_empty()).then(|| DefaultNla::new(attribute, emit(&entries)))
    }

    fn decode(bytes: &[u8]) -> Self {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_ne_bytes);
        let entries = attributes(bytes).flatten().filter(|(kind, _)| *kind == IFLA_VLAN_QOS_MAPPING);
        Self(entries.filter_map(|(_, entry)| Some((number(entry.get(..4)?)?, number(entry.get(4..8)?)?))).collect())
    }

    /// Adds the entries of the live map that are to be removed: the kernel removes an entry whose value becomes 0.
    fn remove_others(&mut self, live: Option<&Self>) {
        for from in live.into_iter().flat_map(|live| live.0.keys()) {
            self.0.entry(*from).or_insert(0);
        }
    }

    /// Returns the words of iproute2: `1:5 2:3`.
    fn words(&self) -> impl Iterator<Item = Word> {
        self.0.iter().map(|(from, to)| Word::Text(format!("{from}:{to}")))
    }
}

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
    /// Map of the priority in the tag of received frames, 0 to 7, to the priority of the packet within the machine, 1 to 4294967295:
    /// `{ 5: 2 }`; default 0 for each (IFLA_VLAN_INGRESS_QOS).
    pub ingress_qos_map: Option<QosMap>,
    /// Map of the priority of a packet within the machine, 0 to 4294967295, to the priority in the tag of sent frames, 1 to 7:
    /// `{ 2: 5 }`; default 0 for each (IFLA_VLAN_EGRESS_QOS).
    pub egress_qos_map: Option<QosMap>,
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
        option!(ingress_qos_map, InPlace, default QosMap::default()),
        option!(egress_qos_map, InPlace, default QosMap::default()),
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
        let maps = [("ingress_qos_map", &self.ingress_qos_map, true), ("egress_qos_map", &self.egress_qos_map, false)];
        for (key, map, is_ingress) in maps {
            for (from, to) in map.iter().flat_map(|map| &map.0) {
                let of_tag = if is_ingress { from } else { to };
                if *of_tag > MOST_PRIORITY {
                    let message = format!("{of_tag} is not a priority of a VLAN tag; the range is 0 to {MOST_PRIORITY}");
                    invalid.push(Invalid { key, message });
                }
                if *to == 0 {
                    let message = format!("the priority {from} becomes 0 without an entry; remove `{from}: 0`");
                    invalid.push(Invalid { key, message });
                }
            }
        }
        invalid
    }

    /// The kernel omits empty maps, and entries that it has removed.
    fn normalise(&mut self) {
        for map in [&mut self.ingress_qos_map, &mut self.egress_qos_map] {
            map.get_or_insert_default().0.retain(|_, to| *to != 0);
        }
    }

    /// Removes the entries of maps that only the live link has.
    fn complete_change(&mut self, _: &Self, live: &Self) {
        for (map, live) in [(&mut self.ingress_qos_map, &live.ingress_qos_map), (&mut self.egress_qos_map, &live.egress_qos_map)]
        {
            if let Some(map) = map {
                map.remove_others(live.as_ref());
            }
        }
    }

    fn phrase(&self, option: &str, value: &Value) -> Option<Phrase> {
        Some(match option {
            "ingress_qos_map" => {
                Phrase::new(words!["ingress-qos-map"].into_iter().chain(self.ingress_qos_map.iter().flat_map(QosMap::words)))
            }
            "egress_qos_map" => {
                Phrase::new(words!["egress-qos-map"].into_iter().chain(self.egress_qos_map.iter().flat_map(QosMap::words)))
            }
            _ => Phrase::new(words![option, said(value)]),
        })
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
        attributes.extend(self.egress_qos_map.as_ref().and_then(|map| map.encode(IFLA_VLAN_EGRESS_QOS)));
        attributes.extend(self.ingress_qos_map.as_ref().and_then(|map| map.encode(IFLA_VLAN_INGRESS_QOS)));
    }

    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        match (attribute, bytes.first_chunk()) {
            (IFLA_VLAN_FLAGS, Some(flags)) => {
                let flags = u32::from_ne_bytes(*flags);
                for (bit, field) in FLAGS {
                    *field(self) = Some(flags & bit != 0);
                }
            }
            (IFLA_VLAN_EGRESS_QOS, _) => self.egress_qos_map = Some(QosMap::decode(bytes)),
            (IFLA_VLAN_INGRESS_QOS, _) => self.ingress_qos_map = Some(QosMap::decode(bytes)),
            (_, _) => {}
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

    fn with_maps(ingress: &[(u32, u32)], egress: &[(u32, u32)]) -> Vlan {
        let map = |entries: &[(u32, u32)]| Some(QosMap(entries.iter().copied().collect()));
        Vlan { id: Some(10), ingress_qos_map: map(ingress), egress_qos_map: map(egress), ..Vlan::default() }
    }

    #[test]
    fn maps_of_priorities_survive_the_wire() {
        let kind = Kind::from(with_maps(&[(0, 9), (7, 70_000)], &[(70_000, 7)])).complete();
        assert_eq!(Kind::decode("vlan", &kind.encode(None)).unwrap(), kind);
        let none = Kind::from(Vlan { id: Some(10), ..Vlan::default() }).complete();
        assert_eq!(Kind::decode("vlan", &none.encode(None)).unwrap(), none);
    }

    #[test]
    fn an_entry_of_a_map_is_removed_by_a_0() {
        let live = Kind::from(with_maps(&[(1, 5), (2, 6)], &[(3, 4)])).complete();
        let desired = Kind::from(with_maps(&[(1, 5), (4, 7)], &[]));
        let changes = desired.compare(&live).unwrap();
        assert!(changes.iter().all(|change| change.mutability == Mutability::InPlace) && changes.len() == 2, "{changes:?}");
        let sent = with_maps(&[(1, 5), (2, 0), (4, 7)], &[(3, 0)]);
        assert_eq!(desired.difference(&live), Vlan { id: None, ..sent }.into());
        let mut updated = live.clone();
        updated.update(&desired.difference(&live));
        updated.normalise();
        assert_eq!(updated, desired.complete());
    }

    #[test]
    fn priorities_of_tags_are_below_8() {
        let keys =
            |ingress, egress| with_maps(ingress, egress).validate().into_iter().map(|invalid| invalid.key).collect::<Vec<_>>();
        assert_eq!(keys(&[(7, 99)], &[(99, 7)]), [""; 0]);
        assert_eq!(keys(&[(8, 1)], &[(1, 8)]), ["ingress_qos_map", "egress_qos_map"]);
        assert_eq!(keys(&[(1, 0)], &[(1, 0)]), ["ingress_qos_map", "egress_qos_map"]);
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
