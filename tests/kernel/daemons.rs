//! Daemons as people use them, as processes of nodes.

use super::harness::{
    Feature, apply, assert_no_changes, destroy, eventually, in_namespaces, ip, lab, needs, needs_programs, topo,
};

/// Two autonomous systems, which tell each other their networks by BGP over a session of each family.
const BGP: &str = r#"
name: bgp
x-router: &router
  sysctls: { net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1 }
  processes:
    bird: { command: [bird, -f, -c, /etc/bird.conf, -s, /run/bird.ctl], ready: { unix: /run/bird.ctl }, reload_on: [/etc/bird.conf] }
namespaces:
  r1:
    <<: *router
    files:
      /etc/bird.conf:
        content: |
          log stderr all;
          router id 192.0.2.1;
          protocol device {}
          protocol direct { ipv4; ipv6; interface "lan"; }
          protocol kernel { ipv4 { export where source = RTS_BGP; }; }
          protocol kernel { ipv6 { export where source = RTS_BGP; }; }
          template bgp to_r2 { local as 65001; connect retry time 1; connect delay time 1; }
          protocol bgp four from to_r2 { neighbor 192.0.2.2 as 65002; ipv4 { import all; export all; }; }
          protocol bgp six from to_r2 { neighbor 2001:db8::2 as 65002; ipv6 { import all; export all; }; }
    interfaces: { lan: { bridge: {}, addresses: [10.1.0.1/24, "2001:db8:1::1/64"] } }
  r2:
    <<: *router
    files:
      /etc/bird.conf:
        content: |
          log stderr all;
          router id 192.0.2.2;
          protocol device {}
          protocol direct { ipv4; ipv6; interface "lan"; }
          protocol kernel { ipv4 { export where source = RTS_BGP; }; }
          protocol kernel { ipv6 { export where source = RTS_BGP; }; }
          template bgp to_r1 { local as 65002; connect retry time 1; connect delay time 1; }
          protocol bgp four from to_r1 { neighbor 192.0.2.1 as 65001; ipv4 { import all; export all; }; }
          protocol bgp six from to_r1 { neighbor 2001:db8::1 as 65001; ipv6 { import all; export all; }; }
    interfaces: { lan: { bridge: {}, addresses: [10.2.0.1/24, "2001:db8:2::1/64"] } }
links:
  - endpoints:
      - { interface: "r1:eth0", addresses: [192.0.2.1/24, "2001:db8::1/64"] }
      - { interface: "r2:eth0", addresses: [192.0.2.2/24, "2001:db8::2/64"] }
"#;

/// Returns whether a router has learned the network of the other one, by the protocol number of BIRD.
fn has_learned(router: &str, network: &str) -> bool {
    let family = if network.contains(':') { "-6" } else { "-4" };
    let learned = ip(&["-n", router, family, "route", "show", "proto", "bird"]);
    learned.as_array().is_some_and(|learned| learned.iter().any(|route| route["dst"] == network))
}

#[test]
fn routers_of_two_systems_speak_bgp() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6, Feature::Bridge]) || !needs_programs(&["bird", "birdc"]) {
            return;
        }
        let file = lab(BGP);
        apply(&file);
        for (router, network) in
            [("r1", "10.2.0.0/24"), ("r1", "2001:db8:2::/64"), ("r2", "10.1.0.0/24"), ("r2", "2001:db8:1::/64")]
        {
            eventually(&format!("{router} knows {network}"), || has_learned(router, network));
        }
        for (source, to) in [("10.1.0.1", "10.2.0.1"), ("2001:db8:1::1", "2001:db8:2::1")] {
            topo(&["exec", "r1", "--", "ping", "-n", "-c", "1", "-W", "5", "-I", source, to]).ok();
        }
        assert_no_changes(&file);
        // The daemon reads its configuration again, and keeps its sessions.
        let pid = || topo(&["exec", "r2", "--", "pidof", "bird"]).ok().stdout;
        let before = pid();
        let file = lab(&BGP.replace(
            "ipv4 { import all; export all; }; }\n          protocol bgp six from to_r1",
            "ipv4 { import all; export none; }; }\n          protocol bgp six from to_r1",
        ));
        apply(&file).says("~ process bird  # `/etc/bird.conf` changes");
        eventually("r2 keeps its network of IPv4 for itself", || !has_learned("r1", "10.2.0.0/24"));
        assert!(has_learned("r1", "2001:db8:2::/64"));
        assert_eq!(before, pid());
        destroy("bgp");
    });
}
