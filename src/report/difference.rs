//! Formats the difference of two texts as diff(1) does with `-u`. With colour, the words that differ are marked.

use std::fmt::Write;

use similar::{ChangeTag, DiffOp, TextDiff};

use super::text::Colour;
use super::yaml;
use crate::name::LabName;
use crate::projection::Sides;
use crate::raise::raise;

/// Lines around a change that are the same.
const CONTEXT: usize = 3;

const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";
const BOLD: &str = "1";
/// For words that differ: the colours of the line, reversed.
const REVERSED: &str = "7";

/// Returns the difference of both sides of a plan as lab files, which `names` names in the order of the difference. Comments tell of changes
/// that no lab file shows. It is empty if nothing differs.
pub fn sides(lab: &LabName, sides: &Sides, names: [&str; 2], colour: Colour) -> String {
    let [live, desired] = [&sides.live, &sides.desired].map(|side| yaml::lab(&raise(lab, side).lab));
    let mut text = unified(names, &live, &desired, colour);
    let is_seen = !text.is_empty();
    for line in sides.changes.iter().filter(|line| line.is_needed || !is_seen) {
        let _ = writeln!(text, "{}", paint(colour, CYAN, &format!("# {}", line.text)));
    }
    text
}

/// Returns the difference from `old` to `new`, two YAML texts with these names. It is empty if they are equal.
pub fn unified([old_name, new_name]: [&str; 2], old: &str, new: &str, colour: Colour) -> String {
    let diff = TextDiff::from_lines(old, new);
    let groups = diff.grouped_ops(CONTEXT);
    let mut out = String::new();
    if !groups.is_empty() {
        let _ = writeln!(out, "{}", paint(colour, BOLD, &format!("--- {old_name}")));
        let _ = writeln!(out, "{}", paint(colour, BOLD, &format!("+++ {new_name}")));
    }
    let lines = [old, new].map(|text| text.lines().collect::<Vec<_>>());
    for group in groups {
        let place = place(&group, &lines);
        let header = format!("{}{}", header(&group), if place.is_empty() { String::new() } else { format!(" {place}") });
        let _ = writeln!(out, "{}", paint(colour, CYAN, &header));
        for change in group.iter().flat_map(|op| diff.iter_inline_changes(op)) {
            let (sign, code) = match change.tag() {
                ChangeTag::Equal => (" ", ""),
                ChangeTag::Delete => ("-", RED),
                ChangeTag::Insert => ("+", GREEN),
            };
            out.push_str(&paint(colour, code, sign));
            for (differs, words) in change.iter_strings_lossy() {
                let words = words.trim_end_matches('\n');
                let code = if differs { format!("{code};{REVERSED}") } else { code.to_owned() };
                out.push_str(&paint(colour, &code, words));
            }
            out.push('\n');
        }
    }
    out
}

fn paint(colour: Colour, code: &str, text: &str) -> String {
    match colour {
        Colour::Ansi if !code.is_empty() && !text.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        Colour::Ansi | Colour::None => text.to_owned(),
    }
}

/// Returns the line with the ranges of a group of changes.
fn header(group: &[DiffOp]) -> String {
    let range = |of: fn(&DiffOp) -> std::ops::Range<usize>| {
        let start = group.first().map_or(0, |op| of(op).start);
        let end = group.last().map_or(0, |op| of(op).end);
        // An empty range is that after the line of this number.
        match end - start {
            0 => format!("{start},0"),
            1 => (start + 1).to_string(),
            count => format!("{},{count}", start + 1),
        }
    };
    format!("@@ -{} +{} @@", range(DiffOp::old_range), range(DiffOp::new_range))
}

/// Returns the keys above the first change of a group: `namespaces: r1: interfaces`.
fn place(group: &[DiffOp], [old, new]: &[Vec<&str>; 2]) -> String {
    let Some(op) = group.iter().find(|op| !matches!(op, DiffOp::Equal { .. })) else { return String::new() };
    let (lines, first) = match op {
        DiffOp::Insert { new_index, .. } => (new, *new_index),
        DiffOp::Equal { old_index, .. } | DiffOp::Delete { old_index, .. } | DiffOp::Replace { old_index, .. } => {
            (old, *old_index)
        }
    };
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut limit = lines.get(first).map_or(0, |line| depth(line));
    let mut keys = Vec::new();
    for line in lines[..first.min(lines.len())].iter().rev() {
        let is_above = depth(line) < limit;
        if let Some(key) = line.trim_start().strip_suffix(':').filter(|_| is_above) {
            limit = depth(line);
            keys.insert(0, key);
        }
    }
    keys.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str =
        "name: a\nnamespaces:\n  r1:\n    interfaces:\n      eth0:\n        mtu: 1400\n        addresses: [10.0.0.1/24]\n";

    #[test]
    fn the_header_tells_the_section() {
        let new = OLD.replace("1400", "1500");
        assert_eq!(
            unified(["live", "lab.yaml"], OLD, &new, Colour::None),
            "--- live\n+++ lab.yaml\n@@ -3,5 +3,5 @@ namespaces: r1: interfaces: eth0\n   r1:\n     interfaces:\n       eth0:\n\
             -        mtu: 1400\n+        mtu: 1500\n         addresses: [10.0.0.1/24]\n"
        );
    }

    #[test]
    fn words_that_differ_are_marked() {
        let text = unified(["a", "b"], OLD, &OLD.replace("1400", "1500"), Colour::Ansi);
        assert!(text.contains("\u{1b}[31;7m1400\u{1b}[0m"), "{text:?}");
        assert!(text.contains("\u{1b}[32;7m1500\u{1b}[0m"), "{text:?}");
    }

    #[test]
    fn equal_texts_have_no_difference() {
        assert_eq!(unified(["a", "b"], OLD, OLD, Colour::Ansi), "");
    }

    #[test]
    fn what_is_only_on_one_side_has_an_empty_range_on_the_other() {
        assert!(unified(["a", "b"], "", "name: a\n", Colour::None).contains("@@ -0,0 +1 @@\n+name: a\n"));
    }
}
