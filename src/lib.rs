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
//! # Use by programs
//!
//! [`Lab`] is the interface for programs. The modules are private; what tests, benchmarks and the command itself use of them is
//! listed in `internals`, and changes without notice.
//!
//! ```no_run
//! let lab = topo::Lab::parse("{ name: demo, namespaces: { a: {}, b: {} }, links: [{ endpoints: [a:eth0, b:eth0] }] }")?;
//! print!("{}", lab.plan()?);
//! lab.apply()?;
//! assert!(lab.plan()?.is_empty());
//! lab.destroy()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What always holds
//!
//! * The kernel is the state. Nothing on disk decides what exists; `record` holds only what the kernel cannot remember.
//! * Only what carries the lab's mark (`ownership`), or what the lab names, is ever changed.
//! * Decisions are made in the core (`name` … `report` below), which does no I/O. The shell (`kernel`, `apply`, `runtime`,
//!   `sandbox`, `cli`) carries them out.
//! * Two kernels stand behind `kernel::Kernel`: the running one, and one in memory that enforces the same rules.
//!
//! # Where things are
//!
//! The modules, in reading order. Each uses only those above it, which `tests/layering.rs` checks.
//!
//! * `name`, `value`: identifiers and the values that the file and the kernel share; `value_schema`: their patterns, for editors. `yaml`: text with positions, problems.
//! * `resource`: everything that a lab can contain. `resource/link` has one file for each kind of link and a registry;
//!   `resource/object` the trait of all other objects (addresses, routes, ...) with their registry, and each of them has a folder.
//! * `state`: a network as typed maps. `graph`: what needs what. `readiness`: what the kernel does later, and how long that takes. `spec`, `lower`, `raise`: the lab file, the
//!   state that it asks for, and back. `diff`, `plan`, `report`: the difference of two states, the operations in their order, and how they are shown.
//!   `projection`: states without what people need not read, for `show`, `diff` and `export`. `import`: labs of other tools.
//!   `selection`: a part of a lab, for `--only`. `adoption`: what the user asks a lab to take over.
//! * `picture`: the topology of a state and the dependencies of a plan, placed and drawn, for `graph`.
//! * `watch`: what `topo watch` has to remember. The notifications come from `kernel/linux/monitor`, the loop is `cli/watch`.
//! * `snapshot`, `live`: what a kernel reported, and which part of that belongs to a lab.
//! * `resource/node`: nodes, what a namespace has beyond its network; its parts are resources of one type, see `resource/node/part`. Each node
//!   has an init, `kernel/linux/node`.
//! * `kernel`: both kernels. `apply`: executes a plan, and rolls back. `runtime`, `sandbox`, `cli`: the command.
//!
//! A new kind of link, or a new sort of object, is one new file or folder and a line in its registry: CONTRIBUTING.md has the steps.

mod value_schema;

mod name;
mod value;

mod yaml;

mod adoption;
mod iproute2;
mod ownership;
mod resource;
mod state;

mod graph;

mod spec;

mod lower;

mod raise;

mod operation;
mod readiness;
mod record;

mod diff;
mod plan;
mod projection;
mod report;

mod picture;

mod import;
mod selection;
mod watch;

mod snapshot;

mod live;

mod kernel;

mod apply;
mod runtime;
mod sandbox;

mod lab;

mod cli;

#[doc(hidden)]
pub mod internals;

pub use lab::{Error, InvalidLab, Lab, Plan};
