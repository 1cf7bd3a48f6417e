//! What `topo graph` draws: every example in every format, large networks, and what is in a picture.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths
}

/// Runs `topo graph` and returns what it prints.
fn graph(arguments: &[&str], input: &str) -> String {
    let directory = directory();
    let file = directory.join("lab.yaml");
    std::fs::write(&file, input).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_topo")).arg("graph").arg(&file).args(arguments).output().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A directory of this call alone.
fn directory() -> PathBuf {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("graph-{}-{number}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    path
}

fn json(arguments: &[&str], input: &str) -> Value {
    let arguments: Vec<_> = arguments.iter().copied().chain(["--format", "json"]).collect();
    serde_json::from_str(&graph(&arguments, input)).unwrap()
}

/// A lab of pairs between these namespaces.
fn network(pairs: &[(String, String)]) -> String {
    let mut text = "name: drawn\nnamespaces:\n".to_owned();
    let names: BTreeSet<&String> = pairs.iter().flat_map(|(one, other)| [one, other]).collect();
    let ends: Vec<_> = pairs.iter().enumerate().flat_map(|(n, (one, other))| [(one, n, 1), (other, n, 2)]).collect();
    for name in names {
        text += &format!("  {name}:\n    interfaces:\n");
        for (_, n, host) in ends.iter().filter(|(end, ..)| *end == name) {
            text += &format!("      e{n}: {{ addresses: [10.{}.{}.{host}/24] }}\n", n / 250, n % 250);
        }
    }
    text += "links:\n";
    text.extend(pairs.iter().enumerate().map(|(n, (one, other))| format!("  - endpoints: [{one}:e{n}, {other}:e{n}]\n")));
    text
}

fn fabric(spines: usize, leaves: usize, hosts: usize) -> Vec<(String, String)> {
    let up = (0..leaves).flat_map(|leaf| (0..spines).map(move |spine| (format!("spine{spine}"), format!("leaf{leaf}"))));
    let down = (0..leaves).flat_map(|leaf| (0..hosts).map(move |host| (format!("leaf{leaf}"), format!("h{leaf}-{host}"))));
    up.chain(down).collect()
}

fn torus(side: usize) -> Vec<(String, String)> {
    let name = |x: usize, y: usize| format!("t{}-{}", x % side, y % side);
    let places = (0..side).flat_map(|x| (0..side).map(move |y| (x, y)));
    places.flat_map(|(x, y)| [(name(x, y), name(x + 1, y)), (name(x, y), name(x, y + 1))]).collect()
}

/// The left, top, right and bottom of a node.
fn edges_of(node: &Value) -> [f64; 4] {
    let [x, y, width, height] = ["x", "y", "width", "height"].map(|key| node[key].as_f64().unwrap());
    [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0]
}

fn assert_apart(picture: &Value, title: &str) {
    let nodes = picture["nodes"].as_array().unwrap();
    let size = [0, 1].map(|axis| picture["size"][axis].as_f64().unwrap());
    for (position, node) in nodes.iter().enumerate() {
        let [left, top, right, bottom] = edges_of(node);
        assert!(left >= 0.0 && top >= 0.0 && right <= size[0] && bottom <= size[1], "{title}: {node} of {size:?}");
        for other in &nodes[position + 1..] {
            let [l, t, r, b] = edges_of(other);
            let is_apart = right <= l || r <= left || bottom <= t || b <= top;
            assert!(is_apart, "{title}: {} and {} overlap", node["id"], other["id"]);
        }
    }
}

#[test]
fn every_example_is_drawn_in_every_format() {
    let schema = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/graph.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    for path in examples() {
        let text = std::fs::read_to_string(&path).unwrap();
        for layout in ["distance", "tiers"] {
            let picture = json(&["--layout", layout], &text);
            assert!(schema.is_valid(&picture), "{}", path.display());
            assert_apart(&picture, &path.display().to_string());
        }
        let svg = graph(&[], &text);
        let document = roxmltree::Document::parse(&svg).unwrap();
        assert_eq!(document.root_element().tag_name().name(), "svg");
        let page = graph(&["--format", "html"], &text);
        assert!(page.starts_with("<!doctype html>"), "{page}");
        assert!(!page.contains("http://") && !page.contains("https://"), "{} needs the network", path.display());
        for format in ["dot", "mermaid"] {
            assert!(!graph(&["--format", format], &text).is_empty());
        }
    }
}

#[test]
fn large_networks_are_legible_and_always_the_same() {
    let labs = [("fabric", fabric(4, 16, 11)), ("torus", torus(8)), ("ring", (0..200).map(ring).collect()), ("pairs", pairs())];
    for (title, pairs) in labs {
        let text = network(&pairs);
        let picture = json(&[], &text);
        assert_apart(&picture, title);
        assert_eq!(picture, json(&[], &text), "{title}");
        assert_apart(&json(&["--layout", "tiers"], &text), title);
    }
}

fn ring(n: usize) -> (String, String) {
    (format!("r{n}"), format!("r{}", (n + 1) % 200))
}

fn pairs() -> Vec<(String, String)> {
    (0..40).map(|n| (format!("a{n}"), format!("b{n}"))).collect()
}

#[test]
fn hosts_are_drawn_beside_what_they_are_connected_to() {
    let picture = json(&[], &network(&fabric(2, 3, 5)));
    let nodes = picture["nodes"].as_array().unwrap();
    let name = |position: &Value| nodes[usize::try_from(position.as_u64().unwrap()).unwrap()]["id"].as_str().unwrap();
    for node in nodes {
        let id = node["id"].as_str().unwrap();
        match id.strip_prefix('h') {
            Some(host) => assert_eq!(name(&node["folded_into"]), format!("leaf{}", host.split('-').next().unwrap())),
            None => assert!(node["folded_into"].is_null(), "{id}"),
        }
    }
    // A small network has room for all.
    let small = json(&[], &network(&fabric(1, 1, 5)));
    assert!(small["nodes"].as_array().unwrap().iter().all(|node| node["folded_into"].is_null()));
}

#[test]
fn the_pictures_of_the_documents_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    {
        let example = "leaf-spine";
        let text = std::fs::read_to_string(root.join("examples").join(example).with_extension("yaml")).unwrap();
        let stored = root.join("docs").join(example).with_extension("svg");
        let drawn = graph(&[], &text);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&stored, &drawn).unwrap();
        }
        assert!(std::fs::read_to_string(&stored).unwrap_or_default() == drawn, "UPDATE_EXPECT=1 draws {} anew", stored.display());
    }
}

/// Programs that know no variables, such as librsvg, take the value before.
#[test]
fn every_variable_of_the_style_has_a_literal_value_before_it() {
    let svg = graph(&[], &network(&[("a".to_owned(), "b".to_owned())]));
    let style = svg.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let declarations: Vec<_> = style.split([';', '{', '}']).map(str::trim).collect();
    let mut variables = 0;
    for pair in declarations.windows(2).filter(|pair| pair[1].contains("var(--")) {
        let property = |declaration: &str| declaration.split(':').next().unwrap().to_owned();
        assert!(property(pair[0]) == property(pair[1]) && pair[0].contains('#'), "{pair:?}");
        variables += 1;
    }
    assert!(variables > 10, "{style}");
}

#[test]
fn many_links_between_two_nodes_are_one_line() {
    let pair = || ("a".to_owned(), "b".to_owned());
    let lines = |count: usize| graph(&[], &network(&vec![pair(); count])).matches("<g class=\"edge").count();
    assert_eq!((lines(1), lines(6), lines(7), lines(40)), (1, 6, 1, 1));
    let svg = graph(&[], &network(&vec![pair(); 40]));
    assert!(svg.contains(">40 links</text>"), "{svg}");
}

#[test]
fn an_empty_picture_says_so() {
    assert!(graph(&[], "name: empty\n").contains(">no namespaces</text>"));
}

#[test]
fn the_page_is_small() {
    let text = network(&[("a".to_owned(), "b".to_owned())]);
    let page = graph(&["--format", "html"], &text);
    assert!(page.len() < 100_000, "{} bytes", page.len());
}

#[test]
fn what_connects_others_is_a_node() {
    let text = "name: x
namespaces:
  sw: { interfaces: { br0: { bridge: { ports: [a, b] } } } }
  a: { interfaces: { eth0: { addresses: [10.0.0.1/24, \"2001:db8::1/64\"] }, v: { vlan: { parent: eth0, id: 7 } } } }
  b: { interfaces: { eth0: { mtu: 1400 } } }
  c: { interfaces: { m: { macvlan: { parent: \"host:up0\" } } } }
  d: {}
  host: { interfaces: { up0: { external: true } } }
links:
  - endpoints: [sw:a, a:eth0]
  - endpoints: [sw:b, b:eth0]
";
    let picture = json(&[], text);
    let nodes: Vec<_> = picture["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    // The switch is its bridge, and `host` has nothing but the parent.
    assert_eq!(nodes, ["a", "b", "c", "d", "host:up0", "sw:br0"]);
    let lines = &picture["nodes"][0]["lines"];
    assert_eq!(*lines, serde_json::json!(["eth0 10.0.0.1/24", "     2001:db8::1/64", "v"]));
    let edges: BTreeSet<String> = picture["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let end = |end: &Value| nodes[usize::try_from(end["node"].as_u64().unwrap()).unwrap()];
            let label = edge["label"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()).collect::<Vec<_>>();
            format!("{} {} {} {}", edge["kind"].as_str().unwrap(), end(&edge["ends"][0]), end(&edge["ends"][1]), label.join(", "))
        })
        .collect();
    let expected = ["pair a sw:br0 ", "pair b sw:br0 mtu 1400 of b:eth0", "parent c host:up0 macvlan"].map(str::to_owned);
    assert!(expected.iter().all(|edge| edges.iter().any(|one| one.starts_with(edge))), "{edges:?}");
    let mermaid = graph(&["--format", "mermaid"], text);
    assert!(mermaid.contains("n5([\"sw<br>bridge br0\"])"), "{mermaid}");
    let dot = graph(&["--format", "dot"], text);
    assert!(dot.contains("\"b\" -- \"sw:br0\" [taillabel=\"eth0\", headlabel=\"b\", label=\"mtu 1400 of b:eth0\"];"), "{dot}");
}

#[test]
fn nothing_in_a_lab_can_end_a_text() {
    let text = "name: x
namespaces:
  a:
    hostname: a
    files: { /etc/motd: { content: \"</script><b>&\\\"\" } }
    processes: { p: { command: [echo, \"</script>\", \"<!--\"] } }
";
    let page = graph(&["--format", "html"], text);
    assert_eq!(page.matches("</script>").count(), 2, "{page}");
    assert!(!page.contains("<!--"), "{page}");
    roxmltree::Document::parse(&graph(&[], text)).unwrap();
}
