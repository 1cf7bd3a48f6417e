//! What changes from one lab to another: two lab files and the plan between them, on the kernel in memory.
//!
//! Each file in `tests/plans` has the cases of one subject. A case is a heading, the lab that is there, the lab that is applied, and
//! the plan; text between them is for the reader. The plan is carried out, too, and must leave nothing to do; so must the way back,
//! and the end of the lab must leave the machine as it was. `UPDATE_EXPECT=1 cargo test --test plans` writes the plans anew; read what
//! changed before it is committed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/lab.rs"]
mod lab;

use std::fs;
use std::path::{Path, PathBuf};

use lab::{Lab, Machine, Reading};

/// A test for each file.
macro_rules! subjects {
    ($($name:ident)*) => {
        const SUBJECTS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                check_file(stringify!($name));
            }
        )*
    };
}

subjects! {
    address
    bind
    bridge
    bridge_port
    bridge_vlans
    dummy
    external
    geneve
    ifb
    ignore
    impair
    ipvlan
    ipvtap
    link_settings
    loopback
    macvlan
    macvtap
    namespace
    neighbor
    node
    order
    route
    rule
    sysctl
    veth
    vlan
    vrf
    vxlan
}

#[test]
fn every_file_is_tested() {
    let mut found: Vec<_> = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let expected: Vec<_> = SUBJECTS.iter().map(|subject| path(subject)).collect();
    assert_eq!(found, expected, "each file of tests/plans stands in tests/plans.rs, in alphabetical order");
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

fn path(subject: &str) -> PathBuf {
    directory().join(subject).with_extension("md")
}

/// Two lab files and the plan between them, each with its place in the text.
struct Case<'t> {
    title: &'t str,
    from: Block<'t>,
    to: Block<'t>,
    plan: Block<'t>,
}

#[derive(Clone, Copy)]
struct Block<'t> {
    language: &'t str,
    start: usize,
    text: &'t str,
}

/// The fenced blocks of a part of a text that begins at `offset`.
fn blocks(part: &str, offset: usize) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(opened) = part[at..].find("```").map(|fence| at + fence + 3) {
        let start = opened + part[opened..].find('\n').expect("a fence ends its line") + 1;
        let end = start + part[start..].find("```").expect("a block is closed");
        found.push(Block { language: part[opened..start].trim(), start: offset + start, text: &part[start..end] });
        at = end + 3;
    }
    found
}

fn cases(text: &str) -> Vec<Case<'_>> {
    let mut found = Vec::new();
    let mut rest = text.find("\n## ");
    while let Some(start) = rest.map(|start| start + 4) {
        rest = text[start..].find("\n## ").map(|next| start + next);
        let part = &text[start..rest.unwrap_or(text.len())];
        let title = part.lines().next().unwrap_or_default();
        let blocks = blocks(part, start);
        let [from, to, plan] = blocks[..] else { panic!("`{title}` has {} blocks", blocks.len()) };
        assert_eq!([from, to, plan].map(|block| block.language), ["yaml", "yaml", "text"], "{title}");
        found.push(Case { title, from, to, plan });
    }
    found
}

/// A lab file, in which there must be nothing to complain about.
fn read(file: Block) -> Result<Lab, String> {
    let reading = Reading::of(file.text, "lab.yaml", false);
    reading.lab.filter(|_| reading.shown.is_empty()).ok_or(reading.shown)
}

/// Applies one lab, then the other, then the first again, and destroys it. Returns the plan from the first to the second.
fn carry_out(case: &Case) -> Result<String, String> {
    let (from, to) = (read(case.from)?, read(case.to)?);
    let mut machine = Machine::with_uplink(&from.name);
    let before = machine.fingerprint();
    machine.must_apply(&from)?;
    let plan = machine.must_apply(&to)?;
    machine.must_apply(&from).map_err(|problem| format!("on the way back: {problem}"))?;
    machine.must_destroy(&from)?;
    match machine.fingerprint() == before {
        true => Ok(plan),
        false => Err(format!("destroy leaves\n{}", difference(&before, &machine.fingerprint()))),
    }
}

fn difference(expected: &str, found: &str) -> String {
    similar::TextDiff::from_lines(expected, found).unified_diff().context_radius(3).header("expected", "found").to_string()
}

fn check_file(subject: &str) {
    let update = std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    let path = path(subject);
    let text = fs::read_to_string(&path).unwrap();
    let mut updated = text.clone();
    let mut wrong = Vec::new();
    let cases = cases(&text);
    assert!(!cases.is_empty(), "{subject} has no cases");
    // From the last to the first, so that places stay what they are.
    for case @ Case { title, plan: expected, .. } in cases.iter().rev() {
        match carry_out(case) {
            Err(problem) => wrong.push(format!("{subject}, `{title}`: {problem}")),
            Ok(plan) if plan == expected.text => {}
            Ok(plan) if update => updated.replace_range(expected.start..expected.start + expected.text.len(), &plan),
            Ok(plan) => wrong
                .push(format!("{subject}, `{title}` (UPDATE_EXPECT=1 writes it anew):\n{}", difference(expected.text, &plan))),
        }
    }
    if updated != text {
        fs::write(&path, updated).unwrap();
    }
    wrong.reverse();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
