//! Labs with one value changed, for the schema of lab files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Values of all sorts, of which topo accepts some as the value of each key.
pub fn pool() -> Vec<Value> {
    let numbers = [0, 1, 2, 3, 4, 10, 63, 64, 67, 68, 100, 128, 129, 255, 256, 257, 1280, 1500, 4094, 4095, 4096, 4097];
    let more = [65519, 65520, 65521, 65534, 65535, 65536, 65537, 1_048_575, 1_048_576, 4_194_304, 16_777_215, 16_777_216];
    let large = [-1_i64, 4_294_967_294, 4_294_967_295, 4_294_967_296];
    let texts = [
        "",
        "a",
        "eth0",
        "a:eth0",
        "host:eth0",
        "x*",
        "10",
        "7.5",
        "no",
        "always",
        "on-failure",
        "none",
        "full",
        "default",
        "main",
        "10.0.0.9",
        "10.0.0.9/24",
        "10.0.0.0/8",
        "fd00::9",
        "fd00::9/64",
        "fd00::/64",
        "::",
        "0.0.0.0/0",
        "02:00:00:00:00:09",
        "02-00-00-00-00-0A",
        "01:80:c2:00:00:0e",
        "0s",
        "1s",
        "10ms",
        "2.5s",
        "20s",
        "-10m",
        "64KiB",
        "256MiB",
        "0644",
        "755",
        "0:0",
        "1000:1000",
        "root",
        "80",
        "10.0.0.9:80",
        "[fd00::9]:80",
        "1000-2000",
        "0x10",
        "0x10/0xf0",
        "tcp",
        "TERM",
        "SIGINT",
        "NET_ADMIN",
        "cap_net_raw",
        "/etc/x",
        "/srv/",
        "@name",
        "x y",
        "a\nb",
        "inet6",
        "blackhole",
        "link",
        "noarp",
        "bridge",
        "l2",
        "802.1ad",
        "eth0:1",
        "ndots:1",
        "addresses",
        "pid",
        "1 2 3",
    ];
    let scalars: Vec<Value> =
        numbers.into_iter().chain(more).chain(large).map(Value::from).chain(texts.map(Value::from)).collect();
    let others =
        [json!(true), json!(false), json!(null), json!([]), json!({}), json!(0.5), json!([5, "x"]), json!({ "a": "fd00::9" })];
    scalars.into_iter().chain(others).collect()
}

/// Returns the definition of the map that a schema describes.
fn map_schema<'s>(schema: &'s Value, root: &'s Value) -> Option<(String, &'s Value)> {
    let follow = |part: &'s Value| match part["$ref"].as_str() {
        Some(name) => (name.to_owned(), root.pointer(name.strip_prefix('#').unwrap()).unwrap()),
        None => (String::new(), part),
    };
    let (name, mut found) = follow(schema);
    if found["then"].is_object() {
        found = follow(&found["then"]).1;
    }
    found["properties"].is_object().then_some((name, found))
}

/// Returns whether a value can be a list.
pub fn is_list(schema: &Value, root: &Value) -> bool {
    let definition = schema["$ref"].as_str().map_or(schema, |name| root.pointer(name.strip_prefix('#').unwrap()).unwrap());
    definition["items"].is_object() || definition["then"]["items"].is_object()
}

/// A map of a lab: its place in the lab, and the schema that describes it.
pub type Site = (String, Value);

/// Finds the maps of a lab, one for each definition that is not in `sites`.
pub fn find_maps(
    value: &Value,
    schema: &Value,
    root: &Value,
    place: &str,
    sites: &mut BTreeMap<String, Site>,
    found: &mut BTreeSet<String>,
) {
    if let Some((name, definition)) = map_schema(schema, root) {
        if value.is_object() && !sites.contains_key(&name) {
            sites.insert(name.clone(), (place.to_owned(), definition.clone()));
            found.insert(name);
        }
        for (key, part) in value.as_object().into_iter().flatten() {
            find_maps(part, &definition["properties"][key], root, &format!("{place}/{key}"), sites, found);
        }
        return;
    }
    for (key, part) in value.as_object().into_iter().flatten() {
        let names = schema["patternProperties"].as_object().and_then(|patterns| patterns.values().next());
        let below = names.unwrap_or(&schema["additionalProperties"]);
        find_maps(part, below, root, &format!("{place}/{}", key.replace('/', "~1")), sites, found);
    }
    for (index, part) in value.as_array().into_iter().flatten().enumerate() {
        find_maps(part, &schema["items"], root, &format!("{place}/{index}"), sites, found);
    }
}

/// Returns whether the schema refuses a value on purpose although topo reads it: a truth value that topo reads as the number 1 or 0 or
/// as a text, or a number with a fraction that it reads as a text.
pub fn is_surely_a_mistake(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(is_surely_a_mistake),
        value => value.is_boolean() || value.is_f64(),
    }
}
