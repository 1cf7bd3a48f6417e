//! The schema of lab files as editors use it: it accepts every valid lab, catches many mistakes, and reports them where they are.
//!
//! `tests/examples.rs` checks that `schemas/lab.schema.json` is current.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;
#[path = "common/mutations.rs"]
mod mutations;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use lab::Reading;
use mutations::{find_maps, is_list, is_surely_a_mistake, pool};
use serde_json::{Map, Value, json};

/// A lab with what no other one has, and with scalars that YAML takes for something else.
const LAB: &str = "
x-settings: &settings { mtu: 9000 }
name: 007
namespaces:
  a:
    interfaces:
      eth0:
      b: { <<: *settings, bridge: }
      1: { vlan: { parent: b, id: 0x10 } }
  10:
    hostname: 10
    hosts: { db: fd00::1, web: [10.0.0.1, fd00::2] }
    resolv: { nameservers: [10.0.0.53], search: [5], options: [ndots:1] }
    files: { /etc/x: { content: 5, mode: 0644, owner: 0 } }
    processes:
      x:
        command: [sleep, 5, true]
        env: { A: true, B: 1, C: 0.5 }
        user: 1000
        stdin: null
        restart: { policy: on-failure, delay: 1s, limit: 3 }
        stop: { signal: INT }
        reload: { signal: SIGHUP }
        capabilities: [net_raw]
  c:
links: [{ endpoints: [a:eth0, { interface: '10:7' }] }]
";

/// How many files of `tests/invalid` the schema refuses. The number may only grow.
const CAUGHT: usize = 55;

fn schema() -> Value {
    serde_json::from_str(&lab::schemas()["lab"]).unwrap()
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

/// Reads YAML as editors do; `None` if it is not YAML, or has keys that are no scalars.
fn value(text: &str) -> Option<Value> {
    let mut yaml: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    yaml.apply_merge().ok()?;
    serde_json::to_value(yaml).ok()
}

/// Returns the labs of the examples, of the plans and of the documents, each with its origin. All are valid for topo.
fn valid_labs() -> Vec<(String, String)> {
    let mut labs: Vec<(String, String)> = files("examples", "yaml")
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect();
    assert!(labs.len() > 10, "{}", labs.len());
    for path in files("tests/plans", "md").into_iter().chain(files("docs", "md")) {
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|block| block.split_once("\n```").map(|(lab, _)| lab));
        for (index, block) in blocks.enumerate() {
            if block.starts_with("name:") && !Reading::of(block, "lab.yaml", false).has_errors {
                labs.push((format!("{}, lab {index}", path.display()), block.to_owned()));
            }
        }
    }
    assert!(labs.len() > 200, "{}", labs.len());
    labs.push(("tests/schema.rs".to_owned(), LAB.to_owned()));
    labs
}

/// Returns the errors, each with the place of the value that it is about.
fn errors(validator: &Validator, lab: &Value) -> Vec<String> {
    validator.iter_errors(lab).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn it_is_a_schema_of_draft_7_with_an_identifier() {
    let schema = schema();
    assert!(jsonschema::draft7::meta::is_valid(&schema));
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["$id"], "urn:topo:schema:lab");
}

#[test]
fn it_accepts_every_valid_lab() {
    let validator = validator();
    for (origin, text) in valid_labs() {
        assert_eq!(errors(&validator, &value(&text).unwrap()), [] as [String; 0], "{origin}");
    }
}

#[test]
fn it_catches_invalid_files_and_no_others() {
    let validator = validator();
    let (mut caught, mut missed) = (0, Vec::new());
    for path in files("tests/invalid", "yaml") {
        let text = fs::read_to_string(&path).unwrap();
        let Some(lab) = value(&text) else { continue };
        let errors = errors(&validator, &lab);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if errors.is_empty() {
            missed.push(name);
        } else {
            assert!(Reading::of(&text, "lab.yaml", false).has_errors, "{name} is valid: {errors:?}");
            caught += 1;
        }
    }
    assert_eq!(caught, CAUGHT, "the number may only grow; not caught: {missed:?}");
}

/// Mistakes in the first namespace or link, and the places that are reported for them.
const MISTAKES: &[(&str, &[&str])] = &[
    // Keys.
    ("namespaces: { a: { interfaces: { eth0: { adresses: [10.0.0.1/24] } } } }", &["/namespaces/a/interfaces/eth0"]),
    ("namespaces: { a: { interfaces: { v: { vlan: { parent: eth0, vid: 10 } } } } }", &["/namespaces/a/interfaces/v/vlan"; 2]),
    ("namespaces: { a: { interfaces: { b: { bridge: { port: [eth0] } } } } }", &["/namespaces/a/interfaces/b/bridge"]),
    ("namespaces: { a: { interfaces: { v: { dummy: {}, vlan: { parent: x, id: 1 } } } } }", &["/namespaces/a/interfaces/v/vlan"]),
    (
        "namespaces: { a: { interfaces: { e: { addresses: [{ address: 10.0.0.1/24, pear: 10.0.0.2 }] } } } }",
        &["/namespaces/a/interfaces/e/addresses/0"],
    ),
    (
        "namespaces: { a: { processes: { web: { command: [true], restart: { policy: always, wait: 1s } } } } }",
        &["/namespaces/a/processes/web/restart"],
    ),
    ("namespaces: { a: { processes: { web: { comand: [true] } } } }", &["/namespaces/a/processes/web"; 2]),
    (
        "namespaces: { a: { processes: { web: { command: [true], ready: { port: 80 } } } } }",
        &["/namespaces/a/processes/web/ready"],
    ),
    ("namespaces: { a: { routes: [{ to: default, vai: 10.0.0.1 }] } }", &["/namespaces/a/routes/0"]),
    ("links: [{ endpoints: [{ interface: a:e, adress: [] }, b:e] }]", &["/links/0/endpoints/0"]),
    ("namespaces: { a: { route: [] } }", &["/namespaces/a"]),
    // Values.
    ("namespaces: { a: { routes: [{ to: default, via: 10.0.0.1/24 }] } }", &["/namespaces/a/routes/0/via"]),
    ("namespaces: { a: { interfaces: { e: { addresses: [10.0.0.1/33] } } } }", &["/namespaces/a/interfaces/e/addresses/0"]),
    (
        "namespaces: { a: { interfaces: { m: { macvlan: { parent: eth0, mode: bridged } } } } }",
        &["/namespaces/a/interfaces/m/macvlan/mode"],
    ),
    ("namespaces: { a: { interfaces: { e: { mtu: big } } } }", &["/namespaces/a/interfaces/e/mtu"]),
    ("namespaces: { a: { interfaces: { e: { mac: 02:00:00:00:01 } } } }", &["/namespaces/a/interfaces/e/mac"]),
    (
        "namespaces: { a: { interfaces: { b: { bridge: { ageing_time: 300 } } } } }",
        &["/namespaces/a/interfaces/b/bridge/ageing_time"],
    ),
    ("namespaces: { a: { interfaces: { b: { bridge: { stp_state: 1 } } } } }", &["/namespaces/a/interfaces/b/bridge/stp_state"]),
    ("namespaces: { a: { interfaces: { v: { vlan: { parent: eth0, id: 4095 } } } } }", &["/namespaces/a/interfaces/v/vlan/id"]),
    (
        "namespaces: { a: { processes: { web: { command: [true], restart: sometimes } } } }",
        &["/namespaces/a/processes/web/restart"],
    ),
    (
        "namespaces: { a: { processes: { web: { command: [true], ready: { tcp: 70000 } } } } }",
        &["/namespaces/a/processes/web/ready/tcp"],
    ),
    ("namespaces: { a: { isolation: [pid, net] } }", &["/namespaces/a/isolation/1"]),
    ("namespaces: { a: { limits: { memory: 256M } } }", &["/namespaces/a/limits/memory"]),
    ("namespaces: { a: { rules: [{ iif: eth0, dport: http }] } }", &["/namespaces/a/rules/0/dport"]),
    ("links: [{ endpoints: [a, b:e] }]", &["/links/0/endpoints/0"]),
    ("links: [{ endpoints: [a:e] }]", &["/links/0/endpoints"]),
    ("namespaces: { a: { hosts: { db: db } } }", &["/namespaces/a/hosts/db"]),
];

#[test]
fn mistakes_are_reported_where_they_are() {
    let validator = validator();
    for (text, places) in MISTAKES {
        let text = format!("name: lab\n{text}\n");
        assert!(Reading::of(&text, "lab.yaml", false).has_errors, "{text}");
        let found: Vec<_> =
            validator.iter_errors(&value(&text).unwrap()).map(|error| error.instance_path().to_string()).collect();
        assert_eq!(found, *places, "{text}");
    }
}

/// Calls `visit` with each schema that describes a value, and its place.
fn each_schema(schema: &Value, place: &str, visit: &mut impl FnMut(&Map<String, Value>, &str)) {
    let Value::Object(object) = schema else { return };
    visit(object, place);
    for (key, part) in object {
        match (key.as_str(), part) {
            ("properties" | "patternProperties" | "definitions", Value::Object(parts)) => {
                parts.iter().for_each(|(name, part)| each_schema(part, &format!("{place}/{key}/{name}"), visit));
            }
            ("items" | "additionalProperties", part) => each_schema(part, &format!("{place}/{key}"), visit),
            _ => {}
        }
    }
}

#[test]
fn every_value_is_described() {
    let schema = schema();
    let definitions = schema["definitions"].as_object().unwrap();
    let mut count = 0;
    each_schema(&schema, "", &mut |part, place| {
        let definition =
            part.get("$ref").map(|name| &definitions[name.as_str().unwrap().strip_prefix("#/definitions/").unwrap()]);
        let described = part.get("description").or_else(|| definition?.get("description"));
        let words = described.and_then(Value::as_str).unwrap_or_default();
        assert!(words.ends_with('.') && !words.contains('\n'), "{place}: {words:?}");
        count += 1;
    });
    assert!(count > 300, "{count}");
    for (name, definition) in definitions {
        assert!(definition["title"].is_string(), "{name}");
    }
}

/// Editors would write the defaults of all keys into the file when a map is completed.
#[test]
fn defaults_are_described_and_no_keywords() {
    each_schema(&schema(), "", &mut |part, place| assert!(!part.contains_key("default"), "{place}"));
    for (definition, key, default) in [
        ("Bridge", "ageing_time", "default 300s"),
        ("InterfaceSpec", "up", "default true"),
        ("ProcessSpec", "oneshot", "Default: `false`"),
    ] {
        let schema = schema();
        let description = schema["definitions"][definition]["properties"][key]["description"].as_str().unwrap();
        assert!(description.contains(default), "{description}");
    }
}

#[test]
fn only_annotations_stand_beside_references() {
    each_schema(&schema(), "", &mut |part, place| {
        if part.contains_key("$ref") {
            let other = part.keys().find(|key| !["$ref", "description", "doNotSuggest"].contains(&key.as_str()));
            assert_eq!(other, None, "{place}");
        }
    });
}

/// The other names of keys that the sources give to serde.
#[test]
fn other_names_of_keys_are_in_the_schema() {
    fn sources(directory: &Path, text: &mut String) {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => sources(&path, text),
                false => *text += &fs::read_to_string(path).unwrap(),
            }
        }
    }
    let mut text = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for part in text.split("alias = \"").skip(1) {
        *found.entry(part.split('"').next().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(found, BTreeMap::from([("dev".to_owned(), 1), ("group".to_owned(), 1)]));
    let vxlan = &schema()["definitions"]["Vxlan"]["properties"];
    assert!(vxlan["dev"].is_object() && vxlan["group"].is_object());
}

/// Sets each key of each sort of map to many values. Whatever topo accepts, the schema accepts.
#[test]
fn nothing_that_topo_accepts_is_refused() {
    let (root, validator, pool) = (schema(), validator(), pool());
    let (mut sites, mut refused) = (BTreeMap::new(), 0);
    let mut labs = valid_labs();
    // The smallest ones take least time.
    labs.sort_by_key(|(_, text)| text.len());
    for (_, text) in labs {
        let lab = value(&text).unwrap();
        let mut found = BTreeSet::new();
        find_maps(&lab, &root, &root, "", &mut sites, &mut found);
        for name in found {
            let (place, definition) = &sites[&name];
            for (key, property) in definition["properties"].as_object().unwrap() {
                let is_list = is_list(property, &root);
                let lists = pool.iter().filter(|_| is_list).map(|value| json!([value]));
                for value in pool.iter().cloned().chain(lists) {
                    let mut changed = lab.clone();
                    changed.pointer_mut(place).unwrap()[key] = value.clone();
                    if validator.is_valid(&changed) {
                        continue;
                    }
                    refused += 1;
                    if Reading::of(&changed.to_string(), "lab.yaml", false).has_errors {
                        continue;
                    }
                    assert!(
                        is_surely_a_mistake(&value),
                        "{name}: topo accepts `{key}: {value}`, the schema says {property}\n{changed}"
                    );
                }
            }
        }
    }
    let names: Vec<_> = sites.keys().collect();
    assert!(sites.len() >= 26, "{names:?}");
    assert!(refused > 10_000, "{refused}");
}
