//! Interfaces that share the MAC address of their parent, ip-link(8) "IPVLAN Type Support": `ipvlan`, and `ipvtap`, whose packets a
//! program exchanges through the character device `/dev/tapIFINDEX`. One driver makes both, so that they have the same options and
//! rules, and can be on the same parent.
//!
//! ```yaml
//! ipvlan0: { ipvlan: { parent: "host:eth0", mode: l2 } }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contract::LinkKind;
use super::loopback::Loopback;
use super::macvlan::Macvtap;
use super::rules::{Addressing, Cause, Flags, ParentRule, Refusal, Segment};
use super::vrf;
use crate::iproute2::Phrase;
use crate::name::LinkRef;
use crate::resource::option::{OptionRow, OptionTable, U16, said};
use crate::{kernel_enum, option, words};

const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;

/// The layer at which packets pass between the parent and its ipvlans (IFLA_IPVLAN_MODE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// Layer 2: frames are switched.
    L2,
    /// Layer 3: the namespace of the parent routes. No ARP, broadcasts and multicasts.
    L3,
    /// Like `l3`; the packets also pass netfilter in the namespace of the parent.
    L3s,
}
kernel_enum!(U16, u16, IpvlanMode { L2 = 0, L3 = 1, L3s = 2 });

/// How the ipvlans on one parent communicate (IFLA_IPVLAN_FLAGS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlags {
    /// Directly.
    Bridge,
    /// Not at all (IPVLAN_F_PRIVATE).
    Private,
    /// Through an external switch or router that sends the packets back (IPVLAN_F_VEPA).
    Vepa,
}
kernel_enum!(U16, u16, IpvlanFlags { Bridge = 0, Private = 1, Vepa = 2 });

/// `ipvlan: { parent, mode, flags }`, and the same with `ipvtap`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ipvlan")]
pub struct IpvlanDriver<const TAP: bool> {
    /// The interface that carries the packets (IFLA_LINK). The parent of an ipvlan can be in any namespace; that of an ipvtap must be in
    /// the namespace of the ipvtap.
    #[schemars(required, with = "LinkRef")]
    pub parent: Option<LinkRef>,
    /// The layer at which packets pass between the parent and its ipvlans: `l2`, `l3` or `l3s`, default `l3`. All ipvlans and ipvtaps on
    /// one parent share it (IFLA_IPVLAN_MODE).
    pub mode: Option<IpvlanMode>,
    /// How the ipvlans on one parent communicate: `bridge`, `private` or `vepa`, default `bridge`. All ipvlans and ipvtaps on one parent
    /// share it (IFLA_IPVLAN_FLAGS).
    pub flags: Option<IpvlanFlags>,
}

/// The kind `ipvlan`.
pub type Ipvlan = IpvlanDriver<false>;
/// The kind `ipvtap`.
pub type Ipvtap = IpvlanDriver<true>;

impl<const TAP: bool> OptionTable for IpvlanDriver<TAP> {
    const NAME: &'static str = if TAP { "ipvtap" } else { "ipvlan" };
    const OPTIONS: &'static [OptionRow<Self>] = &[
        option!(mode: U16 = IFLA_IPVLAN_MODE, InPlace, default IpvlanMode::L3),
        // Without the attribute, a new link keeps the flags of its siblings, but sets the mode to `l3`.
        OptionRow { is_default: |_| false, ..option!(flags: U16 = IFLA_IPVLAN_FLAGS, InPlace, default IpvlanFlags::Bridge) },
    ];

    fn phrase(&self, option: &str, value: &Value) -> Option<Phrase> {
        Some(match option {
            "flags" => Phrase::new(words![said(value)]),
            _ => Phrase::new(words![option, said(value)]),
        })
    }
}

impl<const TAP: bool> LinkKind for IpvlanDriver<TAP> {
    fn parent_rule(&self) -> ParentRule {
        ParentRule::Required
    }

    fn parent(&self) -> Option<&LinkRef> {
        self.parent.as_ref()
    }

    fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
        Some(&mut self.parent)
    }

    fn refuses_parent(&self, parent: &str) -> Option<Refusal> {
        match parent {
            Loopback::NAME => Some(Refusal::new(Cause::Invalid)),
            Macvtap::NAME => refuses_handler(parent),
            _ => vrf::refuses(parent),
        }
    }

    fn replaces_parent(&self, parent: &str) -> bool {
        [Ipvlan::NAME, Ipvtap::NAME].contains(&parent)
    }

    /// The ipvtap driver has no `get_link_net`.
    fn hides_parents_namespace(&self) -> bool {
        TAP
    }

    fn receive_handler(&self) -> Option<&'static str> {
        Some("ipvlan")
    }

    fn shared_options(&self) -> &'static [&'static str] {
        &["mode", "flags"]
    }

    fn has_exclusive_addresses(&self) -> bool {
        true
    }

    /// In layer 3 it takes no part in ARP.
    fn segment(&self) -> Segment {
        if self.mode == Some(IpvlanMode::L2) { Segment::Parents } else { Segment::Own }
    }

    fn addressing(&self) -> Addressing {
        Addressing::Parents(if TAP { "an ipvtap" } else { "an ipvlan" })
    }

    fn follows_parents_mtu(&self) -> bool {
        true
    }

    /// In layer 3 the kernel turns ARP off when the link comes up.
    fn default_flags(&self, _: Flags) -> Flags {
        Flags { arp: (self.mode == Some(IpvlanMode::L2)).then_some(true), ..Flags::ETHERNET }
    }

    fn decides_arp(&self) -> Option<&'static str> {
        Some("mode")
    }

    /// An ipvtap has the queue length of a tap device (TUN_READQ_SIZE).
    fn default_txqueuelen(&self) -> u32 {
        if TAP { 500 } else { 1000 }
    }
}

/// Returns the refusal if a link of this kind cannot get a receive handler, and so cannot be a port or a parent of links that install
/// one: an ipvlan accepts none (IFF_NO_RX_HANDLER), and an ipvtap or a macvtap has one already.
pub fn refuses_handler(kind: &str) -> Option<Refusal> {
    match kind {
        Ipvlan::NAME => Some(Refusal::new(Cause::Invalid)),
        Ipvtap::NAME | Macvtap::NAME => Some(Refusal::new(Cause::Busy)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;
    use crate::resource::option::Mutability;

    fn with(mode: IpvlanMode, flags: IpvlanFlags) -> Ipvlan {
        Ipvlan { mode: Some(mode), flags: Some(flags), ..Ipvlan::default() }
    }

    #[test]
    fn every_mode_and_flag_survives_the_wire() {
        for mode in [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s] {
            for flags in [IpvlanFlags::Bridge, IpvlanFlags::Private, IpvlanFlags::Vepa] {
                let kind = Kind::from(with(mode, flags));
                assert_eq!(Kind::decode("ipvlan", &kind.encode(None)).unwrap(), kind);
                let tap = Kind::from(Ipvtap { mode: Some(mode), flags: Some(flags), ..Ipvtap::default() });
                assert_eq!(Kind::decode("ipvtap", &tap.encode(None)).unwrap(), tap);
            }
        }
    }

    #[test]
    fn mode_and_flags_change_in_place() {
        let live = Kind::from(with(IpvlanMode::L3, IpvlanFlags::Bridge));
        let changes = Kind::from(with(IpvlanMode::L2, IpvlanFlags::Private)).compare(&live).unwrap();
        let changes: Vec<_> = changes.iter().map(|change| (change.name, change.mutability)).collect();
        assert_eq!(changes, [("mode", Mutability::InPlace), ("flags", Mutability::InPlace)]);
        assert_eq!(Kind::from(Ipvlan::default()).compare(&live).unwrap(), []);
        assert_eq!(Kind::from(Ipvtap::default()).compare(&live), None);
    }

    #[test]
    fn a_new_ipvlan_always_sends_its_flags() {
        let flags = |value: u16| [&[6, 0, 2, 0], value.to_ne_bytes().as_slice(), &[0, 0]].concat();
        assert_eq!(Kind::from(Ipvlan::default()).encode_new(None), flags(0));
        assert_eq!(Kind::from(with(IpvlanMode::L3, IpvlanFlags::Vepa)).encode_new(None), flags(2));
    }

    #[test]
    fn an_ipvtap_shares_its_options_with_ipvlans() {
        let mut tap = Kind::from(Ipvtap::default());
        tap.take(&with(IpvlanMode::L2, IpvlanFlags::Private).into(), tap.shared_options());
        let expected = Ipvtap { mode: Some(IpvlanMode::L2), flags: Some(IpvlanFlags::Private), ..Ipvtap::default() };
        assert_eq!(tap, expected.into());
    }

    #[test]
    fn it_needs_a_parent() {
        assert_eq!(
            Kind::from(Ipvlan::default()).validate()[0].message,
            "an ipvlan needs a `parent`, the interface that carries it"
        );
        let parent: Option<LinkRef> = "eth0".parse().ok();
        assert_eq!(Kind::from(Ipvtap { parent, ..Ipvtap::default() }).validate(), []);
    }
}
