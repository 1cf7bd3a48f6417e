//! A changed lab: in place wherever the kernel can, and without disturbing what does not change.

use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, assert_view, command_in, destroy, eventually, in_namespaces, indices, ip, lab, needs,
    ping_ok, settled_fingerprint, sh, topo, view,
};

const BASE: &str = "
name: change
namespaces:
  a:
    interfaces:
      eth0: { addresses: [10.0.0.1/24] }
      quiet: { addresses: [10.9.0.1/24] }
    routes:
      - { to: 192.0.2.0/24, via: 10.0.0.2 }
  b:
    interfaces:
      eth0: { addresses: [10.0.0.2/24, 10.0.0.3/24] }
      quiet: { addresses: [10.9.0.2/24] }
links:
  - endpoints: [a:eth0, b:eth0]
  - endpoints: [a:quiet, b:quiet]
";

/// Base with one text in the place of another.
fn changed(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from}");
    lab(&BASE.replacen(from, to, 1))
}

#[test]
fn a_change_of_mtu_address_or_route_keeps_every_link() {
    in_namespaces(|| {
        apply(&lab(BASE));
        let before = (indices(Some("a")), indices(Some("b")));
        let changes = [
            ("links:\n  - endpoints: [a:eth0, b:eth0]", "links:\n  - { endpoints: [a:eth0, b:eth0], mtu: 1400 }"),
            ("eth0: { addresses: [10.0.0.1/24] }", "eth0: { addresses: [10.0.0.9/24, 10.0.0.1/24] }"),
            ("[10.0.0.2/24, 10.0.0.3/24]", "[10.0.0.2/24]"),
            ("[10.0.0.2/24, 10.0.0.3/24]", "[10.0.0.3/24, 10.0.0.2/24]"),
            ("via: 10.0.0.2", "via: 10.0.0.3"),
            ("via: 10.0.0.2", "via: 10.0.0.2, metric: 50"),
            ("{ to: 192.0.2.0/24, via: 10.0.0.2 }", "{ to: 192.0.2.0/24, type: blackhole }"),
            ("eth0: { addresses: [10.0.0.1/24] }", "eth0: { addresses: [10.0.0.1/24], mac: 02:00:00:00:00:0a }"),
            ("eth0: { addresses: [10.0.0.1/24] }", "eth0: { addresses: [10.0.0.1/24], txqueuelen: 77, altnames: [first] }"),
            ("eth0: { addresses: [10.0.0.1/24] }", "eth0: { addresses: [10.0.0.1/24], sysctls: { ipv4.rp_filter: 2 } }"),
        ];
        for (from, to) in changes {
            let file = changed(from, to);
            apply(&file).says("Plan: ");
            assert_no_changes(&file);
            assert_eq!((indices(Some("a")), indices(Some("b"))), before, "{to}");
            apply(&lab(BASE));
            assert_eq!((indices(Some("a")), indices(Some("b"))), before, "back from {to}");
        }
    });
}

#[test]
fn what_a_lab_was_before_does_not_matter() {
    in_namespaces(|| {
        let others = [
            ("links:", "links:\n  - endpoints: [a:more, b:more]"),
            ("  b:", "  c: {}\n  b:"),
            ("[10.0.0.2/24, 10.0.0.3/24]", "[10.0.0.3/24, 10.0.0.2/24]"),
            ("via: 10.0.0.2 }", "via: 10.0.0.2, mtu: 1300 }\n      - { to: default, via: 10.9.0.2 }"),
            ("eth0: { addresses: [10.0.0.1/24] }", "eth0: { addresses: [10.0.0.1/24], arp: false, txqueuelen: 5 }"),
            ("eth0: { addresses: [10.0.0.1/24] }", "eth0: { addresses: [10.0.0.1/24], sysctls: { ipv4.rp_filter: 2 } }"),
            ("  a:\n", "  a:\n    sysctls: { net.ipv4.ip_forward: 1, net.ipv4.conf.default.proxy_arp: 1 }\n"),
        ];
        apply(&lab(BASE));
        settled_fingerprint();
        let fresh = (view(), settings());
        destroy("change");
        for (from, to) in others {
            let other = changed(from, to);
            apply(&other);
            apply(&lab(BASE));
            assert_no_changes(&lab(BASE));
            assert_view(&fresh.0, &format!("after {to}"));
            assert_eq!(settings(), fresh.1, "after {to}");
            destroy("change");
        }
    });
}

/// The settings of namespace `a` that the labs touch.
fn settings() -> String {
    let script =
        "grep -H '' /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/proxy_arp";
    super::harness::text("ip", &["netns", "exec", "a", "sh", "-c", script])
}

/// Pings five hundred times a second until it is stopped.
struct Flood {
    ping: Child,
    interface: &'static str,
}

impl Flood {
    /// Pings an address of the namespace over this interface.
    fn start(namespace: &str, interface: &'static str, address: &str) -> Self {
        let mut command = command_in(namespace, "ping");
        command.args(["-n", "-q", "-i", "0.002", "-W", "5", address]);
        let flood = Self { ping: command.stdout(Stdio::piped()).spawn().expect("ping can be run"), interface };
        flood.wait_for(20);
        flood
    }

    /// Waits until this many more packets have left.
    fn wait_for(&self, packets: u64) {
        let before = self.packets();
        eventually("a flood of packets", || self.packets() >= before + packets);
    }

    /// The number of packets that have left by the interface, as proc_pid_net(5) has it: the tenth number of its line.
    fn packets(&self) -> u64 {
        let interfaces = std::fs::read_to_string(format!("/proc/{}/net/dev", self.ping.id())).expect("ping runs");
        let numbers = interfaces.lines().find_map(|line| line.trim().strip_prefix(self.interface)?.strip_prefix(':'));
        numbers.map_or(0, |numbers| numbers.split_whitespace().nth(9).unwrap().parse().unwrap())
    }

    /// The numbers of packets sent and received.
    fn stop(self) -> (u64, u64) {
        // The answer to the last packet may still be under way: ping counts it only if it waits.
        let pid = Pid::from_raw(i32::try_from(self.ping.id()).expect("a process number"));
        kill(pid, Signal::SIGINT).expect("ping still runs");
        let output = self.ping.wait_with_output().expect("ping ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers = text.lines().find(|line| line.contains("packets transmitted")).unwrap_or_else(|| panic!("{text}"));
        let mut numbers = numbers.split(", ").map(|part| part.split_whitespace().next().unwrap().parse());
        (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap())
    }
}

#[test]
fn an_untouched_link_loses_no_packet_while_others_change() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        apply(&lab(BASE));
        ping_ok("a", "10.9.0.2");
        let flood = Flood::start("a", "quiet", "10.9.0.2");
        let others = [
            ("links:\n", "links:\n  - endpoints: [a:more, b:more]\n"),
            ("  - endpoints: [a:eth0, b:eth0]", "  - { endpoints: [a:eth0, b:eth0], mtu: 1300, numtxqueues: 2 }"),
            (
                "      quiet: { addresses: [10.9.0.2/24] }",
                "      quiet: { addresses: [10.9.0.2/24] }\n      br0: { bridge: { ports: [eth0] } }",
            ),
            ("  b:", "  c: {}\n  b:"),
        ];
        for (from, to) in others {
            apply(&changed(from, to));
            apply(&lab(BASE));
        }
        flood.wait_for(100);
        let (sent, received) = flood.stop();
        assert!(sent > 100, "{sent} packets are no flood");
        // The packet that was on its way when ping was stopped may go unanswered.
        assert!(sent - received <= 1, "{} of {sent} packets were lost", sent - received);
    });
}

#[test]
fn a_bridge_takes_and_gives_back_ports_in_place() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let with = |options: &str| {
            lab(&format!(
                "name: ports
namespaces:
  sw: {{ interfaces: {{ br0: {{ bridge: {{ {options} }} }} }} }}
  a: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.1/24] }} }} }}
  b: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.2/24] }} }} }}
links:
  - endpoints: [a:eth0, sw:p1]
  - endpoints: [b:eth0, sw:p2]
"
            ))
        };
        apply(&with("ports: [\"p*\"]"));
        ping_ok("a", "10.0.0.2");
        let before = indices(Some("sw"));
        for options in [
            "ports: [p1]",
            "ports: []",
            "ports: [p1, p2], ageing_time: 50s, priority: 100",
            "ports: [p2, p1], mcast_snooping: false",
        ] {
            let file = with(options);
            apply(&file).says("to change");
            assert_no_changes(&file);
            assert_eq!(indices(Some("sw")), before, "{options}");
        }
        let bridge = &ip(&["-n", "sw", "link", "show", "br0"])[0]["linkinfo"]["info_data"];
        assert_eq!(
            (&bridge["ageing_time"], &bridge["priority"], &bridge["mcast_snooping"]),
            (&30000.into(), &32768.into(), &0.into())
        );
        ping_ok("a", "10.0.0.2");
    });
}

#[test]
fn a_new_name_is_another_interface() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        apply(&lab(BASE));
        let file = lab(&BASE.replace("quiet", "loud"));
        topo(&["plan", &file]).ok().says("quiet").says("loud");
        apply(&file);
        assert_no_changes(&file);
        let names: Vec<_> = indices(Some("a")).into_keys().collect();
        assert_eq!(names, ["eth0", "lo", "loud"]);
        ping_ok("a", "10.9.0.2");
        destroy("change");
        assert_restored(&before);
    });
}

#[test]
fn the_plan_names_the_attribute_that_forces_a_replacement() {
    in_namespaces(|| {
        if !needs(&[Feature::Vxlan]) {
            return;
        }
        let with = |id: u32| {
            lab(&format!(
                "name: forced\nnamespaces: {{ a: {{ interfaces: {{ vx0: {{ vxlan: {{ id: {id}, remote: 10.0.0.2 }} }}, eth0: {{ addresses: [10.0.0.1/24] }} }} }}, b: {{}} }}\nlinks: [{{ endpoints: [a:eth0, b:eth0] }}]\n"
            ))
        };
        apply(&with(1));
        let outcome = topo(&["plan", &with(2)]).ok();
        let line = outcome.stdout.lines().find(|line| line.contains("# forces replacement")).expect("a forcing attribute");
        assert!(line.contains("id") && line.contains("1 -> 2"), "{line}");
        assert!(outcome.stdout.contains("-/+"), "{}", outcome.stdout);
        apply(&with(2));
        assert_no_changes(&with(2));
    });
}

#[test]
fn a_vxlan_is_turned_to_another_remote_in_place() {
    in_namespaces(|| {
        if !needs(&[Feature::Vxlan, Feature::Ipv6, Feature::Bridge]) {
            return;
        }
        for (outer, length) in [("10.0.0.", 24), ("2001:db8::", 64)] {
            let node = |host: u8, vxlan: &str| {
                format!(
                    "  n{host}: {{ interfaces: {{ eth0: {{ addresses: [\"{outer}{host}/{length}\", \"{outer}1{host}/{length}\"] }}, \
                     vx0: {{ vxlan: {{ id: 7, {vxlan} }}, addresses: [10.9.0.{host}/24] }} }} }}\n"
                )
            };
            let answering = |host: u8| node(host, &format!("local: \"{outer}{host}\", remote: \"{outer}1\""));
            let with = |vxlan: &str| {
                let switch = "  sw: { interfaces: { br0: { bridge: { ports: [p1, p2, p3] } } } }\n";
                let links: String = (1..4).map(|n| format!("  - endpoints: [sw:p{n}, n{n}:eth0]\n")).collect();
                let nodes = node(1, vxlan) + &answering(2) + &answering(3);
                lab(&format!("name: turned\nnamespaces:\n{switch}{nodes}links:\n{links}"))
            };
            let (two, three) = (format!("remote: \"{outer}2\""), format!("remote: \"{outer}3\""));
            let to_two = with(&format!("local: \"{outer}1\", {two}"));
            let to_three = with(&format!("local: \"{outer}1\", {three}, ttl: 9, tos: 4"));
            apply(&to_two);
            ping_ok("n1", "10.9.0.2");
            let before = indices(Some("n1"));
            apply(&to_three);
            assert_eq!(indices(Some("n1")), before, "the link is the same");
            let options = ip(&["-n", "n1", "-d", "link", "show", "vx0"])[0]["linkinfo"]["info_data"].clone();
            assert_eq!((&options["ttl"], &options["tos"]), (&9.into(), &"0x4".into()), "{options}");
            ping_ok("n1", "10.9.0.3");
            // A stranger's change is put right in place.
            sh(&format!("ip -n n1 link set vx0 type vxlan remote {outer}2 ttl 3"));
            topo(&["plan", "--detailed-exitcode", &to_three]).exits(2).says("ttl: 3 -> 9").says("remote: ");
            apply(&to_three);
            assert_no_changes(&to_three);
            assert_eq!(indices(Some("n1")), before, "the link is the same");
            ping_ok("n1", "10.9.0.3");
            // The kernel takes the mtu in a message of its own alone.
            let wide = std::fs::read_to_string(&to_three).unwrap().replacen(
                "}, addresses: [10.9.0.1/24]",
                "}, mtu: 1280, addresses: [10.9.0.1/24]",
                1,
            );
            let wide = lab(&wide.replace("ttl: 9", "ttl: 10"));
            apply(&wide);
            assert_no_changes(&wide);
            assert_eq!(indices(Some("n1")), before, "the link is the same");
            // Another source address, and back to the kernel's values.
            apply(&with(&format!("local: \"{outer}11\", {two}")));
            assert_eq!(indices(Some("n1")), before, "the link is the same");
            destroy("turned");
        }
    });
}

#[test]
fn times_of_the_root_of_a_spanning_tree_are_no_drift() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let with = |root: &str| {
            let bridge = |name: &str, ports: &str, options: &str| {
                format!("  {name}: {{ interfaces: {{ br0: {{ bridge: {{ ports: [{ports}], stp_state: true{options} }} }} }} }}\n")
            };
            let bridges = bridge("s1", "a, c", root) + &bridge("s2", "a, b", "") + &bridge("s3", "b, c", "");
            let links = "  - endpoints: [s1:a, s2:a]\n  - endpoints: [s2:b, s3:b]\n  - endpoints: [s3:c, s1:c]\n";
            lab(&format!("name: tree\nnamespaces:\n{bridges}links:\n{links}"))
        };
        let quick = with(", priority: 1, forward_delay: 2s, hello_time: 1s, max_age: 6s");
        apply(&quick);
        let of = |namespace: &str| ip(&["-n", namespace, "-d", "link", "show", "br0"])[0]["linkinfo"]["info_data"].clone();
        eventually("the other bridges use the times of the root", || {
            ["s2", "s3"].iter().all(|bridge| of(bridge)["forward_delay"] == 200 && of(bridge)["root_port"] != 0)
        });
        assert_no_changes(&quick);
        topo(&["apply", &quick]).ok().says("No changes");
        let shown = topo(&["show", "tree"]).ok().stdout;
        assert_eq!(shown.matches("forward_delay").count(), 1, "{shown}");
        assert_eq!(shown.matches("ageing_time").count(), 0, "{shown}");
        destroy("tree");
    });
}
