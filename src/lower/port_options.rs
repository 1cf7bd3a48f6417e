//! The options of interfaces as ports, after the ports have their masters.

use super::interface::{Interface, Origin, Table, all, find};
use crate::name::{LinkId, LinkName, NamespaceName};
use crate::resource::link::Port;
use crate::resource::link::kind::with_article;
use crate::resource::link::port::Surroundings;
use crate::spec::file::{InterfaceSpec, LongEndpoint};
use crate::yaml::Path;
use crate::yaml::document::Subtree;
use crate::yaml::problem::{Problems, link_ends, options_of_each, whole};

impl Interface<'_> {
    /// Returns the options as a port in its section, and those at the end of its link.
    fn declared_ports(&self) -> impl Iterator<Item = (Origin, Port)> {
        let section = self.section.into_iter().flat_map(InterfaceSpec::ports);
        let end = self.long().into_iter().flat_map(LongEndpoint::ports);
        section.map(|port| (Origin::Section, port)).chain(end.map(|port| (Origin::End, port)))
    }

    fn port_path(&self, origin: Origin, port: &Port) -> Path {
        match (&self.end, origin) {
            (Some(end), Origin::End) => end.path().then(port.name()),
            (_, _) => self.section_path().then(port.name()),
        }
    }
}

/// Sets the options of all ports.
pub(super) fn settle(table: &mut Table<'_>, problems: &mut Problems) {
    let mut settled: Vec<(LinkId, Port)> = Vec::new();
    for interface in all(table) {
        let declared = options(table, interface, problems);
        let port = declared.or_else(|| Port::of(&master(table, interface)?.link.kind));
        settled.extend(port.map(|port| (interface.id.clone(), port)));
    }
    for (id, port) in settled {
        let namespace = table.get_mut(&id.namespace);
        if let Some(interface) = namespace.and_then(|namespace| namespace.interfaces.get_mut(&id.name)) {
            interface.link.port = Some(port);
        }
    }
}

fn master<'t, 'l>(table: &'t Table<'l>, interface: &Interface<'_>) -> Option<&'t Interface<'l>> {
    find(table, &LinkId::new(&interface.id.namespace, interface.link.settings.master?))
}

/// Returns the options of an interface as a port, checked.
fn options(table: &Table<'_>, interface: &Interface<'_>, problems: &mut Problems) -> Option<Port> {
    let mut found: Option<(Path, Port)> = None;
    for (origin, port) in interface.declared_ports() {
        let path = interface.port_path(origin, &port);
        match &found {
            Some((first, other)) if other.name() == port.name() => {
                let message = format!("`{}` of `{}` is set twice", port.name(), interface.id);
                problems.error(path, message).also(first.clone(), "also set here").hint("remove one of the two");
            }
            _ => found = check(table, interface, &path, port, problems).map(|port| (path, port)).or(found),
        }
    }
    found.map(|(_, port)| port)
}

/// Checks the options. Returns `None` if the interface is not such a port.
fn check(table: &Table<'_>, interface: &Interface<'_>, path: &Path, mut port: Port, problems: &mut Problems) -> Option<Port> {
    for invalid in port.validate() {
        let path = path.clone().then(invalid.key);
        problems.error(path.clone(), invalid.message).needs(whole(path));
    }
    let Some(master) = master(table, interface).filter(|master| master.link.kind.name() == port.master()) else {
        let (id, what) = (&interface.id, with_article(port.master()));
        let problem = problems.error(path.clone(), format!("`{id}` is not a port of {what}"));
        problem.hint(format!(
            "list `{}` under the `ports` of {what} of `{}`, or remove `{}`",
            id.name,
            id.namespace,
            port.name()
        ));
        problem.needs_all(lists_of_ports(table, &id.namespace));
        return None;
    };
    port.follow(&master.link.kind);
    let around = Surroundings {
        master: &master.link.kind,
        up: interface.is_up() && master.is_up(),
        carrier: has_carrier(table, interface),
    };
    if let Some(invalid) = port.misplaced(around) {
        let problem = problems.error(path.clone().then(invalid.key), invalid.message);
        problem.needs(master.kind_part()).needs(whole(interface.path()));
    }
    if let Some((option, name)) = port.reference() {
        check_reference(table, interface, master.id.name, name, path.clone().then(option), problems);
    }
    Some(port)
}

/// What tells which interfaces of a namespace are ports: the interfaces, the masters among them, and their ports.
fn lists_of_ports(table: &Table<'_>, namespace: &NamespaceName) -> Vec<Subtree> {
    let interfaces = table.get(namespace).into_iter().flat_map(|namespace| namespace.interfaces.values());
    let masters = interfaces.filter(|interface| interface.link.kind.takes_ports());
    let path = super::interface::namespace_path(namespace).then("interfaces");
    let kinds = Subtree { levels: 2, ..options_of_each(path, Port::MASTERS) };
    masters.map(|master| master.option_part("ports")).chain([kinds, link_ends()]).collect()
}

fn check_reference(
    table: &Table<'_>,
    interface: &Interface<'_>,
    master: LinkName,
    name: LinkName,
    path: Path,
    problems: &mut Problems,
) {
    let id = LinkId::new(&interface.id.namespace, name);
    if id == interface.id {
        problems.error(path, format!("`{id}` cannot refer to itself"));
        return;
    }
    let is_port = find(table, &id).is_some_and(|other| other.link.settings.master == Some(master));
    if !is_port {
        let problem = problems.error(path, format!("`{id}` is not a port of `{master}`, as `{}` is", interface.id.name));
        problem.needs_all(lists_of_ports(table, &id.namespace));
    }
}

/// Returns whether the other end of the pair is up, if the interface is an end of a pair.
fn has_carrier(table: &Table<'_>, interface: &Interface<'_>) -> bool {
    let peer = interface.link.kind.peer().map(|peer| peer.resolve(&interface.id.namespace));
    peer.and_then(|peer| find(table, &peer)).is_none_or(Interface::is_up)
}
