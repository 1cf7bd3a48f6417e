//! The settings that each interface has, and `all` and `default` of its namespace: `net.ipv4.conf.*.NAME`, `net.ipv6.conf.*.NAME`,
//! ip-sysctl(7). A dump of links contains them (IFLA_AF_SPEC), so that changes of settings that no lab names are noticed, too.

use super::{IPV6_SPREADING, SysctlKey};

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

/// All IPv4 settings in the order of IPV4_DEVCONF_*, linux/ip.h, which is that of the array IFLA_INET_CONF; older kernels have fewer.
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

/// The values of INET as numbers, for comparison with what the kernel reports.
const INET_DEFAULTS: [i32; INET.len()] = {
    let mut numbers = [0; INET.len()];
    let mut position = 0;
    while position < INET.len() {
        numbers[position] = number(INET[position].default);
        position += 1;
    }
    numbers
};

/// Parses the digits of a table.
const fn number(digits: &str) -> i32 {
    let (bytes, mut number, mut at) = (digits.as_bytes(), 0, 0);
    while at < bytes.len() {
        number = number * 10 + (bytes[at] - b'0') as i32;
        at += 1;
    }
    number
}

/// The IPv6 settings that are the same on every kernel until somebody changes them: name, position among DEVCONF_*, linux/ipv6.h, which is
/// that of the array IFLA_INET6_CONF, and the kernel's value (`ipv6_devconf_dflt` in net/ipv6/addrconf.c).
///
/// Without those that the kernel changes by itself (`mtu`; `hop_limit` by router advertisements; `mc_forwarding`), that depend on its
/// configuration, or that are reported in another unit.
const INET6: [(&str, usize, i32); 43] = [
    ("forwarding", 0, 0),
    ("accept_ra", 3, 1),
    ("accept_redirects", 4, 1),
    ("autoconf", 5, 1),
    ("dad_transmits", 6, 1),
    (USE_TEMPADDR, 10, 0),
    ("temp_valid_lft", 11, 604_800),
    ("temp_prefered_lft", 12, 86_400),
    ("regen_max_retry", 13, 3),
    ("max_desync_factor", 14, 600),
    ("max_addresses", 15, 16),
    ("force_mld_version", 16, 0),
    ("accept_ra_defrtr", 17, 1),
    ("accept_ra_pinfo", 18, 1),
    ("proxy_ndp", 22, 0),
    ("optimistic_dad", 23, 0),
    ("accept_source_route", 24, 0),
    ("disable_ipv6", 26, 0),
    (ACCEPT_DAD, 27, 1),
    ("force_tllao", 28, 0),
    ("ndisc_notify", 29, 0),
    ("suppress_frag_ndisc", 32, 1),
    ("accept_ra_from_local", 33, 0),
    ("use_optimistic", 34, 0),
    ("accept_ra_mtu", 35, 1),
    ("use_oif_addrs_only", 37, 0),
    ("accept_ra_min_hop_limit", 38, 1),
    ("ignore_routes_with_linkdown", 39, 0),
    ("drop_unicast_in_l2_multicast", 40, 0),
    ("drop_unsolicited_na", 41, 0),
    ("keep_addr_on_down", 42, 0),
    ("seg6_enabled", 44, 0),
    ("enhanced_dad", 46, 1),
    ("addr_gen_mode", 47, 0),
    ("disable_policy", 48, 0),
    ("ndisc_tclass", 50, 0),
    ("rpl_seg_enabled", 51, 0),
    ("ra_defrtr_metric", 52, 1024),
    ("ioam6_enabled", 53, 0),
    ("ndisc_evict_nocarrier", 56, 1),
    ("accept_untracked_na", 57, 0),
    ("accept_ra_min_lft", 58, 0),
    ("force_forwarding", 59, 0),
];

/// -1 on interfaces without ARP.
const ACCEPT_DAD: &str = "accept_dad";
/// -1 on loopbacks and tunnels.
const USE_TEMPADDR: &str = "use_tempaddr";
/// Multicast routing daemons change it.
const MC_FORWARDING: usize = 1;

/// A family of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `net.ipv4.conf`.
    Inet,
    /// `net.ipv6.conf`.
    Inet6,
}

impl Family {
    fn directory(self) -> &'static str {
        match self {
            Self::Inet => "net/ipv4/conf",
            Self::Inet6 => "net/ipv6/conf",
        }
    }
}

/// A setting that each interface has, with the kernel's value for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// The family.
    pub family: Family,
    /// The last part of its name.
    pub name: &'static str,
    /// The value of a new interface in a namespace that nobody has configured.
    pub default: i32,
}

impl Setting {
    /// Returns the setting that the kernel copies from `all` to every interface when it is written there.
    pub fn spreads(self) -> bool {
        match self.family {
            Family::Inet => self.name == "forwarding",
            Family::Inet6 => IPV6_SPREADING.contains(&self.name),
        }
    }

    /// Returns whether it is a setting of IPv4, which every interface has.
    pub fn is_inet(self) -> bool {
        self.family == Family::Inet
    }

    /// Returns the sysctl of `all`, `default`, or an interface.
    pub fn of(self, place: &str) -> SysctlKey {
        SysctlKey::of_path(format!("{}/{place}/{}", self.family.directory(), self.name))
    }

    /// Returns the setting that a sysctl of an interface, of `all` or of `default` has, with the kernel's value of that sysctl.
    pub fn of_key(key: &SysctlKey) -> Option<Self> {
        let (directory, place, name) = key.parts()?;
        if directory == Family::Inet.directory() {
            let conf = INET.iter().enumerate().find(|(position, conf)| *position != MC_FORWARDING && conf.name == name)?.1;
            let own = place == LOOPBACK && OF_LOOPBACK.contains(&name);
            let default = if place == "all" { number(conf.all) } else { number(conf.default) };
            return Some(Self { family: Family::Inet, name: conf.name, default: if own { 1 } else { default } });
        }
        let (name, _, default) =
            INET6.into_iter().find(|(other, ..)| directory == Family::Inet6.directory() && *other == name)?;
        let default = if place == "all" && name == ACCEPT_DAD { 0 } else { default };
        Some(Self { family: Family::Inet6, name, default })
    }
}

const LOOPBACK: &str = "lo";
/// IPv4 settings that are 1 on a loopback (`inetdev_init`).
pub const OF_LOOPBACK: [&str; 2] = ["disable_xfrm", "disable_policy"];

/// The settings of one interface: those that do not have the kernel's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkConf {
    /// Whether it has settings of IPv6. A link with a small mtu has none.
    pub has_inet6: bool,
    /// The settings with another value.
    pub changed: Vec<(Setting, i32)>,
}

impl LinkConf {
    /// Adds what differs in an array of 32-bit numbers, IFLA_INET_CONF.
    pub fn add_inet(&mut self, bytes: &[u8], is_loopback: bool) {
        for (position, (live, default)) in numbers(bytes).zip(INET_DEFAULTS).enumerate() {
            let name = INET[position].name;
            if live != default || is_loopback {
                let default = if is_loopback && OF_LOOPBACK.contains(&name) { 1 } else { default };
                if live != default && position != MC_FORWARDING {
                    self.changed.push((Setting { family: Family::Inet, name, default }, live));
                }
            }
        }
    }

    /// Adds what differs in an array of 32-bit numbers, IFLA_INET6_CONF.
    pub fn add_inet6(&mut self, bytes: &[u8]) {
        self.has_inet6 = true;
        let values = bytes.as_chunks::<4>().0;
        for (name, position, default) in INET6 {
            let Some(live) = values.get(position).map(|bytes| i32::from_ne_bytes(*bytes)) else { break };
            let of_kernel = live == -1 && [ACCEPT_DAD, USE_TEMPADDR].contains(&name);
            if live != default && !of_kernel {
                self.changed.push((Setting { family: Family::Inet6, name, default }, live));
            }
        }
    }

    /// Returns the value of a setting.
    pub fn value(&self, setting: Setting) -> i32 {
        let same = |(changed, _): &&(Setting, i32)| (changed.family, changed.name) == (setting.family, setting.name);
        self.changed.iter().find(same).map_or(setting.default, |(_, value)| *value)
    }

    /// Returns whether a setting that is off by default is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.changed.iter().any(|(setting, value)| setting.name == name && *value != 0)
    }

    /// Returns the sysctls of `all` that may have been changed, when this is the loopback: the kernel copies them to all interfaces.
    pub fn suspects(&self) -> Vec<SysctlKey> {
        self.changed.iter().filter(|(setting, _)| setting.spreads()).map(|(setting, _)| setting.of("all")).collect()
    }
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes.as_chunks().0.iter().map(|bytes| i32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: &[i32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    /// IFLA_INET6_CONF of a new veth, as Linux 6.18 reports it.
    const VETH: [i32; 60] = [
        0, 64, 1500, 1, 1, 1, 1, -1, 4000, 1000, 0, 604_800, 86_400, 3, 600, 16, 0, 1, 1, 1, 60_000, 0, 0, 0, 0, 0, 0, 1, 0, 0,
        10_000, 1000, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 3_600_000, 0, 0, 1, 0, 0, 0, 0, 0, 1024, 0, 65_535, -1, 1, 0, 0, 0,
    ];

    #[test]
    fn a_new_link_has_the_kernels_values() {
        let mut conf = LinkConf::default();
        conf.add_inet(&bytes(&INET_DEFAULTS), false);
        conf.add_inet6(&bytes(&VETH));
        assert_eq!(conf, LinkConf { has_inet6: true, changed: Vec::new() });
        // Older kernels have fewer.
        conf.add_inet6(&bytes(&VETH[..40]));
        conf.add_inet(&bytes(&INET_DEFAULTS[..26]), false);
        assert_eq!(conf.changed, []);
    }

    #[test]
    fn a_loopback_and_links_without_arp_have_values_of_their_own() {
        let mut values = INET_DEFAULTS;
        (values[14], values[15]) = (1, 1);
        let mut of_ipv6 = VETH;
        (of_ipv6[10], of_ipv6[27], of_ipv6[2]) = (-1, -1, 65536);
        let mut conf = LinkConf::default();
        conf.add_inet(&bytes(&values), true);
        conf.add_inet6(&bytes(&of_ipv6));
        assert_eq!(conf.changed, []);
        conf.add_inet(&bytes(&values), false);
        assert_eq!(conf.changed.len(), 2);
    }

    #[test]
    fn what_differs_is_found_with_its_name() {
        let (mut values, mut of_ipv6) = (INET_DEFAULTS, VETH);
        (values[0], of_ipv6[26], of_ipv6[1]) = (1, 1, 32);
        let mut conf = LinkConf::default();
        conf.add_inet(&bytes(&values), false);
        conf.add_inet6(&bytes(&of_ipv6));
        let keys: Vec<_> = conf.changed.iter().map(|(setting, value)| format!("{} {value}", setting.of("eth0"))).collect();
        assert_eq!(keys, ["net.ipv4.conf.eth0.forwarding 1", "net.ipv6.conf.eth0.disable_ipv6 1"]);
        let suspects: Vec<_> = conf.suspects().iter().map(ToString::to_string).collect();
        assert_eq!(suspects, ["net.ipv4.ip_forward", "net.ipv6.conf.all.disable_ipv6"]);
        for (setting, _) in conf.changed {
            assert_eq!(Setting::of_key(&setting.of("eth0")), Some(setting));
        }
    }

    #[test]
    fn settings_that_cannot_be_compared_have_no_value() {
        for text in ["net.ipv6.conf.eth0.mtu", "net.ipv4.conf.eth0.mc_forwarding", "net.ipv4.neigh.eth0.proxy_qlen"] {
            assert_eq!(Setting::of_key(&SysctlKey::of_namespace(text).unwrap()), None, "{text}");
        }
    }
}
