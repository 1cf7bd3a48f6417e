//! `topo import`: labs of other tools and scripts become lab files that make the same network.

use std::fs;
use std::path::PathBuf;

use super::harness::fingerprint::assert_restored;
use super::harness::tools::Outcome;
use super::harness::{
    Feature, User, apply, assert_no_changes, assert_view, destroy, in_namespaces, ip, lab, needs, ping_ok, settled_fingerprint,
    settled_view, sh, topo, with_users,
};

const CLAB: &str = r#"
name: two
topology:
  kinds: { linux: { image: "alpine:3" } }
  nodes:
    r1:
      kind: linux
      exec:
        - ip address add 10.0.0.1/24 dev eth1
        - ip -6 address add 2001:db8::1/64 dev eth1 nodad
        - sh -c "echo 1 >/proc/sys/net/ipv4/ip_forward"
    r2:
      kind: linux
      image: alpine
      exec: ["ip address add 10.0.0.2/24 dev eth1", "ip -6 address add 2001:db8::2/64 dev eth1 nodad", "ip route add default via 10.0.0.1", "false"]
    br0: { kind: bridge }
  links:
    - { endpoints: ["r1:eth1", "r2:eth1"], mtu: 1400 }
    - endpoints: ["r2:eth2", "br0:p1"]
"#;

const SCRIPT: &str = "#!/bin/sh
set -e
sudo ip netns add red; ip netns add blue
for ns in red blue; do
    ip link add v-$ns type veth peer name eth0 netns $ns
    ip -n $ns link set lo up
    ip -n $ns link set eth0 up
done
ip link add br0 type bridge stp_state 1 forward_delay 400
ip link set br0 up
ip link set v-red up master br0
ip link set v-blue up master br0
ip address add 10.0.0.254/24 dev br0
ip -n red address add 10.0.0.1/24 dev eth0
ip -n blue address add 10.0.0.2/24 dev eth0
ip -n blue address add 2001:db8::2/64 dev eth0
ip netns exec red ip route add default via 10.0.0.254
ip netns exec red sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
ip netns exec blue tc qdisc show >/dev/null || true
echo done
";

/// Writes files into a directory of their own.
fn written(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = PathBuf::from(format!("{}/{name}", env!("CARGO_TARGET_TMPDIR")));
    fs::create_dir_all(&directory).unwrap();
    for (file, text) in files {
        fs::write(directory.join(file), text).unwrap();
    }
    directory
}

/// Applies what was imported, looks, and destroys it.
fn lives(imported: &Outcome, name: &str, look: impl FnOnce()) {
    let before = settled_fingerprint();
    let file = lab(&imported.stdout);
    apply(&file);
    look();
    assert_no_changes(&file);
    destroy(name);
    assert_restored(&before);
}

#[test]
fn every_example_becomes_the_same_network() {
    in_namespaces(|| {
        if !needs(&[Feature::Ipv6]) {
            return;
        }
        for source in ["routers.clab.yml", "routers.sh", "kathara"] {
            let path = format!("{}/examples/import/{source}", env!("CARGO_MANIFEST_DIR"));
            let imported = topo(&["import", &path]).ok();
            // Images aside, they have nothing that no lab file can say.
            assert_eq!(imported.stderr.lines().find(|line| !line.contains("defaults.image")), None, "{source}");
            lives(&imported, "routers", || {
                for (from, to) in [("pc1", "10.2.0.2"), ("pc2", "2001:db8:1::2")] {
                    ping_ok(from, to);
                }
            });
        }
    });
}

#[test]
fn topologies_of_containerlab() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let file = written("clab", &[("two.clab.yml", CLAB)]).join("two.clab.yml");
        let before = settled_fingerprint();
        let imported = topo(&["import", file.to_str().unwrap()]).ok();
        assert_restored(&before);
        for text in [&imported.stdout, &imported.stderr] {
            assert!(text.contains("`line 14: r2.image` is left out: a namespace has the programs of the machine"), "{text}");
            assert!(text.contains("`line 15: false` is left out: it failed with status 1"), "{text}");
        }
        lives(&imported, "two", || {
            ping_ok("r1", "2001:db8::2");
            ping_ok("r2", "10.0.0.1");
            let forwards = topo(&["exec", "r1", "--", "cat", "/proc/sys/net/ipv4/ip_forward"]).ok();
            assert_eq!(forwards.stdout, "1\n");
        });
    });
}

#[test]
fn labs_of_kathara() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let conf = "r1[0]=A\nr1[1]=B\nr2[0]=B\npc1[0]=A\npc2[0]=A\npc2[image]=\"kathara/base\"\n";
        let files = [
            ("lab.conf", conf),
            ("r1.startup", "ip address add 10.0.0.1/24 dev eth0\nip address add 10.1.0.1/24 dev eth1\nno-such-daemon start\n"),
            ("r2.startup", "ip address add 10.1.0.2/24 dev eth0\n"),
            ("pc1.startup", "ip address add 10.0.0.2/24 dev eth0\nip route add default via 10.0.0.1\n"),
        ];
        let directory = written("kathara", &files);
        let imported = topo(&["import", "--name", "small", directory.to_str().unwrap()]).ok();
        let imported = imported
            .says("`line 6: pc2[image]` is left out")
            .says("`r1.startup line 3: no-such-daemon start` is left out")
            .says("`r1.startup of r1` is left out: it failed with status 127");
        lives(&imported, "small", || {
            ping_ok("pc1", "10.0.0.1");
            ping_ok("r1", "10.1.0.2");
        });
    });
}

#[test]
fn scripts_are_run_in_a_sandbox() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let directory = written(
            "script",
            &[
                ("setup.sh", SCRIPT),
                ("broken.sh", "ip link add\n"),
                ("what", "x"),
                // topo gives both ends of a pair the same number of queues.
                ("inexact.sh", "ip netns add a; ip link add e numtxqueues 3 type veth peer name f netns a\n"),
                ("other.py", "#!/usr/bin/env python3\n"),
                ("killed.sh", "kill -9 $$\n"),
            ],
        );
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let before = settled_fingerprint();
        let imported = topo(&["import", &path("setup.sh")]).ok();
        assert_restored(&before);
        let imported = imported.says("`setup.sh line 19: tc qdisc show` is left out: no lab file can say what it does");
        assert!(!imported.stderr.contains("exactly") && imported.stderr.matches("tc qdisc").count() == 1, "{}", imported.stderr);
        assert!(!imported.stdout.contains("\ndone\n"), "the script's own output goes to standard error");
        lives(&imported, "setup", || ping_ok("red", "10.0.0.2"));
        let inexact = topo(&["import", &path("inexact.sh")]).ok();
        inexact.says("the lab file does not describe `a:f` exactly");
        topo(&["import", &path("killed.sh")]).exits(1).says("`killed.sh`: it was ended by SIGKILL");
        topo(&["import", &path("broken.sh")]).exits(1).says("`broken.sh`: it failed with status");
        topo(&["import", &path("other.py")]).exits(1).says("is a script for python3, not for a shell");
        topo(&["import", &path("what")]).exits(1).says("cannot tell what").says("--from script");
        topo(&["import", &path("none.sh")]).exits(1).says("cannot read");
        assert_restored(&before);
    });
}

#[test]
fn what_a_script_makes_in_host_is_imported() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let script = "
            ip link add br0 type bridge; ip link set br0 up; ip address add 10.0.0.1/24 dev br0; ip address add 2001:db8::1/64 dev br0 nodad
            ip link add v1 type veth peer name v2; ip link set v1 up master br0; ip link set v2 up
            ip route add 10.9.0.0/16 via 10.0.0.2; ip rule add from 10.0.0.0/24 table 77 priority 500
            ip neighbor add 10.0.0.7 lladdr 02:00:00:00:00:07 dev br0
            echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter";
        let file = written("host", &[("host.sh", script)]).join("host.sh");
        let imported = topo(&["import", file.to_str().unwrap()]).ok();
        assert_eq!(imported.stderr, "");
        lives(&imported, "host", || {
            assert_eq!(ip(&["route", "show", "10.9.0.0/16"])[0]["gateway"], "10.0.0.2");
            assert_eq!(ip(&["rule", "show", "priority", "500"])[0]["table"], "77");
            assert_eq!(ip(&["neighbor", "show", "nud", "permanent", "dev", "br0"])[0]["dst"], "10.0.0.7");
        });
        assert!(imported.stdout.contains("net.ipv4.conf.all.rp_filter: 1"), "{}", imported.stdout);
    });
}

#[test]
fn a_script_and_its_lab_make_the_same_network() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge, Feature::Ipv6]) {
            return;
        }
        let script = SCRIPT.replace("sudo ", "").replace(" stp_state 1 forward_delay 400", "").replace(
            "type veth peer name eth0",
            "numtxqueues 1 numrxqueues 1 type veth peer name eth0 numtxqueues 1 numrxqueues 1",
        );
        let file = written("same", &[("same.sh", &script)]).join("same.sh");
        let imported = topo(&["import", file.to_str().unwrap()]).ok();
        sh(&script);
        let by_hand = settled_view();
        sh("for link in v-red v-blue br0; do ip link delete $link; done; ip netns delete red; ip netns delete blue");
        apply(&lab(&imported.stdout));
        assert_view(&by_hand, "the lab");
        destroy("same");
    });
}

#[test]
fn an_ordinary_user_imports_too() {
    with_users(|| {
        let user = User::new();
        let file = user.file("setup.sh", SCRIPT);
        user.topo(&["import", &file]).ok().says("- { to: default, via: 10.0.0.254 }");
        user.assert_nothing_left();
    });
}
