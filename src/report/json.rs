//! Formats a plan as JSON: `format_version`, `changes[]`, `side_effects[]`, `operations[]` and `summary`.

use serde_json::{Value, json};

use crate::diff::{Action, Change, SideEffect, to_json};
use crate::name::escape;
use crate::plan::Plan;
use crate::state::Attributes;

/// The version of the format. It is incremented by incompatible changes.
pub const FORMAT_VERSION: u32 = 1;

fn action(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
    }
}

/// Returns a change as a JSON value.
pub fn change(change: &Change) -> Value {
    let resource = |attributes: Option<Attributes>| attributes.map_or(Value::Null, to_json);
    let fields = change.fields().into_iter().map(|field| {
        json!({
            "name": field.name,
            "before": field.before,
            "after": field.after,
            "forces_replacement": field.forces_replacement,
        })
    });
    json!({
        "address": escape(&change.id.to_string()),
        "namespace": change.id.namespace(),
        "kind": change.id.kind(),
        "action": action(change.action),
        "before": resource(change.before()),
        "after": resource(change.after()),
        "fields": fields.collect::<Vec<_>>(),
        "reason": change.reason,
    })
}

fn side_effect(effect: &SideEffect) -> Value {
    json!({
        "address": escape(&effect.id.to_string()),
        "namespace": effect.id.namespace(),
        "kind": effect.id.kind(),
        "title": escape(&effect.title),
        "attribute": effect.attribute,
        "before": effect.before,
        "after": effect.after,
        "cause": effect.cause,
        "restored": effect.remedy.word(),
    })
}

/// Returns the plan as a JSON value.
pub fn plan(plan: &Plan) -> Value {
    let summary = plan.summary();
    json!({
        "format_version": FORMAT_VERSION,
        "lab": plan.lab,
        "changes": plan.changes.iter().map(change).collect::<Vec<_>>(),
        "side_effects": plan.side_effects.iter().map(side_effect).collect::<Vec<_>>(),
        "operations": plan.steps.iter().map(|step| step.operation.to_string()).collect::<Vec<_>>(),
        "summary": { "add": summary.add, "change": summary.change, "destroy": summary.destroy },
    })
}
