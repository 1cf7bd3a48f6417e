//! Ports: which interfaces a bridge or its like takes, by name or glob.

use std::collections::BTreeMap;

use super::interface::{Interface, Namespace, Table};
use super::parent::known;
use crate::name::NamePattern;
use crate::name::{LinkId, LinkName, escape};
use crate::resource::link::kind::with_article;
use crate::yaml::Path;
use crate::yaml::problem::Problems;

/// Gives every port its master.
pub(super) fn resolve(table: &mut Table<'_>, problems: &mut Problems) {
    for namespace in table.values_mut() {
        let masters = namespace.interfaces.values().filter(|interface| !interface.link.kind.ports().is_empty());
        let masters: Vec<LinkName> = masters.map(|master| master.id.name).collect();
        let ports = find_ports(namespace, &masters, problems);
        for (port, (master, _)) in ports {
            if let Some(interface) = namespace.interfaces.get_mut(&port) {
                interface.link.settings.master = Some(master);
            }
        }
        for master in masters {
            if let Some(interface) = namespace.interfaces.get_mut(&master) {
                interface.link.kind.set_ports(Vec::new());
            }
        }
    }
}

type Ports = BTreeMap<LinkName, (LinkName, Path)>;

fn find_ports(namespace: &Namespace<'_>, masters: &[LinkName], problems: &mut Problems) -> Ports {
    let mut ports = Ports::new();
    for master in masters.iter().filter_map(|name| namespace.interfaces.get(name)) {
        for (index, pattern) in master.link.kind.ports().iter().enumerate() {
            let path = master.kind_path("ports").then(index);
            let found = if pattern.is_glob() {
                expand(namespace, master, pattern, &path, problems)
            } else {
                named(namespace, master, pattern, &path, problems).into_iter().collect()
            };
            for port in found {
                take(&mut ports, namespace, master, port, &path, problems);
            }
        }
        count(&ports, master, problems);
    }
    ports
}

fn count(ports: &Ports, master: &Interface<'_>, problems: &mut Problems) {
    let most = master.link.kind.most_ports();
    let number = ports.values().filter(|(of, _)| *of == master.id.name).count();
    if number > most {
        let (id, kind) = (&master.id, with_article(master.link.kind.name()));
        let problem =
            problems.error(master.kind_path("ports"), format!("`{id}` has {number} ports; {kind} can have at most {most}"));
        problem.hint("use several of them, connected by veth pairs");
    }
}

fn take(
    ports: &mut Ports,
    namespace: &Namespace<'_>,
    master: &Interface<'_>,
    port: LinkName,
    path: &Path,
    problems: &mut Problems,
) {
    match ports.get(&port) {
        Some((first, _)) if *first == master.id.name => {}
        Some((first, place)) => {
            let id = LinkId::new(&namespace.name, port);
            let problem =
                problems.error(path.clone(), format!("`{id}` cannot be a port of both `{first}` and `{}`", master.id.name));
            problem.also(place.clone(), "also listed here").hint("an interface can be a port of one link only");
        }
        None => drop(ports.insert(port, (master.id.name, path.clone()))),
    }
}

fn expand(
    namespace: &Namespace<'_>,
    master: &Interface<'_>,
    pattern: &NamePattern,
    path: &Path,
    problems: &mut Problems,
) -> Vec<LinkName> {
    let candidate = |interface: &Interface<'_>| {
        interface.id.name != master.id.name
            && !interface.id.name.is_loopback()
            && !interface.link.kind.takes_ports()
            && pattern.matches(&interface.id.name.as_str())
    };
    let found: Vec<LinkName> =
        namespace.interfaces.values().filter(|interface| candidate(interface)).map(|interface| interface.id.name).collect();
    if found.is_empty() {
        let message = format!("pattern `{}` matches no interface of `{}`", escape(&pattern.0), namespace.name);
        problems.warning(path.clone(), message).needs_all(namespace.name_parts());
    }
    found
}

fn named(
    namespace: &Namespace<'_>,
    master: &Interface<'_>,
    pattern: &NamePattern,
    path: &Path,
    problems: &mut Problems,
) -> Option<LinkName> {
    let name: LinkName = match pattern.0.parse() {
        Ok(name) => name,
        Err(error) => {
            let problem = problems.error(path.clone(), error.to_string());
            problem.hint("name an interface of the same namespace, or use a glob with `*` and `?`");
            return None;
        }
    };
    if name == master.id.name {
        problems.error(path.clone(), format!("`{}` cannot be a port of itself", master.id));
        return None;
    }
    if name.is_loopback() {
        problems.error(path.clone(), format!("`lo` cannot be a port of {}", with_article(master.link.kind.name())));
        return None;
    }
    if !known(namespace, name, path.clone(), problems) {
        return None;
    }
    let port = &namespace.interfaces[&name];
    if let Some(refusal) = master.link.kind.refuses_port(port.link.kind.name()) {
        let [port_kind, kind] = [port, master].map(|interface| with_article(interface.link.kind.name()));
        let problem = problems.error(path.clone(), format!("`{}` is {port_kind} and cannot be a port of {kind}", port.id));
        if let Some(hint) = refusal.hint {
            problem.hint(hint);
        }
        return None;
    }
    Some(name)
}
