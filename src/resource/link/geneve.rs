//! A virtual Ethernet over UDP with options, RFC 8926, ip-link(8) "GENEVE Type Support".
//!
//! ```yaml
//! gnv0: { geneve: { id: 42, remote: 10.0.0.2 } }
//! ```
//!
//! The outer packets are sent and received in the namespace of the interface: the kernel does not report another one.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use netlink_packet_core::DefaultNla;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::contract::LinkKind;
use super::rules::{Among, Cause, Identity, MtuAround, PathCost, Refusal, Segment, Socket};
use crate::iproute2::Phrase;
use crate::resource::option::{Be16, Be32, Flag, Inet, Inet6, Invalid, OptionRow, OptionTable, Sample, U8, U32, said};
use crate::value_schema::value_schema;
use crate::{kernel_enum, option, scalar, words};

const IFLA_GENEVE_TTL: u16 = 3;
const IFLA_GENEVE_TTL_INHERIT: u16 = 12;

/// The UDP port that IANA has assigned (`GENEVE_UDP_PORT`).
const DEFAULT_PORT: u16 = 6081;
/// The largest VNI.
const MOST_ID: u32 = 0xff_ffff;
/// The largest mtu of any Ethernet device (IP_MAX_MTU).
const MOST_MTU: u32 = 65535;
/// The mtu of the underlay from which the default is computed.
const UNDERLAY_MTU: u32 = 1500;

/// The time to live of outer packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// That of the inner packet (IFLA_GENEVE_TTL_INHERIT).
    Inherit,
    /// This number, or that of the system if it is 0 (IFLA_GENEVE_TTL).
    Fixed(u8),
}
value_schema!(Ttl, "Time to live", "A number from 0 to 255, where 0 stands for the default of the system, or `inherit`.", {
    "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 255 }, { "type": "string", "enum": ["inherit"] }],
    "examples": ["inherit", 64],
});
scalar!(
    Ttl,
    "a number from 0 to 255 or `inherit`",
    |number: i128| u8::try_from(number).map(Ttl::Fixed).map_err(|_| format!("ttl {number} is out of range (0 to 255)")),
    |text: &str| if text == "inherit" {
        Ok(Ttl::Inherit)
    } else {
        Err(format!("invalid ttl `{text}`: write a number or `inherit`"))
    }
);

impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inherit => serializer.serialize_str("inherit"),
            Self::Fixed(ttl) => serializer.serialize_u8(*ttl),
        }
    }
}

impl Sample for Ttl {
    fn samples() -> Vec<Self> {
        vec![Self::Fixed(9), Self::Inherit, Self::Fixed(0)]
    }
}

/// The don't-fragment bit of outer IPv4 packets (IFLA_GENEVE_DF).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GeneveDf {
    /// Not set.
    Unset,
    /// Set.
    Set,
    /// That of the inner packet; set for an inner IPv6 packet.
    Inherit,
}
kernel_enum!(U8, u8, GeneveDf { Unset = 0, Set = 1, Inherit = 2 });

/// `geneve: { id, remote, … }`. The options have the names of iproute2; `port` is the destination port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Geneve {
    /// Take the tunnel parameters from routes and filters (collect metadata). Such a geneve must be the only one on its port; default
    /// false (IFLA_GENEVE_COLLECT_METADATA).
    pub external: Option<bool>,
    /// Virtual network identifier (VNI): 0 to 16777215 (IFLA_GENEVE_ID).
    #[schemars(with = "Option<u32>", range(max = 16_777_215))]
    pub id: Option<u32>,
    /// The unicast address of the other end (IFLA_GENEVE_REMOTE, IFLA_GENEVE_REMOTE6).
    pub remote: Option<IpAddr>,
    /// UDP destination port: 1 to 65535, default 6081 (IFLA_GENEVE_PORT).
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Time to live of outer packets: 1 to 255, 0 for the default of the system, or `inherit` for that of the inner packet; default 0
    /// (IFLA_GENEVE_TTL, IFLA_GENEVE_TTL_INHERIT).
    pub ttl: Option<Ttl>,
    /// Type of service of outer packets: 0 to 255, where 1 inherits that of the inner packet; default 0 (IFLA_GENEVE_TOS).
    pub tos: Option<u8>,
    /// Flow label of outer IPv6 packets: 0 to 1048575, default 0 (IFLA_GENEVE_LABEL).
    #[schemars(range(max = 1_048_575))]
    pub flowlabel: Option<u32>,
    /// The don't-fragment bit of outer IPv4 packets: `unset`, `set`, or `inherit` for that of the inner packet; default `unset`
    /// (IFLA_GENEVE_DF).
    pub df: Option<GeneveDf>,
    /// Compute the UDP checksum of outer IPv4 packets; default false (IFLA_GENEVE_UDP_CSUM).
    pub udpcsum: Option<bool>,
    /// Send outer IPv6 packets without a UDP checksum; default false (IFLA_GENEVE_UDP_ZERO_CSUM6_TX).
    pub udp6zerocsumtx: Option<bool>,
    /// Accept outer IPv6 packets without a UDP checksum; default false, with `external` always true (IFLA_GENEVE_UDP_ZERO_CSUM6_RX).
    pub udp6zerocsumrx: Option<bool>,
}

impl OptionTable for Geneve {
    const NAME: &'static str = "geneve";
    const OPTIONS: &'static [OptionRow<Self>] = &[
        option!(external: Flag = 6, Replace, default false),
        option!(id: U32 = 1, Replace, default_of |geneve| geneve.is_external().then_some(0)),
        OptionRow { unchangeable: is_remote_fixed, ..option!(remote: Inet = 2, InPlace) },
        OptionRow { unchangeable: is_remote_fixed, ..option!(remote: Inet6 = 7, InPlace) },
        // Only root can listen on ports below 1024.
        OptionRow { samples: |_| vec![6082.into(), 6081.into()], ..option!(port: Be16 = 5, Replace, default DEFAULT_PORT) },
        OptionRow { unchangeable: is_fixed, ..option!(ttl, InPlace, default Ttl::Fixed(0)) },
        OptionRow { unchangeable: is_fixed, ..option!(tos: U8 = 4, InPlace, default 0) },
        OptionRow { unchangeable: is_fixed, ..option!(flowlabel: Be32 = 11, InPlace, default 0) },
        OptionRow { unchangeable: is_fixed, ..option!(df: U8 = 13, InPlace, default GeneveDf::Unset) },
        option!(udpcsum: U8 = 8, Replace, default_of |geneve| geneve.is_over(IpAddr::is_ipv4).then_some(false)),
        option!(udp6zerocsumtx: U8 = 9, Replace, default_of |geneve| geneve.is_over(IpAddr::is_ipv6).then_some(false)),
        option!(udp6zerocsumrx: U8 = 10, Replace, default_of |geneve| Some(!geneve.is_over(IpAddr::is_ipv6))),
    ];

    fn validate(&self) -> Vec<Invalid> {
        let mut invalid = Vec::new();
        let mut refuse = |key, message: String| invalid.push(Invalid { key, message });
        if self.is_external() {
            let fixed = [
                ("id", self.id.is_some_and(|id| id != 0)),
                ("remote", self.remote.is_some()),
                ("ttl", self.ttl.is_some_and(|ttl| ttl != Ttl::Fixed(0))),
                ("tos", self.tos.is_some_and(|tos| tos != 0)),
                ("flowlabel", self.flowlabel.is_some_and(|label| label != 0)),
                ("udpcsum", self.udpcsum.is_some()),
                ("udp6zerocsumtx", self.udp6zerocsumtx.is_some()),
            ];
            for (key, _) in fixed.into_iter().filter(|(_, given)| *given) {
                refuse(key, format!("with `external: true`, `{key}` comes from the packet; remove it"));
            }
            if self.udp6zerocsumrx == Some(false) {
                let message = "with `external: true`, the kernel accepts outer IPv6 packets without a UDP checksum; remove it";
                refuse("udp6zerocsumrx", message.into());
            }
        } else {
            if self.id.is_none() {
                refuse("id", "a geneve needs an `id`, or `external: true`".into());
            }
            if self.remote.is_none() {
                refuse("remote", "a geneve needs a `remote`, or `external: true`".into());
            }
        }
        if let Some(id) = self.id.filter(|id| *id > MOST_ID) {
            refuse("id", format!("{id} is not a valid VNI; the range is 0 to {MOST_ID}"));
        }
        if self.remote.is_some_and(|remote| remote.is_multicast() || remote.is_unspecified()) {
            refuse("remote", "the other end must be a unicast address".into());
        }
        if self.port == Some(0) {
            refuse("port", format!("0 is not a valid UDP port; omit `port` for the default {DEFAULT_PORT}"));
        }
        if self.flowlabel.is_some_and(|label| label > 0xf_ffff) {
            refuse("flowlabel", "a flow label has 20 bits; the range is 0 to 1048575".into());
        }
        if self.is_over(IpAddr::is_ipv4) {
            if self.flowlabel.is_some_and(|label| label != 0) {
                refuse("flowlabel", "a flow label needs an IPv6 `remote`".into());
            }
            for (key, value) in [("udp6zerocsumtx", self.udp6zerocsumtx), ("udp6zerocsumrx", self.udp6zerocsumrx)] {
                if value.is_some() {
                    refuse(key, format!("`{key}` needs an IPv6 `remote`; for IPv4 there is `udpcsum`"));
                }
            }
        }
        if self.is_over(IpAddr::is_ipv6) && self.udpcsum.is_some() {
            refuse("udpcsum", "`udpcsum` needs an IPv4 `remote`; for IPv6 there is `udp6zerocsumtx`".into());
        }
        invalid
    }

    /// The kernel ignores the number of a ttl beside IFLA_GENEVE_TTL_INHERIT, whatever its value.
    fn encode_rest(&self, attributes: &mut Vec<DefaultNla>) {
        attributes.extend(self.ttl.map(|ttl| match ttl {
            Ttl::Inherit => DefaultNla::new(IFLA_GENEVE_TTL_INHERIT, vec![1]),
            Ttl::Fixed(ttl) => DefaultNla::new(IFLA_GENEVE_TTL, vec![ttl]),
        }));
    }

    /// The kernel reports both attributes.
    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        match (attribute, bytes) {
            (IFLA_GENEVE_TTL_INHERIT, [1..=255]) => self.ttl = Some(Ttl::Inherit),
            (IFLA_GENEVE_TTL, [ttl]) if self.ttl != Some(Ttl::Inherit) => self.ttl = Some(Ttl::Fixed(*ttl)),
            (_, _) => {}
        }
    }

    /// The kernel omits flags that are not set.
    fn normalise(&mut self) {
        self.external = self.external.or(Some(false));
    }

    /// iproute2 wants the identity in each change; the kernel accepts it there if it is the same.
    fn complete_change(&mut self, desired: &Self, _: &Self) {
        if *self != Self::default() {
            (self.id, self.remote) = (desired.id, desired.remote);
        }
    }

    fn phrase(&self, option: &str, value: &Value) -> Option<Phrase> {
        Some(match (option, value) {
            ("id", _) if self.is_external() => Phrase::default(),
            ("port", _) => Phrase::new(words!["dstport", said(value)]),
            // For iproute2, 0 is no number of a ttl.
            ("ttl", _) if self.ttl == Some(Ttl::Fixed(0)) => Phrase::new(words![option, "auto"]),
            // A number without prefix would be hexadecimal.
            ("tos", _) => Phrase::new(words![option, format!("{:#x}", self.tos?)]),
            (_, Value::Bool(true)) => Phrase::new(words![option]),
            (_, Value::Bool(false)) => Phrase::new(words![format!("no{option}")]),
            _ => Phrase::new(words![option, said(value)]),
        })
    }
}

/// The kernel changes nothing of a geneve with `external`.
fn is_fixed(desired: &Geneve, live: &Geneve) -> bool {
    desired.is_external() || live.is_external()
}

/// The kernel keeps the family of the address.
fn is_remote_fixed(desired: &Geneve, live: &Geneve) -> bool {
    let same_family = |(one, other): (IpAddr, IpAddr)| one.is_ipv4() == other.is_ipv4();
    !desired.remote.zip(live.remote).is_some_and(same_family)
}

/// The options of the receiving socket, and of what it receives.
const SOCKET_OPTIONS: &[&str] = &["id", "port", "remote", "external"];

impl LinkKind for Geneve {
    /// Its speed is unknown.
    fn path_cost(&self) -> PathCost {
        PathCost::Fixed(100)
    }

    fn has_underlay(&self) -> bool {
        true
    }

    fn hides_underlay(&self) -> bool {
        true
    }

    /// `geneve_find_dev`: the VNI, the port and the other end.
    fn identity(&self) -> Option<Identity> {
        let (id, port) = (self.id.unwrap_or(0), self.port.unwrap_or(DEFAULT_PORT));
        let remote: Vec<u32> = match self.remote {
            None => Vec::new(),
            Some(IpAddr::V4(remote)) => vec![remote.to_bits()],
            Some(IpAddr::V6(remote)) => {
                remote.octets().chunks(4).map(|part| part.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))).collect()
            }
        };
        let (relation, refusal) = match self.is_external() {
            true => (format!("have `external: true` and the same UDP port {port} in"), Refusal::new(Cause::Permission)),
            false => (format!("have the same VNI {id}, UDP port {port} and remote in"), Refusal::new(Cause::Busy)),
        };
        Some(Identity {
            among: Among::Underlay,
            key: [id, port.into(), self.is_external().into()].into_iter().chain(remote).collect(),
            options: SOCKET_OPTIONS,
            option: if self.is_external() { "external" } else { "id" },
            relation,
            refusal: refusal.hint("use a different `id`, `port` or `remote` for one of them"),
        })
    }

    fn segment(&self) -> Segment {
        match (self.id, self.remote) {
            (Some(id), Some(remote)) => Segment::Tunnel { id, port: self.port.unwrap_or(DEFAULT_PORT), remote },
            (_, _) => Segment::Own,
        }
    }

    /// "There can be only one externally controlled device on a destination port" (`geneve_configure`).
    fn socket(&self) -> Option<Socket> {
        let (external, ipv6) = (self.is_external(), self.is_over(IpAddr::is_ipv6));
        Some(Socket {
            port: self.port.unwrap_or(DEFAULT_PORT),
            families: [!ipv6 || external, ipv6 || external],
            at_creation: true,
            flags: vec![("external", external)],
            options: SOCKET_OPTIONS,
        })
    }

    fn mtu_limits(&self) -> RangeInclusive<u32> {
        let headers = if self.is_over(IpAddr::is_ipv4) { 50 } else { 70 };
        68..=MOST_MTU - headers
    }

    /// The largest one with `external`, otherwise that of an underlay with Ethernet's mtu.
    fn default_mtu(&self, _: MtuAround) -> Option<u32> {
        Some(match self.remote {
            _ if self.is_external() => *self.mtu_limits().end(),
            Some(IpAddr::V6(_)) => UNDERLAY_MTU - 70,
            Some(IpAddr::V4(_)) | None => UNDERLAY_MTU - 50,
        })
    }

    /// `geneve_link_config`.
    fn mtu_by_route(&self) -> &'static [&'static str] {
        &["remote"]
    }
}

impl Geneve {
    fn is_external(&self) -> bool {
        self.external == Some(true)
    }

    /// Returns whether the outer packets have that family.
    fn is_over(&self, family: fn(&IpAddr) -> bool) -> bool {
        self.remote.as_ref().is_some_and(family)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;
    use crate::resource::option::Mutability;

    fn over(remote: &str) -> Geneve {
        Geneve { id: Some(42), remote: Some(remote.parse().unwrap()), ..Geneve::default() }
    }

    fn external() -> Geneve {
        Geneve { external: Some(true), ..Geneve::default() }
    }

    #[test]
    fn every_option_survives_the_wire() {
        let ipv4 = Geneve {
            ttl: Some(Ttl::Inherit),
            df: Some(GeneveDf::Inherit),
            tos: Some(4),
            udpcsum: Some(true),
            port: Some(6082),
            ..over("10.0.0.2")
        };
        let ipv6 = Geneve {
            ttl: Some(Ttl::Fixed(7)),
            flowlabel: Some(77),
            udp6zerocsumtx: Some(true),
            udp6zerocsumrx: Some(true),
            ..over("2001:db8::2")
        };
        for geneve in [ipv4, ipv6, over("10.0.0.2"), external()] {
            let kind = Kind::from(geneve).complete();
            assert_eq!(Kind::decode("geneve", &kind.encode(None)).unwrap(), kind);
        }
    }

    #[test]
    fn the_defaults_of_checksums_depend_on_the_family() {
        let checksums = |geneve: Geneve| {
            let shown = Kind::from(geneve).complete().show();
            shown
                .into_iter()
                .filter(|(name, _)| name.starts_with("udp"))
                .map(|(name, value)| (name, value == true))
                .collect::<Vec<_>>()
        };
        assert_eq!(checksums(over("10.0.0.2")), [("udpcsum", false), ("udp6zerocsumrx", true)]);
        assert_eq!(checksums(over("2001:db8::2")), [("udp6zerocsumtx", false), ("udp6zerocsumrx", false)]);
        assert_eq!(checksums(external()), [("udp6zerocsumrx", true)]);
    }

    #[test]
    fn the_kernel_reports_a_ttl_beside_inherit() {
        let decoded = |data: &[u8]| Kind::decode("geneve", data).unwrap().show();
        let number = |inherit: u8| [5, 0, 3, 0, 9, 0, 0, 0, 5, 0, 12, 0, inherit, 0, 0, 0];
        assert!(decoded(&number(0)).contains(&("ttl", 9.into())));
        assert!(decoded(&number(1)).contains(&("ttl", "inherit".into())));
    }

    fn changes(desired: Geneve, live: Geneve) -> Vec<(&'static str, Mutability)> {
        let changes = Kind::from(desired).compare(&Kind::from(live).complete()).unwrap();
        changes.iter().map(|change| (change.name, change.mutability)).collect()
    }

    #[test]
    fn the_remote_changes_in_place_within_its_family() {
        assert_eq!(changes(over("10.0.0.3"), over("10.0.0.2")), [("remote", Mutability::InPlace)]);
        assert_eq!(changes(over("2001:db8::3"), over("2001:db8::2")), [("remote", Mutability::InPlace)]);
        assert_eq!(changes(over("2001:db8::3"), over("10.0.0.2"))[0], ("remote", Mutability::Replace));
    }

    #[test]
    fn what_changes_in_place() {
        let all = Geneve { ttl: Some(Ttl::Inherit), tos: Some(1), df: Some(GeneveDf::Set), ..over("10.0.0.2") };
        let in_place = ["ttl", "tos", "df"].map(|name| (name, Mutability::InPlace));
        assert_eq!(changes(all.clone(), over("10.0.0.2")), in_place);
        assert_eq!(changes(over("10.0.0.2"), all), in_place);
        assert_eq!(changes(Geneve { port: Some(1), ..over("10.0.0.2") }, over("10.0.0.2")), [("port", Mutability::Replace)]);
        let fixed = Geneve { df: Some(GeneveDf::Set), ..external() };
        assert_eq!(changes(fixed, external()), [("df", Mutability::Replace)]);
    }

    #[test]
    fn a_change_has_the_identity_but_nothing_fixed() {
        let live = Kind::from(over("10.0.0.2")).complete();
        let desired = Kind::from(Geneve { ttl: Some(Ttl::Fixed(9)), ..over("10.0.0.2") });
        assert_eq!(desired.difference(&live), desired);
        assert_eq!(Kind::from(over("10.0.0.2")).difference(&live), Geneve::default().into());
    }

    #[test]
    fn values_that_the_kernel_refuses_or_ignores_are_refused() {
        let keys = |geneve: Geneve| geneve.validate().into_iter().map(|invalid| invalid.key).collect::<Vec<_>>();
        assert_eq!(keys(Geneve::default()), ["id", "remote"]);
        assert_eq!(keys(external()), [""; 0]);
        assert_eq!(keys(Geneve { external: Some(true), ttl: Some(Ttl::Inherit), ..over("10.0.0.2") }), ["id", "remote", "ttl"]);
        assert_eq!(keys(Geneve { udp6zerocsumrx: Some(false), ..external() }), ["udp6zerocsumrx"]);
        assert_eq!(keys(over("239.0.0.1")), ["remote"]);
        assert_eq!(keys(Geneve { id: Some(1 << 24), port: Some(0), ..over("10.0.0.1") }), ["id", "port"]);
        let families = Geneve {
            udpcsum: Some(true),
            udp6zerocsumtx: Some(true),
            udp6zerocsumrx: Some(true),
            flowlabel: Some(1),
            ..Geneve::default()
        };
        let with = |remote: &str| keys(Geneve { remote: remote.parse().ok(), id: Some(1), ..families.clone() });
        assert_eq!(with("10.0.0.1"), ["flowlabel", "udp6zerocsumtx", "udp6zerocsumrx"]);
        assert_eq!(with("2001:db8::1"), ["udpcsum"]);
    }

    #[test]
    fn id_port_and_remote_form_the_identity() {
        let key = |geneve: Geneve| geneve.identity().unwrap().key;
        assert_eq!(key(over("10.0.0.2")), key(Geneve { port: Some(6081), ..over("10.0.0.2") }));
        assert_ne!(key(over("10.0.0.2")), key(over("10.0.0.3")));
        assert_ne!(key(over("2001:db8::2")), key(over("2001:db8::3")));
        assert_ne!(key(over("10.0.0.2")), key(Geneve { port: Some(6082), ..over("10.0.0.2") }));
    }

    #[test]
    fn the_outer_headers_reduce_the_mtu() {
        let default = |geneve: Geneve| geneve.default_mtu(MtuAround::default());
        assert_eq!(default(over("10.0.0.2")), Some(1450));
        assert_eq!(default(over("2001:db8::2")), Some(1430));
        assert_eq!(default(external()), Some(65465));
    }
}
