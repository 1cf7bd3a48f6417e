//! Guesses names from the text of a lab file before it is parsed, so that work on them can begin early.
//!
//! The guesses cover the usual layout only and may be wrong; the result of a run must not depend on them. Only [`may_have_nodes`] is
//! certain: it never misses a node.

use crate::name::{LabName, NamespaceName};

/// Guesses the lab's name.
pub fn name(text: &str) -> Option<LabName> {
    let value = text.lines().find_map(|line| line.strip_prefix("name:"))?;
    scalar(value).parse().ok()
}

/// Guesses the declared namespaces, without `host`: the keys of the first indentation level below `namespaces:`.
pub fn namespaces(text: &str) -> impl Iterator<Item = NamespaceName> {
    let mut lines = text.lines();
    let _ = lines.find(|line| line.strip_prefix("namespaces:").is_some_and(|rest| scalar(rest).is_empty()));
    let with_keys = lines.filter(|line| !line.trim_start().is_empty() && !line.trim_start().starts_with('#'));
    let mut first = None;
    with_keys.map(|line| (line.len() - line.trim_start().len(), line)).take_while(|(indent, _)| *indent > 0).filter_map(
        move |(indent, line)| {
            let key = (indent == *first.get_or_insert(indent)).then(|| line.split_once(':')).flatten()?.0;
            scalar(key).parse().ok().filter(|name: &NamespaceName| !name.is_host())
        },
    )
}

/// Returns whether the file may ask for nodes: whether a key that asks for one is anywhere in the text, or can be hidden in it.
pub fn may_have_nodes(text: &str) -> bool {
    const KEYS: [&str; 10] =
        ["isolation", "hostname", "domainname", "time", "files", "binds", "hosts", "resolv", "limits", "processes"];
    // A key in quotes can be written with escape sequences.
    text.contains('\\') || KEYS.iter().any(|key| text.contains(key))
}

/// Strips a comment, spaces and quotes from a scalar.
fn scalar(text: &str) -> &str {
    text.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces_of(text: &str) -> Vec<String> {
        namespaces(text).map(|name| name.to_string()).collect()
    }

    #[test]
    fn names_are_found_in_the_usual_layout() {
        let text = "# a lab\nname: \"demo\" # so it is called\nnamespaces:   # here\n\n  host: {}\n  # the first\n  a: { routes: [] }\n  \
                    'b':\n    interfaces:\n      c: {}\n  d:\nlinks:\n  - e: f\n";
        assert_eq!(name(text).unwrap().as_str(), "demo");
        assert_eq!(namespaces_of(text), ["a", "b", "d"]);
    }

    #[test]
    fn no_node_is_missed() {
        assert!(!may_have_nodes("name: a\nnamespaces: { a: {} }\n"));
        for text in ["{ a: { hostname: b } }", "a: {\"\\x68ostname\": b}", "files:"] {
            assert!(may_have_nodes(text), "{text}");
        }
    }

    #[test]
    fn other_layouts_yield_nothing() {
        assert!(name("{ name: demo }").is_none());
        for text in
            ["", "namespaces:", "namespaces: { a: {} }", "namespaces:\nlinks:\n  a: b\n", "namespaces:\n  - a\n  - b c: d\n"]
        {
            assert!(namespaces_of(text).is_empty(), "{text:?}");
        }
    }
}
