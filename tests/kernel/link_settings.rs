//! The settings that every kind of link has, and those of `lo`.

use super::harness::{in_namespaces, ip, ping_ok, sh};
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
