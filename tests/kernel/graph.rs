//! `topo graph` of live networks: what is missing, changed, in addition, and without carrier.

use serde_json::Value;

use super::harness::tools::Outcome;
use super::harness::{apply, destroy, in_namespaces, lab, sh, topo};

const LAB: &str = "name: drawn
namespaces:
  a: { interfaces: { eth0: { addresses: [10.0.0.1/24, \"2001:db8::1/64\"] } } }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] }, eth1: {} } }
  c: { interfaces: { eth0: {} } }
links:
  - endpoints: [a:eth0, b:eth0]
  - endpoints: [b:eth1, c:eth0]
";

fn picture(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// The condition of each node, and of each edge with the names of both ends.
fn conditions(picture: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let nodes = picture["nodes"].as_array().unwrap();
    let of_nodes = nodes.iter().map(|node| format!("{} {}", text(&node["id"]), text(&node["condition"])));
    let of_edges = picture["edges"].as_array().unwrap().iter().map(|edge| {
        let end =
            |position: usize| text(&nodes[usize::try_from(edge["ends"][position]["node"].as_u64().unwrap()).unwrap()]["id"]);
        let idle = if edge["is_idle"] == true { " idle" } else { "" };
        format!("{}-{} {}{idle}", end(0), end(1), text(&edge["condition"]))
    });
    of_nodes.chain(of_edges).collect()
}

#[test]
fn a_live_picture_shows_what_differs() {
    in_namespaces(|| {
        let file = lab(LAB);
        let of_file = |arguments: &[&str]| {
            let arguments: Vec<_> = ["graph", &file, "--format", "json"].iter().chain(arguments).copied().collect();
            conditions(&picture(&topo(&arguments).ok()))
        };
        assert_eq!(of_file(&[]), ["a -", "b -", "c -", "a-b -", "b-c -"]);
        assert_eq!(of_file(&["--live"]), ["a missing", "b missing", "c missing", "a-b missing", "b-c missing"]);
        apply(&file);
        assert_eq!(of_file(&["--live"]), ["a same", "b same", "c same", "a-b same", "b-c same"]);
        sh("ip -n a address del 2001:db8::1/64 dev eth0; ip -n b link delete eth1; ip -n c link add x type veth peer name y netns a
            ip -n b link set eth0 down");
        let changed = ["a changed", "b changed", "c changed", "a-b changed idle", "b-c missing", "a-c extra idle"];
        let mut found = of_file(&["--live"]);
        found.sort();
        let mut expected = changed.map(str::to_owned);
        expected.sort();
        assert_eq!(found, expected);
        // By its name alone, nothing is known of the file.
        let by_name = conditions(&picture(&topo(&["graph", "drawn", "--format", "json"]).ok()));
        assert!(
            by_name.contains(&"a-b - idle".to_owned())
                && by_name.contains(&"a -".to_owned())
                && !by_name.iter().any(|line| line.starts_with("b-c")),
            "{by_name:?}"
        );
        // A pair that the file has replaced by another one is drawn, too.
        let other = lab(&LAB.replace("[a:eth0, b:eth0]", "[a:eth0, c:eth0]").replace("[b:eth1, c:eth0]", "[b:eth1, b:eth0]"));
        let replaced = conditions(&picture(&topo(&["graph", &other, "--live", "--format", "json"]).ok()));
        assert!(replaced.contains(&"a-b extra idle".to_owned()), "{replaced:?}");
        assert!(replaced.iter().any(|line| line.starts_with("a-c missing") || line.starts_with("a-c changed")), "{replaced:?}");
        destroy("drawn");
        topo(&["graph", "drawn"]).exits(1).says("there is no lab `drawn`");
    });
}

#[test]
fn the_dependencies_of_a_plan_are_drawn() {
    in_namespaces(|| {
        let file = lab(LAB);
        topo(&["graph", "drawn", "--dependencies"]).exits(1).says("the plan of a lab needs its file");
        let plan = picture(&topo(&["graph", &file, "--dependencies", "--format", "json"]).ok());
        assert_eq!(plan["nodes"].as_array().unwrap().len(), 10);
        assert!(plan["edges"].as_array().unwrap().iter().all(|edge| edge["kind"] == "needs"));
        let text = topo(&["graph", &file, "--dependencies", "--format", "dot"]).ok().stdout;
        assert!(text.starts_with("digraph \"drawn\" {") && text.contains(" -> "), "{text}");
        apply(&file);
        let plan = picture(&topo(&["graph", &file, "--dependencies", "--format", "json"]).ok());
        assert_eq!(plan["nodes"], serde_json::json!([]));
        destroy("drawn");
    });
}

#[test]
fn a_picture_is_written_to_a_file_by_its_ending() {
    in_namespaces(|| {
        let file = lab(LAB);
        for (ending, begin) in
            [("svg", "<svg "), ("html", "<!doctype html>"), ("dot", "graph \"drawn\""), ("mmd", "flowchart"), ("json", "{")]
        {
            let out = file.replace("lab", "out") + "." + ending;
            topo(&["graph", &file, "--out", &out]).ok();
            assert!(std::fs::read_to_string(&out).unwrap().starts_with(begin), "{ending}");
            std::fs::remove_file(&out).unwrap();
        }
        topo(&["graph", &file, "--out", "lab.png"]).exits(1).says("the ending of `lab.png` names no format");
        topo(&["graph", &file, "--format", "svg", "--out", &file]).exits(1).says("is the lab file itself");
        topo(&["graph", &file, "--out", "/nowhere/lab.svg"]).exits(1).says("cannot write `/nowhere/lab.svg`");
    });
}
