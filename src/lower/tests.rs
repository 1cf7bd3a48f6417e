//! A lab file in, what it asks for out, both as text.

use std::collections::BTreeMap;

use super::{Lowered, lower};
use crate::resource::address::Address;
use crate::resource::link::Queues;
use crate::spec::{Severity, load};

pub(super) fn lowered(yaml: &str) -> Lowered {
    let text = format!("name: lab\n{yaml}");
    let loaded = load(&text);
    assert_eq!(loaded.diagnostics, []);
    let tables = BTreeMap::from([("blue".to_owned(), 42)]);
    lower(&loaded.lab.expect("no diagnostics"), &tables)
}

/// The lines of the desired state that begin with `prefix`, as `id: key=value …`.
fn shown(lowered: &Lowered, prefix: &str) -> String {
    let mut out = String::new();
    for (id, attributes) in lowered.state.show() {
        let words: Vec<String> = attributes.into_iter().map(|(key, value)| format!("{key}={}", plain(&value))).collect();
        let line = format!("{} {id}: {}", id.kind(), words.join(" "));
        if line.starts_with(prefix) {
            out += line.trim_end_matches([' ', ':']);
            out.push('\n');
        }
    }
    out
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[track_caller]
fn check(yaml: &str, prefix: &str, expected: &str) {
    let lowered = lowered(yaml);
    assert_eq!(lowered.problems, []);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(shown(&lowered, prefix).lines().collect::<Vec<_>>(), expected);
}

#[track_caller]
fn refused(yaml: &str, message: &str) {
    let problems = lowered(yaml).problems;
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, [message]);
}

#[test]
fn a_namespace_has_its_loopback_and_the_host_only_what_is_declared() {
    check(
        "namespaces: { red: {}, host: {}, blue: { interfaces: { lo: { mtu: 1000 } } } }",
        "",
        "namespace blue
         namespace red
         link blue:lo: kind=loopback mtu=1000
         link red:lo: kind=loopback",
    );
    check("namespaces: { host: { interfaces: { lo: { mtu: 1000 } } } }", "link", "link host:lo: kind=external mtu=1000");
}

#[test]
fn a_link_is_two_interfaces_that_name_each_other() {
    check(
        "namespaces: { red: {} }\nlinks: [{ endpoints: [red:eth0, host:veth0] }]",
        "link",
        "link host:veth0: kind=veth peer=red:eth0
         link red:eth0: kind=veth peer=host:veth0
         link red:lo: kind=loopback",
    );
    let lowered = lowered("links: [{ endpoints: [host:a, host:b], numrxqueues: 3 }]");
    let queues: Vec<_> = lowered.state.links.values().map(|link| link.queues).collect();
    assert_eq!(queues, [Some(Queues { transmit: 1, receive: 3 }); 2]);
}

#[test]
fn an_end_may_say_otherwise_than_its_link() {
    check(
        "namespaces: { red: { interfaces: { a: { txqueuelen: 5, up: false } } } }
links: [{ endpoints: [red:a, { interface: red:b, mtu: 1300, mac: 02:00:00:00:00:09 }], mtu: 1300, txqueuelen: 9, up: true }]",
        "link red",
        "link red:a: kind=veth peer=red:b mtu=1300 up=false txqueuelen=5
         link red:b: kind=veth peer=red:a mac=02:00:00:00:00:09 mtu=1300 up=true txqueuelen=9
         link red:lo: kind=loopback",
    );
}

#[test]
fn addresses_names_and_settings_of_both_places_are_joined() {
    let lowered = lowered(
        "namespaces: { red: { interfaces: { a: { addresses: [10.0.0.9/24], altnames: [x], sysctls: { ipv4.a: 1 } } } } }
links: [{ endpoints: [{ interface: red:a, addresses: [10.0.0.1/24, 10.0.0.3/24, fd00::1/64], altnames: [y], sysctls: { ipv4.b: 2 } }, red:b] }]",
    );
    assert_eq!(lowered.problems, []);
    let addresses = lowered.state.objects::<Address>().iter();
    let order = addresses.map(|((_, key), attributes)| (key.address.to_string(), attributes.order));
    let order: Vec<_> = order.collect();
    let expected = [("10.0.0.1/24", 1), ("10.0.0.3/24", 2), ("10.0.0.9/24", 0), ("fd00::1/64", 0)];
    assert_eq!(order, expected.map(|(address, order)| (address.to_owned(), order)));
    assert!(shown(&lowered, "link red:a").contains(r#"altnames=["x","y"]"#));
    assert_eq!(shown(&lowered, "sysctl"), "sysctl red:net.ipv4.conf.a.a: value=1\nsysctl red:net.ipv4.conf.a.b: value=2\n");
}

#[test]
fn ports_know_their_master_and_the_bridge_forgets_them() {
    check(
        "namespaces:
  red:
    interfaces:
      br0: { bridge: { ports: ['p*', q1, br0.5] } }
      pbr: { bridge: {} }
      q1: { dummy: {} }
      br0.5: { vlan: { parent: q2, id: 5 } }
      q2: { dummy: {} }
      p3: { dummy: {} }
links: [{ endpoints: [red:p1, red:r1] }]",
        "link red",
        "link red:br0: kind=bridge
         link red:br0.5: kind=vlan parent=red:q2 id=5 master=br0
         link red:lo: kind=loopback
         link red:p1: kind=veth peer=red:r1 master=br0
         link red:p3: kind=dummy master=br0
         link red:pbr: kind=bridge
         link red:q1: kind=dummy master=br0
         link red:q2: kind=dummy
         link red:r1: kind=veth peer=red:p1",
    );
}

#[test]
fn what_is_external_can_be_a_port_and_a_parent() {
    check(
        "namespaces:
  host: { interfaces: { eth0: { external: true }, eth1: { external: true, mtu: 1400 }, br0: { bridge: { ports: [eth1] } } } }
  red: { interfaces: { a: { macvlan: { parent: host:eth0, mode: bridge } }, b: { macvlan: { parent: a } } } }",
        "link",
        "link host:br0: kind=bridge
         link host:eth0: kind=external
         link host:eth1: kind=external mtu=1400 master=br0
         link red:a: kind=macvlan parent=host:eth0 mode=bridge
         link red:b: kind=macvlan parent=host:eth0
         link red:lo: kind=loopback",
    );
}

#[test]
fn a_vxlan_knows_where_its_packets_travel() {
    check(
        "namespaces:
  host: { interfaces: { eth0: { external: true } } }
  red:
    interfaces:
      a: { vxlan: { id: 1, parent: host:eth0 } }
      b: { vxlan: { id: 2 } }
      c: { vxlan: { id: 3, underlay: host } }",
        "link red",
        "link red:a: kind=vxlan parent=host:eth0 id=1 underlay=host
         link red:b: kind=vxlan id=2 underlay=red
         link red:c: kind=vxlan id=3 underlay=host
         link red:lo: kind=loopback",
    );
}

#[test]
fn a_lifetime_is_complete() {
    check(
        "namespaces: { red: { interfaces: { d: { dummy: {}, addresses: [
  { address: 10.0.0.1/24, valid_lft: 60s }, { address: 10.0.0.2/24, valid_lft: 60s, preferred_lft: 0s },
  { address: 10.1.0.1/32, peer: 10.1.0.2, label: 'd:1' }] } } } }",
        "address",
        "address red:d 10.0.0.1/24: valid=60s preferred=60s
         address red:d 10.0.0.2/24: valid=60s preferred=0s
         address red:d 10.1.0.1/32: peer=10.1.0.2 label=d:1",
    );
}

const TWO_INTERFACES: &str =
    "interfaces: { a: { dummy: {}, addresses: [10.0.0.1/24, fd00::1/64, { address: 10.9.0.1, peer: 10.9.0.2 }] },
      b: { dummy: {}, addresses: [10.0.1.1/24, 10.0.0.129/25] } }";

#[track_caller]
fn routes(routes: &str, expected: &str) {
    let yaml = format!("namespaces:\n  red:\n    {TWO_INTERFACES}\n    routes: [{routes}]");
    check(&yaml, "route", expected);
}

#[track_caller]
fn route_refused(route: &str, message: &str) {
    refused(&format!("namespaces:\n  red:\n    {TWO_INTERFACES}\n    routes: [{{ {route} }}]"), message);
}

#[test]
fn a_gateway_tells_the_interface_by_the_longest_prefix() {
    routes(
        "{ to: default, via: 10.0.0.2 }, { to: 192.0.2.0/24, via: 10.0.0.130 }, { to: 192.0.3.0/24, via: 10.9.0.2 },
         { to: default, via: fd00::2 }",
        "route red default: via=10.0.0.2 dev=a
         route red 192.0.2.0/24: via=10.0.0.130 dev=b
         route red 192.0.3.0/24: via=10.9.0.2 dev=a
         route red default (inet6): via=fd00::2 dev=a",
    );
}

#[test]
fn a_gateway_that_a_longer_prefix_hides_is_reached_over_the_interface_that_the_route_names() {
    routes("{ to: default, via: 10.0.0.130, dev: a }", "route red default: via=10.0.0.130 dev=a");
}

#[test]
fn the_family_of_a_default_route_is_what_is_said_of_it() {
    routes(
        "{ to: default, dev: a }, { to: default, dev: a, family: inet6 }, { to: default, dev: b, src: fd00::1, metric: 5 },
         { to: default, via: fd00::9, family: inet, metric: 7 }",
        "route red default: dev=a
         route red default metric 7: via=fd00::9 dev=a
         route red default (inet6) metric 5: dev=b src=fd00::1
         route red default (inet6): dev=a",
    );
}

#[test]
fn tables_have_numbers() {
    routes(
        "{ to: 10.1.0.0/16, dev: a, table: blue }, { to: 10.1.0.0/16, dev: a, table: local }, { to: 10.1.0.0/16, dev: a, table: 7 },
         { to: 10.1.0.0/16, dev: a, table: main }",
        "route red 10.1.0.0/16 table 7: dev=a
         route red 10.1.0.0/16 table 42: dev=a
         route red 10.1.0.0/16: dev=a
         route red 10.1.0.0/16 table 255: dev=a",
    );
}

#[test]
fn a_route_to_an_interface_makes_gateways_reachable_in_its_own_table_and_from_main_in_all() {
    routes(
        "{ to: 172.16.0.1, dev: b }, { to: 10.1.0.0/16, via: 172.16.0.1 }, { to: 10.2.0.0/16, via: 172.16.0.1, table: 7 }",
        "route red 10.2.0.0/16 table 7: via=172.16.0.1 dev=b
         route red 10.1.0.0/16: via=172.16.0.1 dev=b
         route red 172.16.0.1: dev=b",
    );
    refused(
        &format!(
            "namespaces:\n  red:\n    {TWO_INTERFACES}
    routes: [{{ to: 172.16.0.1, dev: b, table: 7 }}, {{ to: 10.1.0.0/16, via: 172.16.0.1 }}]"
        ),
        "no IPv4 network of `red` contains the gateway `172.16.0.1`",
    );
}

#[test]
fn several_ways_are_resolved_each_on_its_own() {
    routes(
        "{ to: default, nexthops: [{ via: 10.0.0.2 }, { via: 10.0.1.2, weight: 3 }, { dev: b }] },
         { to: 192.0.2.0/24, type: blackhole }, { to: 192.0.3.1, type: local, dev: lo }",
        r#"route red default: nexthops=["via 10.0.0.2 dev a weight 1","via 10.0.1.2 dev b weight 3","dev b weight 1"]
           route red 192.0.2.0/24: type=blackhole
           route red 192.0.3.1: type=local dev=lo"#,
    );
}

#[test]
fn a_neighbour_need_not_be_proven() {
    routes(
        "{ to: 10.1.0.0/16, via: 203.0.113.1, dev: a, onlink: true }, { to: 'fd01::/64', via: 'fe80::1', dev: a },
         { to: 10.2.0.0/16, via: 'fe80::1', dev: b }",
        "route red 10.1.0.0/16: via=203.0.113.1 dev=a onlink=true
         route red 10.2.0.0/16: via=fe80::1 dev=b
         route red fd01::/64: via=fe80::1 dev=a",
    );
    route_refused("to: 10.1.0.0/16, via: 203.0.113.1, dev: a", "gateway `203.0.113.1` is not reachable over `red:a`");
    route_refused("to: 10.1.0.0/16, via: 10.0.0.1", "gateway `10.0.0.1` is a local address of `red`");
}

#[test]
fn what_is_outside_of_the_lab_may_reach_a_gateway_of_the_host() {
    check(
        "namespaces: { host: { interfaces: { eth0: { external: true } }, routes: [{ to: 10.0.0.0/8, via: 192.0.2.1, dev: eth0, src: 192.0.2.9 }] } }",
        "route",
        "route host 10.0.0.0/8: via=192.0.2.1 dev=eth0 src=192.0.2.9",
    );
}

#[test]
fn an_ipv6_metric_of_nothing_is_the_kernels() {
    routes("{ to: 'fd01::/64', dev: a, metric: 0 }", "route red fd01::/64: dev=a");
}

#[test]
fn interfaces_inherit_the_defaults_of_their_namespace() {
    let lowered = lowered(
        "namespaces:
  host: { sysctls: { net.ipv4.conf.default.rp_filter: 0 }, interfaces: { eth0: { external: true } } }
  red:
    sysctls: { net.ipv4.conf.default.rp_filter: 2, net.ipv6.conf.default.hop_limit: 5, net.ipv4.conf.all.rp_filter: 1 }
    interfaces: { a: { dummy: {}, sysctls: { ipv4.rp_filter: 0 } }, b: { dummy: {} } }",
    );
    assert_eq!(lowered.problems, []);
    let inherited = lowered.state.sysctls.iter().filter(|(_, sysctl)| sysctl.inherited);
    let inherited = inherited.map(|((namespace, key), sysctl)| format!("{namespace}:{key}={}", sysctl.value));
    let expected = ["red:net.ipv4.conf.b.rp_filter=2", "red:net.ipv6.conf.a.hop_limit=5", "red:net.ipv6.conf.b.hop_limit=5"];
    assert_eq!(inherited.collect::<Vec<_>>(), expected);
    assert!(shown(&lowered, "sysctl red").contains("red:net.ipv4.conf.a.rp_filter: value=0"));
}

#[test]
fn dots_in_the_name_of_an_interface_do_not_confuse_its_settings() {
    check(
        "namespaces: { red: { sysctls: { net/ipv4/conf/a.1/forwarding: 1 }, interfaces: { a.1: { dummy: {}, sysctls: { ipv6.forwarding: 1 } } } } }",
        "sysctl",
        "sysctl red:net.ipv4.conf.a/1.forwarding: value=1
         sysctl red:net.ipv6.conf.a/1.forwarding: value=1",
    );
}

#[test]
fn warnings_leave_a_state() {
    let lowered = lowered("namespaces: { red: { interfaces: { a: { dummy: {}, addresses: [10.0.0.0/24] } } } }");
    assert_eq!(lowered.problems.iter().map(|problem| problem.severity).collect::<Vec<_>>(), [Severity::Warning]);
    assert_eq!(shown(&lowered, "address"), "address red:a 10.0.0.0/24\n");
}

#[test]
fn work_grows_with_the_file_and_not_with_its_square() {
    let addresses: String = (0..20_000).map(|n| format!("10.{}.{}.1/24, ", n / 250, n % 250)).collect();
    let routes: String =
        (0..20_000).map(|n| format!("{{ to: 192.0.{}.{}, via: 10.{}.{}.2 }}, ", n / 250, n % 250, n / 250, n % 250)).collect();
    let yaml = format!(
        "namespaces: {{ red: {{ interfaces: {{ a: {{ dummy: {{}}, addresses: [{addresses}] }} }}, routes: [{routes}] }} }}"
    );
    assert_eq!(shown(&lowered(&yaml), "route").lines().count(), 20_000);
}

#[test]
fn one_mistake_is_one_problem() {
    refused(
        "namespaces: { red: { interfaces: { a: { addresses: [10.0.0.1/24] } } } }\nlinks: [{ endpoints: [red:a] }]",
        "a link has exactly two endpoints, but only one is given",
    );
    refused(
        "namespaces: { red: { interfaces: { a: {}, v: { vlan: { parent: a, id: 1 } } } } }\nlinks: [{ endpoints: [red:a, red:a] }]",
        "both endpoints of the link are `red:a`",
    );
    refused(
        "namespaces: { red: { interfaces: { a: { mtu: 1400 } }, routes: [{ to: 10.0.0.0/8, dev: a }] } }",
        "interface `red:a` is undefined",
    );
}

#[test]
fn a_bridge_takes_as_many_ports_as_the_kernel_gives_it() {
    let pairs = |number: u32| -> String {
        let pair = |n| format!("  - {{ endpoints: [a:e{n}, host:p{n}] }}\n");
        let head = "namespaces: { a: {}, host: { interfaces: { br0: { bridge: { ports: ['p*'] } } } } }\nlinks:\n";
        (0..number).map(pair).fold(head.to_owned(), |text, pair| text + &pair)
    };
    assert_eq!(lowered(&pairs(1023)).problems, []);
    refused(&pairs(1024), "`host:br0` has 1024 ports; a bridge can have at most 1023");
}

#[test]
fn rules_without_a_priority_come_before_the_table_main() {
    let rules = |count: u32| {
        let items: String = (0..count).map(|_| "{ table: 5 },").collect();
        format!("namespaces: {{ red: {{ rules: [{items}] }} }}")
    };
    assert_eq!(shown(&lowered(&rules(22_766)), "rule").lines().count(), 22_766);
    refused(&rules(22_767), "no priority from 10000 to 32765 is free for this rule");
}
