//! The rules of a drawn lab.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::{RuleAction, RulePart};
use super::{Writer, object};

impl Writer<'_> {
    pub(super) fn rules(&mut self) {
        let mut selectors = BTreeSet::new();
        for rule in self.lab.rules.values().filter(|rule| self.lab.has_space(rule.space)) {
            let conditions = object(conditions(rule));
            // Rules without a priority differ by the one that they are given.
            if rule.priority.is_none() || selectors.insert((rule.space, rule.ipv6, rule.priority, conditions.to_string())) {
                let Value::Object(mut members) = conditions else { continue };
                if let Value::Object(action) = object(action(rule)) {
                    members.extend(action);
                }
                self.rules.entry(rule.space).or_default().push(members.into());
            }
        }
    }
}

fn conditions(rule: &RulePart) -> Vec<(&'static str, Value)> {
    let prefix = |number: u8| if rule.ipv6 { format!("2001:db8:{number}::/48") } else { format!("10.{number}.0.0/16") };
    let lo = |which: u8| if rule.interface == Some(which) { json!("lo") } else { Value::Null };
    vec![
        ("priority", json!(rule.priority.map(|number| 100 + u32::from(number)))),
        ("family", if rule.ipv6 { json!("inet6") } else { Value::Null }),
        ("not", if rule.not { json!(true) } else { Value::Null }),
        ("from", json!(rule.from.map(prefix))),
        ("to", json!(rule.to.map(prefix))),
        ("iif", lo(0)),
        ("oif", lo(1)),
        ("fwmark", json!(rule.fwmark)),
        ("dport", json!(rule.port)),
    ]
}

fn action(rule: &RulePart) -> Vec<(&'static str, Value)> {
    match rule.action {
        RuleAction::Table(table, suppress) => {
            vec![("table", json!(100 + u32::from(table))), ("suppress_prefixlength", json!(suppress))]
        }
        RuleAction::Goto => vec![("goto", json!(32766))],
        // The kernel looks for the gateway of a route by the rules, too, and refuses the route if one rejects that.
        RuleAction::Kind(_) if rule.not || rule.from.is_none() => vec![("type", json!("nop"))],
        RuleAction::Kind(kind) => vec![("type", json!(kind))],
    }
}
