//! What is not the lab's stays as it is: a foreign object in the way is a conflict, never adopted, never removed.

use std::fs;

use super::harness::fingerprint::assert_restored;
use super::harness::tools::TOPO;
use super::harness::{
    Feature, apply, assert_no_changes, assert_view, destroy, example, in_namespaces, ip, lab, needs, settled_fingerprint,
    settled_view, sh, start_inside, text, topo,
};

/// Makes something foreign, insists that the blog lab is refused with its name and changes nothing.
#[track_caller]
fn refused(make: &str, named: &str, undo: &str) {
    sh(make);
    let before = settled_fingerprint();
    for command in ["plan", "apply"] {
        let outcome = topo(&[command, &example("blog")]);
        assert_eq!(outcome.status, 1, "`{make}`, then {command}: {}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stderr.contains(named), "`{make}`: `{named}` is not named in {}", outcome.stderr);
        assert_restored(&before);
    }
    sh(undo);
}

#[test]
fn a_foreign_object_in_the_way_is_a_conflict() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        refused("ip netns add blue", "blue", "ip netns del blue");
        refused("touch /run/netns/red", "red", "rm /run/netns/red");
        refused("ln -s /proc/self/ns/net /run/netns/red", "red", "rm /run/netns/red");
        refused("mkdir /run/netns/test", "test", "rmdir /run/netns/test");
        refused("ip link add bridge0 type bridge", "bridge0", "ip link del bridge0");
        refused("ip link add veth0 type veth peer name x", "veth0", "ip link del veth0");
        refused("ip link add other type bridge; ip link property add dev other altname veth22", "veth22", "ip link del other");
    });
}

#[test]
fn a_conflict_says_what_can_be_done() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip link add bridge0 type bridge");
        topo(&["apply", &example("blog")]).exits(1).says("--adopt host:bridge0").says("external: true");
        sh("ip link del bridge0; ip netns add blue");
        topo(&["apply", &example("blog")]).exits(1).says("choose another name");
    });
}

/// What `host` is there are the lab's own links, which must neither be replaced nor deleted.
#[test]
fn inside_of_the_lab_it_is_not_changed() {
    in_namespaces(|| {
        let yaml = "name: inner\nnamespaces: { pr1: {}, pr2: {} }\nlinks: [{ endpoints: [pr1:e0, pr2:e0] }]\n";
        let file = lab(yaml);
        apply(&file);
        let before = settled_fingerprint();
        for command in ["plan", "apply", "destroy"] {
            let arguments = ["exec", "pr1", "--", TOPO, command, &file];
            topo(&arguments).exits(1).says("topo runs in `pr1`, a namespace of this lab");
            assert_restored(&before);
        }
        assert_no_changes(&file);
        // Another lab can be applied there.
        let other = lab("name: other\nnamespaces: { host: { interfaces: { e0: { external: true, mtu: 1400 } } } }\n");
        topo(&["exec", "pr1", "--", TOPO, "apply", &other]).ok();
        topo(&["exec", "pr1", "--", TOPO, "destroy", &other]).ok();
        assert_no_changes(&file);
        destroy(&file);
    });
}

/// Whichever leaves first, the value stays until the last one leaves, and is the machine's again then.
#[test]
fn labs_share_what_they_set_alike_in_host() {
    in_namespaces(|| {
        sh("ip link add eth0 type veth peer name far; ip link set eth0 up; ip link set far up");
        let before = settled_fingerprint();
        let sharing = |name: &str| {
            lab(&format!(
                "name: {name}\nnamespaces:\n  host:\n    sysctls: {{ net.ipv4.ip_default_ttl: 70 }}\n    interfaces:\n      \
                 eth0: {{ external: true, mtu: 1400, addresses: [192.0.2.1/24, \"2001:db8::1/64\"] }}\n    \
                 routes: [{{ to: 198.51.100.0/24, via: 192.0.2.9 }}, {{ to: \"2001:db8:9::/48\", via: \"2001:db8::9\" }}]\n"
            ))
        };
        let (one, two) = (sharing("one"), sharing("two"));
        for (first, last) in [(&one, &two), (&two, &one)] {
            apply(&one);
            let shared = settled_view();
            apply(&two);
            assert_no_changes(&one);
            assert_no_changes(&two);
            destroy(first);
            assert_view(&shared, "when the first leaves");
            assert_no_changes(last);
            destroy(last);
            assert_restored(&before);
        }
    });
}

#[test]
fn another_value_of_another_lab_is_a_conflict() {
    in_namespaces(|| {
        sh("ip link add eth0 type veth peer name far; ip link set eth0 up; ip link set far up");
        let before = settled_fingerprint();
        let host = |name: &str, what: &str| lab(&format!("name: {name}\nnamespaces: {{ host: {{ {what} }} }}\n"));
        let route = |via: &str| {
            format!(
                "interfaces: {{ eth0: {{ external: true, addresses: [192.0.2.1/24] }} }}, routes: [{{ to: 198.51.100.0/24, via: {via} }}]"
            )
        };
        for (ours, theirs, named) in [
            (
                "sysctls: { net.ipv4.ip_default_ttl: 70 }".to_owned(),
                "sysctls: { net.ipv4.ip_default_ttl: 71 }".to_owned(),
                "ip_default_ttl",
            ),
            (
                "interfaces: { eth0: { external: true, mtu: 1400 } }".to_owned(),
                "interfaces: { eth0: { external: true, mtu: 1300 } }".to_owned(),
                "host:eth0",
            ),
            (route("192.0.2.9"), route("192.0.2.8"), "198.51.100.0/24"),
        ] {
            let (one, two) = (host("one", &ours), host("two", &theirs));
            apply(&one);
            let applied = settled_fingerprint();
            for command in ["plan", "apply"] {
                topo(&[command, &two]).exits(1).says(named).says("lab `one`");
                assert_restored(&applied);
            }
            // A change of a lab's own mind is one, too, while another lab holds the value.
            apply(&host("two", &ours));
            topo(&["apply", &host("one", &theirs)]).exits(1).says("lab `two`");
            destroy("two");
            destroy("one");
            assert_restored(&before);
        }
    });
}

#[test]
fn half_a_mark_is_no_mark() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        apply(&example("blog"));
        let link = &ip(&["link", "show", "bridge0"])[0];
        let (group, alias) = (link["group"].as_str().expect("a group"), link["ifalias"].as_str().expect("an alias"));
        let (group, alias) = (group.to_owned(), alias.to_owned());
        destroy("blog");
        let add = "ip link add bridge0 type bridge";
        refused(&format!("{add}; ip link set bridge0 group {group}"), "bridge0", "ip link del bridge0");
        refused(&format!("{add}; ip link set bridge0 alias {alias}"), "bridge0", "ip link del bridge0");
        sh(&format!("{add}; ip link set bridge0 group {group}; ip link add br1 type bridge; ip link set br1 alias {alias}"));
        let before = settled_fingerprint();
        topo(&["destroy", "blog"]);
        assert_restored(&before);
    });
}

#[test]
fn what_has_lost_half_its_mark_is_still_destroyed() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        for damage in ["ip link set bridge0 alias ''", "ip link set bridge0 group default"] {
            apply(&example("blog"));
            sh(damage);
            destroy("blog");
            assert_restored(&before);
        }
    });
}

#[test]
fn a_namespace_marked_for_another_lab_is_not_ours() {
    in_namespaces(|| {
        let lab_of = |name: &str| lab(&format!("name: {name}\nnamespaces: {{ shared: {{}} }}\n"));
        apply(&lab_of("one"));
        let before = settled_fingerprint();
        topo(&["apply", &lab_of("two")]).exits(1).says("shared");
        topo(&["destroy", &lab_of("two")]);
        topo(&["destroy", "two"]);
        assert_restored(&before);
        destroy("one");
    });
}

#[test]
fn two_labs_live_side_by_side() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        apply(&example("quickstart"));
        let with_quickstart = settled_fingerprint();
        apply(&example("blog"));
        assert_no_changes(&example("quickstart"));
        assert_no_changes(&example("blog"));
        destroy("blog");
        assert_restored(&with_quickstart);
        assert_no_changes(&example("quickstart"));
        destroy("quickstart");
        assert_restored(&before);
    });
}

const EXTERNAL: &str = "
name: ext
namespaces:
  host:
    interfaces:
      up0: { external: true, addresses: [192.0.2.10/24], mtu: 1400 }
    routes:
      - { to: 198.51.100.0/24, via: 192.0.2.1 }
";

#[test]
fn an_external_interface_gets_what_the_lab_says_and_then_has_its_own_again() {
    in_namespaces(|| {
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
            ip address add 203.0.113.5/24 dev up0; ip link set up0 mtu 1450 txqueuelen 50");
        let before = settled_fingerprint();
        let file = lab(EXTERNAL);
        apply(&file);
        assert_no_changes(&file);
        let up0 = &ip(&["address", "show", "up0"])[0];
        assert_eq!((&up0["mtu"], &up0["txqlen"]), (&1400.into(), &50.into()));
        let addresses: Vec<_> = up0["addr_info"].as_array().unwrap().iter().map(|a| a["local"].as_str().unwrap()).collect();
        assert!(addresses.contains(&"203.0.113.5") && addresses.contains(&"192.0.2.10"), "{addresses:?}");
        let without_mtu = lab(&EXTERNAL.replace(", mtu: 1400", ""));
        apply(&without_mtu);
        assert_eq!(ip(&["link", "show", "up0"])[0]["mtu"], 1450, "what the lab no longer says goes back to what was");
        apply(&file);
        destroy("ext");
        assert_restored(&before);
    });
}

#[test]
fn foreign_routes_and_addresses_are_neither_taken_nor_removed() {
    in_namespaces(|| {
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; ip address add 192.0.2.9/24 dev up0
            ip route add 198.51.100.0/24 via 192.0.2.7");
        let before = settled_fingerprint();
        topo(&["apply", &lab(EXTERNAL)]).exits(1).says("198.51.100.0/24");
        assert_restored(&before);
        sh("ip route del 198.51.100.0/24; ip address add 192.0.2.10/24 dev up0");
        let before = settled_fingerprint();
        topo(&["apply", &lab(EXTERNAL)]).exits(1).says("192.0.2.10/24");
        assert_restored(&before);
    });
}

#[test]
fn a_missing_external_interface_is_an_error_that_names_it() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        topo(&["apply", &lab(EXTERNAL)]).exits(1).says("up0");
        assert_restored(&before);
    });
}

#[test]
fn a_host_setting_is_put_back() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab("name: sys\nnamespaces: { host: { sysctls: { net.ipv4.ip_forward: 1 } } }\n");
        apply(&file);
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
        assert_no_changes(&file);
        destroy("sys");
        assert_restored(&before);
    });
}

#[test]
fn a_running_process_does_not_keep_the_namespace_in_sight() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        let before = settled_fingerprint();
        apply(&example("blog"));
        let mut sleeper = start_inside("blue", "exec sleep 100");
        destroy("blog");
        assert_restored(&before);
        apply(&example("blog"));
        destroy("blog");
        assert_restored(&before);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    });
}

#[test]
fn destroying_what_is_not_there_changes_nothing() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        topo(&["destroy", &example("quickstart")]).ok();
        assert_restored(&before);
        assert_eq!(text("ip", &["netns", "list"]), "");
        apply(&example("quickstart"));
        topo(&["destroy", "quickstrat"]).ok().says("does not exist").says("did you mean `quickstart`?");
        destroy("quickstart");
        assert_restored(&before);
    });
}

/// The first `ip netns add` mounts /run/netns over itself; where mounts do not propagate, entries from before are then mounted
/// twice, once of them where no path leads.
#[test]
fn what_ip_netns_mounts_over_the_labs_entries_is_in_nobodys_way() {
    in_namespaces(|| {
        let file = example("quickstart");
        let mounts = || text("cat", &["/proc/self/mounts"]).lines().filter(|line| line.contains("netns")).count();
        apply(&file);
        sh("ip netns add other");
        assert_eq!(mounts(), 6, "ip-netns(8) is expected to mount the directory over itself");
        assert_no_changes(&file);
        destroy("quickstart");
        assert_eq!((mounts(), text("ls", &["/run/netns"])), (2, "other\n".into()));
        sh("ip netns del other; umount /run/netns");
        // The entry that is seen is gone, the hidden one is there.
        apply(&file);
        sh("ip netns add other; ip netns del alice 2> /dev/null || true");
        apply(&file);
        assert_no_changes(&file);
        destroy("quickstart");
        assert_eq!((mounts(), text("ls", &["/run/netns"])), (2, "other\n".into()));
        assert!(!std::path::Path::new("/run/topo").exists());
    });
}

/// With the last IPv4 address of an interface the kernel takes all routes over it.
#[test]
fn routes_of_others_stay_when_an_address_below_them_changes() {
    in_namespaces(|| {
        sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up");
        sh(
            "ip route add 198.51.100.0/24 dev up0 metric 5; ip route add 203.0.113.0/24 nexthop dev up0 nexthop dev up0 onlink via 192.0.2.9",
        );
        let before = settled_fingerprint();
        let with = |interface: &str, more: &str| {
            lab(&format!("name: by\nnamespaces:\n  host: {{ interfaces: {{ up0: {{ external: true, {interface} }} }} }}\n{more}"))
        };
        let routes = || text("ip", &["-N", "route", "show", "proto", "4"]) + &text("ip", &["-N", "route", "show", "proto", "3"]);
        apply(&with("addresses: [192.0.2.10/24]", ""));
        sh("ip route add default via 192.0.2.1 proto static");
        let expected = routes();
        apply(&with("addresses: [192.0.2.11/24]", ""));
        assert_eq!(routes(), expected, "another address");
        apply(&with("addresses: [{ address: 192.0.2.11/24, broadcast: 192.0.2.0 }]", ""));
        assert_eq!(routes(), expected, "another broadcast address");
        let refused = "  a: { sysctls: { net.ipv4.ip_forward: rubbish } }\n";
        topo(&["apply", &with("addresses: [192.0.2.12/24]", refused)]).exits(1).says("as it was before");
        assert_eq!(routes(), expected, "an apply that failed");
        sh("ip route del default");
        destroy("by");
        assert_restored(&before);
        sh("ip link del up0");
    });
}
