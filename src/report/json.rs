//! Formats a plan as JSON. The types are the format; the schema in `schemas/plan.schema.json` is generated from them.

mod event;
mod operation;
mod problem;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

pub use self::event::Event;
use self::operation::OperationReport;
pub use self::problem::{ErrorBody, ErrorReport, ProblemReport, Validation, line, problems};
use crate::diff::{self, Action, Change, SideEffect};
use crate::name::{LabName, NamespaceName, escape};
use crate::plan::Plan;
use crate::state::Attributes;

/// The version of the formats. It is incremented by incompatible changes.
pub const FORMAT_VERSION: u32 = 1;

/// A plan, as `topo plan --json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "Plan of topo")]
pub struct PlanReport {
    /// The version of the format.
    format_version: u32,
    /// The lab.
    lab: LabName,
    /// The changes, sorted by resource.
    changes: Vec<ChangeReport>,
    /// What the kernel does to what is not the lab's.
    side_effects: Vec<SideEffectReport>,
    /// The steps, in their order.
    operations: Vec<OperationReport>,
    /// The number of resources that are added, changed and destroyed.
    summary: Summary,
}

/// A change of a resource.
#[derive(Debug, Serialize, JsonSchema)]
struct ChangeReport {
    /// Its name, unique among resources of its kind.
    address: String,
    namespace: NamespaceName,
    /// The sort of resource: `namespace`, `link`, `sysctl`, `address`, `route`, `rule`, `neighbor`, `node`, `file`, `bind` or `process`.
    kind: String,
    action: ActionReport,
    /// All attributes of the live resource; null if it is created.
    before: Option<Map<String, Value>>,
    /// All attributes of the desired resource; null if it is deleted.
    after: Option<Map<String, Value>>,
    /// The attributes that differ, if there are a live and a desired resource.
    fields: Vec<Field>,
    /// The reason, if it is not obvious.
    reason: Option<String>,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ActionReport {
    Create,
    Update,
    Replace,
    Delete,
}

/// An attribute that differs.
#[derive(Debug, Serialize, JsonSchema)]
struct Field {
    name: String,
    before: Value,
    after: Value,
    /// Whether the kernel cannot change it in place.
    forces_replacement: bool,
}

/// A change that the kernel makes to what is not the lab's.
#[derive(Debug, Serialize, JsonSchema)]
struct SideEffectReport {
    address: String,
    namespace: NamespaceName,
    kind: String,
    title: String,
    /// The attribute that changes; null if the whole resource does.
    attribute: Option<String>,
    before: Value,
    after: Value,
    cause: String,
    /// When it is put back.
    restored: Restored,
}

/// When a side effect is put back.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
enum Restored {
    /// By the plan itself.
    #[serde(rename = "in plan")]
    InPlan,
    /// When the lab no longer needs the change.
    #[serde(rename = "later")]
    Later,
    /// It cannot be.
    #[serde(rename = "never")]
    Never,
}

/// The number of resources that a plan adds, changes and destroys. A replacement counts as an addition and a destruction.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Summary {
    add: usize,
    change: usize,
    destroy: usize,
}

impl Summary {
    fn of(plan: &Plan) -> Self {
        let summary = plan.summary();
        Self { add: summary.add, change: summary.change, destroy: summary.destroy }
    }
}

/// Returns a change as a JSON value.
pub fn change(change: &Change) -> Value {
    serde_json::to_value(change_report(change)).expect("a change is JSON")
}

/// Returns the plan as a JSON value.
pub fn plan(plan: &Plan) -> Value {
    serde_json::to_value(plan_report(plan)).expect("a plan is JSON")
}

fn plan_report(plan: &Plan) -> PlanReport {
    PlanReport {
        format_version: FORMAT_VERSION,
        lab: plan.lab.clone(),
        changes: plan.changes.iter().map(change_report).collect(),
        side_effects: plan.side_effects.iter().map(side_effect).collect(),
        operations: plan.steps.iter().map(|step| operation::report(step.change, &step.operation)).collect(),
        summary: Summary::of(plan),
    }
}

fn change_report(change: &Change) -> ChangeReport {
    let fields = change.fields().into_iter().map(|field| Field {
        name: field.name,
        before: field.before,
        after: field.after,
        forces_replacement: field.forces_replacement,
    });
    ChangeReport {
        address: escape(&change.id.to_string()).into_owned(),
        namespace: change.id.namespace().clone(),
        kind: change.id.kind().to_owned(),
        action: match change.action {
            Action::Create => ActionReport::Create,
            Action::Update => ActionReport::Update,
            Action::Replace => ActionReport::Replace,
            Action::Delete => ActionReport::Delete,
        },
        before: change.before().map(map),
        after: change.after().map(map),
        fields: fields.collect(),
        reason: change.reason.clone(),
    }
}

fn map(attributes: Attributes) -> Map<String, Value> {
    attributes.into_iter().collect()
}

fn side_effect(effect: &SideEffect) -> SideEffectReport {
    SideEffectReport {
        address: escape(&effect.id.to_string()).into_owned(),
        namespace: effect.id.namespace().clone(),
        kind: effect.id.kind().to_owned(),
        title: escape(&effect.title).into_owned(),
        attribute: effect.attribute.clone(),
        before: effect.before.clone().unwrap_or_default(),
        after: effect.after.clone().unwrap_or_default(),
        cause: effect.cause.clone(),
        restored: match effect.remedy {
            diff::Remedy::InPlan => Restored::InPlan,
            diff::Remedy::Later => Restored::Later,
            diff::Remedy::None => Restored::Never,
        },
    }
}
