//! `topo namespaces` beside lsns(8).

use serde_json::Value;

use super::super::harness::{User, apply, eventually, in_namespaces, lab, start_inside, text, topo, with_users};
use super::PAIR;

fn rows(json: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(json).unwrap();
    report["namespaces"].as_array().unwrap().clone()
}

/// Runs lsns beside topo in a sandbox whose processes nobody else changes.
#[test]
fn own_namespaces_are_those_of_lsns() {
    with_users(|| {
        let user = User::new();
        user.file("lab.yaml", PAIR);
        let topo = user.program().display();
        let script = format!(
            "{topo} exec a unshare --uts --ipc --pid --fork --mount-proc sh -c 'echo > ready; exec sleep 1000' & \
             until test -e ready; do sleep 0.01; done; until pgrep -fx 'sleep 1000' >/dev/null; do sleep 0.01; done; \
             {topo} namespaces --json; lsns -J -l; {topo} namespaces pair"
        );
        let outcome = user.topo(&["run", "--", "sh", "-ec", &script]).ok();
        let (report, rest) = outcome.stdout.split_once('\n').unwrap();
        let (lsns, table) = rest.split_once("\n}\n").unwrap();
        let lsns: Value = serde_json::from_str(&format!("{lsns}\n}}")).unwrap();
        let lsns = lsns["namespaces"].as_array().unwrap();
        let own: Vec<_> = rows(report).into_iter().filter(|row| row["scope"] == "own").collect();
        let kinds: Vec<_> = own.iter().map(|row| format!("{} {}", row["node"], row["type"]).replace('"', "")).collect();
        assert_eq!(kinds, ["a net", "a mnt", "a pid", "a uts", "a ipc", "b net"], "{table}");
        for row in &own {
            let listed = lsns.iter().find(|listed| listed["ns"] == row["inode"] && listed["type"] == row["type"]);
            match listed {
                Some(listed) => {
                    let expected = [&listed["nprocs"], &listed["pid"], &listed["command"]];
                    assert_eq!([&row["processes"], &row["pid"], &row["command"]], expected, "{row}");
                }
                None => assert_eq!((row["node"].as_str(), row["processes"].as_u64()), (Some("b"), Some(0)), "{row}"),
            }
        }
        for row in rows(report).iter().filter(|row| row["scope"] == "shared") {
            assert!(lsns.iter().any(|listed| listed["ns"] == row["inode"] && listed["type"] == row["type"]), "{row}");
            assert_eq!((&row["pid"], row["command"].as_str()), (&Value::from(1), Some("topo sandbox hold")), "{row}");
        }
        let head = table.lines().next().unwrap();
        assert_eq!(
            head.split_whitespace().collect::<Vec<_>>(),
            ["NODE", "TYPE", "INODE", "SCOPE", "PROCESSES", "PID", "COMMAND"]
        );
        assert!(table.contains("unshare --uts --ipc --pid --fork"), "{table}");
        user.assert_nothing_left();
    });
}

#[test]
fn a_sandbox_and_a_missing_lab() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["namespaces", "pair"]).exits(1).says("there is no lab `pair`");
        user.topo(&["apply", "--sandbox=x", &file]).ok();
        user.topo(&["namespaces", "pair"]).exits(1).says("use `--sandbox=x`");
        let report = user.topo(&["namespaces", "--sandbox=x", "--json", &file]).ok().stdout;
        let holder = user.keepers()[0];
        // What belongs to the sandbox is that of its holder, and shared.
        for (kind, scope) in [("mnt", "shared"), ("user", "shared"), ("net", "own")] {
            let link = std::fs::read_link(format!("/proc/{holder}/ns/{kind}")).unwrap();
            let row = rows(&report).into_iter().find(|row| row["type"] == kind && row["node"] == "a").unwrap();
            assert_eq!(row["scope"], scope);
            assert_eq!(link.to_str() == Some(&format!("{kind}:[{}]", row["inode"])), scope == "shared", "{row} {link:?}");
        }
        user.topo(&["namespaces", "--sandbox=x", "pai"]).exits(1).says("did you mean `pair`?");
        user.topo(&["destroy", "--sandbox=x", "pair"]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn the_network_namespace_is_that_of_ip_netns() {
    in_namespaces(|| {
        let file = lab(PAIR);
        apply(&file);
        let mut sleeper = start_inside("b", "exec sleep 1000");
        let of = |name: &str| {
            let report = topo(&["namespaces", "pair", "--json"]).ok().stdout;
            rows(&report).into_iter().find(|row| row["type"] == "net" && row["node"] == name).unwrap()
        };
        eventually("the process", || of("b")["pid"] == sleeper.id() && of("b")["command"] == "sleep 1000");
        for name in ["a", "b"] {
            assert_eq!(of(name)["inode"].to_string(), text("stat", &["-c", "%i", &format!("/run/netns/{name}")]).trim());
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(of("b")["processes"], 0);
    });
}
