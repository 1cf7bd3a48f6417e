//! Formats a lab file as YAML: keys in the order of the documentation, sections in blocks, and short lists and maps on one line.

use serde_json::{Map, Value};

use crate::name::LabName;
use crate::projection::{Described, Omitted};
use crate::raise::{leave_out_devices, raise, remove_refused};
use crate::spec::LabFile;

/// The width at which lists and maps get a line for each item.
const WIDTH: usize = 80;
/// Sections whose keys have a line each.
const BLOCKS: [&str; 6] = ["namespaces", "interfaces", "sysctls", "files", "processes", "env"];
/// Sections of named things, which are sections themselves.
const SECTIONS: [&str; 3] = ["namespaces", "interfaces", "processes"];

/// Returns the lab file of a live state, and everything that it cannot say.
pub fn file(name: &LabName, described: &Described) -> (LabFile, Vec<Omitted>) {
    let raised = raise(name, &described.state);
    let unsaid =
        raised.omitted.into_iter().map(|id| Omitted { what: id.to_string(), reason: "a lab file has no word for it".to_owned() });
    let mut lab = raised.lab;
    leave_out_devices(&mut lab, &described.state);
    let (lab, refused) = remove_refused(lab);
    let refused = refused.into_iter().map(|(what, reason)| Omitted { what, reason });
    (lab, described.omitted.iter().cloned().chain(unsaid).chain(refused).collect())
}

/// Returns the lab file as text, with a comment for everything that it cannot say.
pub fn commented(lab: &LabFile, omitted: &[Omitted]) -> String {
    comments(omitted) + &self::lab(lab)
}

/// Returns a comment for everything that a lab file cannot say.
pub fn comments(omitted: &[Omitted]) -> String {
    omitted.iter().map(|omitted| format!("# {omitted}\n")).collect()
}

/// Returns the lab file as text.
pub fn lab(lab: &LabFile) -> String {
    let value = serde_json::to_value(lab).expect("the types of a lab file have names as keys");
    let mut out = String::new();
    if let Value::Object(keys) = &value {
        map(&mut out, keys, &Place { indent: 0, key: "", above: "" });
    }
    out
}

/// Where something is written.
#[derive(Clone, Copy)]
struct Place<'a> {
    indent: usize,
    /// Its key.
    key: &'a str,
    /// The key of the section that it is in.
    above: &'a str,
}

impl<'a> Place<'a> {
    fn within(self, key: &'a str) -> Self {
        Place { indent: self.indent + 2, key, above: self.key }
    }

    fn is_block(&self) -> bool {
        BLOCKS.contains(&self.key) || SECTIONS.contains(&self.above)
    }
}

/// Writes the keys of a map, each on a line of its own.
fn map(out: &mut String, keys: &Map<String, Value>, place: &Place<'_>) {
    for (key, value) in keys {
        let inner = Place { indent: place.indent, key, above: place.key };
        out.push_str(&" ".repeat(place.indent));
        after_key(out, &scalar(key), value, inner);
    }
}

/// Writes a key and its value, in a line that is indented already.
fn after_key(out: &mut String, key: &str, value: &Value, place: Place<'_>) {
    let inline = flow(value).filter(|text| {
        let fits = place.indent + key.len() + 2 + text.chars().count() <= WIDTH;
        let is_empty = matches!(value, Value::Object(keys) if keys.is_empty());
        match value {
            Value::Object(_) => is_empty || fits && !place.is_block(),
            Value::Array(items) => fits && items.iter().all(|item| !item.is_object()),
            _ => true,
        }
    });
    match (inline, value) {
        (Some(text), _) => out.push_str(&format!("{key}: {text}\n")),
        (None, Value::Object(keys)) => {
            out.push_str(&format!("{key}:\n"));
            map(out, keys, &Place { indent: place.indent + 2, ..place });
        }
        (None, Value::Array(items)) => {
            out.push_str(&format!("{key}:\n"));
            for item in items {
                list_item(out, item, place.within(place.key));
            }
        }
        (None, value) => text_block(out, key, value, place.indent),
    }
}

/// Writes an item of a list that has a line for each.
fn list_item(out: &mut String, item: &Value, place: Place<'_>) {
    out.push_str(&format!("{}- ", " ".repeat(place.indent)));
    let fits = |text: &String| place.indent + 2 + text.chars().count() <= WIDTH;
    match (item, flow(item).filter(fits)) {
        (Value::Object(keys), inline) if keys.len() == 1 || inline.is_none() => {
            for (position, (key, value)) in keys.iter().enumerate() {
                if position > 0 {
                    out.push_str(&" ".repeat(place.indent + 2));
                }
                after_key(out, &scalar(key), value, Place { indent: place.indent + 2, key, above: "" });
            }
        }
        (_, Some(inline)) => out.push_str(&format!("{inline}\n")),
        (item, None) => out.push_str(&format!("{}\n", flow(item).unwrap_or_else(|| quoted(item)))),
    }
}

/// Writes a text of several lines as a literal block.
fn text_block(out: &mut String, key: &str, value: &Value, indent: usize) {
    let text = serde_yaml::to_string(value).unwrap_or_else(|_| quoted(value));
    let mut lines = text.trim_end_matches('\n').lines();
    let first = lines.next().unwrap_or_default();
    out.push_str(&format!("{key}: {first}\n"));
    for line in lines {
        let indent = if line.is_empty() { 0 } else { indent };
        out.push_str(&format!("{}{line}\n", " ".repeat(indent)));
    }
    // A block that keeps its last empty lines ends with them.
    out.push_str(&"\n".repeat(text.len() - text.trim_end_matches('\n').len() - 1));
}

/// Returns a value on one line; `None` if it contains a text of several lines.
fn flow(value: &Value) -> Option<String> {
    Some(match value {
        Value::Object(keys) if keys.is_empty() => "{}".to_owned(),
        Value::Object(keys) => {
            let keys = keys.iter().map(|(key, value)| Some(format!("{}: {}", in_flow(key), flow_item(value)?)));
            format!("{{ {} }}", keys.collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow_item).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::String(text) if text.contains('\n') => return None,
        Value::String(text) => scalar(text),
        other => other.to_string(),
    })
}

/// Returns an item of a list or map that is on one line.
fn flow_item(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains('\n') => None,
        Value::String(text) => Some(in_flow(text)),
        other => flow(other),
    }
}

/// Returns a text as a scalar, quoted if it would be something else without.
fn scalar(text: &str) -> String {
    let value = Value::from(text);
    match serde_yaml::to_string(&value) {
        Ok(yaml) if yaml.trim_end_matches('\n').lines().count() == 1 => yaml.trim_end_matches('\n').to_owned(),
        Ok(_) | Err(_) => quoted(&value),
    }
}

/// Returns a text as a scalar within brackets or braces.
fn in_flow(text: &str) -> String {
    let scalar = scalar(text);
    let is_plain = !scalar.starts_with(['"', '\'']);
    let is_ambiguous = scalar.contains([',', '[', ']', '{', '}']) || scalar.starts_with([':', '?', '-']) || scalar.ends_with(':');
    if is_plain && is_ambiguous { quoted(&Value::from(text)) } else { scalar }
}

/// Returns a value as JSON, which is YAML.
fn quoted(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: &str) {
        let loaded = crate::spec::load(expected);
        assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        let file = loaded.lab.unwrap();
        let text = lab(&file);
        assert_eq!(text, expected);
        let again: LabFile = serde_yaml::from_str(&text).unwrap();
        assert_eq!(lab(&again), expected, "serde_yaml reads it, too");
    }

    #[test]
    fn short_lists_and_maps_are_on_one_line() {
        check(
            "name: demo\n\
             namespaces:\n\
             \x20 a:\n\
             \x20   interfaces:\n\
             \x20     br0:\n\
             \x20       bridge: { ports: [eth0, eth1], stp_state: true }\n\
             \x20       addresses: [10.0.0.1/24, 2001:db8::1/64]\n\
             \x20   routes:\n\
             \x20     - { to: default, via: 10.0.0.2 }\n\
             \x20   sysctls:\n\
             \x20     net.ipv4.ip_forward: 1\n\
             \x20 b: {}\n\
             links:\n\
             \x20 - endpoints: [a:eth0, b:eth0]\n\
             \x20 - { endpoints: [a:eth1, b:eth1], numtxqueues: 2 }\n",
        );
    }

    #[test]
    fn what_does_not_fit_has_a_line_for_each_item() {
        let addresses: String = (1..7).map(|n| format!("          - 2001:db8:1111:2222:3333::{n}/64\n")).collect();
        check(&format!(
            "name: demo\nnamespaces:\n  a:\n    interfaces:\n      d:\n        dummy: {{}}\n        addresses:\n{addresses}"
        ));
    }

    #[test]
    fn texts_of_several_lines_are_blocks() {
        for content in ["one\ntwo\n", "one\n\n  two", "one\n\n\n", "\n", " one\ntwo\n", "# a: b\n\ttab\n", "trailing \nspace\n"] {
            let json = serde_json::json!({
                "name": "demo", "namespaces": { "a": { "files": { "/etc/motd": { "content": content, "mode": "0600" } } } }
            });
            let file: LabFile = serde_json::from_value(json).unwrap();
            let text = lab(&file);
            assert_eq!(crate::spec::load(&text).lab, Some(file.clone()), "{text}");
            assert_eq!(serde_yaml::from_str::<LabFile>(&text).unwrap(), file, "{text}");
        }
    }

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for name in [
            "1", "1e3", "0x10", "on", "true", "null", "y", "10_0", "a,b", "a: b", "a #b", "[a", "{", "-", "*a", "&a", "!a", "%a",
            ":a", "a:",
        ] {
            let json = serde_json::json!({ "name": "demo", "namespaces": { "1": { "processes": { "true": {
                "command": ["sh", name], "env": { "A": name }
            } } } } });
            let file: LabFile = serde_json::from_value(json).unwrap();
            let text = lab(&file);
            assert_eq!(crate::spec::load(&text).lab, Some(file.clone()), "{text}");
            assert_eq!(serde_yaml::from_str::<LabFile>(&text).unwrap(), file, "{text}");
        }
    }
}
