//! Words of other programs (iproute2, bridge-utils, netplan, containerlab), and what a lab file has instead.

/// Terms of other programs, and the keys or values that correspond to them. Those that are valid in a place count.
const SYNONYMS: &[(&str, &str)] = &[
    ("address", "addresses"),
    ("address", "to"),
    ("admin", "up"),
    ("ageing", "ageing_time"),
    ("aging_time", "ageing_time"),
    ("altname", "altnames"),
    ("bpdu_guard", "guard"),
    ("bpduguard", "guard"),
    ("brd", "broadcast"),
    ("bridge_ageing", "ageing_time"),
    ("bridge_fd", "forward_delay"),
    ("bridge_hello", "hello_time"),
    ("bridge_maxage", "max_age"),
    ("bridge_ports", "ports"),
    ("bridge_prio", "priority"),
    ("bridge_slave", "bridge_port"),
    ("bridge_stp", "stp_state"),
    ("bridge_vlan_aware", "vlan_filtering"),
    ("cables", "links"),
    ("connections", "links"),
    ("cost", "metric"),
    ("dest_port", "port"),
    ("destination", "to"),
    ("destination_port", "port"),
    ("dev", "parent"),
    ("device", "dev"),
    ("device", "parent"),
    ("distance", "metric"),
    ("dot1ad", "802.1ad"),
    ("dot1q", "802.1Q"),
    ("drop", "blackhole"),
    ("dsfield", "tos"),
    ("dst", "remote"),
    ("dst", "to"),
    ("dst_port", "port"),
    ("dstport", "port"),
    ("edges", "links"),
    ("enabled", "up"),
    ("ends", "endpoints"),
    ("ether", "lladdr"),
    ("ether", "mac"),
    ("ethernets", "interfaces"),
    ("fast_leave", "fastleave"),
    ("fd", "forward_delay"),
    ("from", "src"),
    ("gateway", "via"),
    ("gateway4", "via"),
    ("gateway6", "via"),
    ("gw", "via"),
    ("hairpin_mode", "hairpin"),
    ("hello", "hello_time"),
    ("hosts", "namespaces"),
    ("hw_address", "mac"),
    ("hwaddr", "lladdr"),
    ("hwaddr", "mac"),
    ("hwaddress", "mac"),
    ("ifname", "dev"),
    ("ifname", "interface"),
    ("ifnames", "endpoints"),
    ("iifname", "iif"),
    ("inet", "addresses"),
    ("inet6", "addresses"),
    ("input_interface", "iif"),
    ("interface", "dev"),
    ("interface", "endpoints"),
    ("interface", "parent"),
    ("interfaces", "endpoints"),
    ("interfaces", "ports"),
    ("ip", "address"),
    ("ip", "addresses"),
    ("ip", "to"),
    ("ip_address", "addresses"),
    ("ip_addresses", "addresses"),
    ("ip_proto", "ipproto"),
    ("ip_rules", "rules"),
    ("ipaddr", "addresses"),
    ("ipaddress", "addresses"),
    ("ips", "addresses"),
    ("ipv4", "addresses"),
    ("ipv6", "addresses"),
    ("lifetime", "valid_lft"),
    ("link", "dev"),
    ("link", "parent"),
    ("lladdr", "mac"),
    ("local", "address"),
    ("local_ip", "local"),
    ("lookup", "table"),
    ("lower", "parent"),
    ("lower_device", "parent"),
    ("mac", "lladdr"),
    ("mac_address", "lladdr"),
    ("mac_address", "mac"),
    ("macaddr", "lladdr"),
    ("macaddr", "mac"),
    ("macaddress", "mac"),
    ("mark", "fwmark"),
    ("master", "parent"),
    ("maxage", "max_age"),
    ("members", "ports"),
    ("multicast_flood", "mcast_flood"),
    ("multicast_querier", "mcast_querier"),
    ("multicast_router", "mcast_router"),
    ("multicast_snooping", "mcast_snooping"),
    ("netns", "namespaces"),
    ("next_hop", "via"),
    ("nexthop", "via"),
    ("nodes", "endpoints"),
    ("nodes", "namespaces"),
    ("oif", "dev"),
    ("oifname", "oif"),
    ("order", "priority"),
    ("output_interface", "oif"),
    ("path_cost", "cost"),
    ("pointopoint", "peer"),
    ("pref", "metric"),
    ("pref", "priority"),
    ("preference", "metric"),
    ("preference", "priority"),
    ("preferred", "preferred_lft"),
    ("preferred_lifetime", "preferred_lft"),
    ("prefix", "to"),
    ("prefsrc", "src"),
    ("prio", "metric"),
    ("prio", "priority"),
    ("priority", "metric"),
    ("promiscuous", "promisc"),
    ("proto", "ipproto"),
    ("proto", "protocol"),
    ("protocol", "ipproto"),
    ("ptp", "peer"),
    ("qinq", "802.1ad"),
    ("qlen", "txqueuelen"),
    ("raw_device", "parent"),
    ("reject", "unreachable"),
    ("remote", "peer"),
    ("remote_ip", "remote"),
    ("root_guard", "root_block"),
    ("route", "routes"),
    ("route_metric", "metric"),
    ("routers", "namespaces"),
    ("rule", "rules"),
    ("slaves", "ports"),
    ("source", "from"),
    ("source", "src"),
    ("source_port", "sport"),
    ("source_port", "srcport"),
    ("src", "from"),
    ("src", "local"),
    ("state", "nud"),
    ("stp", "stp_state"),
    ("sysctl", "sysctls"),
    ("tag", "id"),
    ("target", "to"),
    ("tx_queue_len", "txqueuelen"),
    ("txqlen", "txqueuelen"),
    ("unicast_flood", "flood"),
    ("valid", "valid_lft"),
    ("valid_lifetime", "valid_lft"),
    ("vid", "id"),
    ("vlan", "id"),
    ("vlan_aware", "vlan_filtering"),
    ("vlan_id", "id"),
    ("vlan_protocol", "protocol"),
    ("vlan_raw_device", "parent"),
    ("vlanid", "id"),
    ("vni", "id"),
    ("vnid", "id"),
    ("vxlan_id", "id"),
];

/// Keys of other programs without one word that corresponds to them: the key, one that is valid beside it, and what to do instead.
const ADVICE: &[(&str, &str, &str)] = &[
    ("accept-ra", "altnames", "write `sysctls: { ipv6.accept_ra: 1 }`"),
    ("address", "altnames", "use `addresses` for IP addresses, `mac` for the MAC address"),
    ("autoconf", "altnames", "write `sysctls: { ipv6.autoconf: 1 }`"),
    ("bonds", "interfaces", "all interfaces are listed under `interfaces`, each with its kind: `br0: { bridge: {} }`"),
    ("bridge_master", "altnames", "list the interface under the `ports` of its bridge"),
    ("bridges", "interfaces", "all interfaces are listed under `interfaces`, each with its kind: `br0: { bridge: {} }`"),
    ("bridges", "links", "bridges are listed under the `interfaces` of a namespace: `br0: { bridge: {} }`"),
    ("dhcp4", "altnames", "list static `addresses`, or run a DHCP client in the namespace"),
    ("dhcp6", "altnames", "list static `addresses`, or run a DHCP client in the namespace"),
    ("dns", "interfaces", "topo does not set up name servers: `ip netns exec` takes them from /etc/netns/NAME/resolv.conf"),
    (
        "gateway",
        "altnames",
        "a gateway is a route of the namespace, beside `interfaces`: `routes: [{ to: default, via: ADDRESS }]`",
    ),
    ("gateway", "interfaces", "write it as a route: `routes: [{ to: default, via: ADDRESS }]`"),
    (
        "gateway4",
        "altnames",
        "a gateway is a route of the namespace, beside `interfaces`: `routes: [{ to: default, via: ADDRESS }]`",
    ),
    ("gateway4", "interfaces", "write it as a route: `routes: [{ to: default, via: ADDRESS }]`"),
    (
        "gateway6",
        "altnames",
        "a gateway is a route of the namespace, beside `interfaces`: `routes: [{ to: default, via: ADDRESS }]`",
    ),
    ("gateway6", "interfaces", "write it as a route: `routes: [{ to: default, via: ADDRESS }]`"),
    ("image", "interfaces", "a node is a network namespace, not a container: remove it"),
    ("kind", "altnames", "the kind is a key itself: `bridge: {}`"),
    ("kind", "interfaces", "a node is a network namespace and has no kind: remove it"),
    ("link", "altnames", "it belongs to the kind: `vlan: { parent: eth0, id: 10 }`"),
    ("mask", "noprefixroute", "write the prefix length in `address`: `192.0.2.1/24`"),
    ("master", "altnames", "list the interface under the `ports` of its bridge"),
    ("mgmt", "links", "containers are not supported: a lab has `namespaces` and `links`"),
    ("nameservers", "altnames", "topo does not set up name servers: `ip netns exec` takes them from /etc/netns/NAME/resolv.conf"),
    (
        "nameservers",
        "interfaces",
        "topo does not set up name servers: `ip netns exec` takes them from /etc/netns/NAME/resolv.conf",
    ),
    ("netmask", "altnames", "write the prefix length in `addresses`: `[192.0.2.1/24]`"),
    ("netmask", "noprefixroute", "write the prefix length in `address`: `192.0.2.1/24`"),
    ("network", "links", "list `namespaces` and `links` at the top of the file"),
    ("parent", "altnames", "it belongs to the kind: `vlan: { parent: eth0, id: 10 }`"),
    ("peer", "altnames", "a veth pair is a link: `links: [{ endpoints: [a:eth0, b:eth0] }]`"),
    ("prefix", "noprefixroute", "write the prefix length in `address`: `192.0.2.1/24`"),
    ("prefix_length", "noprefixroute", "write the prefix length in `address`: `192.0.2.1/24`"),
    ("prefixlen", "noprefixroute", "write the prefix length in `address`: `192.0.2.1/24`"),
    ("proto", "nexthops", "topo marks its routes with a protocol of its own: remove it"),
    ("protocol", "nexthops", "topo marks its routes with a protocol of its own: remove it"),
    ("routes", "altnames", "`routes` belong to the namespace, beside `interfaces`"),
    ("state", "altnames", "write `up: true` or `up: false`"),
    ("stp", "hairpin", "the spanning tree is an option of the bridge: `stp_state`"),
    ("topology", "links", "list `namespaces` (the nodes) and `links` at the top of the file"),
    ("ttl_inherit", "l2miss", "topo does not copy the TTL of inner packets: omit it for the system's default"),
    ("type", "altnames", "the kind is a key itself: `bridge: {}`"),
    ("veth", "altnames", "a veth pair is a link: `links: [{ endpoints: [a:eth0, b:eth0] }]`"),
    ("veth", "links", "a veth pair is one of the `links`"),
    ("vlan", "nexthops", "name the interface of the VLAN with `dev`"),
    (
        "vlans",
        "interfaces",
        "all interfaces are listed under `interfaces`, each with its kind: `eth0.10: { vlan: { parent: eth0, id: 10 } }`",
    ),
    ("weight", "nexthops", "only one of several next hops has a weight: `nexthops: [{ via: ADDRESS, weight: 2 }, …]`"),
];

/// Values of other programs: the key, the value, and what to write instead.
const VALUES: &[(&str, &str, &str)] = &[
    ("df", "inherit", "write 2"),
    ("df", "set", "write 1"),
    ("df", "unset", "write 0"),
    ("from", "all", "write `default`, or omit it"),
    ("from", "any", "write `default`, or omit it"),
    ("mac", "auto", "omit it: the kernel chooses one"),
    ("mac", "random", "omit it: the kernel chooses one"),
    ("mtu", "auto", "omit it for the default of the kind"),
    ("mtu", "default", "omit it for the default of the kind"),
    ("preferred_lft", "forever", "omit it: without it there is no limit"),
    ("preferred_lft", "infinite", "omit it: without it there is no limit"),
    ("preferred_lft", "infinity", "omit it: without it there is no limit"),
    ("to", "0/0", "write `default`"),
    ("to", "all", "write `default`"),
    ("to", "any", "write `default`"),
    ("tos", "inherit", "write 1"),
    ("ttl", "auto", "omit it, or write 0"),
    ("ttl", "inherit", "topo does not copy the TTL of inner packets: omit it for the system's default"),
    ("valid_lft", "forever", "omit it: without it there is no limit"),
    ("valid_lft", "infinite", "omit it: without it there is no limit"),
    ("valid_lft", "infinity", "omit it: without it there is no limit"),
];

/// Keys under which other programs keep templates.
const TEMPLATES: &[&str] = &["anchors", "common", "defaults", "definitions", "templates"];

/// The times of bridges, which iproute2 counts in hundredths of a second (USER_HZ).
const BRIDGE_TIMES: &[&str] = &[
    "ageing_time",
    "forward_delay",
    "hello_time",
    "max_age",
    "mcast_last_member_interval",
    "mcast_membership_interval",
    "mcast_querier_interval",
    "mcast_query_interval",
    "mcast_query_response_interval",
    "mcast_startup_query_interval",
];

/// Returns the word of `known` that another program has a different term for.
pub fn synonym<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let meant = SYNONYMS.iter().filter(|(other, _)| is_same(other, word));
    meant.into_iter().find_map(|(_, key)| known.iter().find(|known| *known == key)).copied()
}

/// Returns what to do instead of setting an unknown key where the keys `known` are valid.
pub fn advice(word: &str, known: &[&str]) -> Option<String> {
    let fits = |(other, beside, _): &&(&str, &str, &str)| is_same(other, word) && known.contains(beside);
    if let Some((_, _, advice)) = ADVICE.iter().find(fits) {
        return Some((*advice).to_owned());
    }
    if known.contains(&"namespaces") && (word.starts_with(['.', '_']) || TEMPLATES.contains(&word)) {
        return Some("keys that begin with `x-` are ignored and can hold anchors: `x-common: &common { … }`".to_owned());
    }
    let negated = word.strip_prefix("no")?.trim_start_matches(['_', '-']);
    known.contains(&negated).then(|| format!("write `{negated}: false`"))
}

/// Returns what to write instead of an invalid value.
pub fn value_advice(key: &str, value: &str) -> Option<String> {
    let found = VALUES.iter().find(|(of, other, _)| *of == key && *other == value);
    found.map(|(_, _, advice)| (*advice).to_owned())
}

/// Returns how to write a duration that lacks a unit.
pub fn duration_advice(key: &str, text: &str) -> Option<String> {
    let number: u64 = text.parse().ok()?;
    Some(match BRIDGE_TIMES.contains(&key) {
        _ if number == 0 => "add a unit: `0s`".to_owned(),
        true => {
            let hundredths = if number.is_multiple_of(100) { format!("{}s", number / 100) } else { format!("{number}0ms") };
            format!("add a unit: `{number}s`; iproute2 counts in hundredths of a second, so that its {number} is `{hundredths}`")
        }
        false => format!("add a unit: `{number}s`"),
    })
}

/// Compares words without regard to case, and with `-` for `_`.
fn is_same(term: &str, word: &str) -> bool {
    let plain = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    term.chars().map(plain).eq(word.chars().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_what_is_valid_in_its_place() {
        assert_eq!(synonym("dst", &["id", "remote"]), Some("remote"));
        assert_eq!(synonym("dst", &["to", "via"]), Some("to"));
        assert_eq!(synonym("bridge-ports", &["ports"]), Some("ports"));
        assert_eq!(synonym("dst", &["mtu"]), None);
    }

    #[test]
    fn the_tables_are_sorted_and_name_what_differs() {
        assert!(SYNONYMS.is_sorted() && ADVICE.is_sorted() && VALUES.is_sorted());
        assert!(SYNONYMS.iter().all(|(other, key)| other != key));
    }

    #[test]
    fn a_negated_key_is_one_with_false() {
        assert_eq!(advice("nolearning", &["learning"]).unwrap(), "write `learning: false`");
        assert_eq!(advice("no-udpcsum", &["udpcsum"]).unwrap(), "write `udpcsum: false`");
        assert_eq!(advice("nolearning", &["mtu"]), None);
    }

    #[test]
    fn the_times_of_bridges_have_two_readings() {
        let advice = |number| duration_advice("forward_delay", number).unwrap();
        assert!(advice("4").contains("`4s`") && advice("4").contains("`40ms`"));
        assert!(advice("400").contains("its 400 is `4s`"));
        assert_eq!(advice("0"), "add a unit: `0s`");
        assert_eq!(duration_advice("valid_lft", "60").unwrap(), "add a unit: `60s`");
    }
}
