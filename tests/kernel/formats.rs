//! What commands print for people and for programs: the first line of a plan, summaries, JSON by its schemas, events.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::harness::tools::Outcome;
use super::harness::{User, apply, example, in_namespaces, lab, topo, with_users};

fn validator(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.schema.json"));
    jsonschema::validator_for(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()).unwrap()
}

/// Insists that each line is JSON that a schema accepts.
#[track_caller]
fn accepted(name: &str, outcome: &Outcome) -> Vec<Value> {
    let validator = validator(name);
    let lines = outcome.stdout.lines();
    let values = lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let values: Vec<Value> = values.collect();
    for value in &values {
        let errors: Vec<_> = validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:?}: {value}");
    }
    values
}

/// Insists that a change printed the events of its plan, and returns them.
#[track_caller]
fn events(arguments: &[&str]) -> Vec<Value> {
    let outcome = topo(arguments).ok();
    assert_eq!(outcome.stderr, "");
    let events = accepted("event", &outcome);
    let [plan, operations @ .., done] = events.as_slice() else { panic!("too few events: {}", outcome.stdout) };
    assert_eq!((&plan["event"], &done["event"]), (&"plan".into(), &"done".into()));
    assert_eq!(plan["plan"]["summary"], done["summary"]);
    let steps = plan["plan"]["operations"].as_array().unwrap();
    let mut positions: Vec<_> = operations.iter().map(|event| event["position"].as_u64().unwrap()).collect();
    positions.sort_unstable();
    assert_eq!(positions, (0..steps.len() as u64).collect::<Vec<_>>());
    for event in operations {
        assert_eq!(event["operation"], steps[usize::try_from(event["position"].as_u64().unwrap()).unwrap()]);
    }
    events
}

#[test]
fn changes_are_events() {
    in_namespaces(|| {
        let file = example("quickstart");
        assert!(events(&["apply", "--json", &file]).len() > 6);
        assert_eq!(events(&["apply", "--json", &file]).len(), 2, "nothing is left to do");
        assert!(events(&["destroy", "--json", &file]).len() > 2);
        let waited = accepted("event", &topo(&["apply", "--json", "--wait", &file]).ok());
        assert_eq!(waited.last().unwrap()["event"], "usable");
    });
}

#[test]
fn a_failed_change_ends_with_an_error_event() {
    in_namespaces(|| {
        // Somebody else's file is in the way.
        let file = lab("name: bad\nnamespaces: { a: {} }\n");
        fs::create_dir_all("/run/netns").unwrap();
        fs::write("/run/netns/a", "").unwrap();
        let outcome = topo(&["apply", "--json", &file]).exits(1);
        let events = accepted("event", &outcome);
        let error = events.last().unwrap();
        assert_eq!((&error["event"], &error["error"]["status"]), (&"error".into(), &1.into()));
        let message = error["error"]["message"].as_str().unwrap();
        assert!(outcome.stderr.contains(message), "{message} is not in {}", outcome.stderr);
    });
}

#[test]
fn reports_are_as_their_schemas_say() {
    in_namespaces(|| {
        let file = lab("name: nodes\nnamespaces:\n  a:\n    hostname: a.lab\n    processes:\n      \
                        sleeper: { command: [sleep, \"1000\"] }\n  b: {}\n");
        let plan = accepted("plan", &topo(&["plan", "--json", &file]).ok());
        assert!(plan[0]["operations"].as_array().unwrap().iter().any(|operation| operation["kind"] == "process"));
        apply(&file);
        assert_eq!(accepted("ps", &topo(&["ps", "--json", &file]).ok())[0]["processes"].as_array().unwrap().len(), 1);
        assert!(!accepted("namespaces", &topo(&["namespaces", "--json", &file]).ok())[0]["namespaces"].is_null());
        accepted("plan", &topo(&["plan", "--destroy", "--json", "nodes"]).ok());
        accepted("error", &topo(&["ps", "--json", "missing"]).exits(1));
        topo(&["destroy", "nodes"]).ok();
    });
}

#[test]
fn the_first_line_of_a_plan_says_where() {
    in_namespaces(|| {
        let file = example("quickstart");
        let first = |arguments: &[&str]| topo(arguments).ok().stdout.lines().next().map(str::to_owned);
        let expected = Some("Lab `quickstart` on this machine".to_owned());
        assert_eq!(first(&["plan", &file]), expected);
        assert_eq!(first(&["apply", &file]), expected);
        assert_eq!(first(&["plan", "--brief", &file]), expected);
        assert_eq!(first(&["plan", "--destroy", "quickstart"]), expected);
        assert_eq!(first(&["destroy", &file]), expected);
    });
}

#[test]
fn the_first_line_of_a_plan_names_the_sandbox() {
    with_users(|| {
        let user = User::new();
        let file = example("quickstart");
        for (arguments, sandbox) in [(vec!["plan", &file], "default"), (vec!["--sandbox=other", "plan", &file], "other")] {
            let outcome = user.topo(&arguments).ok();
            assert_eq!(outcome.stdout.lines().next(), Some(format!("Lab `quickstart` in sandbox `{sandbox}`").as_str()));
        }
    });
}

#[test]
fn brief_and_quiet_say_less() {
    in_namespaces(|| {
        let file = example("quickstart");
        let brief = topo(&["apply", "--brief", &file]).ok();
        assert!(brief.stdout.contains("+1 namespace") && !brief.stdout.contains("+ namespace"), "{}", brief.stdout);
        let silent = |arguments: &[&str], status: i32| {
            let outcome = topo(arguments).exits(status);
            assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""), "{arguments:?}");
        };
        silent(&["plan", "--quiet", "--detailed-exitcode", &file], 0);
        silent(&["destroy", "--quiet", &file], 0);
        silent(&["plan", "--quiet", "--detailed-exitcode", &file], 2);
        silent(&["apply", "--quiet", &file], 0);
        silent(&["validate", "--quiet", &file], 0);
        apply(&file).says("No changes.");
    });
}
