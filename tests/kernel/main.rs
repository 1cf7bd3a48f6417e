//! Tests on a real kernel: labs are applied, looked at with iproute2 and ping, changed, damaged, and destroyed.
//!
//! No test needs root or touches the machine's network: each one runs in a user, network and mount namespace of its own
//! (see [`harness::enter`]). `tests/vm/kernel-tests` runs the same tests as real root under Debian's kernel.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

mod adopt;
mod blog;
mod concurrency;
mod crash;
mod drift;
mod examples;
mod failure;
mod hostile;
mod inhabitants;
mod interrupt;
mod links;
mod lookalike;
mod many;
mod ownership;
mod privilege;
mod random;
mod repeat;
mod routes;
mod sandbox;
mod settings;
mod update;
