//! A virtual Ethernet over UDP, RFC 7348, ip-link(8) "VXLAN Type Support".
//!
//! ```yaml
//! vx0: { vxlan: { id: 42, remote: 10.0.0.2, local: 10.0.0.1, port: 4789 } }
//! ```
//!
//! The outer packets are sent and received in the namespace of the `parent`, or in `underlay`. That namespace cannot be changed.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::DefaultNla;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contract::LinkKind;
use super::rules::{Among, Cause, Identity, MtuBound, ParentRule, PathCost, Refusal, Segment, Socket};
use crate::iproute2::{Phrase, Place};
use crate::name::{LinkRef, NamespaceName};
use crate::resource::option::{Be16, Be32, Flag, Inet, Inet6, Invalid, OptionRow, OptionTable, Seconds, U8, U32, said, said_in};
use crate::value::Duration;
use crate::value_schema::value_schema;
use crate::{option, words};

const IFLA_VXLAN_LINK: u16 = 3;
const IFLA_VXLAN_TTL: u16 = 5;
const IFLA_VXLAN_PORT_RANGE: u16 = 10;

/// The kernel's UDP port (`vxlan_port`).
const DEFAULT_PORT: u16 = 8472;

/// A port of `srcport` in the schema.
enum SourcePort {}
value_schema!(SourcePort, "UDP port", "A UDP port: 0 to 65535.", { "type": "integer", "minimum": 0, "maximum": 65535 });

/// `vxlan: { id, … }`. The options have the names of iproute2; `port` is the destination port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vxlan {
    /// Virtual network identifier (VNI): 0 to 16777215 (IFLA_VXLAN_ID).
    #[schemars(with = "Option<u32>", range(max = 16_777_215))]
    pub id: Option<u32>,
    /// The interface that carries the outer packets, in any namespace; default none. Required for a multicast `remote`
    /// (IFLA_VXLAN_LINK).
    #[serde(alias = "dev")]
    pub parent: Option<LinkRef>,
    /// The namespace of the outer packets; default the namespace of the parent, without a parent that of the interface.
    pub underlay: Option<NamespaceName>,
    /// Destination of frames without an entry in the forwarding database: the address of the other end, or a multicast group; default
    /// none (IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6).
    #[serde(alias = "group")]
    pub remote: Option<IpAddr>,
    /// Source address of outer packets; default chosen by the kernel (IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6).
    pub local: Option<IpAddr>,
    /// UDP destination port: 1 to 65535, default 8472. IANA has assigned 4789 (IFLA_VXLAN_PORT).
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Range of UDP source ports, from and to; default [0, 0], which stands for the range of the system (IFLA_VXLAN_PORT_RANGE).
    #[schemars(with = "Option<[SourcePort; 2]>")]
    pub srcport: Option<[u16; 2]>,
    /// Time to live of outer packets: 1 to 255, or 0 for the default of the system, which is 1 for a multicast `remote`; default 0
    /// (IFLA_VXLAN_TTL).
    pub ttl: Option<u8>,
    /// Type of service of outer packets: 0 to 255, where 1 inherits that of the inner packet; default 0 (IFLA_VXLAN_TOS).
    pub tos: Option<u8>,
    /// Flow label of outer IPv6 packets: 0 to 1048575, default 0 (IFLA_VXLAN_LABEL).
    #[schemars(range(max = 1_048_575))]
    pub flowlabel: Option<u32>,
    /// Learn forwarding entries from received packets; default true (IFLA_VXLAN_LEARNING).
    pub learning: Option<bool>,
    /// Time after which a learned entry is removed, in whole seconds; default 300s (IFLA_VXLAN_AGEING).
    pub ageing: Option<Duration>,
    /// Maximum number of forwarding entries, 0 for no limit; default 0 (IFLA_VXLAN_LIMIT).
    pub maxaddress: Option<u32>,
    /// Answer ARP and neighbour solicitations for known neighbours; default false (IFLA_VXLAN_PROXY).
    pub proxy: Option<bool>,
    /// Send packets to known neighbours directly instead of through the router (route short circuit); default false (IFLA_VXLAN_RSC).
    pub rsc: Option<bool>,
    /// Send a netlink notification for unknown hardware addresses; default false (IFLA_VXLAN_L2MISS).
    pub l2miss: Option<bool>,
    /// Send a netlink notification for unknown IP addresses; default false (IFLA_VXLAN_L3MISS).
    pub l3miss: Option<bool>,
    /// Compute the UDP checksum of outer IPv4 packets; default true (IFLA_VXLAN_UDP_CSUM).
    pub udpcsum: Option<bool>,
    /// Send outer IPv6 packets without a UDP checksum; default false (IFLA_VXLAN_UDP_ZERO_CSUM6_TX).
    pub udp6zerocsumtx: Option<bool>,
    /// Accept outer IPv6 packets without a UDP checksum; default false (IFLA_VXLAN_UDP_ZERO_CSUM6_RX).
    pub udp6zerocsumrx: Option<bool>,
    /// Use the group policy extension; default false (IFLA_VXLAN_GBP).
    pub gbp: Option<bool>,
    /// Take the tunnel parameters from routes and filters (collect metadata); default false (IFLA_VXLAN_COLLECT_METADATA).
    pub external: Option<bool>,
    /// Accept only configured VNIs. Requires `external`; default false (IFLA_VXLAN_VNIFILTER).
    pub vnifilter: Option<bool>,
    /// The don't-fragment bit of outer IPv4 packets: 0 unset, 1 set, 2 inherited from the inner packet; default 0 (IFLA_VXLAN_DF).
    #[schemars(range(max = 2))]
    pub df: Option<u8>,
}

impl OptionTable for Vxlan {
    const NAME: &'static str = "vxlan";
    const OPTIONS: &'static [OptionRow<Self>] = &[
        option!(id: U32 = 1, Replace, default_of |vxlan| (vxlan.external == Some(true)).then_some(0)),
        option!(underlay, Replace),
        OptionRow { unchangeable: is_remote_fixed, ..option!(remote: Inet = 2, InPlace) },
        OptionRow { unchangeable: is_remote_fixed, ..option!(remote: Inet6 = 16, InPlace) },
        OptionRow { unchangeable: is_local_fixed, ..option!(local: Inet = 4, InPlace) },
        OptionRow { unchangeable: is_local_fixed, ..option!(local: Inet6 = 17, InPlace) },
        option!(ttl: U8 = IFLA_VXLAN_TTL, InPlace, default 0),
        option!(tos: U8 = 6, InPlace, default 0),
        option!(learning: U8 = 7, InPlace, default true),
        option!(ageing: Seconds = 8, InPlace, default Duration::seconds(300)),
        option!(maxaddress: U32 = 9, Replace, default 0),
        option!(srcport, Replace, default [0, 0]),
        option!(proxy: U8 = 11, Replace, default false),
        option!(rsc: U8 = 12, Replace, default false),
        option!(l2miss: U8 = 13, Replace, default false),
        option!(l3miss: U8 = 14, Replace, default false),
        // Only root can listen on ports below 1024.
        OptionRow { samples: |_| vec![4789.into(), 8472.into()], ..option!(port: Be16 = 15, Replace, default DEFAULT_PORT) },
        option!(udpcsum: U8 = 18, Replace, default true),
        option!(udp6zerocsumtx: U8 = 19, Replace, default false),
        OptionRow { samples: shared_by_port, ..option!(udp6zerocsumrx: U8 = 20, Replace, default false) },
        OptionRow { samples: shared_by_port, ..option!(gbp: Flag = 23, Replace, default false) },
        OptionRow { samples: shared_by_port, ..option!(external: U8 = 25, Replace, default false) },
        option!(flowlabel: Be32 = 26, InPlace, default 0),
        option!(df: U8 = 29, InPlace, default 0),
        OptionRow { samples: shared_by_port, ..option!(vnifilter: U8 = 30, Replace, default false) },
    ];

    fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        let mut refuse = |key, message: String| invalid.push(Invalid { key, message });
        match self.id {
            None if self.external != Some(true) => refuse("id", "a vxlan needs an `id`, or `external: true`".into()),
            Some(id) if id > 0xff_ffff => refuse("id", format!("{id} is not a valid VNI; the range is 0 to 16777215")),
            Some(_) | None => {}
        }
        let multicast = self.remote.is_some_and(|remote| remote.is_multicast());
        if multicast && self.parent.is_none() {
            refuse("remote", "a multicast group needs a `parent` to be joined on".into());
        }
        if let (Some(local), Some(remote)) = (self.local, self.remote)
            && local.is_ipv4() != remote.is_ipv4()
        {
            refuse("local", format!("`{local}` and the remote `{remote}` are of different families"));
        }
        if self.local.is_some_and(|local| local.is_multicast()) {
            refuse("local", "the source of outer packets must be a unicast address".into());
        }
        if self.vnifilter == Some(true) && self.external != Some(true) {
            refuse("vnifilter", "`vnifilter` needs `external: true`".into());
        }
        if self.external == Some(true) && self.id.is_some_and(|id| id != 0) {
            refuse("external", "with `external: true` the VNI comes from the packet; omit `id`".into());
        }
        if self.port == Some(0) {
            refuse("port", format!("0 is not a valid UDP port; omit `port` for the default {DEFAULT_PORT}"));
        }
        if self.df.is_some_and(|df| df > 2) {
            refuse("df", "must be 0 (unset), 1 (set) or 2 (inherit)".into());
        }
        if self.flowlabel.is_some_and(|label| label > 0xf_ffff) {
            refuse("flowlabel", "a flow label has 20 bits; the range is 0 to 1048575".into());
        }
        if self.flowlabel.is_some_and(|label| label != 0) && !self.is_ipv6() {
            refuse("flowlabel", "a flow label needs an IPv6 `remote` or `local`".into());
        }
        if self.srcport.is_some_and(|[low, high]| low > high) {
            refuse("srcport", "the first port is higher than the last one".into());
        }
        invalid
    }

    fn encode_rest(&self, attributes: &mut Vec<DefaultNla>) {
        if let Some([low, high]) = self.srcport {
            attributes.push(DefaultNla::new(IFLA_VXLAN_PORT_RANGE, [low.to_be_bytes(), high.to_be_bytes()].concat()));
        }
    }

    /// Without a port, iproute2 prints a remark about the default. With `external`, learning is off.
    fn always_said(&self) -> &'static [&'static str] {
        if self.external == Some(true) { &["port", "learning"] } else { &["port"] }
    }

    fn phrase(&self, option: &str, value: &Value) -> Option<Phrase> {
        let [low, high] = self.srcport.unwrap_or_default();
        Some(match (option, value) {
            // The command runs in the underlay.
            ("underlay", _) => Phrase::default(),
            ("remote", _) if self.remote.is_some_and(|remote| remote.is_multicast()) => Phrase::new(words!["group", said(value)]),
            ("port", _) => Phrase::new(words!["dstport", said(value)]),
            ("srcport", _) => Phrase::new(words![option, low, high]),
            // A number without prefix would be hexadecimal.
            ("tos", _) => Phrase::new(words![option, format!("{:#x}", self.tos?)]),
            ("ageing", _) => Phrase::new(words![option, said_in(Duration::seconds(1), value)?]),
            ("df", _) => Phrase::new(words![option, ["unset", "set", "inherit"].get(usize::from(self.df?))?]),
            // `external` turns it off if it comes later.
            ("learning", Value::Bool(true)) => Phrase::new(words![option]).at(Place::End),
            (_, Value::Bool(true)) => Phrase::new(words![option]),
            (_, Value::Bool(false)) => Phrase::new(words![format!("no{option}")]),
            _ => Phrase::new(words![option, said(value)]),
        })
    }

    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        if let (IFLA_VXLAN_PORT_RANGE, &[a, b, c, d]) = (attribute, bytes) {
            self.srcport = Some([u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]);
        }
    }

    fn normalise(&mut self) {
        // The kernel omits addresses and flags that are not set.
        self.remote = self.remote.filter(|remote| *remote != IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.local = self.local.filter(|local| *local != IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.gbp = self.gbp.or(Some(false));
    }
}

/// The options of the receiving socket, and of what it receives.
const SOCKET_OPTIONS: &[&str] =
    &["id", "port", "parent", "dev", "underlay", "remote", "group", "local", "external", "gbp", "vnifilter", "udp6zerocsumrx"];

/// Multicast groups are joined when the link comes up, and on kernels before 6.15 not when the group changes.
fn is_remote_fixed(desired: &Vxlan, live: &Vxlan) -> bool {
    let is_multicast = |remote: Option<IpAddr>| remote.is_some_and(|remote| remote.is_multicast());
    is_multicast(desired.remote) || is_multicast(live.remote) || !is_same_family(desired.remote, live.remote)
}

fn is_local_fixed(desired: &Vxlan, live: &Vxlan) -> bool {
    !is_same_family(desired.local, live.local)
}

/// The kernel keeps the family of an address (`vxlan_nl2conf`), and has no attribute that removes one.
fn is_same_family(desired: Option<IpAddr>, live: Option<IpAddr>) -> bool {
    desired.zip(live).is_some_and(|(desired, live)| desired.is_ipv4() == live.is_ipv4())
}

/// Returns no samples, for options that must be equal for all vxlans on one UDP port.
fn shared_by_port(_: &Vxlan) -> Vec<Value> {
    Vec::new()
}

impl LinkKind for Vxlan {
    fn parent_rule(&self) -> ParentRule {
        ParentRule::Optional
    }

    /// Without a parent its speed is unknown.
    fn path_cost(&self) -> PathCost {
        if self.parent.is_some() { PathCost::Parents } else { PathCost::Fixed(100) }
    }

    fn parent(&self) -> Option<&LinkRef> {
        self.parent.as_ref()
    }

    fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
        Some(&mut self.parent)
    }

    fn parent_attribute(&self) -> Option<u16> {
        Some(IFLA_VXLAN_LINK)
    }

    /// `vxlan_vni_in_use`: the VNI, the port, and the flags of the receiving socket (VXLAN_F_RCV_FLAGS).
    fn identity(&self) -> Option<Identity> {
        let (id, port) = (self.id.unwrap_or(0), self.port.unwrap_or(DEFAULT_PORT));
        let flags = [self.external, self.gbp, self.vnifilter, self.udp6zerocsumrx].map(|flag| u32::from(flag == Some(true)));
        let key = [id, port.into(), self.is_ipv6().into()].into_iter().chain(flags).collect();
        Some(Identity {
            among: Among::Underlay,
            key,
            options: SOCKET_OPTIONS,
            option: "id",
            relation: format!("have the same VNI {id} and UDP port {port} in the underlay"),
            refusal: Refusal::new(Cause::Exists)
                .message("A VXLAN device with the specified VNI already exists")
                .hint("use a different `id` or `port` for one of them"),
        })
    }

    fn segment(&self) -> Segment {
        match (self.id, self.remote) {
            (Some(id), Some(remote)) => Segment::Tunnel { id, port: self.port.unwrap_or(DEFAULT_PORT), remote },
            (_, _) => Segment::Own,
        }
    }

    /// `vxlan_sock_add`: a socket for each family; with `external` one for both.
    fn socket(&self) -> Option<Socket> {
        let (is, ipv6) = (|flag: Option<bool>| flag == Some(true), self.is_ipv6());
        let flags = [
            ("external", is(self.external)),
            ("gbp", is(self.gbp)),
            ("vnifilter", is(self.vnifilter)),
            ("udp6zerocsumrx", is(self.udp6zerocsumrx)),
        ];
        let families = [!ipv6 || is(self.external), ipv6 || is(self.external)];
        let port = self.port.unwrap_or(DEFAULT_PORT);
        Some(Socket { port, families, at_creation: false, flags: flags.to_vec(), options: SOCKET_OPTIONS })
    }

    /// "Cannot change mtu" (`vxlan_nl2conf`).
    fn changes_alone(&self) -> bool {
        true
    }

    fn has_underlay(&self) -> bool {
        true
    }

    fn underlay(&self) -> Option<&NamespaceName> {
        self.underlay.as_ref()
    }

    fn underlay_slot(&mut self) -> Option<&mut Option<NamespaceName>> {
        Some(&mut self.underlay)
    }

    /// The parent's mtu without the outer headers (`vxlan_headroom`).
    fn mtu_bound(&self, parent: u32) -> Option<MtuBound> {
        let outer_headers = if self.is_ipv6() { 70 } else { 50 };
        Some(MtuBound::of_tunnel(parent.saturating_sub(outer_headers)))
    }
}

impl Vxlan {
    /// Returns whether the outer packets are IPv6.
    fn is_ipv6(&self) -> bool {
        self.remote.or(self.local).is_some_and(|address| address.is_ipv6())
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::super::rules::MtuAround;
    use super::*;
    use crate::resource::option::Mutability;

    fn vxlan() -> Vxlan {
        Vxlan { id: Some(42), remote: Some("2001:db8::2".parse().unwrap()), ..Vxlan::default() }
    }

    #[test]
    fn every_option_survives_the_wire() {
        let kind = Kind::from(Vxlan { srcport: Some([1000, 2000]), gbp: Some(true), ..vxlan() }).complete();
        assert_eq!(Kind::decode("vxlan", &kind.encode(None)).unwrap(), kind);
    }

    #[test]
    fn addresses_change_in_place_within_their_family() {
        let mutability = |desired: Option<&str>, live: Option<&str>| {
            let kind = |remote: Option<&str>| Vxlan { remote: remote.map(|remote| remote.parse().unwrap()), ..vxlan() };
            let changes = Kind::from(kind(desired)).compare(&Kind::from(kind(live)).complete()).unwrap();
            assert!(changes.iter().all(|change| change.name == "remote"), "{changes:?}");
            changes[0].mutability
        };
        assert_eq!(mutability(Some("10.0.0.3"), Some("10.0.0.2")), Mutability::InPlace);
        assert_eq!(mutability(Some("2001:db8::3"), Some("2001:db8::2")), Mutability::InPlace);
        let replaced = [
            (Some("10.0.0.3"), Some("2001:db8::2")),
            (Some("10.0.0.3"), None),
            (None, Some("10.0.0.2")),
            (Some("239.0.0.1"), Some("10.0.0.2")),
            (Some("239.0.0.1"), Some("239.0.0.2")),
        ];
        for (desired, live) in replaced {
            assert_eq!(mutability(desired, live), Mutability::Replace, "{live:?} to {desired:?}");
        }
    }

    #[test]
    fn learning_changes_in_place_and_a_removed_remote_does_not() {
        let live = Kind::from(vxlan()).complete();
        let desired = Kind::from(Vxlan { learning: Some(false), remote: None, ..vxlan() });
        let changes = desired.compare(&live).unwrap();
        let changes: Vec<_> = changes.iter().map(|change| (change.name, change.mutability)).collect();
        assert_eq!(changes, [("remote", Mutability::Replace), ("learning", Mutability::InPlace)]);
    }

    #[test]
    fn values_that_the_kernel_replaces_or_refuses_are_refused() {
        let keys = |vxlan: Vxlan| vxlan.validate().into_iter().map(|invalid| invalid.key).collect::<Vec<_>>();
        assert_eq!(keys(Vxlan { port: Some(0), ..vxlan() }), ["port"]);
        assert_eq!(keys(Vxlan { flowlabel: Some(1), ..vxlan() }), [""; 0]);
        assert_eq!(keys(Vxlan { flowlabel: Some(1), remote: None, ..vxlan() }), ["flowlabel"]);
    }

    #[test]
    fn a_multicast_group_needs_a_parent() {
        let vxlan = Vxlan { id: Some(1), remote: Some("239.1.1.1".parse().unwrap()), ..Vxlan::default() };
        assert_eq!(vxlan.validate()[0].key, "remote");
    }

    #[test]
    fn vni_port_and_family_form_the_identity() {
        let identity = |vxlan: Vxlan| vxlan.identity().unwrap().key;
        let ipv4 = Vxlan { id: Some(42), ..Vxlan::default() };
        assert_eq!(identity(ipv4.clone()), identity(Vxlan { port: Some(8472), ..ipv4.clone() }));
        assert_ne!(identity(ipv4.clone()), identity(Vxlan { port: Some(4789), ..ipv4.clone() }));
        assert_ne!(identity(ipv4), identity(vxlan()));
    }

    #[test]
    fn the_outer_headers_reduce_the_mtu() {
        let parent: Option<LinkRef> = "eth0".parse().ok();
        let around = |parent| MtuAround { parent, smallest_port: None };
        assert_eq!(Vxlan::default().default_mtu(around(None)), Some(1500));
        let ipv4 = Vxlan { parent: parent.clone(), ..Vxlan::default() };
        assert_eq!(ipv4.default_mtu(around(None)), None);
        assert_eq!(ipv4.default_mtu(around(Some(1500))), Some(1450));
        assert_eq!(Vxlan { parent, ..vxlan() }.default_mtu(around(Some(1500))), Some(1430));
    }
}
