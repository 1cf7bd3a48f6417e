//! What the command, the tests and the benchmarks use beyond [`crate::Lab`]. It is no interface: it changes without notice.

pub use crate::adoption::Adoption;
pub use crate::apply::{
    Aftermath, ApplyError, Goal, OnFailure, PrepareError, apply, observe, observe_foreign, observe_sysctls, prepare, select,
};
pub use crate::cli::{main, schema_texts};
pub use crate::diff::{Change, diff};
pub use crate::iproute2::Version;
pub use crate::kernel::memory::Memory;
pub use crate::kernel::{Kernel, Progress, Unattended};
pub use crate::lower::{check, diagnostics, lower};
pub use crate::name::{LabName, LinkId, LinkName, NamePattern};
pub use crate::plan::{Plan, plan};
pub use crate::projection::{Chosen, describe, sides};
pub use crate::raise::raise;
pub use crate::record::{Others, Record};
pub use crate::report::difference::sides as difference_text;
pub use crate::report::ip::{Script, plan as plan_script};
pub use crate::report::json::plan as plan_json;
pub use crate::report::links::rows as link_rows;
pub use crate::report::text::{Colour as PlanColour, plan as plan_text};
pub use crate::report::yaml::{commented as yaml_text, file as described_file};
pub use crate::resource::address::Address;
pub use crate::resource::link::rules::ParentRule;
pub use crate::resource::link::{Kind, Port};
pub use crate::resource::neighbor::{Neighbor, NeighborKey};
pub use crate::resource::object::Over;
pub use crate::resource::rule::{Rule, RuleKey};
pub use crate::resource::sysctl::SysctlKey;
pub use crate::spec::file::{InterfaceSpec, LabFile};
pub use crate::spec::{Colour, Severity, load, render};
pub use crate::state::{Live, State};
pub use crate::value::InterfaceAddress;
