//! Nodes: what namespaces have beyond their network.

use std::collections::BTreeMap;

use super::interface::{Namespace, Table};
use crate::name::NamespaceName;
use crate::resource::node::file::{File, FileSpec, LIMIT};
use crate::resource::node::isolation::{Isolation, NamespaceKind};
use crate::resource::node::time::TimeOffsets;
use crate::resource::node::{Condition, Node, Part, PartKey, check_hostname};
use crate::spec::file::NamespaceSpec;
use crate::yaml::problem::Problems;

/// Nodes and their parts.
pub(super) type Parts = BTreeMap<(NamespaceName, PartKey), Part>;

/// Lowers the nodes of all namespaces.
pub(super) fn lower(table: &Table<'_>, problems: &mut Problems) -> Parts {
    let mut parts = Parts::new();
    for namespace in table.values() {
        if let Some(spec) = namespace.spec {
            Lowering { namespace, spec, problems: &mut *problems, parts: &mut parts }.lower();
        }
    }
    parts
}

struct Lowering<'a, 'l> {
    namespace: &'a Namespace<'l>,
    spec: &'a NamespaceSpec,
    problems: &'a mut Problems,
    parts: &'a mut Parts,
}

impl Lowering<'_, '_> {
    fn lower(&mut self) {
        let needed = self.needed();
        if self.spec.isolation.is_none() && needed.is_empty() {
            return;
        }
        if !self.namespace.is_owned() {
            let key = needed.first().map_or("isolation", |(_, key)| *key);
            let problem = self.problems.error(self.namespace.path().then(key).key(), format!("`{key}` of `host` cannot be set"));
            problem.hint("`host` is where topo runs; only the lab's own namespaces can be nodes");
            return;
        }
        let isolation = self.isolation(&needed);
        self.check_names();
        for (path, spec) in &self.spec.files {
            if let Some(file) = self.file(path.as_str(), spec) {
                self.add(PartKey::File(path.clone()), Part::File(file));
            }
        }
        if isolation.is_empty() {
            return;
        }
        let own_name = || self.namespace.name.as_str().chars().take(crate::resource::node::HOSTNAME_LENGTH).collect();
        let node = Node {
            hostname: isolation.has(NamespaceKind::Uts).then(|| self.spec.hostname.clone().unwrap_or_else(own_name)),
            domainname: self.spec.domainname.clone(),
            time: self.spec.time.as_ref().map_or_else(TimeOffsets::default, TimeOffsets::of),
            condition: Condition::Running,
            isolation,
        };
        self.add(PartKey::Node, Part::Node(node));
    }

    fn add(&mut self, key: PartKey, part: Part) {
        self.parts.insert((self.namespace.name.clone(), key), part);
    }

    /// Returns the kinds of namespaces that the keys of the namespace need, each with the key.
    fn needed(&self) -> Vec<(NamespaceKind, &'static str)> {
        let spec = self.spec;
        let keys = [
            (spec.hostname.is_some(), NamespaceKind::Uts, "hostname"),
            (spec.domainname.is_some(), NamespaceKind::Uts, "domainname"),
            (spec.time.is_some(), NamespaceKind::Time, "time"),
            (!spec.files.is_empty(), NamespaceKind::Mount, "files"),
        ];
        keys.into_iter().filter(|(is_set, ..)| *is_set).map(|(_, kind, key)| (kind, key)).collect()
    }

    /// Returns the kinds that the file lists, or else those that are needed.
    fn isolation(&mut self, needed: &[(NamespaceKind, &'static str)]) -> Isolation {
        let Some(listed) = &self.spec.isolation else { return needed.iter().map(|(kind, _)| *kind).collect() };
        for (kind, key) in needed.iter().filter(|(kind, _)| !listed.has(*kind)) {
            let path = self.namespace.path();
            let message = format!("`{key}` needs `{}` in the `isolation` of `{}`", kind.word(), self.namespace.name);
            let problem = self.problems.error(path.clone().then(*key).key(), message);
            problem.also(path.then("isolation"), "not listed here");
            problem.hint(format!("add `{}`, or leave `isolation` out: then the node has what its keys need", kind.word()));
        }
        listed.clone()
    }

    fn check_names(&mut self) {
        for (key, name) in [("hostname", &self.spec.hostname), ("domainname", &self.spec.domainname)] {
            if let Some(Err(message)) = name.as_deref().map(check_hostname) {
                self.problems.error(self.namespace.path().then(key), message.replace("a host name", &format!("a {key}")));
            }
        }
    }

    fn file(&mut self, path: &str, spec: &FileSpec) -> Option<File> {
        let place = self.namespace.path().then("files").then(path);
        let Some(content) = &spec.content else {
            self.problems.error(place.key(), format!("the file `{path}` has no content")).hint("add `content: TEXT`");
            return None;
        };
        if content.len() > LIMIT {
            self.problems.error(place.then("content"), format!("a file has at most {LIMIT} bytes"));
            return None;
        }
        let (mode, owner) = (spec.mode.unwrap_or(File::MODE), spec.owner.unwrap_or_default());
        Some(File { mode, owner, ..File::new(content.as_bytes()) })
    }
}
