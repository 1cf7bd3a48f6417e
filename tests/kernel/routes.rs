//! Routes: every attribute, gateways of the other family and on the link, and sources that the kernel accepts only later.

use super::harness::{
    Feature, apply, assert_no_changes, destroy, eventually, in_namespaces, ip, lab, needs, ping_ok, sh, start_inside, topo,
    traced,
};
use super::links::lives_and_dies;

#[test]
fn an_ipv4_route_through_an_ipv6_gateway_and_link_local_gateways() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let yaml = "name: v6gw
namespaces:
  a:
    interfaces:
      lo: { addresses: [192.0.2.1/32] }
      eth0: { addresses: [{ address: \"fe80::a/64\", nodad: true }] }
    routes:
      - { to: 192.0.2.2, via: \"fe80::b\", dev: eth0, src: 192.0.2.1 }
      - { to: \"2001:db8::/32\", via: \"fe80::b\", dev: eth0 }
  b:
    interfaces:
      lo: { addresses: [192.0.2.2/32] }
      eth0: { addresses: [{ address: \"fe80::b/64\", nodad: true }] }
    routes:
      - { to: 192.0.2.1, via: \"fe80::a\", dev: eth0, src: 192.0.2.2 }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || ping_ok("a", "192.0.2.2"));
    });
}

#[test]
fn every_attribute_of_a_route() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6, Feature::Multipath]) {
            return;
        }
        let yaml = "name: rt
namespaces:
  a:
    interfaces:
      eth0: { addresses: [10.0.0.1/24, 10.0.0.7/24, { address: \"2001:db8::1/64\", nodad: true }] }
    routes:
      - { to: default, via: 10.0.0.2, metric: 100, src: 10.0.0.7, mtu: 1400 }
      - { to: default, via: \"2001:db8::2\", metric: 50 }
      - { to: 192.0.2.0/24, dev: eth0, scope: link }
      - { to: 198.51.100.0/25, via: 203.0.113.1, dev: eth0, onlink: true }
      - { to: 198.51.100.128/25, nexthops: [{ via: 10.0.0.2, weight: 3 }, { via: 10.0.0.3, weight: 1 }] }
      - { to: \"2001:db8:1::/48\", nexthops: [{ via: \"2001:db8::2\" }, { via: \"2001:db8::3\", weight: 5 }] }
      - { to: 203.0.113.0/26, type: blackhole }
      - { to: 203.0.113.64/26, type: unreachable, table: 77 }
      - { to: 203.0.113.128/26, type: prohibit, metric: 9 }
      - { to: 203.0.113.192/26, type: throw, table: 77 }
      - { to: \"2001:db8:bad::/48\", type: blackhole }
      - { to: default, family: inet6, type: unreachable, table: 78 }
      - { to: 10.0.0.200, dev: eth0 }
      - { to: 100.64.0.0/10, via: 10.0.0.2, tos: 16 }
  b:
    interfaces: { eth0: { addresses: [10.0.0.2/24, \"2001:db8::2/64\"] } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            let four = ip(&["-n", "a", "-4", "route", "show", "table", "all"]);
            let find = |to: &str| {
                four.as_array().unwrap().iter().find(|r| r["dst"] == to).unwrap_or_else(|| panic!("{to}: {four}")).clone()
            };
            let default = find("default");
            assert_eq!(
                (&default["gateway"], &default["metric"], &default["prefsrc"]),
                (&"10.0.0.2".into(), &100.into(), &"10.0.0.7".into())
            );
            assert_eq!(find("198.51.100.0/25")["flags"], serde_json::json!(["onlink"]));
            let ways = find("198.51.100.128/25")["nexthops"].clone();
            assert_eq!((&ways[0]["weight"], &ways[1]["weight"]), (&3.into(), &1.into()));
            assert_eq!(
                (&find("203.0.113.64/26")["type"], &find("203.0.113.64/26")["table"]),
                (&"unreachable".into(), &"77".into())
            );
            let six = ip(&["-n", "a", "-6", "route", "show", "table", "all"]).to_string();
            for part in ["2001:db8:1::/48", "2001:db8::3", "2001:db8:bad::/48", "\"table\":\"78\""] {
                assert!(six.contains(part), "{part}: {six}");
            }
        });
    });
}

#[test]
fn a_source_address_is_waited_for_until_it_is_known_to_be_unique() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let space = |name: &str, own: &str, far: &str| {
            format!(
                "  {name}:
    interfaces:
      lo: {{ addresses: [\"2001:db8:ffff::{own}\"] }}
      eth0: {{ addresses: [\"2001:db8::{own}/64\"] }}
    routes:
      - {{ to: \"2001:db8:ffff::{far}\", via: \"2001:db8::{far}\", src: \"2001:db8:ffff::{own}\" }}
      - {{ to: \"2001:db8:1::/48\", via: \"2001:db8::{far}\", src: \"2001:db8::{own}\" }}
"
            )
        };
        let spaces = space("a", "1", "2") + &space("b", "2", "1");
        lives_and_dies(&format!("name: src\nnamespaces:\n{spaces}links: [{{ endpoints: [a:eth0, b:eth0] }}]\n"), || {
            ping_ok("a", "2001:db8:ffff::2");
            let routes = ip(&["-n", "b", "-6", "route", "show", "2001:db8:1::/48"]);
            assert_eq!(routes[0]["prefsrc"], "2001:db8::2");
        });
    });
}

#[test]
fn a_source_address_may_become_known_to_be_unique_at_any_moment() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let file = lab("name: src
namespaces:
  a: { interfaces: { eth0: { addresses: [\"2001:db8::1/64\"] } }, routes: [{ to: \"2001:db8:1::/48\", dev: eth0, src: \"2001:db8::1\" }] }
  b: {}
links: [{ endpoints: [a:eth0, b:eth0] }]
");
        let is = |line: &str, name: &str, number: &str| line.contains(name) || line.contains(number);
        let is_route = |line: &str| is(line, "RTM_NEWROUTE", "nlmsg_type=0x18 ");
        let is_look = |line: &str| is(line, "RTM_GETADDR", "nlmsg_type=0x16 ");
        // The calls of the thread that sends the route.
        let sends = |further: &[&str]| {
            let trace = traced(&[&["-e", "trace=sendto"], further].concat(), &["apply", &file]);
            let calls = || trace.lines().filter(|line| line.contains(" sendto("));
            let thread = calls().find(|line| is_route(line)).expect("the route was sent").split_whitespace().next();
            let own = calls().filter(|line| line.split_whitespace().next() == thread);
            own.map(str::to_owned).collect::<Vec<_>>()
        };
        // The calls of two runs need not have the same numbers, and a slow machine may be done with detection too soon.
        let hit = (0..5).any(|_| {
            let first = sends(&[]).iter().position(|line| is_route(line)).expect("the route was sent");
            destroy(&file);
            // The address is looked at after it has become usable; calls are counted from 1.
            let late = format!("inject=sendto:delay_enter=3000000:when={}", first + 2);
            let calls = sends(&["-e", &late]);
            destroy(&file);
            let is_at = |position: usize, kind: &dyn Fn(&str) -> bool| calls.get(position).is_some_and(|line| kind(line));
            is_at(first, &is_route) && is_at(first + 1, &is_look) && is_at(first + 2, &is_route)
        });
        assert!(hit, "no look at the address was late");
    });
}

#[test]
fn a_source_address_that_stays_tentative_is_told() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        // Without carrier there is nobody to ask.
        let yaml = "name: src
namespaces:
  a: { interfaces: { eth0: { addresses: [\"2001:db8::1/64\"] } }, routes: [{ to: \"2001:db8:1::/48\", dev: eth0, src: \"2001:db8::1\" }] }
  b: { interfaces: { eth0: { up: false } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        topo(&["apply", &lab(yaml)])
            .exits(1)
            .says("2001:db8::1 is still tentative")
            .says("`nodad: true`")
            .says("as it was before");
    });
}

#[test]
fn connected_routes_with_another_metric_or_without_the_kernels() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let yaml = "name: connected
namespaces:
  a:
    interfaces:
      e0:
        addresses:
          - 10.0.0.1/24
          - { address: 10.1.0.1/24, noprefixroute: true }
          - \"2001:db8::1/64\"
          - { address: \"2001:db8:1::1/64\", noprefixroute: true }
    routes:
      - { to: 10.0.0.0/24, dev: e0, metric: 5 }
      - { to: 10.0.0.0/24, dev: e0, tos: 0x10 }
      - { to: 10.1.0.0/24, dev: e0 }
      - { to: \"2001:db8::/64\", dev: e0 }
      - { to: \"2001:db8:1::/64\", dev: e0, metric: 256 }
  b: { interfaces: { e0: {} } }
links: [{ endpoints: [a:e0, b:e0] }]
";
        lives_and_dies(yaml, || {});
        let again = lab(&yaml.replace(", metric: 5", ""));
        topo(&["apply", &again]).exits(1).says("for the address `10.0.0.1/24` of `a:e0`").says("noprefixroute");
    });
}

#[test]
fn a_route_is_added_before_the_one_that_it_replaces_goes() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let with = |routes: &str| {
            lab(&format!(
                "name: order
namespaces:
  a:
    interfaces: {{ e0: {{ addresses: [10.0.0.1/24, {{ address: \"2001:db8::1/64\", nodad: true }}] }} }}
    routes:
{routes}  b: {{ interfaces: {{ e0: {{}} }} }}
links: [{{ endpoints: [a:e0, b:e0] }}]
"
            ))
        };
        let first = with(
            "      - { to: default, via: 10.0.0.9 }
      - { to: 192.0.2.0/24, via: 10.0.0.9 }
      - { to: \"2001:db8:1::/64\", via: \"2001:db8::9\", metric: 20 }
      - { to: \"2001:db8:2::/64\", via: \"2001:db8::9\" }
",
        );
        let second = with(
            "      - { to: default, via: 10.0.0.8, metric: 50 }
      - { to: 192.0.2.0/24, via: 10.0.0.8 }
      - { to: \"2001:db8:1::/64\", via: \"2001:db8::8\", src: \"2001:db8::1\" }
      - { to: \"2001:db8:2::/64\", nexthops: [{ via: \"2001:db8::8\" }, { via: \"2001:db8::7\" }] }
",
        );
        apply(&first);
        let missed = lab("");
        let look = |address: &str| format!("ip route get {address} >/dev/null 2>&1 || echo {address} >>{missed}");
        let looks = ["198.51.100.1", "192.0.2.1", "2001:db8:1::1", "2001:db8:2::1"].map(look).join("; ");
        let mut looking = start_inside("a", &format!("while :; do {looks}; done"));
        let seen = lab("");
        let mut monitor = start_inside("a", &format!("exec ip monitor route >{seen}"));
        let begun = || {
            sh("ip -n a route replace 203.0.113.7 dev e0; ip -n a route del 203.0.113.7");
            std::fs::read_to_string(&seen).is_ok_and(|seen| seen.contains("203.0.113.7"))
        };
        eventually("the monitor", begun);
        let back = [&second, &first, &second].map(|file| apply(file).ok());
        assert!(back[0].stdout.contains("+ route default metric 50"), "{}", back[0].stdout);
        assert_no_changes(&second);
        eventually("the last event", || {
            std::fs::read_to_string(&seen).is_ok_and(|seen| seen.matches("Deleted 2001:db8:1::/64").count() == 3)
        });
        for child in [&mut looking, &mut monitor] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(std::fs::read_to_string(&missed).unwrap(), "", "addresses that no route led to");
        let events = std::fs::read_to_string(&seen).unwrap();
        for to in ["default", "2001:db8:1::/64"] {
            let of_route = events.lines().filter(|line| line.contains(to)).map(|line| line.starts_with("Deleted"));
            assert_eq!(of_route.collect::<Vec<_>>(), [false, true].repeat(3), "{to}: {events}");
        }
        destroy(&second);
    });
}
