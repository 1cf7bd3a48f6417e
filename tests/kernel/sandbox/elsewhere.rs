//! A lab or a namespace that is missing where a command works, but exists in another sandbox or on the machine.

use std::fs;
use std::process::Command;

use super::super::harness::tools::{Outcome, TOPO};
use super::super::harness::{User, sh, with_users};
use super::{PAIR, alone};

#[test]
fn a_lab_in_another_sandbox_is_found_there_by_every_command() {
    with_users(|| {
        let user = User::new();
        let (file, other) = (user.file("lab.yaml", PAIR), user.file("other.yaml", &alone("other")));
        user.topo(&["apply", "--sandbox=ci", &file]).ok();
        let in_ci = "lab `pair` is in sandbox `ci`: use `--sandbox=ci`";
        for default_exists in [false, true] {
            if default_exists {
                user.topo(&["apply", &other]).ok();
            }
            user.topo(&["destroy", "pair"]).ok().says(&format!("hint: {in_ci}"));
            user.topo(&["destroy", &file]).ok().says(in_ci);
            user.topo(&["plan", &file]).ok().says(in_ci);
            user.topo(&["exec", "--all", "pair", "--", "true"]).exits(125).says(in_ci);
            let of_pair = "hint: namespace `a` of lab `pair` is in sandbox `ci`: use `--sandbox=ci`";
            user.topo(&["exec", "a", "true"]).exits(125).says(of_pair);
            user.topo(&["shell", "a"]).exits(125).says(of_pair);
            user.topo(&["exec", "--sandbox=nope", "a", "--", "true"]).exits(125).says(of_pair);
        }
        user.topo(&["apply", &file]).ok().says(in_ci);
        user.topo(&["apply", "--sandbox=third", &file]).ok();
        user.topo(&["destroy", &file]).ok();
        let several = user.topo(&["destroy", &file]).ok().says("lab `pair` is in several sandboxes");
        assert!(several.stderr.contains("`ci`") && several.stderr.contains("`third`"), "{}", several.stderr);
        for sandbox in ["ci", "default", "third"] {
            user.topo(&["sandbox", "stop", sandbox]).ok();
        }
        user.assert_nothing_left();
    });
}

#[test]
fn where_the_lab_is_nothing_is_said_of_others_and_no_process_is_left() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", "--sandbox=ci", &file]).ok();
        let applied = user.topo(&["apply", "--sandbox=other", &file]).ok();
        let planned = user.topo(&["plan", "--sandbox=third", &file]).ok();
        for outcome in [applied, planned] {
            assert!(!outcome.stderr.contains("hint"), "the sandbox was chosen: {}", outcome.stderr);
        }
        let children = user.topo(&["exec", "--sandbox=other", "a", "--", "sh", "-c", "ps -o pid= --ppid $$; true"]).ok();
        // `ps` itself.
        assert_eq!(children.stdout.lines().count(), 1, "the command has no children that it did not start");
        for sandbox in ["ci", "other"] {
            user.topo(&["destroy", "--sandbox", sandbox, "pair"]).ok();
        }
        user.assert_nothing_left();
    });
}

#[test]
fn a_lab_on_the_machine_is_found_there() {
    with_users(|| {
        let user = User::new();
        if user.needs_number().is_none() {
            return;
        }
        fs::create_dir("/tmp/runtime").unwrap();
        sh("chmod 700 /tmp/runtime");
        let root = |arguments: &[&str]| {
            let mut command = Command::new(TOPO);
            command.args(arguments).env("XDG_RUNTIME_DIR", "/tmp/runtime").env_remove("TOPO_SANDBOX");
            Outcome::from(&command.output().unwrap())
        };
        let (file, other) = (user.file("lab.yaml", PAIR), user.file("other.yaml", &alone("other")));
        sh(&format!("chmod 755 {}", user.home.display()));
        root(&["apply", &file]).ok();
        user.topo(&["apply", &other]).ok();
        user.topo(&["exec", "a", "--", "true"]).exits(125).says("hint: a namespace `a` is on the machine itself");
        user.topo(&["destroy", &file]).ok().says("are on the machine itself: only root can change them");
        user.topo(&["destroy", "other"]).ok();
        user.topo(&["exec", "a", "--", "true"]).exits(125).says("hint: a namespace `a` is on the machine itself");
        root(&["apply", "--sandbox", &other]).ok();
        root(&["destroy", "--sandbox=default", "pair"]).ok().says("lab `pair` is on the machine itself: leave out `--sandbox`");
        root(&["destroy", "pair"]).ok();
        root(&["exec", "other", "--", "true"]).exits(125).says("namespace `other` of lab `other` is in sandbox `default`");
        root(&["plan", &other]).ok().says("lab `other` is in sandbox `default`");
        root(&["destroy", "--sandbox=default", "other"]).ok();
        user.assert_nothing_left();
    });
}
