//! Interfaces with their own hardware address on a parent interface, ip-link(8) "MACVLAN and MACVTAP Type Support": `macvlan`, and
//! `macvtap`, whose frames a program exchanges through the character device `/dev/tapIFINDEX`. One driver makes both, so that they have
//! the same options and rules, and can be on the same parent.
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
use crate::resource::option::{Codec, I32, Invalid, OptionRow, OptionTable, U16, U32, said};
use crate::value::Mac;
use crate::{kernel_enum, option, words};

const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_MACVLAN_FLAGS: u16 = 2;
const IFLA_MACVLAN_MACADDR_MODE: u16 = 3;
const IFLA_MACVLAN_MACADDR: u16 = 4;
const IFLA_MACVLAN_MACADDR_DATA: u16 = 5;
const IFLA_MACVLAN_BC_QUEUE_LEN: u16 = 7;
const IFLA_MACVLAN_BC_CUTOFF: u16 = 9;
const MACVLAN_FLAG_NOPROMISC: u16 = 1;
/// `enum macvlan_macaddr_mode`: replace the whole list.
const MACVLAN_MACADDR_SET: u32 = 3;
const DEFAULT_BCLIM: i32 = 1;

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

/// `macvlan: { parent, mode, … }`, and the same with `macvtap`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Macvlan")]
pub struct MacvlanDriver<const TAP: bool> {
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
    /// Threshold for the broadcast queue: the kernel queues multicasts that more macvlans receive than this; -2147483648 to 2147483647,
    /// default 1. With a negative number it queues no broadcasts and multicasts. All macvlans and macvtaps on one parent share it;
    /// Linux 6.4 (IFLA_MACVLAN_BC_CUTOFF).
    pub bclim: Option<i32>,
}

/// The kind `macvlan`.
pub type Macvlan = MacvlanDriver<false>;
/// The kind `macvtap`.
pub type Macvtap = MacvlanDriver<true>;

impl<const TAP: bool> OptionTable for MacvlanDriver<TAP> {
    const NAME: &'static str = if TAP { "macvtap" } else { "macvlan" };
    const OPTIONS: &'static [OptionRow<Self>] = &[
        OptionRow {
            unchangeable: |desired, live| desired.is_passthru() != live.is_passthru(),
            ..option!(mode: U32 = IFLA_MACVLAN_MODE, InPlace, default MacvlanMode::Vepa)
        },
        option!(nopromisc: NoPromisc = IFLA_MACVLAN_FLAGS, InPlace, default false),
        OptionRow { same: same_addresses, ..option!(macaddrs, InPlace, default_of source_list) },
        option!(bcqueuelen: U32 = IFLA_MACVLAN_BC_QUEUE_LEN, InPlace, default 1000),
        // Without the attribute, a new link keeps the value of its siblings.
        OptionRow { is_default: |_| false, ..option!(bclim: I32 = IFLA_MACVLAN_BC_CUTOFF, InPlace, default DEFAULT_BCLIM) },
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
        // The kernel reports only another value than the default.
        self.bclim = self.bclim.or(Some(DEFAULT_BCLIM));
    }

    /// iproute2 has the word since 6.4.
    fn unsaid_defaults(&self) -> &'static [&'static str] {
        &["bclim"]
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
            ("bclim", _) => Some(Phrase::new(words![option, said(value)]).since(6, 4)),
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

impl<const TAP: bool> LinkKind for MacvlanDriver<TAP> {
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
        let refusal = loopback.or_else(|| ipvlan::refuses_handler(parent).filter(|_| !self.replaces_parent(parent)));
        refusal.or_else(|| vrf::refuses(parent))
    }

    fn replaces_parent(&self, parent: &str) -> bool {
        [Macvlan::NAME, Macvtap::NAME].contains(&parent)
    }

    fn sole(&self) -> Option<Sole> {
        let hint = "use `mode: bridge`, or a separate parent for each";
        self.is_passthru().then_some(Sole { what: Self::PASSTHRU, option: "mode", hint })
    }

    fn shared_options(&self) -> &'static [&'static str] {
        &["bclim"]
    }

    fn receive_handler(&self) -> Option<&'static str> {
        Some("macvlan")
    }

    fn segment(&self) -> Segment {
        Segment::Parents
    }

    fn addressing(&self) -> Addressing {
        if self.is_passthru() { Addressing::Parents(Self::PASSTHRU) } else { Addressing::Distinct }
    }

    fn mtu_limits(&self) -> RangeInclusive<u32> {
        0..=65535
    }

    fn mtu_bound(&self, parent: u32) -> Option<MtuBound> {
        Some(MtuBound::shrinking(parent))
    }

    /// A macvtap has the queue length of a tap device (TUN_READQ_SIZE).
    fn default_txqueuelen(&self) -> u32 {
        if TAP { 500 } else { 1000 }
    }

    fn refused_change(&self) -> Cause {
        Cause::Invalid
    }
}

impl<const TAP: bool> MacvlanDriver<TAP> {
    /// The description in errors.
    const PASSTHRU: &'static str = if TAP { "a macvtap with `mode: passthru`" } else { "a macvlan with `mode: passthru`" };

    fn is_passthru(&self) -> bool {
        self.mode == Some(MacvlanMode::Passthru)
    }
}

/// Returns the default list of addresses: empty in the mode `source`, absent in others.
fn source_list<const TAP: bool>(macvlan: &MacvlanDriver<TAP>) -> Option<Vec<Mac>> {
    (macvlan.mode == Some(MacvlanMode::Source)).then(Vec::new)
}

/// Compares the lists of addresses as sets.
fn same_addresses<const TAP: bool>(desired: &MacvlanDriver<TAP>, live: &MacvlanDriver<TAP>) -> bool {
    let set = |kind: &MacvlanDriver<TAP>| kind.macaddrs.as_ref().map(|list| list.iter().copied().collect::<BTreeSet<Mac>>());
    set(desired) == set(live)
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
        assert_eq!(with(MacvlanMode::Passthru).addressing(), Addressing::Parents(Macvlan::PASSTHRU));
        let tap = Macvtap { mode: Some(MacvlanMode::Passthru), ..Macvtap::default() };
        assert_eq!(tap.sole().unwrap().what, "a macvtap with `mode: passthru`");
    }

    #[test]
    fn a_macvtap_has_the_options_of_a_macvlan() {
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let kind = Kind::from(Macvtap {
            mode: Some(MacvlanMode::Source),
            macaddrs: Some(vec![mac]),
            bcqueuelen: Some(7),
            bclim: Some(-1),
            ..Macvtap::default()
        });
        assert_eq!(Kind::decode("macvtap", &kind.complete().encode(None)).unwrap(), kind.complete());
        let live = Kind::from(Macvtap { mode: Some(MacvlanMode::Bridge), ..Macvtap::default() }).complete();
        let changes = kind.compare(&live).unwrap();
        assert!(changes.iter().all(|change| change.mutability == Mutability::InPlace), "{changes:?}");
        assert_eq!(changes.iter().map(|change| change.name).collect::<Vec<_>>(), ["mode", "macaddrs", "bcqueuelen", "bclim"]);
    }

    #[test]
    fn a_new_link_always_sends_the_limit_that_it_shares() {
        let bclim = |value: i32| [&[8, 0, 9, 0], value.to_ne_bytes().as_slice()].concat();
        assert_eq!(Kind::from(Macvlan::default()).encode_new(None), bclim(1));
        assert_eq!(Kind::from(Macvtap { bclim: Some(-1), ..Macvtap::default() }).encode_new(None), bclim(-1));
        assert_eq!(Kind::decode("macvlan", &[]).unwrap().compare(&Kind::from(Macvlan::default()).complete()).unwrap(), []);
        assert_eq!(Kind::from(Macvlan::default()).say_new(), []);
    }

    #[test]
    fn a_macvtap_has_a_receive_handler_itself() {
        assert_eq!(Macvlan::default().refuses_parent("macvtap"), None);
        assert!(ipvlan::refuses_handler("macvtap").is_some() && ipvlan::refuses_handler("macvlan").is_none());
    }
}
