//! Formats a plan as a shell script of commands of iproute2, one for each step, that makes the same network.

use std::fmt::Write;

use super::text;
use crate::diff::Subject;
use crate::iproute2::{Command, HOST_VARIABLE, Line, RETRY_FUNCTION, Version};
use crate::name::{NamespaceName, escape};
use crate::plan::Plan;

/// A script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The text.
    pub text: String,
    /// What the script does not do although the plan does, as phrases that begin with a verb, or as words that iproute2 lacks.
    pub missing: Vec<String>,
}

/// Returns the plan as a script for this version of iproute2; `None` if the version is unknown.
pub fn plan(plan: &Plan, version: Option<Version>) -> Script {
    let target = version.unwrap_or(Version::NEWEST);
    let groups: Vec<(&NamespaceName, Vec<Line>)> =
        plan.steps.iter().map(|step| (step.operation.namespace(), step.operation.say(&plan.lab))).collect();
    let commands = || {
        let lines = groups.iter().flat_map(|(_, lines)| lines);
        lines.filter_map(|line| if let Line::Command(command) = line { Some(&**command) } else { None })
    };
    let mut script = Script { text: header(plan, version), missing: Vec::new() };
    script.text.push_str("set -e\n");
    if commands().any(Command::names_host) {
        script.text.push_str(HOST_VARIABLE);
    }
    if commands().any(Command::is_patient) {
        let _ = write!(script.text, "\n{RETRY_FUNCTION}");
    }
    let mut last = None;
    for (namespace, lines) in &groups {
        if last != Some(namespace) {
            let _ = writeln!(script.text, "\n# {namespace}");
            last = Some(namespace);
        }
        for line in lines {
            script.add(line, target);
        }
    }
    script
}

/// Returns the comments at the beginning.
fn header(plan: &Plan, version: Option<Version>) -> String {
    let mut text = format!("#!/bin/sh\n# Lab `{}`. {}\n", plan.lab, text::totals(plan));
    if plan.is_empty() {
        return text;
    }
    let _ = match version {
        Some(version) => writeln!(text, "# Commands of iproute2 {version} that make the same changes as `topo apply`."),
        None => writeln!(text, "# Commands of a recent iproute2 that make the same changes as `topo apply`."),
    };
    if plan.summary().add > 0 {
        text.push_str("# Aliases, groups and the protocol 116 mark what is the lab's, so that topo recognises it afterwards.\n");
    }
    if changes_foreign(plan) {
        text.push_str("# It keeps no record of the former settings of `host`: `topo destroy` cannot put them back afterwards.\n");
    }
    text
}

/// Returns whether the plan changes what is not the lab's and can be put back: settings of `host` and of foreign links.
fn changes_foreign(plan: &Plan) -> bool {
    plan.changes.iter().filter(|change| change.id.namespace().is_host()).any(|change| match &change.subject {
        Subject::Sysctl(_) => true,
        Subject::Link(sides, _) => sides.after.as_ref().is_some_and(|link| link.external),
        Subject::Namespace | Subject::Object(_) | Subject::Part(_) => false,
    })
}

impl Script {
    fn add(&mut self, line: &Line, version: Version) {
        match line {
            Line::Impossible(what) => self.lack(&format!("iproute2 cannot {}", escape(what)), what.clone()),
            Line::Command(command) => {
                for (words, since) in command.lacking(version) {
                    let whole = command.text(Version::NEWEST).unwrap_or_default();
                    self.lack(&format!("needs iproute2 {since}: {whole}"), format!("say `{words}` before version {since}"));
                }
                if let Some(text) = command.text(version) {
                    self.text.push_str(&text);
                    self.text.push('\n');
                }
            }
        }
    }

    fn lack(&mut self, comment: &str, missing: String) {
        let _ = writeln!(self.text, "# {comment}");
        self.missing.push(missing);
    }
}
