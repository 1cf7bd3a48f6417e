//! The attributes of addresses.

use super::harness::{Feature, in_namespaces, ip, needs};
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
