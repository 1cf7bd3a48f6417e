//! Formats a plan as a summary: how many resources of each sort change in each namespace.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::text::{Colour, groups, totals};
use crate::diff::{Action, Change};
use crate::name::NamespaceName;
use crate::plan::Plan;

/// The longest line, in columns.
const WIDTH: usize = 80;
/// The widest column of namespaces.
const LABEL: usize = 32;

/// The numbers of changes by action and sort, in the order in which plans list sorts.
type Counts = Vec<(Action, &'static str, usize)>;

/// Namespaces that follow each other in the plan and have the same numbers of changes.
struct Row<'p> {
    namespaces: Vec<&'p NamespaceName>,
    counts: Counts,
    side_effects: usize,
}

/// Returns a line for each namespace, or for several that are alike, and the totals.
pub fn plan(plan: &Plan, colour: Colour) -> String {
    let rows = rows(plan);
    let label = |row: &Row<'_>| match row.namespaces.as_slice() {
        [first, .., last] => format!("{first} to {last} ({} namespaces)", row.namespaces.len()),
        alone => alone.iter().map(ToString::to_string).collect(),
    };
    let labels: Vec<String> = rows.iter().map(label).collect();
    let width = labels.iter().map(String::len).filter(|length| *length <= LABEL).max().unwrap_or_default();
    let mut out = String::new();
    for (row, label) in rows.iter().zip(&labels) {
        write_row(&mut out, row, label, width, colour);
    }
    if !rows.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(out, "{}", totals(plan));
    out
}

fn rows(plan: &Plan) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (namespace, changes) in groups(plan) {
        let counts = count(&changes);
        let side_effects = plan.side_effects.iter().filter(|effect| effect.id.namespace() == namespace).count();
        match rows.last_mut().filter(|row| row.counts == counts && row.side_effects == side_effects) {
            Some(row) => row.namespaces.push(namespace),
            None => rows.push(Row { namespaces: vec![namespace], counts, side_effects }),
        }
    }
    rows
}

fn count(changes: &[&Change]) -> Counts {
    const ORDER: [Action; 4] = [Action::Create, Action::Update, Action::Replace, Action::Delete];
    let mut sorts: Vec<&'static str> = Vec::new();
    let mut numbers: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for change in changes {
        let kind = change.id.kind();
        let sort = sorts.iter().position(|sort| *sort == kind).unwrap_or_else(|| {
            sorts.push(kind);
            sorts.len() - 1
        });
        let action = ORDER.iter().position(|action| *action == change.action).unwrap_or_default();
        *numbers.entry((action, sort)).or_default() += 1;
    }
    numbers.into_iter().map(|((action, sort), number)| (ORDER[action], sorts[sort], number)).collect()
}

/// Writes one row. What does not fit into a line is continued in the next one.
fn write_row(out: &mut String, row: &Row<'_>, label: &str, width: usize, colour: Colour) {
    let _ = write!(out, "{}{}", colour.bold(label), " ".repeat(width.saturating_sub(label.len())));
    let mut column = label.len().max(width);
    let phrases = row.counts.iter().map(|(action, sort, number)| (*action, phrase(*action, sort, *number)));
    let effects = (row.side_effects > 0).then(|| (Action::Delete, format!("!{}", plural(row.side_effects, "side effect"))));
    for (action, phrase) in phrases.chain(effects) {
        if column + 2 + phrase.len() > WIDTH {
            let _ = write!(out, "\n{}", " ".repeat(width));
            column = width;
        }
        let _ = write!(out, "  {}", colour.paint(action, &phrase));
        column += 2 + phrase.len();
    }
    out.push('\n');
}

fn phrase(action: Action, sort: &str, number: usize) -> String {
    let symbol = match action {
        Action::Create => "+",
        Action::Update => "~",
        Action::Replace => "-/+",
        Action::Delete => "-",
    };
    format!("{symbol}{}", plural(number, sort))
}

fn plural(number: usize, sort: &str) -> String {
    let end = match (number, sort.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {sort}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::from_nothing;

    #[test]
    fn namespaces_that_are_alike_share_a_line() {
        let hosts: String = (1..=30)
            .map(|number| format!("  h{number:02}: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.{number}/24] }} }} }}\n"))
            .collect();
        let links: String = (1..=30).map(|number| format!("  - endpoints: [h{number:02}:eth0, switch:p{number}]\n")).collect();
        let lab = format!(
            "namespaces:\n{hosts}  switch: {{ interfaces: {{ br0: {{ bridge: {{ ports: [\"p*\"] }} }} }} }}\nlinks:\n{links}"
        );
        let brief = plan(&from_nothing(&lab), Colour::None);
        let expected = "\
h01 to h30 (30 namespaces)  +1 namespace  +1 link  +1 address
switch                      +1 namespace  +31 links

Plan: 122 to add, 0 to change, 0 to destroy.
";
        assert_eq!(brief, expected);
    }

    #[test]
    fn a_line_has_at_most_80_columns() {
        let name = "n".repeat(63);
        let lab = format!(
            "namespaces:\n  {name}:\n    sysctls: {{ net.ipv4.ip_forward: 1 }}\n    interfaces: {{ lo: {{ addresses: [10.0.0.1/32] }} }}\n"
        );
        let brief = plan(&from_nothing(&lab), Colour::None);
        assert!(brief.lines().all(|line| line.len() <= WIDTH), "{brief}");
        assert!(brief.contains("+1 sysctl") && brief.contains("+1 address"), "{brief}");
    }
}
