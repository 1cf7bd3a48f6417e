//! What `topo show` and `topo diff` print: every example as it is shown when it is applied, and differences of two labs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::path::{Path, PathBuf};

use lab::{Lab, Machine, PlanColour, Reading};

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths
}

/// Compares with the golden file, or writes it when asked to.
fn check(golden: &Path, text: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(golden, text).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(text, expected, "{} (UPDATE_EXPECT=1 writes it anew)", golden.display());
}

/// Reads what is shown. It may have warnings, as the example has.
fn read(text: &str) -> Lab {
    let reading = Reading::of(text, "shown", false);
    reading.lab.unwrap_or_else(|| panic!("{}\n{text}", reading.shown))
}

#[test]
fn every_example_is_shown_as_its_golden_says_and_recreated_from_that() {
    let schema = jsonschema::validator_for(&serde_json::from_str(&lab::schemas()["lab"]).unwrap()).unwrap();
    for path in examples() {
        let lab = Lab::read(&std::fs::read_to_string(&path).unwrap());
        let mut machine = Machine::empty(&lab.name);
        machine.must_apply(&lab).unwrap();
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path.file_stem().unwrap()).with_extension("show");
        for declared in [Some(&lab.desired), None] {
            let (text, omitted) = machine.show(declared, &lab.desired).unwrap();
            assert_eq!(omitted, [] as [String; 0], "{}", path.display());
            if declared.is_some() {
                check(&golden, &text);
            }
            let shown = read(&text);
            assert!(machine.plan(&shown.desired).unwrap().is_empty(), "{}: {text}", path.display());
            let mut fresh = Machine::empty(&lab.name);
            fresh.must_apply(&shown).unwrap();
            assert!(fresh.plan(&lab.desired).unwrap().is_empty(), "{}: {text}", path.display());
            let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
            assert!(schema.is_valid(&value), "{text}");
        }
    }
}

#[test]
fn every_example_differs_until_it_is_applied() {
    for path in examples() {
        let lab = Lab::read(&std::fs::read_to_string(&path).unwrap());
        let mut machine = Machine::empty(&lab.name);
        let (text, _) = machine.difference(&lab.desired, PlanColour::None).unwrap();
        assert!(text.lines().skip(2).any(|line| line.starts_with('+')), "{text}");
        machine.must_apply(&lab).unwrap();
        assert_eq!(machine.difference(&lab.desired, PlanColour::None).unwrap().0, "", "{}", path.display());
    }
}

/// Applies one lab, and compares with another.
#[track_caller]
fn differ(from: &str, to: &str, expected: &str) {
    let (from, to) = (read(&format!("name: demo\n{from}")), read(&format!("name: demo\n{to}")));
    let mut machine = Machine::with_uplink(&from.name);
    machine.must_apply(&from).unwrap();
    let (text, plan) = machine.difference(&to.desired, PlanColour::None).unwrap();
    assert_eq!(text, expected, "{}", lab::plan_text(&plan));
    assert_eq!(text.is_empty(), plan.is_empty());
    machine.must_apply(&to).unwrap();
    assert_eq!(machine.difference(&to.desired, PlanColour::None).unwrap().0, "");
}

const PAIR: &str = "namespaces: { a: {}, b: {} }\nlinks: [{ endpoints: [a:eth0, b:eth0] }]\n";

#[test]
fn spelling_is_no_difference() {
    let long = "links:\n  - endpoints:\n    - { interface: 'a:eth0', addresses: ['10.0.0.1/24'] }\n    - b:eth0\nnamespaces:\n  b:\n  a:\n";
    let short = "namespaces: { a: { interfaces: { eth0: { addresses: [{ address: 10.0.0.1/24 }] } } }, b: {} }\nlinks: [{ endpoints: [a:eth0, b:eth0] }]\n";
    differ(long, short, "");
}

#[test]
fn a_setting_of_an_interface_is_one_line() {
    let to = PAIR.replace("a: {}", "a: { interfaces: { eth0: { mtu: 1400 } } }");
    let expected = "--- live\n+++ lab.yaml\n@@ -3,7 +3,7 @@ namespaces: a: interfaces: eth0\n   a:\n     interfaces:\n       eth0:\n\
        -        mtu: 1500\n+        mtu: 1400\n   b: {}\n links:\n   - endpoints: [a:eth0, b:eth0]\n";
    differ(PAIR, &to, expected);
}

#[test]
fn a_removed_setting_is_only_on_the_live_side() {
    let from = PAIR.replace("a: {}", "a: { interfaces: { eth0: { up: false } }, sysctls: { net.ipv4.ip_forward: 1 } }");
    let expected = "--- live\n+++ lab.yaml\n@@ -1,11 +1,6 @@ namespaces\n name: demo\n namespaces:\n-  a:\n-    interfaces:\n-      eth0:\n\
        -        up: false\n-    sysctls:\n-      net.ipv4.ip_forward: 1\n+  a: {}\n   b: {}\n links:\n   - endpoints: [a:eth0, b:eth0]\n";
    differ(&from, PAIR, expected);
}

#[test]
fn a_namespace_comes_and_goes_with_all_that_is_in_it() {
    let all = PAIR
        .replace("b: {}", "b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } }, routes: [{ to: default, via: 10.0.0.1 }] }");
    let lone = "namespaces: { a: {} }\n";
    let section = |sign: &str| {
        let lines = [
            "  b:",
            "    interfaces:",
            "      eth0:",
            "        addresses: [10.0.0.2/24]",
            "    routes:",
            "      - { to: default, via: 10.0.0.1, dev: eth0 }",
            "links:",
            "  - endpoints: [a:eth0, b:eth0]",
        ];
        lines.iter().map(|line| format!("{sign}{line}\n")).collect::<String>()
    };
    let head =
        |ranges: &str| format!("--- live\n+++ lab.yaml\n@@ {ranges} @@ namespaces\n name: demo\n namespaces:\n   a: {{}}\n");
    differ(lone, &all, &(head("-1,3 +1,11") + &section("+")));
    differ(&all, lone, &(head("-1,11 +1,3") + &section("-")));
}
