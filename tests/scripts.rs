//! `plan --as ip`: the commands for labs with every option of every kind and every sort of object, for changes of them, and for their end.
//! `UPDATE_EXPECT=1 cargo test --test scripts` writes the scripts anew. `tests/kernel/scripts.rs` runs such scripts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::fs;
use std::path::{Path, PathBuf};

use lab::{Lab, Machine, plan_script};

/// Compares with the golden file, or writes it when asked to.
fn check(golden: &Path, (text, missing): (String, Vec<String>)) {
    // What the script does not do, it says; each of these is a warning, too.
    let comments =
        text.lines().filter(|line| line.starts_with("# iproute2 cannot") || line.starts_with("# needs iproute2")).count();
    assert_eq!(comments, missing.len(), "{missing:?}\n{text}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(golden, &text).unwrap();
    }
    let expected = fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(text, expected, "{} (UPDATE_EXPECT=1 writes it anew)", golden.display());
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts")
}

#[test]
fn every_option_and_object_is_said() {
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")).collect();
    assert!(files.len() > 7);
    for file in files {
        let lab = Lab::read(&fs::read_to_string(&file).unwrap());
        let mut machine = Machine::with_uplink(&lab.name);
        let plan = machine.plan(&lab.desired).unwrap();
        check(&file.with_extension("sh"), plan_script(&plan));
        machine.must_apply(&lab).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
        let end = machine.plan_destroy(&lab).unwrap();
        check(&file.with_extension("end.sh"), plan_script(&end));
    }
}

#[test]
fn every_option_of_every_kind_is_in_a_lab() {
    let files = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let labs: String = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    for option in lab::options() {
        assert!(labs.contains(&format!("{option}:")), "no lab of tests/scripts has `{option}`");
    }
}
