//! Every example is valid, and its plan on an empty machine is the golden one. `UPDATE_EXPECT=1 cargo test` writes the goldens anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::path::{Path, PathBuf};

use lab::{Lab, Machine, Plan, plan_json, plan_text};

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 7);
    paths
}

fn load(path: &Path) -> Lab {
    Lab::read(&std::fs::read_to_string(path).unwrap())
}

/// The plan on an empty machine.
fn plan(lab: &Lab) -> Plan {
    Machine::empty(&lab.name).plan(&lab.desired).unwrap()
}

/// Compares with the golden file, or writes it when asked to.
fn check(golden: &Path, text: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(golden, text).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(text, expected, "{} (UPDATE_EXPECT=1 writes it anew)", golden.display());
}

#[test]
fn every_example_plans_as_its_golden_says() {
    for path in examples() {
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path.file_stem().unwrap()).with_extension("plan");
        check(&golden, &plan_text(&plan(&load(&path))));
    }
}

#[test]
fn every_example_is_built_kept_and_removed_without_a_trace_in_memory() {
    for path in examples() {
        let lab = load(&path);
        let mut machine = Machine::empty(&lab.name);
        let before = machine.fingerprint();
        machine.must_apply(&lab).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
        machine.must_destroy(&lab).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
        assert_eq!(machine.fingerprint(), before, "{}", path.display());
    }
}

#[test]
fn the_plan_as_json_has_the_documented_shape() {
    let plan = plan(&load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml")));
    let json = plan_json(&plan);
    assert_eq!(json["format_version"], 1);
    assert_eq!(json["summary"]["add"], plan.summary().add);
    let changes = json["changes"].as_array().unwrap();
    assert_eq!(changes.len(), plan.changes.len());
    for change in changes {
        for key in ["address", "kind", "action", "before", "after", "reason"] {
            assert!(change.get(key).is_some(), "{key} is missing in {change}");
        }
        assert_eq!((&change["action"], &change["before"]), (&"create".into(), &serde_json::Value::Null));
    }
}

#[test]
fn the_schema_is_current_and_accepts_every_example() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/lab.schema.json");
    check(&path, &lab::schema());
    let schema: serde_json::Value = serde_json::from_str(&lab::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for path in examples() {
        let lab: serde_json::Value = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let errors: Vec<_> = validator.iter_errors(&lab).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    let wrong = serde_json::json!({ "name": "x", "namespaces": { "a": { "interfaces": { "eth0": { "adresses": [] } } } } });
    assert!(!validator.is_valid(&wrong), "an unknown key is refused");
}
