//! The attributes of addresses.

use super::harness::{Feature, apply, assert_no_changes, destroy, in_namespaces, ip, lab, needs, ping_fails, ping_ok, sh};
use super::links::lives_and_dies;

#[test]
fn every_attribute_of_an_address() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let yaml = "name: addr
namespaces:
  a:
    interfaces:
      eth0:
        addresses:
          - { address: 10.0.0.1/32, peer: 10.0.0.2 }
          - { address: 192.0.2.1/24, broadcast: 192.0.2.255, label: \"eth0:x\", scope: link }
          - { address: 198.51.100.1/24, noprefixroute: true }
          - { address: 203.0.113.1/24, metric: 77 }
          - { address: \"2001:db8::1/64\", nodad: true, valid_lft: 1h, preferred_lft: 30m }
  b: {}
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            let shown = ip(&["-n", "a", "address", "show", "eth0"])[0]["addr_info"].clone();
            let find = |local: &str| shown.as_array().unwrap().iter().find(|a| a["local"] == local).unwrap().clone();
            assert_eq!(find("10.0.0.1")["address"], "10.0.0.2");
            let labelled = find("192.0.2.1");
            assert_eq!(
                (&labelled["broadcast"], &labelled["label"], &labelled["scope"]),
                (&"192.0.2.255".into(), &"eth0:x".into(), &"link".into())
            );
            assert_eq!(find("203.0.113.1")["metric"], 77);
            assert!(find("2001:db8::1")["valid_life_time"].as_u64().unwrap() <= 3600);
            let routes = ip(&["-n", "a", "-4", "route"]).to_string();
            assert!(routes.contains("203.0.113.0/24") && !routes.contains("198.51.100.0/24"), "{routes}");
        });
    });
}

#[test]
fn addresses_that_the_kernel_assigns_itself() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let interfaces = |lo: &str, e0: &str| {
            lab(&format!(
                "name: own
namespaces:
  a:
    interfaces:
      lo: {{ addresses: [{lo}] }}
      e0: {{ mac: 02:00:00:00:00:01, addresses: [{e0}] }}
  b: {{ interfaces: {{ e0: {{}} }} }}
links: [{{ endpoints: [a:e0, b:e0] }}]
"
            ))
        };
        let own = "127.0.0.1/8, \"::1/128\", 10.255.0.1/32";
        let declared = interfaces(own, "\"fe80::ff:fe00:1/64\"");
        apply(&declared).ok();
        assert_no_changes(&declared);
        let shown = ip(&["-n", "a", "address"]).to_string();
        for address in ["127.0.0.1", "::1", "10.255.0.1", "fe80::ff:fe00:1"] {
            assert_eq!(shown.matches(&format!("\"local\":\"{address}\"")).count(), 1, "{address}: {shown}");
        }
        // Deleted by hand, they come back.
        sh("ip -n a address del 127.0.0.1/8 dev lo; ip -n a address del ::1/128 dev lo
            ip -n a address del fe80::ff:fe00:1/64 dev e0");
        apply(&declared).says("+ address 127.0.0.1/8 on lo").says("+ address ::1/128 on lo").ok();
        assert_no_changes(&declared);
        // When they leave the file, they stay, as in a new namespace.
        let absent = interfaces("10.255.0.1/32", "");
        assert_no_changes(&absent);
        let shown = ip(&["-n", "a", "address"]).to_string();
        assert!(shown.contains("127.0.0.1") && shown.contains("fe80::ff:fe00:1"), "{shown}");
        // They were there before they are declared.
        destroy(&absent).ok();
        apply(&absent).ok();
        assert_no_changes(&declared);
        destroy(&declared).ok();
    });
}

#[test]
fn an_address_without_its_local_route_is_given_again() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let file = lab("name: dead
namespaces:
  a: { interfaces: { e0: { addresses: [10.0.0.1/24, 10.0.0.2/24, \"2001:db8::1/64\"] } } }
  b: { interfaces: { e0: { addresses: [10.0.0.3/24, \"2001:db8::3/64\"] } } }
links: [{ endpoints: [a:e0, b:e0] }]
");
        apply(&file);
        ping_ok("b", "2001:db8::1");
        for address in ["10.0.0.1", "10.0.0.2", "2001:db8::1"] {
            sh(&format!("ip -n a route del local {address} table local"));
            ping_fails("b", address);
            apply(&file).says("local route: missing -> present");
            ping_ok("b", address);
            assert_no_changes(&file);
        }
        destroy(&file);
    });
}

/// The kernel lists IPv6 addresses by scope, whatever the order in which they were given.
#[test]
fn a_link_local_address_may_follow_a_global_one() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let yaml = |addresses: &str| {
            format!(
                "name: scopes\nnamespaces:\n  a: {{ interfaces: {{ eth0: {{ addresses: [{addresses}] }} }} }}\n  b: {{}}\n\
                 links: [{{ endpoints: [a:eth0, b:eth0] }}]\n"
            )
        };
        for addresses in
            ["'2001:db8::1/64', 'fe80::5/64'", "'2001:db8::1/64', 10.0.0.1/24, 'fe80::5/64', '2001:db8::2/64', 'fe80::6/64'"]
        {
            lives_and_dies(&yaml(addresses), || {
                let file = lab(&yaml(&format!("{addresses}, '2001:db8::9/64', 'fe80::9/64'")));
                apply(&file);
                assert_no_changes(&file);
                apply(&lab(&yaml(addresses)));
            });
        }
    });
}
