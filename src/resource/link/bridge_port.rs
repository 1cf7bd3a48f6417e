//! A port of a bridge, bridge(8) "bridge link set".
//!
//! ```yaml
//! eth0: { bridge_port: { cost: 10, isolated: true, learning: false } }
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bridge::Bridge;
use super::bridge_vlans::{Before, VlanChange, Vlans};
use super::kind::Kind;
use super::port::{LinkPort, PortTable, Surroundings};
use super::rules::Cause;
use crate::iproute2::{Phrase, Place};
use crate::name::LinkName;
use crate::resource::option::{Codec, Invalid, OptionRow, OptionTable, Sample, U8, U16, U32, said};
use crate::value::Duration;
use crate::value_schema::{LINK_NAME, value_schema};
use crate::{kernel_enum, option, words};

/// The state of a port in the spanning tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// Down, or without carrier.
    Disabled,
    /// Neither learns nor forwards, but listens to the spanning tree.
    Listening,
    /// Learns addresses, but does not forward.
    Learning,
    /// Learns and forwards.
    Forwarding,
    /// Neither learns nor forwards.
    Blocking,
}

kernel_enum!(U8, u8, PortState { Disabled = 0, Listening = 1, Learning = 2, Forwarding = 3, Blocking = 4 });

/// Another port, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackupPort(pub Option<LinkName>);
value_schema!(BackupPort, "Port of the same bridge", "The name of another port of the same bridge.", {
    "type": "string",
    "pattern": LINK_NAME,
    "patternErrorMessage": "Not a valid name of an interface: 1 to 15 letters, digits, `_`, `.` and `-`.",
    "examples": ["eth1"],
});

/// The ports depend on the lab.
impl Sample for BackupPort {
    fn samples() -> Vec<Self> {
        Vec::new()
    }
}

/// `bridge_port: { … }`; each option is iproute2's of the same name, its default the kernel's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BridgePort {
    /// Path cost in the spanning tree: 1 to 65535, by default from the speed of the link (IFLA_BRPORT_COST).
    #[schemars(range(min = 1, max = 65535))]
    pub cost: Option<u32>,
    /// Priority in the spanning tree: 0 to 63, default 32 (IFLA_BRPORT_PRIORITY).
    #[schemars(range(max = 63))]
    pub priority: Option<u16>,
    /// `forwarding`, `learning` or `listening`, without the spanning tree; default `forwarding` (IFLA_BRPORT_STATE).
    pub state: Option<PortState>,
    /// Learn addresses from this port; default true (IFLA_BRPORT_LEARNING).
    pub learning: Option<bool>,
    /// Send frames for unknown addresses out of this port; default true (IFLA_BRPORT_UNICAST_FLOOD).
    pub flood: Option<bool>,
    /// Send multicast frames without known members out of this port; default true (IFLA_BRPORT_MCAST_FLOOD).
    pub mcast_flood: Option<bool>,
    /// Send broadcast frames out of this port; default true (IFLA_BRPORT_BCAST_FLOOD).
    pub bcast_flood: Option<bool>,
    /// Send frames back out of the port that they came in; default false (IFLA_BRPORT_MODE).
    pub hairpin: Option<bool>,
    /// Disable the port when it receives STP messages; default false (IFLA_BRPORT_GUARD).
    pub guard: Option<bool>,
    /// Never become the root port; default false (IFLA_BRPORT_PROTECT).
    pub root_block: Option<bool>,
    /// Forget a multicast group as soon as a member leaves it; default false (IFLA_BRPORT_FAST_LEAVE).
    pub fastleave: Option<bool>,
    /// Whether multicast routers are behind the port: 0 no, 1 as it learns, 2 always; default 1 (IFLA_BRPORT_MULTICAST_ROUTER).
    #[schemars(range(max = 2))]
    pub mcast_router: Option<u8>,
    /// Send multicast frames to each member as unicast; default false (IFLA_BRPORT_MCAST_TO_UCAST).
    pub mcast_to_unicast: Option<bool>,
    /// Most multicast groups, 0 for no limit; default 0, from Linux 6.3 on (IFLA_BRPORT_MCAST_MAX_GROUPS).
    pub mcast_max_groups: Option<u32>,
    /// Which link-local group addresses 01:80:c2:00:00:0X are forwarded, a bit each, default 0 (IFLA_BRPORT_GROUP_FWD_MASK).
    pub group_fwd_mask: Option<u16>,
    /// Answer ARP and NDP from what is known, and do not send them out of this port; default false (IFLA_BRPORT_NEIGH_SUPPRESS).
    pub neigh_suppress: Option<bool>,
    /// Decide `neigh_suppress` for each VLAN; default false, from Linux 6.4 on (IFLA_BRPORT_NEIGH_VLAN_SUPPRESS).
    pub neigh_vlan_suppress: Option<bool>,
    /// Map VLANs to tunnels; default false (IFLA_BRPORT_VLAN_TUNNEL).
    pub vlan_tunnel: Option<bool>,
    /// Exchange no frames with other isolated ports; default false (IFLA_BRPORT_ISOLATED).
    pub isolated: Option<bool>,
    /// Accept frames only from addresses that have an entry for this port; default false (IFLA_BRPORT_LOCKED).
    pub locked: Option<bool>,
    /// Note addresses that a locked port does not accept; default false, from Linux 6.2 on (IFLA_BRPORT_MAB).
    pub mab: Option<bool>,
    /// VLANs of the port; default the `vlan_default_pvid` of the bridge. The others are removed. Requires `vlan_filtering: true` of the
    /// bridge (IFLA_BRIDGE_VLAN_INFO).
    pub vlans: Option<Vlans>,
    /// The port of the same bridge that takes over while this one has no carrier (IFLA_BRPORT_BACKUP_PORT).
    pub backup_port: Option<BackupPort>,
    /// The nexthop that frames are given which go to the `backup_port`, from Linux 6.6 on (IFLA_BRPORT_BACKUP_NHID).
    pub backup_nhid: Option<u32>,
    /// Whether the spanning tree decides the state.
    #[serde(skip)]
    pub spanning_tree: bool,
    /// The default VLAN of the bridge, 0 for none, if it is known.
    #[serde(skip)]
    pub default_pvid: Option<u16>,
    /// The VLANs before a change of `vlans`.
    #[serde(skip)]
    pub vlans_before: Before,
}

const IFLA_BRPORT_BACKUP_PORT: u16 = 34;

/// The attributes of IFLA_INFO_SLAVE_DATA, linux/if_link.h.
impl OptionTable for BridgePort {
    const NAME: &'static str = "bridge_port";
    const OPTIONS: &'static [OptionRow<Self>] = &[
        // The default depends on the speed of the link.
        OptionRow {
            same: |desired, live| desired.cost.is_none() || desired.cost == live.cost,
            ..option!(cost: U32 = 3, InPlace)
        },
        option!(priority: U16 = 2, InPlace, default 32),
        OptionRow {
            same: same_state,
            samples: |_| Vec::new(),
            ..option!(state: U8 = 1, InPlace, default_of |port| (!port.spanning_tree).then_some(PortState::Forwarding))
        },
        option!(learning: U8 = 8, InPlace, default true),
        option!(flood: U8 = 9, InPlace, default true),
        option!(mcast_flood: U8 = 27, InPlace, default true),
        option!(bcast_flood: U8 = 30, InPlace, default true),
        option!(hairpin: U8 = 4, InPlace, default false),
        option!(guard: U8 = 5, InPlace, default false),
        option!(root_block: U8 = 6, InPlace, default false),
        option!(fastleave: U8 = 7, InPlace, default false),
        option!(mcast_router: U8 = 25, InPlace, default 1),
        option!(mcast_to_unicast: U8 = 28, InPlace, default false),
        option!(mcast_max_groups: U32 = 42, InPlace, default 0),
        OptionRow {
            samples: |_| vec![0.into(), 1.into(), 0x4000.into()],
            ..option!(group_fwd_mask: U16 = 31, InPlace, default 0)
        },
        option!(neigh_suppress: U8 = 32, InPlace, default false),
        option!(neigh_vlan_suppress: U8 = 43, InPlace, default false),
        option!(vlan_tunnel: U8 = 29, InPlace, default false),
        option!(isolated: U8 = 33, InPlace, default false),
        option!(locked: U8 = 39, InPlace, default false),
        option!(mab: U8 = 40, InPlace, default false),
        OptionRow {
            same: |desired, live| desired.vlans == live.vlans_with_default_of(desired),
            ..option!(vlans, InPlace, default_of | port | port.default_pvid.map(Vlans::of_new))
        },
        // The kernel does not report the absence of a backup port.
        OptionRow {
            same: |desired, live| desired.backup() == live.backup(),
            ..option!(backup_port, InPlace, default BackupPort(None))
        },
        OptionRow {
            same: |desired, live| desired.backup_nhid.unwrap_or(0) == live.backup_nhid.unwrap_or(0),
            ..option!(backup_nhid: U32 = 44, InPlace, default 0)
        },
    ];

    fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        let mut within = |key, value: Option<u32>, from: u32, to: u32| {
            if let Some(value) = value.filter(|value| !(from..=to).contains(value)) {
                invalid.push(Invalid { key, message: format!("`{key}` {value} is out of range ({from} to {to})") });
            }
        };
        within("cost", self.cost, 1, 65535);
        within("priority", self.priority.map(u32::from), 0, 63);
        within("mcast_router", self.mcast_router.map(u32::from), 0, 2);
        if self.group_fwd_mask.is_some_and(|mask| mask & 0b10 != 0) {
            let message = "bit 1 (pause frames) cannot be forwarded".into();
            invalid.push(Invalid { key: "group_fwd_mask", message });
        }
        if self.mab == Some(true) && self.locked != Some(true) {
            invalid.push(Invalid { key: "locked", message: "`mab` needs `locked: true`".into() });
        }
        if self.mab == Some(true) && self.learning == Some(false) {
            invalid.push(Invalid { key: "learning", message: "`mab` needs `learning: true`".into() });
        }
        if self.vlans.as_ref().is_some_and(Vlans::has_tunnels) && self.vlan_tunnel != Some(true) {
            invalid.push(Invalid { key: "vlan_tunnel", message: "`tunnel_info` needs `vlan_tunnel: true`".into() });
        }
        invalid
    }

    fn take_context(&mut self, from: &Self) {
        self.default_pvid = from.default_pvid;
    }

    /// The VLANs before a change of them: those of the live port, after the default VLAN of the bridge has changed.
    fn complete_change(&mut self, _: &Self, live: &Self) {
        if self.vlans.is_some() {
            let before = live.vlans_with_default_of(self);
            // The kernel forgets the tunnels with the option.
            let keeps_tunnels = self.vlan_tunnel != Some(false);
            self.vlans_before = Before::of_live(before.map(|vlans| if keeps_tunnels { vlans } else { vlans.without_tunnels() }));
        }
    }

    fn is_set_apart(option: &str) -> bool {
        option == "vlans"
    }

    /// A port that is not locked has no `mab`, so that this goes first.
    fn phrase(&self, option: &str, value: &Value) -> Option<Phrase> {
        let phrase = Phrase::new(words![option, said(value)]);
        Some(match (option, self.backup()) {
            ("state", _) => Phrase::new(words![option, <U8 as Codec<PortState>>::write(&self.state?)?.first()?]),
            ("backup_port", None) => Phrase::new(words!["nobackup_port"]),
            ("mab", _) => phrase.since(6, 2).at(if self.mab == Some(true) { Place::After } else { Place::Before }),
            ("mcast_max_groups", _) => phrase.since(6, 3).at(Place::After),
            ("neigh_vlan_suppress", _) => phrase.since(6, 4).at(Place::After),
            ("backup_nhid", _) => phrase.since(6, 6).at(Place::After),
            _ => phrase,
        })
    }

    fn normalise(&mut self) {
        self.backup_nhid = self.backup_nhid.filter(|id| *id != 0);
        self.backup_port = self.backup_port.filter(|backup| backup.0.is_some());
    }
}

/// Only the kernel disables and blocks ports. With the spanning tree, it decides every state.
fn same_state(desired: &BridgePort, live: &BridgePort) -> bool {
    match (desired.state, live.state) {
        (Some(wanted @ (PortState::Listening | PortState::Learning)), live) if !desired.spanning_tree => live == Some(wanted),
        (Some(PortState::Forwarding), Some(PortState::Listening | PortState::Learning)) => desired.spanning_tree,
        (_, _) => true,
    }
}

impl PortTable for BridgePort {
    const MASTER: &'static str = Bridge::NAME;
    const REFERENCE: Option<u16> = Some(IFLA_BRPORT_BACKUP_PORT);
}

impl BridgePort {
    fn is_open(&self) -> bool {
        matches!(self.state, None | Some(PortState::Forwarding))
    }

    fn backup(&self) -> Option<LinkName> {
        self.backup_port?.0
    }

    /// The VLANs of the live port after the default VLAN of the bridge of another one is set.
    fn vlans_with_default_of(&self, other: &Self) -> Option<Vlans> {
        let vlans = self.vlans.as_ref()?;
        Some(match (self.default_pvid, other.default_pvid) {
            (Some(old), Some(new)) => vlans.after_new_default(old, new),
            (_, _) => vlans.clone(),
        })
    }

    /// Returns the first part of `misplaced`: what is wrong with the state.
    fn misplaced_state(&self, around: Surroundings<'_>) -> Option<Invalid> {
        let (state, Kind::Bridge(bridge)) = (self.state?, around.master) else { return None };
        let waits = !matches!(state, PortState::Forwarding) && bridge.forward_delay != Some(Duration::seconds(0));
        let message = match state {
            _ if bridge.stp_state == Some(true) => {
                "the spanning tree decides the state of a port: remove `state`, or `stp_state`"
            }
            PortState::Disabled => "the kernel enables a port whenever that has a carrier: use `up: false`",
            PortState::Blocking => "only the spanning tree blocks a port: use `listening`",
            PortState::Listening | PortState::Learning | PortState::Forwarding if !around.up => {
                "a port that is down, or whose bridge is down, has no `state`: remove `state`, or `up: false`"
            }
            _ if !around.carrier => "a port whose peer is down has no `state`: remove `state`, or `up: false` of the peer",
            _ if waits => "the kernel soon forwards on such a port again unless its bridge has `forward_delay: 0s`",
            _ => return None,
        };
        Some(Invalid { key: "state", message: message.into() })
    }
}

impl LinkPort for BridgePort {
    fn master(&self) -> &'static str {
        Self::MASTER
    }

    fn follow(&mut self, master: &Kind) {
        if let Kind::Bridge(bridge) = master {
            self.spanning_tree = bridge.stp_state == Some(true);
            self.default_pvid = Some(bridge.default_pvid());
        }
    }

    fn inherit(&mut self, path_cost: Option<u32>) {
        self.cost = self.cost.or(path_cost);
    }

    /// `br_set_port_state`.
    fn refused(&self, around: Surroundings<'_>) -> Option<Cause> {
        self.state?;
        match around.master {
            Kind::Bridge(bridge) if bridge.stp_state == Some(true) => Some(Cause::Busy),
            _ => (!around.up || !around.carrier).then_some(Cause::Down),
        }
    }

    /// Includes the states that the kernel accepts, and soon changes again.
    fn misplaced(&self, around: Surroundings<'_>) -> Option<Invalid> {
        let ignores_vlans = matches!(around.master, Kind::Bridge(bridge) if bridge.vlan_filtering != Some(true));
        let vlans = self.vlans.is_some() && ignores_vlans;
        let message = "`vlans` needs `vlan_filtering: true` of the bridge, which otherwise ignores VLANs";
        let vlans = vlans.then(|| Invalid { key: "vlans", message: message.into() });
        self.misplaced_state(around).or(vlans)
    }

    fn reference(&self) -> Option<(&'static str, LinkName)> {
        Some(("backup_port", self.backup()?))
    }

    fn sets_reference(&self) -> bool {
        self.backup_port.is_some()
    }

    fn refer(&mut self, to: Option<LinkName>) {
        self.backup_port = to.map(|name| BackupPort(Some(name)));
    }

    fn passes_all(&self) -> bool {
        let floods = [self.flood, self.bcast_flood].iter().all(|flood| *flood != Some(false));
        let confined = [self.isolated, self.locked, self.neigh_suppress].contains(&Some(true));
        self.is_open() && floods && !confined
    }

    fn passes_discovery(&self) -> bool {
        self.is_open() && self.neigh_suppress != Some(true) && self.bcast_flood != Some(false)
    }

    fn vlan_change(&self) -> Option<VlanChange> {
        let before = self.vlans_before.vlans(self.default_pvid);
        Some(VlanChange { before, after: self.vlans.clone()?, of_bridge: false })
    }

    fn vlans(&self) -> Option<&Vlans> {
        self.vlans.as_ref()
    }

    fn set_vlans(&mut self, vlans: Option<Vlans>) {
        self.vlans = vlans;
    }

    /// `__br_vlan_set_default_pvid`.
    fn master_changed(&mut self, before: &Kind, after: &Kind) {
        if let (Kind::Bridge(before), Kind::Bridge(after)) = (before, after) {
            let moved = |vlans: &Vlans| vlans.after_new_default(before.default_pvid(), after.default_pvid());
            self.vlans = self.vlans.as_ref().map(moved);
            self.default_pvid = Some(after.default_pvid());
        }
    }

    fn leave_to_kernel(&mut self) {
        self.state = None;
    }

    fn needs_carrier(&self) -> bool {
        self.state.is_some()
    }

    fn forwards(&self) -> bool {
        self.state.is_none_or(|state| state == PortState::Forwarding)
    }

    fn passing_state(&self) -> Option<&'static str> {
        match self.state.filter(|_| self.spanning_tree)? {
            PortState::Listening => Some("listening"),
            PortState::Learning => Some("learning"),
            PortState::Disabled | PortState::Forwarding | PortState::Blocking => None,
        }
    }

    fn enable(&mut self, enabled: bool) {
        self.state = match (self.state, enabled) {
            (_, false) => Some(PortState::Disabled),
            (Some(state @ (PortState::Listening | PortState::Learning)), true) => Some(state),
            (_, true) => Some(PortState::Forwarding),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::port::Port;
    use super::*;

    fn complete(options: BridgePort) -> Port {
        Port::from(options).complete()
    }

    #[test]
    fn every_option_survives_the_wire() {
        for port in Port::registered() {
            let master = port.master();
            let all = port.complete();
            assert_eq!(Port::decode(master, &all.encode(None)).unwrap().unwrap().0.complete(), all);
        }
        let options = BridgePort {
            cost: Some(7),
            state: Some(PortState::Learning),
            backup_nhid: Some(9),
            mcast_max_groups: Some(3),
            group_fwd_mask: Some(0x4000),
            ..BridgePort::default()
        };
        let port = Port::from(options);
        assert_eq!(Port::decode("bridge", &port.encode(None)).unwrap(), Some((port, None)));
        assert_eq!(Port::decode("bond", &[]).unwrap(), None);
    }

    #[test]
    fn a_backup_port_is_a_number_on_the_wire() {
        let with = |name: Option<&str>| BackupPort(name.map(|name| name.parse().unwrap()));
        let named = Port::from(BridgePort { backup_port: Some(with(Some("p1"))), ..BridgePort::default() });
        let (mut decoded, number) = Port::decode("bridge", &named.encode(Some(7))).unwrap().unwrap();
        assert_eq!(number, Some(7));
        decoded.refer(Some("p1".parse().unwrap()));
        assert_eq!(decoded, named);
        let none = complete(BridgePort::default()).difference(&named.complete()).unwrap();
        assert_eq!(none, Port::from(BridgePort { backup_port: Some(with(None)), ..BridgePort::default() }));
        assert_eq!(none.encode(None), [8, 0, 34, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_new_port_is_told_nothing_that_it_has_anyway() {
        let options = BridgePort { learning: Some(true), state: Some(PortState::Forwarding), ..BridgePort::default() };
        assert_eq!(Port::from(options.clone()).special(), None);
        let special = Port::from(BridgePort { isolated: Some(true), ..options }).special();
        assert_eq!(special, Some(Port::from(BridgePort { isolated: Some(true), ..BridgePort::default() })));
    }

    #[test]
    fn what_the_kernel_decides_is_not_compared() {
        let live = |state| complete(BridgePort { state: Some(state), cost: Some(100), ..BridgePort::default() });
        let changes = |desired: BridgePort, state| {
            Port::from(desired).compare(&live(state)).unwrap().iter().map(|change| change.name).collect::<Vec<_>>()
        };
        let open = BridgePort::default();
        for state in [PortState::Disabled, PortState::Blocking, PortState::Forwarding] {
            assert!(changes(open.clone(), state).is_empty());
        }
        assert_eq!(changes(open.clone(), PortState::Listening), ["state"]);
        assert!(changes(BridgePort { spanning_tree: true, ..open.clone() }, PortState::Listening).is_empty());
        let listening = BridgePort { state: Some(PortState::Listening), ..open };
        assert_eq!(changes(listening, PortState::Disabled), ["state"]);
    }

    #[test]
    fn vlans_are_those_of_the_file_or_the_default_one() {
        let vlans = |text: &str| serde_json::from_str::<Vlans>(text).unwrap();
        let with = |text: Option<&str>, default_pvid| {
            let vlans = text.map(vlans);
            Port::from(BridgePort { vlans, default_pvid: Some(default_pvid), ..BridgePort::default() })
        };
        // A new port.
        assert_eq!(with(Some("{\"pvid\":1}"), 1).special(), None);
        assert_eq!(with(None, 7).special(), None);
        let change = with(Some("{\"pvid\":10}"), 1).special().unwrap().vlan_change().unwrap();
        assert_eq!((change.before, change.after), (Some(Vlans::of_new(1)), Vlans::of_new(10)));
        // A live one.
        let changes = |desired: &Port, live: &Port| {
            let difference = desired.difference(&live.complete());
            difference.map(|port| port.vlan_change().map(|change| (change.before.unwrap(), change.after)))
        };
        let trunk = vlans("{\"tagged\":[\"10-20\"]}");
        let live = with(Some("{\"tagged\":[\"10-20\"]}"), 1);
        assert_eq!(changes(&live, &live), None);
        assert_eq!(changes(&with(None, 1), &live), Some(Some((trunk, Vlans::of_new(1)))));
        // The default VLAN changes, and the kernel moves the ports that have it.
        assert_eq!(changes(&with(None, 5), &with(None, 1)), None);
        let kept = Some(Some((Vlans::of_new(5), Vlans::of_new(1))));
        assert_eq!(changes(&with(Some("{\"pvid\":1}"), 5), &with(None, 1)), kept);
        // They were not read.
        let unread = Port::from(BridgePort { vlans: None, ..crate::resource::option::complete(&BridgePort::default()) });
        assert_eq!(with(None, 1).difference(&unread), None);
        assert_eq!(with(Some("{}"), 1).difference(&unread).unwrap().vlan_change().unwrap().before, None);
    }

    #[test]
    fn what_an_older_kernel_does_not_report_is_only_missed_when_asked_for() {
        let whole = crate::resource::option::complete(&BridgePort::default());
        let live = Port::from(BridgePort { mab: None, mcast_max_groups: None, backup_nhid: None, ..whole });
        assert_eq!(Port::from(BridgePort::default()).compare(&live).unwrap(), []);
        let asked = BridgePort { mcast_max_groups: Some(1), backup_nhid: Some(1), ..BridgePort::default() };
        assert_eq!(Port::from(asked).compare(&live).unwrap().len(), 2);
    }

    #[test]
    fn impossible_values_are_refused() {
        let port = BridgePort { cost: Some(65536), priority: Some(64), mcast_router: Some(3), ..BridgePort::default() };
        let port = BridgePort { group_fwd_mask: Some(7), mab: Some(true), learning: Some(false), ..port };
        let keys: Vec<_> = port.validate().iter().map(|invalid| invalid.key).collect();
        assert_eq!(keys, ["cost", "priority", "mcast_router", "group_fwd_mask", "locked", "learning"]);
    }
}
