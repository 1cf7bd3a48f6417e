//! Sandboxes, used by ordinary users: see [`User`](super::harness::User).

mod elsewhere;
mod exec;
mod forbidden;
mod hostile;
mod keeper;
mod labs;
mod machine_or_sandbox;
mod namespaces;
mod processes;
mod races;
mod run;
mod shell;
mod uplink;

/// Two namespaces and a cable.
const PAIR: &str = "name: pair\n\
    namespaces:\n  a: { interfaces: { eth0: { addresses: [10.0.0.1/24] } } }\n  b: { interfaces: { eth0: { addresses: [10.0.0.2/24] } } }\n\
    links:\n  - endpoints: [a:eth0, b:eth0]\n";

/// One namespace, under a name of its own.
fn alone(name: &str) -> String {
    format!("name: {name}\nnamespaces: {{ {name}: {{}} }}\n")
}
