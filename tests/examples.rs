//! Every example is valid, and its plan on an empty machine is the golden one. `UPDATE_EXPECT=1 cargo test` writes the goldens anew.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::path::{Path, PathBuf};

use lab::{Lab, Machine, Plan, plan_json, plan_text};

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
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

/// A schema's validator.
fn validator(schema: &str) -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap()
}

/// Insists that a schema accepts a value.
#[track_caller]
fn accepts(validator: &jsonschema::Validator, value: &serde_json::Value, what: &Path) {
    let errors: Vec<_> = validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}: {errors:?}", what.display());
}

#[test]
fn the_schemas_are_current() {
    for (name, schema) in lab::schemas() {
        check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.schema.json")), &schema);
    }
}

#[test]
fn the_schema_of_lab_files_accepts_every_example() {
    let validator = validator(&lab::schemas()["lab"]);
    for path in examples() {
        let lab: serde_json::Value = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        accepts(&validator, &lab, &path);
    }
    let wrong = serde_json::json!({ "name": "x", "namespaces": { "a": { "interfaces": { "eth0": { "adresses": [] } } } } });
    assert!(!validator.is_valid(&wrong), "an unknown key is refused");
}

#[test]
fn the_schema_of_plans_accepts_every_plan() {
    let validator = validator(&lab::schemas()["plan"]);
    for path in examples() {
        let lab = load(&path);
        let mut machine = Machine::empty(&lab.name);
        let plan = machine.plan(&lab.desired).unwrap();
        let json = plan_json(&plan);
        accepts(&validator, &json, &path);
        let operations = json["operations"].as_array().unwrap();
        assert_eq!(operations.len(), plan.steps.len());
        for operation in operations {
            assert!(!operation["resources"].as_array().unwrap().is_empty(), "{operation}");
        }
        machine.must_apply(&lab).unwrap();
        accepts(&validator, &plan_json(&machine.plan(&lab.desired).unwrap()), &path);
        accepts(&validator, &plan_json(&machine.plan_destroy(&lab).unwrap()), &path);
    }
    let mut wrong = plan_json(&plan(&load(&examples()[0])));
    wrong["operations"][0]["action"] = "think".into();
    assert!(!validator.is_valid(&wrong), "an unknown action is refused");
}
