//! What one who types `ip` sees of a network, less what differs from one making of it to the next: numbers of links, hardware
//! addresses that the kernel drew, topo's marks, and the rule that the kernel keeps from the first VRF of a namespace on.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fingerprint::{difference, is_rule_of_vrfs};
use super::tools::{PATIENCE, batch, inside, namespaces, vlans};

/// The view of the machine and of every named namespace.
pub fn view() -> String {
    let mut out = String::new();
    for namespace in std::iter::once(None).chain(namespaces().iter().map(|name| Some(name.as_str()))) {
        writeln!(out, "## {}\n{}", namespace.unwrap_or("the machine"), inside(namespace, section)).expect("a string");
    }
    out
}

/// The view once it has not changed for a while; detection of duplicates never ends on a link without carrier.
pub fn settled_view() -> String {
    const STILL: Duration = Duration::from_millis(2500);
    let (mut last, mut since) = (view(), Instant::now());
    while since.elapsed() < STILL {
        sleep(Duration::from_millis(250));
        let now = view();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// Waits until the view is this one: carrier and duplicate address detection take a moment.
#[track_caller]
pub fn assert_view(expected: &str, why: &str) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if view() == expected {
            return;
        }
        sleep(Duration::from_millis(100));
    }
    panic!("{why}:\n{}", difference(expected, &view()));
}

/// What is to be seen in the namespace of the calling thread.
fn section() -> String {
    let mut out = String::new();
    let mut shown = batch("ip", &[], &["address", "route show table all", "rule"]);
    shown.extend(batch("ip", &["-6"], &["route show table all", "rule"]));
    shown.extend(batch("bridge", &[], &["link"]));
    shown.push(vlans());
    let idle = without_carrier_of_their_own(&shown[0].1);
    let silent = without_carrier(&shown[0].1);
    for (command, mut objects) in shown {
        objects.as_array_mut().into_iter().flatten().for_each(|object| forget_carrier(object, &idle));
        if let Some(objects) = objects.as_array_mut() {
            objects.retain_mut(|object| !is_rule_of_vrfs(object) && forget_detection(object, &silent));
        }
        let mut lines: Vec<_> = objects.as_array().into_iter().flatten().cloned().filter_map(plain).collect();
        lines.sort();
        writeln!(out, "# {command}\n{}", lines.join("\n")).expect("a string");
    }
    out
}

/// The bridges without ports, and what is on such a bridge or in another namespace than its parent. The kernel shows an unknown state
/// with carrier until the first port of a bridge has come and gone, and none afterwards.
fn without_carrier_of_their_own(links: &Value) -> BTreeSet<String> {
    let links: Vec<&Value> = links.as_array().into_iter().flatten().collect();
    let has_port = |bridge: &Value| links.iter().any(|link| link["master"] == *bridge);
    let mut idle = BTreeSet::new();
    // Each round goes one storey up.
    for _ in 0..links.len() {
        let before = idle.len();
        for link in &links {
            let kind = &link["linkinfo"]["info_kind"];
            let is_empty_bridge = *kind == "bridge" && !has_port(&link["ifname"]);
            let is_on_idle = link["link"].as_str().is_some_and(|parent| idle.contains(parent));
            let is_on_another_namespace = *kind != "veth" && link.get("link_netnsid").is_some();
            if is_empty_bridge || is_on_idle || is_on_another_namespace {
                idle.extend(link["ifname"].as_str().map(str::to_owned));
            }
        }
        if idle.len() == before {
            break;
        }
    }
    idle
}

/// The links that have no carrier now.
fn without_carrier(links: &Value) -> BTreeSet<String> {
    let has_carrier = |link: &Value| link["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "LOWER_UP"));
    let silent = links.as_array().into_iter().flatten().filter(|link| !has_carrier(link));
    silent.filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect()
}

/// Removes what tells whether a link without carrier has had one before: then duplicate address detection has ended, the address has its
/// local route, and a link that is down has a queueing discipline. Returns whether anything remains.
fn forget_detection(object: &mut Value, silent: &BTreeSet<String>) -> bool {
    let is_about = |key: &str| object[key].as_str().is_some_and(|name| silent.contains(name));
    if is_about("dev") && object["type"] == "local" && object["dst"].as_str().is_some_and(|to| to.contains(':')) {
        return false;
    }
    if is_about("ifname") {
        for address in object["addr_info"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            address.remove("tentative");
        }
        if object["qdisc"] == "noop" {
            object["qdisc"] = "noqueue".into();
        }
    }
    true
}

/// Removes what follows from the carrier of these links.
fn forget_carrier(object: &mut Value, links: &BTreeSet<String>) {
    let is_about = |key: &str| object[key].as_str().is_some_and(|name| links.contains(name));
    if !is_about("ifname") && !is_about("dev") {
        return;
    }
    if let Some(members) = object.as_object_mut() {
        members.remove("operstate");
    }
    if let Some(flags) = object["flags"].as_array_mut() {
        flags.retain(|flag| !["NO-CARRIER", "LOWER_UP", "linkdown"].iter().any(|carrier| flag == carrier));
    }
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
    const ACCIDENTS: [&str; 20] = [
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
        "tso_max_size",
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
    // `link` is the number of a veth's other end, taken for a number of this namespace; a port's number is that of its turn.
    const MORE: [&str; 7] = ["link", "id", "no", "designated_port", "permaddr", "message_age_timer", "forward_delay_timer"];
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
