//! What an ordinary user does with labs.

use std::fs;
use std::path::Path;

use super::super::harness::{Feature, User, lacks, needs, needs_programs, with_users};
use super::{PAIR, alone};

/// The examples, each with a ping that answers, and a change to its file that leaves it so.
const EXAMPLES: [(&str, &str, &str); 21] = [
    ("blog", "blue", "192.168.10.11"),
    ("bridge-ports", "guest1", "10.0.0.1"),
    ("dhcp", "client", "192.0.2.1"),
    ("dhcp-client", "client", "10.99.0.1"),
    ("dual-stack", "client", "198.51.100.10"),
    ("geneve", "pc1", "10.0.0.2"),
    ("impaired-wan", "office1", "10.2.0.10"),
    ("ipvlan", "ns0", "192.0.2.1"),
    ("leaf-spine", "server1", "172.16.3.10"),
    ("limits", "greedy", "10.40.0.2"),
    ("macvlan", "ns0", "172.29.0.1"),
    ("namespaces", "web", "10.20.0.1"),
    ("neighbors", "client", "192.0.2.80"),
    ("ospf", "left", "10.3.0.10"),
    ("policy-routing", "guest", "198.51.100.80"),
    ("quickstart", "alice", "10.0.0.2"),
    ("router", "pc1", "10.2.0.11"),
    ("star-100", "n001", "10.100.0.100"),
    ("vlan-trunk", "office1", "10.0.10.2"),
    ("vrf", "red-a", "10.0.2.10"),
    ("web", "client", "10.30.0.1"),
];

#[test]
fn every_example_lives_in_a_sandbox() {
    with_users(|| {
        if !needs(&[Feature::Bridge, Feature::Macvlan, Feature::Multipath, Feature::Ipv6]) {
            return;
        }
        let user = User::new();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let labs = fs::read_dir(&directory).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
        assert_eq!(labs.count(), EXAMPLES.len(), "each example needs a line here");
        let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = mounts();
        for (name, from, to) in EXAMPLES {
            // limits.rs shows that this user cannot apply it, and one with a delegated control group can.
            let needed = match name {
                "geneve" => Some(Feature::Geneve),
                "impaired-wan" => Some(Feature::Netem),
                "ipvlan" => Some(Feature::Ipvlan),
                "vrf" => Some(Feature::Vrf),
                _ => None,
            };
            if name == "limits" || needed.is_some_and(lacks) {
                continue;
            }
            if name == "vlan-trunk" && (lacks(Feature::BridgeVlanFiltering) || lacks(Feature::Vlan)) {
                continue;
            }
            let programs: &[&str] = match name {
                "dhcp" => &["busybox", "dnsmasq"],
                "ospf" => &["bird"],
                "web" => &["python3"],
                _ => &[],
            };
            if !needs_programs(programs) {
                continue;
            }
            let text = fs::read_to_string(directory.join(format!("{name}.yaml"))).unwrap();
            let file = user.file("lab.yaml", &text);
            user.topo(&["apply", &file]).ok().says("Created sandbox `default`");
            user.assert_reaches(from, to);
            user.topo(&["plan", "--detailed-exitcode"]).ok().says("No changes.");
            user.topo(&["exec", from, "--", "ip", "link", "set", "lo", "mtu", "9000"]).ok();
            let file = user.file("lab.yaml", &(text + "# changed\n"));
            let lo = format!("namespaces:\n  {from}:\n    interfaces:\n      lo: {{ mtu: 9001 }}\n");
            let other = user.file("other.yaml", &format!("name: {name}\n{lo}"));
            user.topo(&["plan", "--detailed-exitcode", &other]).exits(2).says("9000 -> 9001");
            user.topo(&["apply", &file]).ok();
            user.assert_reaches(from, to);
            user.topo(&["list"]).ok().says(name);
            user.topo(&["destroy", name]).ok().says("Stopped sandbox `default`");
            user.assert_nothing_left();
        }
        assert_eq!(before, mounts());
    });
}

#[test]
fn a_sandbox_ends_with_its_last_lab_and_not_before() {
    with_users(|| {
        let user = User::new();
        let (one, two) = (user.file("one.yaml", &alone("one")), user.file("two.yaml", &alone("two")));
        user.topo(&["apply", &one]).ok().says("Created sandbox `default`. It is not connected to the outside");
        let keepers = user.keepers();
        user.topo(&["apply", &two]).ok();
        assert_eq!(user.keepers(), keepers);
        user.topo(&["destroy", "one"]).ok();
        user.topo(&["exec", "two", "--", "true"]).ok();
        assert_eq!(user.keepers(), keepers);
        user.topo(&["destroy", &two]).ok().says("Stopped sandbox `default`: it has no labs left.");
        user.assert_nothing_left();
    });
}

#[test]
fn a_lab_without_namespaces_keeps_its_sandbox() {
    with_users(|| {
        let user = User::new();
        let settings = "name: settings\nnamespaces: { host: { sysctls: { net.ipv4.ip_forward: 1 } } }\n";
        let file = user.file("lab.yaml", settings);
        user.topo(&["apply", &file]).ok();
        user.topo(&["exec", "host", "--", "cat", "/proc/sys/net/ipv4/ip_forward"]).ok().says("1");
        user.topo(&["list"]).ok().says("settings");
        user.topo(&["destroy", "settings"]).ok().says("Stopped sandbox `default`");
        user.assert_nothing_left();
    });
}

#[test]
fn keep_keeps_and_stop_ends() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", &file]).ok();
        let keepers = user.keepers();
        user.topo(&["destroy", "--keep", "pair"]).ok();
        assert_eq!(user.keepers(), keepers);
        user.topo(&["sandbox", "list"]).ok().says("default");
        user.topo(&["apply", &file]).ok();
        assert_eq!(user.keepers(), keepers);
        let mut inside = user.start(&["exec", "a", "--", "sleep", "1000"]);
        super::super::harness::eventually("a process in the sandbox", || {
            user.topo(&["sandbox", "list", "--json"]).stdout.contains("\"processes\":1")
        });
        user.topo(&["sandbox", "stop", "defautl"]).exits(1).says("did you mean `default`?");
        user.topo(&["sandbox", "stop", "default"]).ok().says("and 1 process in it");
        assert!(!inside.wait().unwrap().success());
        user.topo(&["sandbox", "list"]).ok().says("No sandboxes.");
        user.assert_nothing_left();
    });
}

#[test]
fn without_a_sandbox_plan_shows_what_would_be_and_nothing_is_made() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["plan", "--detailed-exitcode", &file]).exits(2).says("Plan: 6 to add");
        user.topo(&["destroy", "pair"]).ok().says("No changes. Lab `pair` does not exist.");
        user.topo(&["list"]).ok().says("No labs.");
        user.topo(&["exec", "a", "--", "true"])
            .exits(125)
            .says("there is no sandbox `default`")
            .says("hint: create it with `topo apply LAB`");
        user.topo(&["--sandbox", "ci", "shell", "a"]).exits(125).says("hint: create it with `topo apply --sandbox=ci LAB`");
        user.topo(&["validate", &file]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn an_apply_that_fails_leaves_no_sandbox() {
    with_users(|| {
        let user = User::new();
        let missing = "name: x\nnamespaces: { host: { interfaces: { eth0: { external: true, mtu: 1400 } } } }\n";
        let file = user.file("lab.yaml", missing);
        user.topo(&["apply", &file]).exits(1);
        user.topo(&["apply", "none.yaml"]).exits(1).says("cannot read `none.yaml`");
        user.assert_nothing_left();
    });
}

#[test]
fn each_sandbox_has_the_same_lab_for_itself() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", &file]).ok();
        let children: Vec<_> = (0..4).map(|n| user.start(&[&format!("--sandbox=ci-{n}"), "apply", &file])).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(user.keepers().len(), 5);
        let listing: serde_json::Value = serde_json::from_str(&user.topo(&["list", "--json"]).ok().stdout).unwrap();
        let labs: Vec<_> = listing["labs"].as_array().unwrap().iter().map(|lab| lab["sandbox"].as_str().unwrap()).collect();
        assert_eq!(labs, ["ci-0", "ci-1", "ci-2", "ci-3", "default"], "{listing}");
        user.topo(&["--sandbox=ci-0", "exec", "a", "--", "ip", "link", "set", "eth0", "mtu", "1300"]).ok();
        user.topo(&["--sandbox=ci-1", "plan", "--detailed-exitcode", &file]).ok();
        user.topo(&["--sandbox=ci-0", "plan", "--detailed-exitcode", &file]).exits(2);
        for n in 0..4 {
            let mut command = user.topo_command(&["destroy", "pair"]);
            let output = command.env("TOPO_SANDBOX", format!("ci-{n}")).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        user.assert_reaches("a", "10.0.0.2");
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn users_see_nothing_of_each_other() {
    with_users(|| {
        let (one, two) = (User::new(), User::new());
        let files = [one.file("lab.yaml", PAIR), two.file("lab.yaml", PAIR)];
        let children = [one.start(&["apply", &files[0]]), two.start(&["apply", &files[1]])];
        for child in children {
            assert!(child.wait_with_output().unwrap().status.success());
        }
        two.topo(&["destroy", "pair"]).ok();
        two.assert_files_gone();
        assert_eq!(one.keepers().len(), 1);
        two.topo(&["list"]).ok().says("No labs.");
        two.topo(&["exec", "a", "--", "true"]).exits(125);
        // Nor by each other's directories and processes.
        if one.needs_number().is_some() {
            let mut borrowed = two.topo_command(&["exec", "a", "--", "true"]);
            let output = borrowed.env("XDG_RUNTIME_DIR", one.runtime()).output().unwrap();
            assert_eq!(output.status.code(), Some(125), "{}", String::from_utf8_lossy(&output.stderr));
            let keeper = one.keepers()[0].to_string();
            let entered = two.command("nsenter").args(["-t", &keeper, "-U", "-n", "true"]).output().unwrap();
            assert!(!entered.status.success());
            let command = fs::read_to_string(format!("/proc/{keeper}/cmdline")).unwrap();
            assert_eq!(command, "topo\0sandbox\0hold\0");
        }
        one.assert_reaches("a", "10.0.0.2");
        one.topo(&["destroy", "pair"]).ok();
        one.assert_nothing_left();
        two.assert_nothing_left();
    });
}
