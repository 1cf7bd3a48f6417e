//! Binds of a node: files and directories of the machine that are mounted in the node's own view of its file system, `mount --bind`.
//!
//! ```yaml
//! binds: [{ source: ./data, target: /srv, readonly: true }]
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::file::NodePath;
use crate::resource::FieldChange;

/// A bind in the lab file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindSpec {
    /// The file or directory of the machine; a relative path begins at the directory of the lab file.
    pub source: String,
    /// Where the node has it, an absolute path.
    #[serde(deserialize_with = "target")]
    pub target: NodePath,
    /// Whether the node can only read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
    /// The absolute path of the source without symbolic links, or why it cannot be used. Whoever has read the lab file fills this in;
    /// without it, the source is taken as it is written.
    #[serde(skip)]
    #[schemars(skip)]
    pub resolved: Option<Result<Arc<str>, String>>,
}

/// Reads a target. It may end with a slash, because it can be a directory.
fn target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodePath, D::Error> {
    let text = String::deserialize(deserializer)?;
    let target = match text.trim_end_matches('/') {
        "" if text.starts_with('/') => Err("`/` cannot be a target".to_owned()),
        trimmed => trimmed.parse(),
    };
    target.map_err(serde::de::Error::custom)
}

/// A bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The absolute path of the file or directory of the machine.
    pub source: Arc<str>,
    /// Whether the node can only read it, MOUNT_ATTR_RDONLY.
    pub readonly: bool,
    /// Whether the machine has another file or directory at that path by now, or none. Never so for a desired bind.
    pub is_outdated: bool,
}

impl Bind {
    /// Returns the item of the lab file.
    pub fn raise(&self, target: &NodePath) -> BindSpec {
        BindSpec { source: self.source.to_string(), target: target.clone(), readonly: self.readonly, resolved: None }
    }

    /// Returns the attributes in which a desired bind differs from the live one.
    pub fn compare(&self, live: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        if self.source != live.source {
            changes.push(FieldChange::new("source", (*live.source).into(), (*self.source).into()));
        }
        if self.readonly != live.readonly {
            changes.push(FieldChange::new("readonly", live.readonly.into(), self.readonly.into()));
        }
        changes
    }

    /// Returns the attributes for plans.
    pub fn show(&self) -> Vec<(&'static str, Value)> {
        let mut shown = vec![("source", (*self.source).into())];
        shown.extend(self.readonly.then(|| ("readonly", true.into())));
        shown
    }

    /// Returns the reason why a live bind must be mounted again.
    pub fn defect(&self) -> Option<&'static str> {
        self.is_outdated.then_some("its source was replaced on the machine")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_may_end_with_a_slash_but_is_never_the_root() {
        let target = |text: &str| {
            let spec = serde_json::json!({ "source": "x", "target": text });
            serde_json::from_value::<BindSpec>(spec).map(|spec| spec.target.as_str().to_owned())
        };
        assert_eq!(target("/srv/").unwrap(), "/srv");
        assert_eq!(target("//srv//www").unwrap(), "/srv/www");
        for text in ["/", "//", "", "srv", "/a/../b"] {
            assert!(target(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn source_and_readonly_change_in_place() {
        let live = Bind { source: "/a".into(), readonly: false, is_outdated: false };
        let desired = Bind { source: "/b".into(), readonly: true, is_outdated: false };
        let changes: Vec<_> = desired.compare(&live).into_iter().map(|change| (change.name, change.forces_replacement)).collect();
        assert_eq!(changes, [("source".into(), false), ("readonly".into(), false)]);
        assert_eq!(live.compare(&live), []);
    }
}
