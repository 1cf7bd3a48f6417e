//! Nodes: what namespaces have beyond their network.

mod binds;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use self::binds::place_of_bind;
use self::names::Names;
use super::interface::{Namespace, Table};
use super::objects::Listed;
use crate::name::NamespaceName;
use crate::resource::node::file::{File, FileSpec, LIMIT, NodePath};
use crate::resource::node::hosts::{HOSTS, HostsSpec, RESOLV, ResolvSpec};
use crate::resource::node::isolation::{Isolation, NamespaceKind};
use crate::resource::node::limits::Limits;
use crate::resource::node::time::TimeOffsets;
use crate::resource::node::{Condition, HOSTNAME_LENGTH, Node, Part, PartKey, Supervised, check_hostname, process};
use crate::resource::object::table::Tables;
use crate::spec::file::NamespaceSpec;
use crate::yaml::Path;
use crate::yaml::problem::Problems;

/// Nodes and their parts.
pub(super) type Parts = BTreeMap<(NamespaceName, PartKey), Part>;

/// Lowers the nodes of all namespaces.
pub(super) fn lower(table: &Table<'_>, objects: &Tables<Listed>, problems: &mut Problems) -> Parts {
    let mut parts = Parts::new();
    let names = Names::of(table, objects);
    for namespace in table.values() {
        if let Some(spec) = namespace.spec {
            Lowering { namespace, spec, names: &names, problems: &mut *problems, parts: &mut parts }.lower();
        }
    }
    parts
}

/// Returns the place of a file in the lab file.
pub(super) fn place_of_file(namespace: &Namespace<'_>, path: &NodePath) -> Path {
    let is_listed = namespace.spec.is_some_and(|spec| spec.files.contains_key(path));
    match path.as_str() {
        HOSTS if !is_listed => namespace.path().then("hosts").key(),
        RESOLV if !is_listed => namespace.path().then("resolv").key(),
        path => namespace.path().then("files").then(path).key(),
    }
}

struct Lowering<'a, 'l> {
    namespace: &'a Namespace<'l>,
    spec: &'a NamespaceSpec,
    names: &'a Names<'a>,
    problems: &'a mut Problems,
    parts: &'a mut Parts,
}

/// Returns the kinds of namespaces that the keys of a namespace need, each with the key.
fn needed(spec: &NamespaceSpec) -> Vec<(NamespaceKind, &'static str)> {
    let keys = [
        (spec.hostname.is_some(), NamespaceKind::Uts, "hostname"),
        (spec.domainname.is_some(), NamespaceKind::Uts, "domainname"),
        (spec.time.is_some(), NamespaceKind::Time, "time"),
        (!spec.files.is_empty(), NamespaceKind::Mount, "files"),
        (!spec.binds.is_empty(), NamespaceKind::Mount, "binds"),
        (spec.hosts.is_some(), NamespaceKind::Mount, "hosts"),
        (spec.resolv.is_some(), NamespaceKind::Mount, "resolv"),
        (spec.limits.is_some(), NamespaceKind::Pid, "limits"),
        (!spec.processes.is_empty(), NamespaceKind::Pid, "processes"),
        (!spec.processes.is_empty(), NamespaceKind::Mount, "processes"),
    ];
    keys.into_iter().filter(|(is_set, ..)| *is_set).map(|(_, kind, key)| (kind, key)).collect()
}

/// Returns the isolation of a node for which the lab file lists none.
pub fn default_isolation(spec: &NamespaceSpec) -> Isolation {
    needed(spec).into_iter().map(|(kind, _)| kind).collect()
}

impl Lowering<'_, '_> {
    fn lower(&mut self) {
        let needed = needed(self.spec);
        if self.spec.isolation.is_none() && needed.is_empty() {
            return;
        }
        if !self.namespace.is_owned() {
            let key = needed.first().map_or("isolation", |(_, key)| *key);
            let problem = self.problems.error(self.path(key).key(), format!("`{key}` of `host` cannot be set"));
            problem.hint("`host` is where topo runs; only the lab's own namespaces can be nodes");
            return;
        }
        let isolation = self.isolation(&needed);
        self.check_names();
        self.files();
        self.hosts();
        self.resolv();
        self.binds();
        self.processes();
        if isolation.is_empty() {
            return;
        }
        let own_name = || self.namespace.name.as_str().chars().take(HOSTNAME_LENGTH).collect();
        let node = Node {
            hostname: isolation.has(NamespaceKind::Uts).then(|| self.spec.hostname.clone().unwrap_or_else(own_name)),
            domainname: self.spec.domainname.clone(),
            time: self.spec.time.as_ref().map_or_else(TimeOffsets::default, TimeOffsets::of),
            limits: self.spec.limits.as_ref().map_or_else(Limits::default, Limits::of),
            condition: Condition::Running,
            isolation,
        };
        self.add(PartKey::Node, Part::Node(node));
    }

    fn path(&self, key: &str) -> Path {
        self.namespace.path().then(key)
    }

    fn add(&mut self, key: PartKey, part: Part) {
        self.parts.insert((self.namespace.name.clone(), key), part);
    }

    /// Returns the kinds that the file lists, or else those that are needed.
    fn isolation(&mut self, needed: &[(NamespaceKind, &'static str)]) -> Isolation {
        let Some(listed) = &self.spec.isolation else { return needed.iter().map(|(kind, _)| *kind).collect() };
        for (kind, key) in needed.iter().filter(|(kind, _)| !listed.has(*kind)) {
            let message = format!("`{key}` needs `{}` in the `isolation` of `{}`", kind.word(), self.namespace.name);
            let (place, isolation) = (self.path(key).key(), self.path("isolation"));
            let problem = self.problems.error(place, message).also(isolation, "not listed here");
            problem.hint(format!("add `{}`, or leave `isolation` out: then the node has what its keys need", kind.word()));
        }
        listed.clone()
    }

    fn check_names(&mut self) {
        for (key, name) in [("hostname", &self.spec.hostname), ("domainname", &self.spec.domainname)] {
            if let Some(Err(message)) = name.as_deref().map(check_hostname) {
                self.problems.error(self.path(key), message.replace("a host name", &format!("a {key}")));
            }
        }
    }

    fn files(&mut self) {
        for (path, spec) in &self.spec.files {
            let place = self.path("files").then(path.as_str());
            if let Some(message) = unsuitable(path) {
                self.problems.error(place.key(), message);
            } else if let Some(content) = self.content(path, spec, &place) {
                let (mode, owner) = (spec.mode.unwrap_or(File::MODE), spec.owner.unwrap_or_default());
                self.add(PartKey::File(path.clone()), Part::File(File { content, mode, owner }));
            }
        }
    }

    fn content(&mut self, path: &NodePath, spec: &FileSpec, place: &Path) -> Option<Arc<[u8]>> {
        let (key, content) = match (&spec.content, &spec.source) {
            (Some(content), None) => ("content", Ok(content.as_bytes().into())),
            (None, Some(_)) => ("source", spec.loaded.clone().unwrap_or_else(|| Err("it was not read".to_owned()))),
            (None, None) => {
                let problem =
                    self.problems.error(place.clone().key(), format!("the file `{path}` has neither `content` nor `source`"));
                problem.hint("add `content: TEXT`, or `source: FILE` for a file beside the lab file");
                return None;
            }
            (Some(_), Some(_)) => {
                let problem =
                    self.problems.error(place.clone().then("source").key(), format!("the file `{path}` has two contents"));
                problem.also(place.clone().then("content").key(), "the other one").hint("remove one of the two");
                return None;
            }
        };
        let place = place.clone().then(key);
        match content {
            Err(message) => {
                let source = crate::name::escape(spec.source.as_deref().unwrap_or_default()).into_owned();
                self.problems.error(place, format!("cannot read `{source}`: {message}"));
                None
            }
            Ok(content) if content.len() > LIMIT => {
                self.problems.error(place, format!("a file of a node has at most {} MiB", LIMIT >> 20));
                None
            }
            Ok(content) => Some(content),
        }
    }

    /// Adds /etc/hosts.
    fn hosts(&mut self) {
        let text = match &self.spec.hosts {
            None | Some(HostsSpec::All(false)) => return,
            Some(HostsSpec::All(true)) => self.names.table(&self.namespace.name),
            Some(HostsSpec::Names(names)) => {
                for name in names.keys() {
                    if let Err(message) = check_hostname(name) {
                        self.problems.error(self.path("hosts").then(name).key(), message);
                    }
                }
                names::table_of(names)
            }
        };
        self.add_generated(HOSTS, "hosts", &text);
    }

    /// Adds /etc/resolv.conf.
    fn resolv(&mut self) {
        match self.spec.resolv.as_ref().map(ResolvSpec::text) {
            None => {}
            Some(Ok(text)) => self.add_generated(RESOLV, "resolv", &text),
            Some(Err(message)) => drop(self.problems.error(self.path("resolv"), message)),
        }
    }

    fn processes(&mut self) {
        let of_node = self.parts.keys().filter(|(namespace, _)| *namespace == self.namespace.name);
        let files: BTreeSet<String> = of_node
            .filter_map(|(_, key)| match key {
                PartKey::File(path) | PartKey::Bind(path) => Some(path.as_str().to_owned()),
                PartKey::Node | PartKey::Process(_) => None,
            })
            .collect();
        let (path, files_path) = (self.path("processes"), self.path("files"));
        let site = process::Site { path, node: &self.namespace.name, files_path, files: &files };
        for (name, definition) in process::lower(&self.spec.processes, &site, self.problems) {
            self.add(PartKey::Process(name), Part::Process(Box::new(Supervised::new(definition))));
        }
    }

    fn add_generated(&mut self, path: &'static str, key: &str, text: &str) {
        let Ok(path) = path.parse::<NodePath>() else { return };
        if self.spec.files.contains_key(&path) {
            let place = self.path("files").then(path.as_str()).key();
            let problem = self.problems.error(place, format!("`{path}` is both in `files` and made by `{key}`"));
            problem.also(self.namespace.path().then(key).key(), "made here").hint("remove one of the two");
            return;
        }
        self.add(PartKey::File(path), Part::File(File::new(text.as_bytes())));
    }
}

/// Returns why there can be no file at a path.
fn unsuitable(path: &NodePath) -> Option<String> {
    let (top, rest) = path.as_str().trim_start_matches('/').split_once('/').unwrap_or((path.as_str(), ""));
    match top {
        _ if rest.is_empty() => Some(format!("`{path}` is directly below `/`; a file of a node must be in a directory")),
        "proc" | "sys" | "dev" => Some(format!("`{path}` is in a file system of the kernel; there can be no files of a node")),
        _ => None,
    }
}
