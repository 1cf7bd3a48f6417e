//! An apply that fails puts back what it changed and says what failed, in the kernel's words.

use super::harness::fingerprint::assert_restored;
use super::harness::{
    Feature, apply, assert_no_changes, destroy, in_namespaces, ip, lab, needs, settled_fingerprint, sh, strace, topo, traced,
};

/// The kernel refuses the macvlan: a foreign one in `passthru` mode has the parent for itself.
const REFUSED: &str = "
name: refused
namespaces:
  host: { interfaces: { up0: { external: true, addresses: [192.0.2.1/24] } } }
  a:
    interfaces:
      eth0: { addresses: [10.0.0.1/24] }
      mv0: { macvlan: { parent: host:up0, mode: bridge } }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }
links: [{ endpoints: [a:eth0, b:eth0] }]
";

fn uplink_in_use() {
    sh("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up
        ip link add owner link up0 type macvlan mode passthru");
}

#[test]
fn a_failed_apply_puts_everything_back() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        uplink_in_use();
        let before = settled_fingerprint();
        topo(&["apply", &lab(REFUSED)]).exits(1).says("a:mv0").says("invalid argument");
        assert_restored(&before);
    });
}

#[test]
fn a_refused_object_is_shown_where_the_file_declares_it() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        uplink_in_use();
        let before = settled_fingerprint();
        let file = lab(REFUSED);
        let outcome = topo(&["apply", &file]).exits(1).says("a:mv0").says("invalid argument");
        assert_points_at(&outcome.stderr, &format!("{file}:8:7"), "mv0: { macvlan: { parent: host:up0, mode: bridge } }", "^^^");
        let setting = lab("name: s\nnamespaces:\n  a:\n    sysctls:\n      net.ipv4.no_such_setting: 1\n");
        let outcome = topo(&["apply", &setting]).exits(1).says("hint: this kernel has no such setting");
        assert_points_at(&outcome.stderr, &format!("{setting}:5:7"), "net.ipv4.no_such_setting: 1", "^^^^^^^^");
        assert_restored(&before);
    });
}

#[test]
fn what_is_in_the_way_is_shown_where_the_file_declares_the_same() {
    in_namespaces(|| {
        if !needs(&[Feature::Bridge]) {
            return;
        }
        sh("ip link add br0 type bridge");
        let file =
            lab("name: s\nnamespaces:\n  host:\n    interfaces:\n      br0: { bridge: {} }\n      up0: { external: true }\n");
        for command in ["plan", "apply"] {
            let outcome = topo(&[command, &file]).exits(1).says("`host:br0` is in the way").says("`host:up0` does not exist");
            outcome.says(&format!("{file}:5:7")).says(&format!("{file}:6:7"));
        }
    });
}

#[track_caller]
fn assert_points_at(stderr: &str, place: &str, line: &str, underlined: &str) {
    for text in [place, line, underlined, "undone"] {
        assert!(stderr.contains(text), "`{text}` is not in {stderr}");
    }
}

#[test]
fn a_refused_object_of_a_saved_plan_is_named_without_a_place() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        uplink_in_use();
        topo(&["plan", "--out", "/run/plan", &lab(REFUSED)]).ok();
        let outcome = topo(&["apply", "/run/plan"]).exits(1).says("a:mv0").says("invalid argument");
        assert!(!outcome.stderr.contains("-->"), "{}", outcome.stderr);
    });
}

#[test]
fn a_damaged_plan_file_is_called_that() {
    in_namespaces(|| {
        topo(&["plan", "--out", "/run/plan", &lab("name: s\nnamespaces: { a: {} }\n")]).ok();
        sh("touch /run/damaged; cp /run/plan /run/plan.yaml");
        let before = settled_fingerprint();
        let damages = [
            ("head -c 100 /run/plan", "damaged plan file", "unexpected end of file"),
            ("head -c 10 /run/plan", "damaged plan file", "unexpected end of file"),
            ("sed 's/name: s/name: t/' /run/plan", "damaged plan file", "changed"),
            ("sed 's/\"topo_saved_plan\":[0-9]*/\"topo_saved_plan\":99/' /run/plan", "version 99", "topo plan --out"),
            ("true", "empty", "topo plan --out"),
        ];
        for (damage, what, more) in damages {
            sh(&format!("{damage} > /run/damaged"));
            let outcome = topo(&["apply", "/run/damaged"]).exits(1).says(what).says(more).says("/run/damaged").says("hint:");
            assert!(!outcome.stderr.contains("YAML"), "{}", outcome.stderr);
        }
        for command in ["validate", "plan", "destroy"] {
            topo(&[command, "/run/plan.yaml"]).exits(1).says("saved plan, not a lab file").says("topo apply");
        }
        assert_restored(&before);
        topo(&["apply", "/run/plan"]).ok();
        destroy("s");
    });
}

#[test]
fn without_rollback_the_next_apply_goes_on() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        uplink_in_use();
        let file = lab(REFUSED);
        let before = settled_fingerprint();
        topo(&["apply", "--no-rollback", &file]).exits(1).says("a:mv0");
        sh("ip link del owner");
        apply(&file);
        assert_no_changes(&file);
        destroy("refused");
        sh("ip link add owner link up0 type macvlan mode passthru");
        // Only the number of `owner`, and what follows from its new hardware address, may differ.
        let names = |text: &str| text.matches("\"ifname\"").count();
        assert_eq!(names(&settled_fingerprint()), names(&before));
    });
}

#[test]
fn a_failed_change_puts_back_the_lab_as_it_was() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        uplink_in_use();
        let without = REFUSED.replace("      mv0: { macvlan: { parent: host:up0, mode: bridge } }\n", "");
        apply(&lab(&without));
        let before = settled_fingerprint();
        let changed = REFUSED.replace("10.0.0.2/24", "10.0.0.3/24").replace("a:eth0, b:eth0] }", "a:eth0, b:eth0], mtu: 1400 }");
        topo(&["apply", &lab(&changed)]).exits(1);
        assert_restored(&before);
        assert_no_changes(&lab(&without));
    });
}

/// One end of a pair cannot be made again alone: the kernel would invent the other end.
#[test]
fn an_end_whose_other_end_was_taken_away_is_not_replaced_by_another_pair() {
    in_namespaces(|| {
        if !needs(&[Feature::Macvlan]) {
            return;
        }
        uplink_in_use();
        apply(&lab(&REFUSED.replace("      mv0: { macvlan: { parent: host:up0, mode: bridge } }\n", "")));
        sh("ip netns add other; ip -n b link set eth0 netns other");
        topo(&["apply", &lab(REFUSED)]).exits(1).says("not undone").says("a:eth0");
        for namespace in [&[][..], &["-n", "a"], &["-n", "b"], &["-n", "other"]] {
            let all = ip(&[namespace, &["link", "show"]].concat());
            let names: Vec<_> = all.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect();
            let strays = names.iter().filter(|name| !["lo", "eth0", "up0", "up1", "owner"].contains(&name.as_str()));
            assert_eq!(strays.count(), 0, "{namespace:?}: {names:?}");
        }
        destroy("refused");
        sh("ip netns del other");
    });
}

#[test]
fn an_unknown_setting_is_found_before_anything_is_changed() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab("name: s\nnamespaces: { a: { sysctls: { net.ipv4.no_such_setting: 1 } } }\n");
        topo(&["apply", &file]).exits(1).says("net.ipv4.no_such_setting");
        assert_restored(&before);
    });
}

#[test]
fn all_problems_of_a_file_are_told_with_their_places() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let file = lab(
            "name: bad\nnamespaces:\n  a:\n    interfaces:\n      eth0: { adresses: [10.0.0.1/24] }\n    routes:\n      - { to: default, via: 10.0.0.300 }\n",
        );
        for command in ["validate", "plan", "apply"] {
            topo(&[command, &file]).exits(1).says(":5:").says(":7:").says("adresses").says("addresses").says("10.0.0.300");
        }
        assert_restored(&before);
    });
}

#[test]
fn what_cannot_be_written_down_is_not_begun() {
    in_namespaces(|| {
        sh("ip link add up0 type veth peer name up1");
        let before = settled_fingerprint();
        let one = lab("name: noted\nnamespaces:\n  host: { interfaces: { up0: { external: true, mtu: 1400 } } }\n");
        let failing = |when: u32, file: &str| {
            let inject = format!("inject=fsync:error=EIO:when={when}");
            strace(&["-o", "/dev/null", "-e", "trace=fsync", "-e", &inject], &["apply", file]).exits(1)
        };
        // The first is for the file, the second for the directory that it stands in.
        for when in 1..=2 {
            failing(when, &one).says("cannot write `/run/topo/noted.json`");
            assert_restored(&before);
        }
        apply(&one);
        let noted = std::fs::read("/run/topo/noted.json").unwrap();
        let both = lab("name: noted\nnamespaces:\n  host:\n    interfaces:\n      up0: { external: true, mtu: 1400 }\n      \
             up1: { external: true, mtu: 1400 }\n");
        failing(2, &both);
        assert_eq!(std::fs::read("/run/topo/noted.json").unwrap(), noted);
        destroy(&both);
        assert_restored(&before);
    });
}

#[test]
fn namespaces_go_even_where_no_more_threads_are_to_be_had() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let names: String = (0..12).map(|n| format!("  n{n}: {{}}\n")).collect();
        let file = lab(&format!("name: threads\nnamespaces:\n{names}"));
        apply(&file);
        // The first three listen for signals and look.
        let few = "inject=clone,clone3:error=EAGAIN:when=4+";
        let trace = traced(&["-e", "trace=clone,clone3", "-e", few], &["destroy", &file]);
        // Two namespaces for each of those that were to help.
        assert_eq!(trace.matches("EAGAIN").count(), 6, "{trace}");
        assert_restored(&before);
    });
}

/// On a kernel that has all kinds there is nothing to refuse.
#[test]
fn a_kind_that_the_kernel_lacks_is_told_with_its_module() {
    in_namespaces(|| {
        for (module, kind) in
            [("dummy", "dummy: {}"), ("8021q", "vlan: { parent: e0, id: 5 }"), ("ipvlan", "ipvlan: { parent: e0 }")]
        {
            let interfaces = format!("interfaces: {{ u0: {{ {kind} }} }}");
            let file =
                lab(&format!("name: lacks\nnamespaces: {{ a: {{ {interfaces} }} }}\nlinks: [{{ endpoints: [a:e0, a:e1] }}]\n"));
            let outcome = topo(&["apply", &file]);
            if outcome.status == 0 {
                destroy(&file);
            } else {
                outcome.exits(1).says(&format!("modprobe {module}"));
            }
        }
    });
}
