//! What one who types `ip` sees of a network, less what differs from one making of it to the next: numbers of links, hardware
//! addresses that the kernel drew, and topo's marks.

use std::fmt::Write as _;

use serde_json::Value;

use super::tools::{bridge, ip, text};

/// The view of the machine and of every named namespace.
pub fn view() -> String {
    let mut out = String::new();
    let names = text("ip", &["netns", "list"]);
    let mut names: Vec<_> = names.lines().filter_map(|line| line.split_whitespace().next()).collect();
    names.sort_unstable();
    view_of(&mut out, None);
    names.into_iter().for_each(|name| view_of(&mut out, Some(name)));
    out
}

fn view_of(out: &mut String, namespace: Option<&str>) {
    let place: Vec<&str> = namespace.map_or_else(Vec::new, |name| vec!["-n", name]);
    let mut add = |what: &str, values: Value| {
        let mut lines: Vec<_> = values.as_array().expect("ip shows a list").iter().cloned().filter_map(plain).collect();
        lines.sort();
        writeln!(out, "# {} {what}\n{}", namespace.unwrap_or("host"), lines.join("\n")).expect("a string can be written to");
    };
    add("address", ip(&[&place, ["address"].as_slice()].concat()));
    add("route", ip(&[&place, ["-4", "route", "show", "table", "all"].as_slice()].concat()));
    add("route", ip(&[&place, ["-6", "route", "show", "table", "all"].as_slice()].concat()));
    add("rule", ip(&[&place, ["rule"].as_slice()].concat()));
    add("bridge link", bridge(&[&place, ["link"].as_slice()].concat()));
}

/// An object without its accidents; `None` for what follows from a hardware address.
fn plain(mut value: Value) -> Option<String> {
    forget(&mut value);
    let text = value.to_string();
    // Link-local addresses, and their local and anycast routes.
    (value.as_object().is_none_or(|object| !object.contains_key("dst") || !text.contains("\"fe80::"))
        && !text.contains("\"anycast\"")
        && !text.contains("\"ff00::/8\""))
    .then_some(text)
}

fn forget(value: &mut Value) {
    const ACCIDENTS: [&str; 19] = [
        "ifindex",
        "address",
        "link_index",
        "link_netnsid",
        "link_netns",
        "group",
        "ifalias",
        "num_tx_queues",
        "num_rx_queues",
        "gso_max_size",
        "bridge_id",
        "root_id",
        "designated_root",
        "designated_bridge",
        "gc_timer",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "hold_timer",
    ];
    const MORE: [&str; 6] =
        ["root_bridge_id", "bridge_port_id", "cookie", "permaddr", "message_age_timer", "forward_delay_timer"];
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !ACCIDENTS.contains(&name.as_str()) && !MORE.contains(&name.as_str()));
            members.values_mut().for_each(forget);
        }
        Value::Array(values) => {
            let link_local = |value: &Value| value["local"].as_str().is_some_and(|local| local.starts_with("fe80:"));
            values.retain(|value| !link_local(value));
            values.iter_mut().for_each(forget);
        }
        _ => {}
    }
}
