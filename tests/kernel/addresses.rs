//! Everything that an interface and its addresses can be told, on those that every lab has.

use super::harness::{Feature, in_namespaces, ip, needs, ping_ok, sh};
use super::links::lives_and_dies;

#[test]
fn settings_of_lo_and_every_setting_of_a_link() {
    in_namespaces(|| {
        let yaml = "name: set
namespaces:
  a:
    interfaces:
      lo: { addresses: [192.0.2.1/32] }
      eth0:
        mac: 02:00:00:00:00:01
        mtu: 1280
        txqueuelen: 77
        altnames: [first, a-name-that-is-longer-than-fifteen-bytes]
        arp: false
        multicast: false
        allmulti: true
        promisc: true
        sysctls: { ipv4.rp_filter: 2, ipv4.proxy_arp: 1 }
  b: { interfaces: { lo: { up: false } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            let link = &ip(&["-n", "a", "link", "show", "first"])[0];
            assert_eq!(
                (&link["address"], &link["mtu"], &link["txqlen"]),
                (&"02:00:00:00:00:01".into(), &1280.into(), &77.into())
            );
            let flags = link["flags"].as_array().unwrap();
            for (flag, set) in [("NOARP", true), ("MULTICAST", false), ("ALLMULTI", true), ("PROMISC", true), ("UP", true)] {
                assert_eq!(flags.contains(&flag.into()), set, "{flag}: {link}");
            }
            sh("ip netns exec a sh -c 'test $(cat /proc/sys/net/ipv4/conf/eth0/rp_filter) = 2'");
            ping_ok("a", "192.0.2.1");
            let lo = &ip(&["-n", "b", "link", "show", "lo"])[0];
            assert!(!lo["flags"].as_array().unwrap().contains(&"UP".into()), "{lo}");
        });
    });
}

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
fn defaults_for_interfaces_are_in_force_before_they_are_born() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        let yaml = "name: dflt
namespaces:
  a:
    sysctls: { net.ipv6.conf.default.disable_ipv6: 1, net.ipv4.conf.default.rp_filter: 2 }
    interfaces: { eth0: { addresses: [10.0.0.1/24] } }
  b: {}
links: [{ endpoints: [a:eth0, b:eth0] }]
";
        lives_and_dies(yaml, || {
            let addresses = ip(&["-n", "a", "address", "show", "eth0"]).to_string();
            assert!(!addresses.contains("inet6"), "{addresses}");
            sh("ip netns exec a sh -c 'test $(cat /proc/sys/net/ipv4/conf/eth0/rp_filter) = 2'");
        });
    });
}
