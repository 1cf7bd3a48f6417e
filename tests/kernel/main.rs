//! Tests on a real kernel: labs are applied, looked at with iproute2 and ping, changed, damaged, and destroyed.
//!
//! No test needs root or touches the machine's network: each one runs in a user, network and mount namespace of its own
//! (see [`harness::enter`]). `tests/vm/kernel-tests` runs the same tests as real root under Debian's kernel.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

mod addresses;
mod adopt;
mod binds;
mod blog;
mod bridge_ports;
mod bridge_vlans;
mod command_line;
mod completion;
mod concurrency;
mod crash;
mod daemons;
mod documents;
mod drift;
mod examples;
mod export;
mod failure;
mod foreign_objects;
mod formats;
mod geneve;
mod graph;
mod hostile;
mod ifb;
mod ignore;
mod impair;
mod import;
mod init;
mod interrupt;
mod labs_in_host;
mod later;
mod library;
mod limits;
mod link_settings;
mod links;
mod lookalike;
mod macvtap;
mod neighbors;
mod nodes;
mod ownership;
mod privilege;
mod processes;
mod processes_inside;
mod random;
mod routes;
mod rules;
mod sandbox;
mod scripts;
mod selection;
mod show;
mod side_effects;
mod surroundings;
mod sysctls;
mod system_calls;
mod update;
mod vlan_priorities;
mod vrf;
mod watch;
mod wide_bridge;
