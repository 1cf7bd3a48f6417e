//! Which interfaces there are: those that namespaces declare, the ends of links, and `lo`, each with its kind.

use std::collections::BTreeMap;

use super::role::choose_kind;
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::ignore::Ignored;
use crate::resource::link::veth::Veth;
use crate::resource::link::{Kind, Link, Queues};
use crate::spec::file::{InterfaceSpec, LabFile, LinkSpec, LongEndpoint, NamespaceSpec, SysctlValue};
use crate::yaml::Path;
use crate::yaml::document::Subtree;
use crate::yaml::problem::{Problems, ends_of, keys, link_ends, options, options_of_each, whole};

/// All namespaces by name.
pub(super) type Table<'l> = BTreeMap<NamespaceName, Namespace<'l>>;

/// A namespace with all of its interfaces.
pub(super) struct Namespace<'l> {
    pub(super) name: NamespaceName,
    /// What the file says of it; `host` need not be mentioned.
    pub(super) spec: Option<&'l NamespaceSpec>,
    pub(super) interfaces: BTreeMap<LinkName, Box<Interface<'l>>>,
}

/// An interface, and all that the file says of it.
pub(super) struct Interface<'l> {
    pub(super) id: LinkId,
    /// Its section in the namespace.
    pub(super) section: Option<&'l InterfaceSpec>,
    /// The end of a link that it is.
    pub(super) end: Option<End<'l>>,
    /// The link as it is being put together.
    pub(super) link: Box<Link>,
}

/// Which of its two descriptions an interface has something from.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The section in the namespace.
    Section,
    /// The end of the link.
    End,
}

/// The end of a link.
#[derive(Clone)]
pub(super) struct End<'l> {
    pub(super) link: usize,
    pub(super) position: usize,
    pub(super) spec: &'l LinkSpec,
    pub(super) long: Option<&'l LongEndpoint>,
}

impl End<'_> {
    pub(super) fn path(&self) -> Path {
        link_path(self.link).then("endpoints").then(self.position)
    }
}

impl Namespace<'_> {
    /// Whether topo makes it, so that all that is in it is the lab's.
    pub(super) fn is_owned(&self) -> bool {
        !self.name.is_host()
    }

    pub(super) fn path(&self) -> Path {
        namespace_path(&self.name)
    }

    /// What tells which interfaces it has.
    pub(super) fn name_parts(&self) -> [Subtree; 2] {
        [keys(self.path().then("interfaces")), link_ends()]
    }

    /// What tells which addresses it reaches.
    pub(super) fn reach_parts(&self) -> Vec<Subtree> {
        // What is not read otherwise, as `up`, could only make it reach less.
        const REACH: &[&str] = &["addresses"];
        let long = self.interfaces.values().filter(|interface| interface.long().is_some());
        let ends = long.filter_map(|interface| interface.end.as_ref()).map(|end| options(end.path(), REACH));
        let interfaces = options_of_each(self.path().then("interfaces"), REACH);
        let parts = [interfaces, keys(self.path().then("routes")), link_ends()];
        parts.into_iter().chain(ends).collect()
    }

    /// The names of its interfaces, for messages.
    pub(super) fn names(&self) -> Vec<String> {
        self.interfaces.keys().map(ToString::to_string).collect()
    }
}

impl Interface<'_> {
    /// Where it is described.
    pub(super) fn path(&self) -> Path {
        match (&self.section, &self.end) {
            (None, Some(end)) => end.path(),
            (Some(_) | None, _) => self.section_path(),
        }
    }

    pub(super) fn section_path(&self) -> Path {
        namespace_path(&self.id.namespace).then("interfaces").then(self.id.name)
    }

    /// Where an option of its kind stands.
    pub(super) fn kind_path(&self, key: &str) -> Path {
        self.kind_root().then(key)
    }

    /// All of its kind's options.
    pub(super) fn kind_part(&self) -> Subtree {
        whole(self.kind_root())
    }

    /// Where its kind stands.
    pub(super) fn kind_root(&self) -> Path {
        self.section_path().then(self.link.kind.name())
    }

    /// One of its kind's options.
    pub(super) fn option_part(&self, key: &str) -> Subtree {
        whole(self.kind_path(key))
    }

    /// The alternative names: those of the section first; `None` when none are given.
    pub(super) fn altnames(&self) -> Option<impl Iterator<Item = &String>> {
        let section = self.section.and_then(|section| section.altnames.as_ref());
        let long = self.long().and_then(|long| long.altnames.as_ref());
        (section.is_some() || long.is_some()).then(|| section.into_iter().chain(long).flatten())
    }

    /// The kernel settings in the same order.
    pub(super) fn sysctls(&self) -> impl Iterator<Item = (Origin, &String, &SysctlValue)> {
        let section = self.section.into_iter().flat_map(|section| &section.sysctls);
        let end = self.long().into_iter().flat_map(|long| &long.sysctls);
        let section = section.map(|(key, value)| (Origin::Section, key, value));
        section.chain(end.map(|(key, value)| (Origin::End, key, value)))
    }

    /// The words of `ignore` in the same order, each with its place.
    pub(super) fn ignored(&self) -> impl Iterator<Item = (Path, Ignored)> {
        let section = self.section.into_iter().flat_map(|section| section.ignore.iter().enumerate());
        let section = section.map(|(index, word)| (self.section_path().then("ignore").then(index), *word));
        let ends = self.end.iter().filter_map(|end| Some((end, end.long?)));
        let ends = ends.flat_map(|(end, long)| {
            let words = long.ignore.iter().enumerate();
            words.map(move |(index, word)| (end.path().then("ignore").then(index), *word))
        });
        section.chain(ends)
    }

    pub(super) fn altname_path(&self, index: usize) -> Path {
        let first = self.section.and_then(|section| section.altnames.as_ref()).map_or(0, Vec::len);
        self.joined_path("altnames", index, first)
    }

    /// The place of an item of a list that is `first` long in the section and goes on at the end of the link.
    pub(super) fn joined_path(&self, key: &str, index: usize, first: usize) -> Path {
        match (&self.end, index.checked_sub(first)) {
            (Some(end), Some(index)) => end.path().then(key).then(index),
            (_, _) => self.section_path().then(key).then(index),
        }
    }

    /// Where a kernel setting stands.
    pub(super) fn sysctl_path(&self, origin: Origin, key: &String) -> Path {
        match (&self.end, origin) {
            (Some(end), Origin::End) => end.path().then("sysctls").then(key),
            (_, _) => self.section_path().then("sysctls").then(key),
        }
    }

    /// What the end of the link says, if it is more than a name.
    pub(super) fn long(&self) -> Option<&LongEndpoint> {
        self.end.as_ref().and_then(|end| end.long)
    }

    /// Whether it is up, or will be.
    pub(super) fn is_up(&self) -> bool {
        self.link.settings.up != Some(false)
    }

    /// Whether others than the lab may give it addresses and routes.
    pub(super) fn is_shared(&self) -> bool {
        self.link.external || self.id.namespace.is_host()
    }
}

pub(super) fn namespace_path(namespace: &NamespaceName) -> Path {
    Path::root().then("namespaces").then(namespace)
}

pub(super) fn link_path(index: usize) -> Path {
    Path::root().then("links").then(index)
}

/// All interfaces of all namespaces.
pub(super) fn all<'t, 'l>(table: &'t Table<'l>) -> impl Iterator<Item = &'t Interface<'l>> {
    table.values().flat_map(|namespace| namespace.interfaces.values().map(|interface| &**interface))
}

/// The interface of that name.
pub(super) fn find<'t, 'l>(table: &'t Table<'l>, id: &LinkId) -> Option<&'t Interface<'l>> {
    table.get(&id.namespace)?.interfaces.get(&id.name).map(|interface| &**interface)
}

/// Collects all interfaces with their kinds.
pub(super) fn collect<'l>(lab: &'l LabFile, problems: &mut Problems) -> Table<'l> {
    let mut table = Table::new();
    for (name, spec) in &lab.namespaces {
        let mut namespace = Namespace { name: name.clone(), spec: Some(spec), interfaces: BTreeMap::new() };
        for (link, section) in &spec.interfaces {
            let id = LinkId::new(name, *link);
            namespace.interfaces.insert(*link, Interface::new(id, Some(section)));
        }
        if namespace.is_owned() {
            let lo = || Interface::new(LinkId::new(name, LinkName::LOOPBACK), None);
            namespace.interfaces.entry(LinkName::LOOPBACK).or_insert_with(lo);
        }
        table.insert(name.clone(), namespace);
    }
    let host = NamespaceName::host();
    table.entry(host.clone()).or_insert_with(|| Namespace { name: host, spec: None, interfaces: BTreeMap::new() });
    for (index, spec) in lab.links.iter().enumerate() {
        take_link(&mut table, index, spec, problems);
    }
    for namespace in table.values_mut() {
        let owned = namespace.is_owned();
        for interface in namespace.interfaces.values_mut() {
            choose_kind(interface, owned, problems);
        }
    }
    table
}

impl<'l> Interface<'l> {
    fn new(id: LinkId, section: Option<&'l InterfaceSpec>) -> Box<Self> {
        Box::new(Self { id, section, end: None, link: Box::new(Link::new(Kind::default())) })
    }
}

fn take_link<'l>(table: &mut Table<'l>, index: usize, spec: &'l LinkSpec, problems: &mut Problems) {
    let pair = match spec.endpoints.as_slice() {
        [first, second] if first.interface() == second.interface() => {
            let path = link_path(index).then("endpoints").then(1);
            problems.error(path, format!("both endpoints of the link are `{}`", first.interface()));
            None
        }
        [first, second] => Some([first.interface(), second.interface()]),
        ends => {
            wrong_number(index, ends.len(), problems);
            None
        }
    };
    for (position, endpoint) in spec.endpoints.iter().enumerate() {
        let end = End { link: index, position, spec, long: endpoint.long() };
        match pair {
            Some(pair) => take_end(table, end, endpoint.interface(), pair[1 - position].clone(), problems),
            None => mention(table, end, endpoint.interface()),
        }
    }
}

/// Has an interface count as the end of a link that was refused, so that nothing is missed because of that.
fn mention<'l>(table: &mut Table<'l>, end: End<'l>, id: &LinkId) {
    let Some(namespace) = table.get_mut(&id.namespace).filter(|_| !id.name.is_loopback()) else { return };
    let interface = namespace.interfaces.entry(id.name).or_insert_with(|| Interface::new(id.clone(), None));
    interface.end.get_or_insert(end);
}

fn wrong_number(index: usize, given: usize, problems: &mut Problems) {
    let (given, hint) = match given {
        0 => ("none is given".into(), "name both: `endpoints: [one:eth0, other:eth0]`"),
        1 => ("only one is given".into(), "add the other endpoint"),
        more => (format!("{more} are given"), "to connect more than two interfaces, use a bridge with `ports`"),
    };
    let message = format!("a link has exactly two endpoints, but {given}");
    let problem = problems.error(link_path(index).then("endpoints"), message).hint(hint);
    problem.needs(ends_of(link_path(index)));
}

fn take_end<'l>(table: &mut Table<'l>, end: End<'l>, id: &LinkId, peer: LinkId, problems: &mut Problems) {
    let Some(namespace) = table.get_mut(&id.namespace) else {
        unknown_namespace(table, end.path(), &id.namespace, problems);
        return;
    };
    let interface = namespace.interfaces.entry(id.name).or_insert_with(|| Interface::new(id.clone(), None));
    if let Some(other) = &interface.end {
        let problem = problems.error(end.path(), format!("`{id}` is an endpoint of two links"));
        problem
            .also(other.path(), "also used here")
            .hint("an interface can be an endpoint of one link only; choose another name");
        return;
    }
    if id.name.is_loopback() {
        problems
            .error(end.path(), "`lo` is the loopback interface and cannot be an endpoint of a link")
            .hint("choose another name");
        return;
    }
    interface.link.kind = Veth { peer: Some(peer.into()) }.into();
    let count = |given: Option<u32>| given.unwrap_or(1);
    interface.link.queues = Some(Queues { transmit: count(end.spec.numtxqueues), receive: count(end.spec.numrxqueues) });
    interface.end = Some(end);
}

/// An error about a reference to a namespace that is not declared.
pub(super) fn unknown_namespace(table: &Table<'_>, path: Path, name: &NamespaceName, problems: &mut Problems) {
    let known = table.keys().map(NamespaceName::as_str);
    let problem = problems.unknown(path, format!("namespace `{name}` is not declared"), name.as_str(), known);
    problem.needs(keys(Path::root().then("namespaces")));
    problem.hint.get_or_insert_with(|| format!("declare it: `{name}: {{}}` under `namespaces`"));
}
