//! The IPv4 settings that each interface has, and `all` and `default` of its namespace: `net.ipv4.conf.*.NAME`, ip-sysctl(7).

/// A setting with the kernel's values for a namespace that nobody has configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conf {
    /// The last part of its name.
    pub name: &'static str,
    /// The value of `all` (`ipv4_devconf` in net/ipv4/devinet.c).
    pub all: &'static str,
    /// The value of `default`, which interfaces start with (`ipv4_devconf_dflt`).
    pub default: &'static str,
}

const fn conf(name: &'static str) -> Conf {
    both(name, "0")
}

const fn both(name: &'static str, value: &'static str) -> Conf {
    Conf { name, all: value, default: value }
}

/// All settings in the order of IPV4_DEVCONF_*, linux/ip.h, which is that of the array IFLA_INET_CONF; older kernels have fewer.
pub const INET: [Conf; 33] = [
    conf("forwarding"),
    conf("mc_forwarding"),
    conf("proxy_arp"),
    both("accept_redirects", "1"),
    both("secure_redirects", "1"),
    both("send_redirects", "1"),
    both("shared_media", "1"),
    conf("rp_filter"),
    Conf { name: "accept_source_route", all: "0", default: "1" },
    conf("bootp_relay"),
    conf("log_martians"),
    conf("tag"),
    conf("arp_filter"),
    conf("medium_id"),
    conf("disable_xfrm"),
    conf("disable_policy"),
    conf("force_igmp_version"),
    conf("arp_announce"),
    conf("arp_ignore"),
    conf("promote_secondaries"),
    conf("arp_accept"),
    conf("arp_notify"),
    conf("accept_local"),
    conf("src_valid_mark"),
    conf("proxy_arp_pvlan"),
    conf("route_localnet"),
    both("igmpv2_unsolicited_report_interval", "10000"),
    both("igmpv3_unsolicited_report_interval", "1000"),
    conf("ignore_routes_with_linkdown"),
    conf("drop_unicast_in_l2_multicast"),
    conf("drop_gratuitous_arp"),
    conf("bc_forwarding"),
    both("arp_evict_nocarrier", "1"),
];
