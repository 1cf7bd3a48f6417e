//! A software bridge, ip-link(8) "BRIDGE Type Support".
//!
//! ```yaml
//! br0: { bridge: { ports: ["p*"], stp_state: true, forward_delay: 4s } }
//! ```
//!
//! The options of a port are set on the port's interface.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bridge_vlans::{Before, VlanChange, Vlans};
use super::contract::LinkKind;
use super::ipvlan;
use super::kind::Kind;
use super::loopback::Loopback;
use super::rules::{Carrier, Cause, Refusal, Switching};
use super::vlan::VlanProtocol;
use super::vrf;
use crate::iproute2::Phrase;
use crate::name::NamePattern;
use crate::resource::option::{
    Be16, Centiseconds, Centiseconds64, HardwareAddress, Invalid, OptionRow, OptionTable, U8, U16, U32, said, said_in,
};
use crate::value::{Duration, Mac};
use crate::{option, words};

/// `bridge: { ports, … }`. The options have the names of iproute2 and the defaults of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bridge {
    /// Ports: names of interfaces of this namespace, or globs (IFLA_MASTER of each).
    pub ports: Vec<NamePattern>,
    /// Use the spanning tree protocol (STP); default false (IFLA_BR_STP_STATE).
    pub stp_state: Option<bool>,
    /// Time that a port spends in each of the listening and learning states: 0s to 30s, with STP 2s to 30s, default 15s
    /// (IFLA_BR_FORWARD_DELAY).
    pub forward_delay: Option<Duration>,
    /// Interval between hello messages of the root bridge: 1s to 10s, default 2s (IFLA_BR_HELLO_TIME).
    pub hello_time: Option<Duration>,
    /// Time after which STP information without an update expires: 6s to 40s, default 20s (IFLA_BR_MAX_AGE).
    pub max_age: Option<Duration>,
    /// Time after which an unused entry of the forwarding database is removed; default 300s (IFLA_BR_AGEING_TIME).
    pub ageing_time: Option<Duration>,
    /// STP priority of the bridge, 0 to 65535. The lowest one becomes the root bridge; default 32768 (IFLA_BR_PRIORITY).
    pub priority: Option<u16>,
    /// Filter frames by VLAN; default false (IFLA_BR_VLAN_FILTERING).
    pub vlan_filtering: Option<bool>,
    /// Tag protocol of VLAN filtering: `802.1Q` or `802.1ad`, default `802.1Q` (IFLA_BR_VLAN_PROTOCOL).
    pub vlan_protocol: Option<VlanProtocol>,
    /// VLAN ID of untagged frames on new ports: 1 to 4094, or 0 for none, default 1 (IFLA_BR_VLAN_DEFAULT_PVID).
    #[schemars(range(max = 4094))]
    pub vlan_default_pvid: Option<u16>,
    /// VLANs of the bridge itself, whose frames it exchanges with its host; default `vlan_default_pvid`. The others are removed. Requires
    /// `vlan_filtering: true` (IFLA_BRIDGE_VLAN_INFO).
    pub vlans: Option<Vlans>,
    /// Count the traffic of each VLAN; default false (IFLA_BR_VLAN_STATS_ENABLED).
    pub vlan_stats_enabled: Option<bool>,
    /// Bit mask of the link-local addresses 01:80:c2:00:00:0X to forward; bit X stands for address X. Bits 0 to 2 cannot be set;
    /// default 0 (IFLA_BR_GROUP_FWD_MASK).
    pub group_fwd_mask: Option<u16>,
    /// Destination address of STP frames: 01:80:c2:00:00:0X with X 0 or 4 to f, default 01:80:c2:00:00:00 (IFLA_BR_GROUP_ADDR).
    pub group_addr: Option<Mac>,
    /// Learn group memberships from IGMP and MLD messages, and forward multicast only to members; default true
    /// (IFLA_BR_MCAST_SNOOPING).
    pub mcast_snooping: Option<bool>,
    /// Whether the bridge is a multicast router: 0 never, 1 automatically, 2 always; default 1 (IFLA_BR_MCAST_ROUTER).
    #[schemars(range(max = 2))]
    pub mcast_router: Option<u8>,
    /// Use the IP address of the bridge as the source of queries; default false (IFLA_BR_MCAST_QUERY_USE_IFADDR).
    pub mcast_query_use_ifaddr: Option<bool>,
    /// Send IGMP and MLD queries; default false (IFLA_BR_MCAST_QUERIER).
    pub mcast_querier: Option<bool>,
    /// Maximum number of entries in the multicast group table; default 4096 (IFLA_BR_MCAST_HASH_MAX).
    pub mcast_hash_max: Option<u32>,
    /// Number of queries without an answer after which a group is removed when a member leaves; default 2
    /// (IFLA_BR_MCAST_LAST_MEMBER_CNT).
    pub mcast_last_member_count: Option<u32>,
    /// Number of queries at startup; default 2 (IFLA_BR_MCAST_STARTUP_QUERY_CNT).
    pub mcast_startup_query_count: Option<u32>,
    /// Interval between queries after a member leaves; default 1s (IFLA_BR_MCAST_LAST_MEMBER_INTVL).
    pub mcast_last_member_interval: Option<Duration>,
    /// Time after which a group without reports is removed; default 260s (IFLA_BR_MCAST_MEMBERSHIP_INTVL).
    pub mcast_membership_interval: Option<Duration>,
    /// Time after which the bridge replaces a silent querier; default 255s (IFLA_BR_MCAST_QUERIER_INTVL).
    pub mcast_querier_interval: Option<Duration>,
    /// Interval between queries; default 125s (IFLA_BR_MCAST_QUERY_INTVL).
    pub mcast_query_interval: Option<Duration>,
    /// Time in which members must answer a query; default 10s (IFLA_BR_MCAST_QUERY_RESPONSE_INTVL).
    pub mcast_query_response_interval: Option<Duration>,
    /// Interval between queries at startup; default 31.25s (IFLA_BR_MCAST_STARTUP_QUERY_INTVL).
    pub mcast_startup_query_interval: Option<Duration>,
    /// Count IGMP and MLD messages; default false (IFLA_BR_MCAST_STATS_ENABLED).
    pub mcast_stats_enabled: Option<bool>,
    /// Version of IGMP queries: 2 or 3, default 2 (IFLA_BR_MCAST_IGMP_VERSION).
    #[schemars(range(min = 2, max = 3))]
    pub mcast_igmp_version: Option<u8>,
    /// Version of MLD queries: 1 or 2, default 1 (IFLA_BR_MCAST_MLD_VERSION).
    #[schemars(range(min = 1, max = 2))]
    pub mcast_mld_version: Option<u8>,
    /// Pass bridged IPv4 packets to iptables; default false (IFLA_BR_NF_CALL_IPTABLES).
    pub nf_call_iptables: Option<bool>,
    /// Pass bridged IPv6 packets to ip6tables; default false (IFLA_BR_NF_CALL_IP6TABLES).
    pub nf_call_ip6tables: Option<bool>,
    /// Pass bridged ARP packets to arptables; default false (IFLA_BR_NF_CALL_ARPTABLES).
    pub nf_call_arptables: Option<bool>,
    /// Whether the spanning tree of a live bridge is changing (IFLA_BR_TOPOLOGY_CHANGE). Entries then expire after twice the
    /// `forward_delay`, and the kernel reports that time instead of the `ageing_time`.
    #[serde(skip)]
    pub topology_changes: bool,
    /// Whether a live bridge has a port towards the root of its spanning tree (IFLA_BR_ROOT_PORT). The kernel then uses the times of the
    /// root, and reports them instead of the bridge's own (`br_record_config_timeout_values`). It does so even when the spanning tree is
    /// turned off, until the next port of the bridge goes down.
    #[serde(skip)]
    pub has_root_port: bool,
    /// The VLANs before a change of `vlans`.
    #[serde(skip)]
    pub vlans_before: Before,
}

const IFLA_BR_ROOT_PORT: u16 = 12;
const IFLA_BR_TOPOLOGY_CHANGE: u16 = 14;

impl Bridge {
    /// The kernel's own group address: that of provider bridges if the bridge filters by service tags (`br_recalculate_group_addr`).
    fn default_group_addr(&self) -> Mac {
        let is_provider = self.vlan_filtering == Some(true) && self.vlan_protocol == Some(VlanProtocol::Dot1Ad);
        Mac([0x01, 0x80, 0xc2, 0, 0, if is_provider { 8 } else { 0 }])
    }

    /// The VLAN of untagged frames on new ports; 0 for none.
    pub fn default_pvid(&self) -> u16 {
        self.vlan_default_pvid.unwrap_or(1)
    }

    /// The VLANs of the live bridge after the default VLAN of another one is set.
    fn vlans_with_default_of(&self, other: &Self) -> Option<Vlans> {
        self.vlans.as_ref().map(|vlans| vlans.after_new_default(self.default_pvid(), other.default_pvid()))
    }
}

/// The attributes of IFLA_INFO_DATA, linux/if_link.h.
impl OptionTable for Bridge {
    const NAME: &'static str = "bridge";
    const OPTIONS: &'static [OptionRow<Self>] = &[
        option!(forward_delay: Centiseconds = 1, InPlace, default Duration::seconds(15)),
        option!(hello_time: Centiseconds = 2, InPlace, default Duration::seconds(2)),
        option!(max_age: Centiseconds = 3, InPlace, default Duration::seconds(20)),
        option!(ageing_time: Centiseconds = 4, InPlace, default Duration::seconds(300)),
        option!(stp_state: U32 = 5, InPlace, default false),
        option!(priority: U16 = 6, InPlace, default 32768),
        option!(vlan_filtering: U8 = 7, InPlace, default false),
        option!(vlan_protocol: Be16 = 8, InPlace, default VlanProtocol::Dot1Q),
        OptionRow {
            samples: |_| vec![0.into(), 8.into(), 0x4000.into()],
            ..option!(group_fwd_mask: U16 = 9, InPlace, default 0)
        },
        OptionRow {
            samples: |_| vec!["01:80:c2:00:00:0e".into()],
            ..option!(group_addr: HardwareAddress = 20, InPlace, default_of |bridge| Some(bridge.default_group_addr()))
        },
        option!(mcast_router: U8 = 22, InPlace, default 1),
        option!(mcast_snooping: U8 = 23, InPlace, default true),
        option!(mcast_query_use_ifaddr: U8 = 24, InPlace, default false),
        option!(mcast_querier: U8 = 25, InPlace, default false),
        // With few entries the kernel disables snooping by itself.
        OptionRow { samples: |_| vec![4096.into(), 8192.into()], ..option!(mcast_hash_max: U32 = 27, InPlace, default 4096) },
        option!(mcast_last_member_count: U32 = 28, InPlace, default 2),
        option!(mcast_startup_query_count: U32 = 29, InPlace, default 2),
        option!(mcast_last_member_interval: Centiseconds64 = 30, InPlace, default Duration::seconds(1)),
        option!(mcast_membership_interval: Centiseconds64 = 31, InPlace, default Duration::seconds(260)),
        option!(mcast_querier_interval: Centiseconds64 = 32, InPlace, default Duration::seconds(255)),
        option!(mcast_query_interval: Centiseconds64 = 33, InPlace, default Duration::seconds(125)),
        option!(mcast_query_response_interval: Centiseconds64 = 34, InPlace, default Duration::seconds(10)),
        option!(mcast_startup_query_interval: Centiseconds64 = 35, InPlace, default Duration::milliseconds(31_250)),
        option!(nf_call_iptables: U8 = 36, InPlace, default false),
        option!(nf_call_ip6tables: U8 = 37, InPlace, default false),
        option!(nf_call_arptables: U8 = 38, InPlace, default false),
        option!(vlan_default_pvid: U16 = 39, InPlace, default 1),
        OptionRow {
            same: |desired, live| desired.vlans == live.vlans_with_default_of(desired),
            ..option!(vlans, InPlace, default_of | bridge | Some(Vlans::of_new(bridge.default_pvid())))
        },
        option!(vlan_stats_enabled: U8 = 41, InPlace, default false),
        option!(mcast_stats_enabled: U8 = 42, InPlace, default false),
        OptionRow { samples: |_| vec![2.into(), 3.into()], ..option!(mcast_igmp_version: U8 = 43, InPlace, default 2) },
        option!(mcast_mld_version: U8 = 44, InPlace, default 1),
    ];

    fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        let mut within = |key, value: Option<Duration>, from: u64, to: u64| {
            if let Some(value) = value
                && !(Duration::seconds(from)..=Duration::seconds(to)).contains(&value)
            {
                invalid.push(Invalid { key, message: format!("{value} is outside of {from}s to {to}s") });
            }
        };
        within("forward_delay", self.forward_delay, if self.stp_state == Some(true) { 2 } else { 0 }, 30);
        within("hello_time", self.hello_time, 1, 10);
        within("max_age", self.max_age, 6, 40);
        let mut at_most = |key, value: Option<u16>, limit: u16| {
            if let Some(value) = value
                && value > limit
            {
                invalid.push(Invalid { key, message: format!("{value} is more than {limit}") });
            }
        };
        at_most("mcast_router", self.mcast_router.map(u16::from), 2);
        at_most("vlan_default_pvid", self.vlan_default_pvid, 4094);
        for (key, version, possible) in
            [("mcast_igmp_version", self.mcast_igmp_version, 2..=3), ("mcast_mld_version", self.mcast_mld_version, 1..=2)]
        {
            if let Some(version) = version.filter(|version| !possible.contains(version)) {
                let message = format!("version {version} is not {} or {}", possible.start(), possible.end());
                invalid.push(Invalid { key, message });
            }
        }
        if let Some(address) = self.group_addr
            && !matches!(address.0, [0x01, 0x80, 0xc2, 0, 0, 0 | 4..=15])
        {
            let message = format!("`{address}` is not 01:80:c2:00:00:00 or 01:80:c2:00:00:04 to 01:80:c2:00:00:0f");
            invalid.push(Invalid { key: "group_addr", message });
        }
        if let Some(mask) = self.group_fwd_mask
            && mask & 0b111 != 0
        {
            let message = "bits 0 to 2 (STP, pause and LACP frames) cannot be forwarded".into();
            invalid.push(Invalid { key: "group_fwd_mask", message });
        }
        if let Some(vlans) = &self.vlans {
            if self.vlan_filtering != Some(true) {
                let message = "`vlans` needs `vlan_filtering: true`: otherwise the bridge ignores VLANs".into();
                invalid.push(Invalid { key: "vlan_filtering", message });
            }
            if vlans.has_tunnels() {
                let message = "only ports with `vlan_tunnel: true` map VLANs to tunnels: remove `tunnel_info`".into();
                invalid.push(Invalid { key: "vlans", message });
            }
        }
        invalid
    }

    /// The VLANs before a change of them: those of the live bridge, after its default VLAN has changed.
    fn complete_change(&mut self, _: &Self, live: &Self) {
        if self.vlans.is_some() {
            let default = Self { vlan_default_pvid: self.vlan_default_pvid.or(live.vlan_default_pvid), ..Self::default() };
            self.vlans_before = Before::of_live(live.vlans_with_default_of(&default));
        }
    }

    fn is_set_apart(option: &str) -> bool {
        option == "vlans"
    }

    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        let is_set = || bytes.iter().any(|byte| *byte != 0);
        match attribute {
            IFLA_BR_TOPOLOGY_CHANGE => self.topology_changes = is_set(),
            IFLA_BR_ROOT_PORT => self.has_root_port = is_set(),
            _ => {}
        }
    }

    fn conceals(&self, option: &str) -> bool {
        match option {
            "ageing_time" => self.topology_changes,
            "forward_delay" | "hello_time" | "max_age" => self.has_root_port,
            _ => false,
        }
    }

    /// Times are in hundredths of a second.
    fn phrase(&self, option: &str, value: &Value) -> Option<Phrase> {
        Some(Phrase::new(match (option, value) {
            ("group_addr", _) => words!["group_address", said(value)],
            (_, Value::Bool(set)) => words![option, u8::from(*set)],
            _ => words![option, said_in(Duration::milliseconds(10), value).unwrap_or_else(|| said(value))],
        }))
    }
}

impl LinkKind for Bridge {
    /// BR_MAX_PORTS is 1024; no port has the number 0.
    fn most_ports(&self) -> usize {
        1023
    }

    fn ports(&self) -> &[NamePattern] {
        &self.ports
    }

    fn set_ports(&mut self, ports: Vec<NamePattern>) {
        self.ports = ports;
    }

    /// `br_add_if`
    fn refuses_port(&self, port: &str) -> Option<Refusal> {
        match port {
            Loopback::NAME => Some(Refusal::new(Cause::Invalid)),
            Self::NAME => Some(
                Refusal::new(Cause::Loop)
                    .message("Can not enslave a bridge to a bridge")
                    .hint("connect the two bridges with a veth pair"),
            ),
            other => ipvlan::refuses_handler(other).or_else(|| vrf::refuses(other)),
        }
    }

    fn receive_handler(&self) -> Option<&'static str> {
        Some("bridge")
    }

    fn switching(&self) -> Option<Switching> {
        let is = |option: Option<bool>| option == Some(true);
        Some(Switching { spanning_tree: is(self.stp_state), by_vlan: is(self.vlan_filtering) })
    }

    fn vlan_change(&self) -> Option<VlanChange> {
        let before = self.vlans_before.vlans(Some(self.default_pvid()));
        Some(VlanChange { before, after: self.vlans.clone()?, of_bridge: true })
    }

    fn vlans(&self) -> Option<&Vlans> {
        self.vlans.as_ref()
    }

    fn set_vlans(&mut self, vlans: Option<Vlans>) {
        self.vlans = vlans;
    }

    /// `br_changelink`; the messages with the VLANs follow.
    fn settle_changes(&mut self, before: &Kind, changes: &Kind) {
        if let (Kind::Bridge(before), Kind::Bridge(changes)) = (before, changes)
            && changes.vlans.is_none()
        {
            self.vlans = before.vlans_with_default_of(self);
        }
    }

    fn carrier(&self) -> Carrier {
        Carrier::Ports
    }

    fn spanning_tree_delay(&self) -> Option<Duration> {
        let runs = self.stp_state == Some(true);
        runs.then(|| self.forward_delay.unwrap_or(Duration::seconds(15)))
    }

    /// `br_stp_recalculate_bridge_id`
    fn follows_ports_mac(&self) -> bool {
        true
    }

    /// `br_mtu_auto_adjust`
    fn follows_ports_mtu(&self) -> bool {
        true
    }

    /// Whenever a port begins to forward, the kernel restarts the multicast queries on all forwarding ports. Without snooping, a star of
    /// a thousand namespaces is created in 80% of the time.
    fn while_ports_join(&self) -> Option<Self> {
        let snoops = self.mcast_snooping != Some(false);
        snoops.then(|| Self { mcast_snooping: Some(false), ..self.clone() })
    }

    /// The kernel accepts short times only while the spanning tree does not run (`br_set_forward_delay`), and reads the times first.
    fn changes_first(&self) -> Option<Self> {
        let both = self.stp_state == Some(false) && self.forward_delay.is_some();
        both.then(|| Self { stp_state: self.stp_state, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::option::complete;

    #[test]
    fn ageing_is_not_compared_while_the_spanning_tree_changes() {
        let live = |changes: u8| {
            let attributes = [[8, 0, 4, 0], 400_u32.to_ne_bytes(), [5, 0, 14, 0], [changes, 0, 0, 0]];
            Kind::decode("bridge", &attributes.concat()).unwrap()
        };
        let ageing = |live: &Kind| {
            let changes = Kind::from(Bridge::default()).compare(live).unwrap();
            changes.iter().any(|change| change.name == "ageing_time")
        };
        assert!(ageing(&live(0)));
        assert!(!ageing(&live(1)));
    }

    #[test]
    fn the_times_of_the_root_are_not_those_of_the_bridge() {
        let live = |root_port: u8| {
            let times = [[8, 0, 1, 0], 400_u32.to_ne_bytes(), [8, 0, 5, 0], 1_u32.to_ne_bytes()];
            Kind::decode("bridge", &[times.concat(), vec![6, 0, 12, 0, root_port, 0, 0, 0]].concat()).unwrap()
        };
        let differs = |live: &Kind| {
            let changes = Kind::from(Bridge { stp_state: Some(true), ..Bridge::default() }).compare(live).unwrap();
            changes.iter().any(|change| change.name == "forward_delay")
        };
        assert!(differs(&live(0)));
        assert!(!differs(&live(1)));
        assert!(live(0).plain().show().iter().any(|(name, _)| *name == "forward_delay"));
        assert!(live(1).plain().show().iter().all(|(name, _)| *name != "forward_delay"));
    }

    #[test]
    fn every_default_survives_the_wire() {
        let mut all = Kind::from(Bridge::default()).complete();
        // Messages of their own have them.
        all.set_vlans(None);
        assert_eq!(Kind::decode("bridge", &all.encode(None)).unwrap(), all);
    }

    #[test]
    fn a_difference_of_one_tick_is_ignored() {
        let live = Bridge { ageing_time: Some(Duration::milliseconds(49_990)), ..complete(&Bridge::default()) };
        let desired = |ms| Kind::from(Bridge { ageing_time: Some(Duration::milliseconds(ms)), ..Bridge::default() });
        assert_eq!(desired(50_000).compare(&Kind::from(live.clone())).unwrap(), []);
        assert_eq!(desired(50_010).compare(&Kind::from(live)).unwrap().len(), 1);
    }

    #[test]
    fn the_group_address_follows_the_protocol_of_vlans() {
        let plain = Bridge { vlan_protocol: Some(VlanProtocol::Dot1Ad), ..Bridge::default() };
        let provider = Bridge { vlan_filtering: Some(true), ..plain.clone() };
        let last = |bridge: &Bridge| complete(bridge).group_addr.map(|address| address.0[5]);
        assert_eq!((last(&plain), last(&provider)), (Some(0), Some(8)));
    }

    #[test]
    fn impossible_versions_and_group_addresses_are_refused() {
        let bridge = Bridge { mcast_igmp_version: Some(1), mcast_mld_version: Some(3), ..Bridge::default() };
        let bridge = Bridge { group_addr: Some(Mac([0x01, 0x80, 0xc2, 0, 0, 1])), ..bridge };
        let keys: Vec<_> = bridge.validate().iter().map(|invalid| invalid.key).collect();
        assert_eq!(keys, ["mcast_igmp_version", "mcast_mld_version", "group_addr"]);
    }

    #[test]
    fn impossible_timers_are_refused() {
        let bridge = Bridge { hello_time: Some(Duration::seconds(11)), max_age: Some(Duration::seconds(5)), ..Bridge::default() };
        assert_eq!(bridge.validate().iter().map(|invalid| invalid.key).collect::<Vec<_>>(), ["hello_time", "max_age"]);
    }

    #[test]
    fn an_option_that_this_kernel_does_not_report_differs_only_if_the_lab_sets_it() {
        let live = Kind::from(Bridge { mcast_snooping: None, ..complete(&Bridge::default()) });
        assert_eq!(Kind::from(Bridge::default()).compare(&live).unwrap(), []);
        assert_eq!(Kind::from(Bridge { mcast_snooping: Some(false), ..Bridge::default() }).compare(&live).unwrap().len(), 1);
    }
}
