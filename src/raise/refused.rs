//! Removes from a raised lab file what no lab may ask for, although the kernel has it: a route via a gateway behind an address that is a
//! DHCP client's, for example.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::lower::check;
use crate::spec::{LabFile, Severity};
use crate::yaml::Path;
use crate::yaml::path::Segment;

/// What was removed, and the reason.
pub type Refused = (String, String);

/// The number of times that what is removed may take something else with it.
const ROUNDS: usize = 16;
/// The least number of segments of something that can be removed: `namespaces/a/routes`.
const LEAST: usize = 3;

/// Removes the items and keys that have errors, until none has.
pub fn remove(mut lab: LabFile) -> (LabFile, Vec<Refused>) {
    let mut refused = Vec::new();
    for _ in 0..ROUNDS {
        let problems = check(&lab, &BTreeMap::new());
        let errors = problems.into_iter().filter(|problem| problem.severity == Severity::Error);
        let errors: BTreeMap<Vec<Segment>, String> =
            errors.filter_map(|problem| Some((removable(&problem.path)?, problem.message))).collect();
        let Ok(mut value) = serde_json::to_value(&lab) else { break };
        // From the last one, so that the positions of others in a list stay what they are.
        let paths: BTreeSet<&Vec<Segment>> = errors.keys().collect();
        let removed = paths.into_iter().rev().filter_map(|path| Some((take(&mut value, path)?, errors[path].clone())));
        let removed: Vec<Refused> = removed.collect();
        match serde_json::from_value(value) {
            Ok(rest) if !removed.is_empty() => lab = rest,
            Ok(_) | Err(_) => break,
        }
        refused.extend(removed);
    }
    refused.sort();
    (lab, refused)
}

/// Returns the path of the item of a list that the error is about, or else of the key.
fn removable(path: &Path) -> Option<Vec<Segment>> {
    let segments = path.segments().iter().filter(|segment| **segment != Segment::KeyItself);
    let segments: Vec<Segment> = segments.cloned().collect();
    let item = segments.iter().position(|segment| matches!(segment, Segment::Index(_))).map(|at| at + 1);
    let end = item.unwrap_or(segments.len());
    (end >= LEAST || item.is_some()).then(|| segments[..end].to_vec())
}

/// Removes what is at the path. Returns its description.
fn take(value: &mut Value, path: &[Segment]) -> Option<String> {
    let (last, above) = path.split_last()?;
    let mut parent = value;
    for segment in above {
        parent = match segment {
            Segment::Key(key) => parent.get_mut(key)?,
            Segment::Index(index) => parent.get_mut(index)?,
            Segment::KeyItself => return None,
        };
    }
    let removed = match (last, parent) {
        (Segment::Key(key), Value::Object(keys)) => keys.shift_remove(key)?,
        (Segment::Index(index), Value::Array(items)) if *index < items.len() => items.remove(*index),
        _ => return None,
    };
    let keys = path.iter().filter_map(|segment| if let Segment::Key(key) = segment { Some(key.as_str()) } else { None });
    Some(format!("{}: {removed}", keys.collect::<Vec<_>>().join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_an_error_goes_alone() {
        let text = "{ name: demo, namespaces: { a: { interfaces: { x: { addresses: [10.0.0.1/24] } }, \
                    routes: [{ to: 10.1.0.0/16, via: 192.0.2.1 }, { to: default, via: 10.0.0.2 }, { to: 10.2.0.0/16, via: 192.0.2.1 }] }, b: {} }, \
                    links: [{ endpoints: [a:x, b:x] }] }";
        let lab = crate::spec::load(text).lab.unwrap();
        let (rest, refused) = remove(lab);
        let routes = &rest.namespaces[&"a".parse().unwrap()].routes;
        assert_eq!(serde_json::to_value(routes).unwrap(), serde_json::json!([{ "to": "default", "via": "10.0.0.2" }]));
        assert_eq!(refused.len(), 2);
        assert!(refused[0].0.starts_with("namespaces/a/routes: {\"to\":\"10.1.0.0/16\""), "{refused:?}");
        assert!(refused[0].1.contains("gateway `192.0.2.1`"), "{refused:?}");
    }

    #[test]
    fn a_valid_lab_stays_as_it_is() {
        let lab = crate::spec::load("{ name: demo, namespaces: { a: {} } }").lab.unwrap();
        assert_eq!(remove(lab.clone()), (lab, Vec::new()));
    }
}
