//! An interface with its own hardware address on a parent interface, ip-link(8) "MACVLAN and MACVTAP Type Support".
//!
//! ```yaml
//! macvlan0: { macvlan: { parent: "host:eth0", mode: bridge } }
//! ```

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use netlink_packet_core::{DefaultNla, Emitable, NlasIterator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contract::LinkKind;
use super::ipvlan;
use super::loopback::Loopback;
use super::rules::{Addressing, Cause, MtuBound, ParentRule, PathCost, Refusal, Segment, Sole};
use super::vrf;
use crate::iproute2::{Phrase, Place, Word};
use crate::name::LinkRef;
use crate::resource::option::{Codec, Invalid, OptionRow, OptionTable, U16, U32, said};
use crate::value::Mac;
use crate::{kernel_enum, option, words};

const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_MACVLAN_FLAGS: u16 = 2;
const IFLA_MACVLAN_MACADDR_MODE: u16 = 3;
const IFLA_MACVLAN_MACADDR: u16 = 4;
const IFLA_MACVLAN_MACADDR_DATA: u16 = 5;
const IFLA_MACVLAN_BC_QUEUE_LEN: u16 = 7;
const MACVLAN_FLAG_NOPROMISC: u16 = 1;
/// `enum macvlan_macaddr_mode`: replace the whole list.
const MACVLAN_MACADDR_SET: u32 = 3;

/// How the macvlans on one parent communicate (IFLA_MACVLAN_MODE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Not at all.
    Private,
    /// Through an external switch that sends frames back (IEEE 802.1Qbg).
    Vepa,
    /// Directly.
    Bridge,
    /// The macvlan is the only one on its parent and has the parent's hardware address.
    Passthru,
    /// The macvlan receives frames only from the addresses in `macaddrs`.
    Source,
}
kernel_enum!(U32, u32, MacvlanMode { Private = 1, Vepa = 2, Bridge = 4, Passthru = 8, Source = 16 });

/// `macvlan: { parent, mode, … }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Macvlan {
    /// The interface that carries the frames, in any namespace (IFLA_LINK).
    #[schemars(required, with = "LinkRef")]
    pub parent: Option<LinkRef>,
    /// How the macvlans on one parent communicate: `private`, `vepa`, `bridge`, `passthru` or `source`, default `vepa`. A change to or
    /// from `passthru` replaces the link (IFLA_MACVLAN_MODE).
    pub mode: Option<MacvlanMode>,
    /// With `mode: passthru`, do not set the parent to promiscuous mode; default false (MACVLAN_FLAG_NOPROMISC).
    pub nopromisc: Option<bool>,
    /// With `mode: source`, the hardware addresses to receive frames from; default none (IFLA_MACVLAN_MACADDR_DATA).
    pub macaddrs: Option<Vec<Mac>>,
    /// Length of the broadcast and multicast queue in frames; default 1000 (IFLA_MACVLAN_BC_QUEUE_LEN).
    pub bcqueuelen: Option<u32>,
}

impl OptionTable for Macvlan {
    const NAME: &'static str = "macvlan";
    const OPTIONS: &'static [OptionRow<Self>] = &[
        OptionRow {
            unchangeable: passthru_differs,
            ..option!(mode: U32 = IFLA_MACVLAN_MODE, InPlace, default MacvlanMode::Vepa)
        },
        option!(nopromisc: NoPromisc = IFLA_MACVLAN_FLAGS, InPlace, default false),
        OptionRow { same: same_addresses, ..option!(macaddrs, InPlace, default_of source_list) },
        option!(bcqueuelen: U32 = IFLA_MACVLAN_BC_QUEUE_LEN, InPlace, default 1000),
    ];

    fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        if self.macaddrs.is_some() && self.mode != Some(MacvlanMode::Source) {
            invalid.push(Invalid { key: "macaddrs", message: "a list of source addresses needs `mode: source`".into() });
        }
        if self.nopromisc == Some(true) && self.mode != Some(MacvlanMode::Passthru) {
            invalid.push(Invalid { key: "nopromisc", message: "`nopromisc` needs `mode: passthru`".into() });
        }
        for mac in self.macaddrs.iter().flatten() {
            if let Err(error) = mac.usable() {
                invalid.push(Invalid { key: "macaddrs", message: error.to_string() });
            }
        }
        invalid
    }

    /// Only the mode `source` has a list of addresses. The kernel does not keep its order.
    fn normalise(&mut self) {
        let mut list = self.macaddrs.take().unwrap_or_default();
        list.sort_unstable();
        self.macaddrs = (self.mode == Some(MacvlanMode::Source)).then_some(list);
    }

    fn encode_rest(&self, attributes: &mut Vec<DefaultNla>) {
        if let Some(list) = &self.macaddrs {
            let list: Vec<_> = list.iter().map(|mac| DefaultNla::new(IFLA_MACVLAN_MACADDR, mac.0.to_vec())).collect();
            let mut data = vec![0; list.as_slice().buffer_len()];
            list.as_slice().emit(&mut data);
            attributes.push(DefaultNla::new(IFLA_MACVLAN_MACADDR_MODE, MACVLAN_MACADDR_SET.to_ne_bytes().to_vec()));
            attributes.push(DefaultNla::new(IFLA_MACVLAN_MACADDR_DATA, data));
        }
    }

    /// `nopromisc` needs the mode in the same command, and there is no word for its opposite.
    fn phrase(&self, option: &str, value: &Value) -> Option<Phrase> {
        let list = self.macaddrs.iter().flatten().map(|mac| Word::Text(mac.to_string()));
        match (option, self.nopromisc) {
            ("nopromisc", Some(false)) => None,
            ("nopromisc", _) if self.mode.is_none() => Some(Phrase::new(words!["mode", "passthru", option])),
            ("nopromisc", _) => Some(Phrase::new(words![option])),
            ("macaddrs", _) if self.macaddrs.as_ref().is_some_and(Vec::is_empty) => Some(Phrase::new(words!["macaddr", "flush"])),
            ("macaddrs", _) => Some(Phrase::new(words!["macaddr", "set"].into_iter().chain(list)).at(Place::End)),
            _ => Some(Phrase::new(words![option, said(value)])),
        }
    }

    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        if attribute == IFLA_MACVLAN_MACADDR_DATA {
            let entries = NlasIterator::new(bytes).flatten();
            self.macaddrs = Some(entries.filter_map(|entry| Some(Mac(entry.value().try_into().ok()?))).collect());
        }
    }
}

impl LinkKind for Macvlan {
    fn parent_rule(&self) -> ParentRule {
        ParentRule::Required
    }

    fn path_cost(&self) -> PathCost {
        PathCost::Parents
    }

    fn parent(&self) -> Option<&LinkRef> {
        self.parent.as_ref()
    }

    fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
        Some(&mut self.parent)
    }

    fn refuses_parent(&self, parent: &str) -> Option<Refusal> {
        let loopback = (parent == Loopback::NAME).then_some(Refusal::new(Cause::Invalid));
        loopback.or_else(|| ipvlan::refuses_handler(parent)).or_else(|| vrf::refuses(parent))
    }

    fn replaces_parent(&self, parent: &str) -> bool {
        parent == Self::NAME
    }

    fn sole(&self) -> Option<Sole> {
        let hint = "use `mode: bridge`, or a separate parent for each";
        self.is_passthru().then_some(Sole { what: PASSTHRU, option: "mode", hint })
    }

    fn receive_handler(&self) -> Option<&'static str> {
        Some("macvlan")
    }

    fn segment(&self) -> Segment {
        Segment::Parents
    }

    fn addressing(&self) -> Addressing {
        if self.is_passthru() { Addressing::Parents(PASSTHRU) } else { Addressing::Distinct }
    }

    fn mtu_limits(&self) -> RangeInclusive<u32> {
        0..=65535
    }

    fn mtu_bound(&self, parent: u32) -> Option<MtuBound> {
        Some(MtuBound::shrinking(parent))
    }

    fn refused_change(&self) -> Cause {
        Cause::Invalid
    }
}

/// The description in errors.
const PASSTHRU: &str = "a macvlan with `mode: passthru`";

impl Macvlan {
    fn is_passthru(&self) -> bool {
        self.mode == Some(MacvlanMode::Passthru)
    }
}

/// Returns the default list of addresses: empty in the mode `source`, absent in others.
fn source_list(macvlan: &Macvlan) -> Option<Vec<Mac>> {
    (macvlan.mode == Some(MacvlanMode::Source)).then(Vec::new)
}

/// Compares the lists of addresses as sets.
fn same_addresses(desired: &Macvlan, live: &Macvlan) -> bool {
    let set = |kind: &Macvlan| kind.macaddrs.as_ref().map(|list| list.iter().copied().collect::<BTreeSet<Mac>>());
    set(desired) == set(live)
}

fn passthru_differs(desired: &Macvlan, live: &Macvlan) -> bool {
    desired.is_passthru() != live.is_passthru()
}

/// Encodes MACVLAN_FLAG_NOPROMISC in IFLA_MACVLAN_FLAGS.
struct NoPromisc;
impl Codec<bool> for NoPromisc {
    fn write(value: &bool) -> Option<Vec<u8>> {
        U16::write(&if *value { MACVLAN_FLAG_NOPROMISC } else { 0 })
    }
    fn read(bytes: &[u8]) -> Option<bool> {
        <U16 as Codec<u16>>::read(bytes).map(|flags| flags & MACVLAN_FLAG_NOPROMISC != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;
    use crate::resource::option::Mutability;

    fn with(mode: MacvlanMode) -> Kind {
        Kind::from(Macvlan { mode: Some(mode), ..Macvlan::default() })
    }

    #[test]
    fn modes_change_in_place_except_to_and_from_passthru() {
        let change = |from, to| with(to).compare(&with(from).complete()).unwrap()[0].mutability;
        assert_eq!(change(MacvlanMode::Vepa, MacvlanMode::Bridge), Mutability::InPlace);
        assert_eq!(change(MacvlanMode::Bridge, MacvlanMode::Passthru), Mutability::Replace);
        assert_eq!(change(MacvlanMode::Passthru, MacvlanMode::Private), Mutability::Replace);
    }

    #[test]
    fn the_source_list_is_a_set() {
        let with = |list: [u8; 2]| {
            let list = list.into_iter().map(|last| Mac([2, 0, 0, 0, 0, last])).collect();
            Kind::from(Macvlan { mode: Some(MacvlanMode::Source), macaddrs: Some(list), ..Macvlan::default() })
        };
        assert_eq!(with([7, 6]).compare(&with([6, 7]).complete()).unwrap(), []);
        assert_eq!(with([7, 5]).compare(&with([6, 7]).complete()).unwrap().len(), 1);
    }

    #[test]
    fn every_mode_and_the_source_list_survive_the_wire() {
        for mode in [MacvlanMode::Private, MacvlanMode::Vepa, MacvlanMode::Bridge, MacvlanMode::Passthru, MacvlanMode::Source] {
            let list = (mode == MacvlanMode::Source).then(|| vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])]);
            let kind = Kind::from(Macvlan { mode: Some(mode), macaddrs: list, ..Macvlan::default() }).complete();
            assert_eq!(Kind::decode("macvlan", &kind.encode(None)).unwrap(), kind);
        }
    }

    #[test]
    fn options_of_other_modes_are_refused() {
        let mac = |last| Mac([last, 0, 0, 0, 0, 1]);
        let keys = |macvlan: Macvlan| Kind::from(macvlan).validate().into_iter().map(|invalid| invalid.key).collect::<Vec<_>>();
        let parent: Option<LinkRef> = "eth0".parse().ok();
        assert_eq!(keys(Macvlan::default()), ["parent"]);
        let list = Macvlan { parent: parent.clone(), macaddrs: Some(vec![mac(2)]), ..Macvlan::default() };
        assert_eq!(keys(list.clone()), ["macaddrs"]);
        assert_eq!(keys(Macvlan { mode: Some(MacvlanMode::Source), ..list }), [""; 0]);
        assert_eq!(keys(Macvlan { parent, nopromisc: Some(true), ..Macvlan::default() }), ["nopromisc"]);
    }

    #[test]
    fn a_passthru_macvlan_is_the_only_one_and_has_its_parents_address() {
        assert!(with(MacvlanMode::Passthru).sole().is_some() && with(MacvlanMode::Bridge).sole().is_none());
        assert_eq!(with(MacvlanMode::Bridge).addressing(), Addressing::Distinct);
        assert_eq!(with(MacvlanMode::Passthru).addressing(), Addressing::Parents(PASSTHRU));
    }
}
