//! Exit status, output and input of commands that look at the network or change it. `tests/cli.rs` has those that do neither.

use super::harness::tools::TOPO;
use super::harness::{apply, assert_no_changes, example, in_namespaces, lab, sh, topo};

#[test]
fn a_plan_says_what_there_is_to_do_by_its_exit_status() {
    in_namespaces(|| {
        let file = example("quickstart");
        topo(&["plan", "--detailed-exitcode", &file]).exits(2).says("+ ").says("Plan: ");
        topo(&["plan", &file]).ok();
        apply(&file);
        topo(&["plan", "--detailed-exitcode", &file]).exits(0).says("No changes. The network matches the lab.");
        topo(&["plan", "--exit-code", &file]).exits(0);
        topo(&["diff", "--detailed-exitcode", &file]).exits(0);
        topo(&["apply", "quickstart"])
            .exits(1)
            .says("this command wants the file of a lab, not its name; `topo show quickstart`");
    });
}

#[test]
fn a_saved_plan_is_applied_once_and_then_stale() {
    in_namespaces(|| {
        let file = example("quickstart");
        let plan = lab("");
        topo(&["plan", "--out", &plan, &file]).ok();
        topo(&["apply", &plan]).ok();
        topo(&["plan", "--detailed-exitcode", &file]).exits(0);
        topo(&["destroy", &file]).ok();
        topo(&["plan", "--out", &plan, &file]).ok();
        apply(&file);
        topo(&["apply", &plan]).exits(1).says("stale");
    });
}

#[test]
fn the_json_plan_counts_its_changes() {
    in_namespaces(|| {
        let outcome = topo(&["plan", "--json", &example("quickstart")]).ok();
        let plan: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("the plan is JSON");
        assert!(plan["format_version"].is_string() || plan["format_version"].is_number(), "{plan}");
        let changes = plan["changes"].as_array().expect("a list of changes");
        let creations = changes.iter().filter(|change| change["action"] == "create").count();
        assert_eq!(plan["summary"]["add"].as_u64(), Some(creations as u64), "{plan}");
        assert_eq!(plan["summary"]["destroy"], 0);
        assert!(changes.iter().all(|change| change["address"].is_string() && change["kind"].is_string()), "{plan}");
    });
}

#[test]
fn a_lab_is_read_from_standard_input() {
    in_namespaces(|| {
        let script = format!("{TOPO} apply - < {}", example("quickstart"));
        sh(&script);
        assert_no_changes(&example("quickstart"));
    });
}
