//! topo makes the network of a Linux machine what a lab file says.
//!
//! # The pipeline
//!
//! ```text
//!  text ──spec──▶ LabFile ──lower──▶ desired ─┐
//!                                             ├─diff──▶ changes ──plan──▶ Plan ──report──▶ text, JSON
//!  kernel ──────────observe─────────▶ live ───┘                            │
//!     ▲                                                                    │
//!     └──────────────────────────execute───────────────────────apply───────┘   then observe, diff: nothing left
//! ```
//!
//! `plan`, a first `apply`, a repeated one, `destroy` (nothing is desired) and going back after a failure (the state before is
//! desired) all take it. What is printed as a plan is what is executed, to the operation.
//!
//! # What always holds
//!
//! * The kernel is the state. Nothing on disk decides what exists; [`record`] holds only what the kernel cannot remember.
//! * Only what carries the lab's mark ([`ownership`]), or what the lab names, is ever changed.
//! * Decisions are made in the core (`name` … `report` below), which does no I/O. The shell (`kernel`, `apply`, `runtime`,
//!   `sandbox`, `cli`) carries them out.
//! * Two kernels stand behind [`kernel::Kernel`]: the running one, and one in memory that enforces the same rules.
//!
//! # Where things are
//!
//! The modules, in reading order. Each uses only those above it, which `tests/layering.rs` checks. A new kind of link is one file in
//! [`resource::link`] and its line in the registry there; a new sort of resource is one file in [`resource`], its variants in
//! [`state`], and its part in [`diff`], [`plan`] and the kernel.

pub mod name;
pub mod value;

pub mod yaml;

pub mod ownership;
pub mod resource;
pub mod state;

pub mod spec;

pub mod lower;

pub mod operation;
pub mod record;

pub mod diff;
pub mod graph;
pub mod plan;
pub mod report;

pub mod kernel;
pub mod live;
pub mod snapshot;

pub mod apply;
pub mod runtime;
pub mod sandbox;

pub mod cli;
