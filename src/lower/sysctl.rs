//! Kernel settings: of namespaces and of interfaces, and what interfaces inherit from `default`.

use std::collections::{BTreeMap, HashSet};

use super::interface::{Interface, Namespace, Origin, Table};
use crate::name::{LinkId, LinkName, NamespaceName, escape};
use crate::resource::sysctl::{Scope, Sysctl, SysctlError, SysctlKey};
use crate::spec::file::SysctlValue;
use crate::yaml::Path;
use crate::yaml::problem::Problems;

type Settings<'s> = BTreeMap<SysctlKey, (Sysctl, Place<'s>)>;

/// Where a setting stands.
#[derive(Clone, Copy)]
enum Place<'s> {
    Namespace(&'s String),
    Interface(&'s Interface<'s>, Origin, &'s String),
}

impl Place<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Namespace(text) | Self::Interface(_, _, text) => text,
        }
    }

    /// Returns the last word of the setting's name.
    fn name(&self) -> &str {
        self.text().rsplit(['.', '/']).next().unwrap_or_default()
    }

    fn path(self, namespace: &Namespace<'_>) -> Path {
        match self {
            Self::Namespace(key) => namespace.path().then("sysctls").then(key),
            Self::Interface(interface, origin, key) => interface.sysctl_path(origin, key),
        }
        .key()
    }
}

/// Settings with their namespaces and keys, sorted.
type Sysctls = Vec<((NamespaceName, SysctlKey), Sysctl)>;

/// What the settings mean for IPv6 on interfaces.
#[derive(Default)]
pub(super) struct Ipv6 {
    /// The interfaces on which it is disabled.
    pub(super) disabled: HashSet<LinkId>,
    /// The interfaces with settings that determine their link-local addresses.
    link_local: HashSet<LinkId>,
}

impl Ipv6 {
    /// Returns whether an interface that is up has a link-local address of its hardware address.
    pub(super) fn generates_link_local(&self, id: &LinkId) -> bool {
        !self.disabled.contains(id) && !self.link_local.contains(id)
    }
}

/// Returns the settings of all namespaces and what they mean for IPv6.
pub(super) fn lower(table: &Table<'_>, problems: &mut Problems) -> (Sysctls, Ipv6) {
    let (mut sysctls, mut ipv6) = (Vec::new(), Ipv6::default());
    for namespace in table.values() {
        let mut settings = collect(namespace, problems);
        if namespace.is_owned() {
            inherit(namespace, &mut settings);
        }
        if settings.keys().any(|key| key.path().ends_with("/disable_ipv6")) {
            let names = namespace.interfaces.keys().filter(|name| !has_ipv6(&settings, **name));
            ipv6.disabled.extend(names.map(|name| LinkId::new(&namespace.name, *name)));
        }
        let link_local =
            settings.keys().filter(|key| ["/addr_gen_mode", "/stable_secret"].iter().any(|end| key.path().ends_with(end)));
        ipv6.link_local.extend(link_local.filter_map(|key| Some(LinkId::new(&namespace.name, key.link()?))));
        sysctls.extend(settings.into_iter().map(|(key, (sysctl, _))| ((namespace.name.clone(), key), sysctl)));
    }
    (sysctls, ipv6)
}

fn collect<'s>(namespace: &'s Namespace<'s>, problems: &mut Problems) -> Settings<'s> {
    let mut settings = Settings::new();
    for (text, value) in namespace.spec.iter().flat_map(|spec| &spec.sysctls) {
        let key = SysctlKey::of_namespace(text);
        if let Ok(key) = &key {
            check_interface(namespace, key, text, problems);
        }
        take(&mut settings, namespace, key, value, Place::Namespace(text), problems);
    }
    for interface in namespace.interfaces.values() {
        for (origin, text, value) in interface.sysctls() {
            let key = SysctlKey::of_link(interface.id.name, text);
            take(&mut settings, namespace, key, value, Place::Interface(interface, origin, text), problems);
        }
    }
    check_aliases(namespace, &settings, problems);
    settings
}

/// A setting of an interface needs that interface.
fn check_interface(namespace: &Namespace<'_>, key: &SysctlKey, text: &String, problems: &mut Problems) {
    let Some(name) = key.link() else { return };
    super::parent::known(namespace, name, Place::Namespace(text).path(namespace), problems);
}

/// Reports a sysctl that a lab cannot set in the namespace.
fn check_scope(namespace: &Namespace<'_>, key: &SysctlKey, place: Place<'_>, problems: &mut Problems) {
    let message = match key.scope() {
        Scope::Machine if namespace.is_owned() => format!("`{key}` belongs to the whole machine, not to a network namespace"),
        Scope::Action => format!("`{key}` starts an action, and has no value that could be compared"),
        Scope::ReadOnly => format!("`{key}` can only be read"),
        Scope::Machine | Scope::Namespace => return,
    };
    let problem = problems.error(place.path(namespace), message);
    if key.scope() == Scope::Machine {
        problem.hint("set it on the machine with sysctl(8)");
    }
}

/// Reports a setting that is set under two of its names to different values.
fn check_aliases(namespace: &Namespace<'_>, settings: &Settings<'_>, problems: &mut Problems) {
    for (key, (sysctl, place)) in settings {
        for alias in key.aliases().into_iter().filter(|alias| alias < key) {
            let Some((_, first)) = settings.get(&alias).filter(|(other, _)| !sysctl.agrees(other)) else { continue };
            let problem = problems.error(place.path(namespace), format!("`{alias}` and `{key}` are the same setting"));
            problem.also(first.path(namespace), "also set here").hint("remove one of the two");
        }
    }
}

fn take<'s>(
    settings: &mut Settings<'s>,
    namespace: &Namespace<'_>,
    key: Result<SysctlKey, SysctlError>,
    value: &SysctlValue,
    place: Place<'s>,
    problems: &mut Problems,
) {
    let key = match key {
        Ok(key) => {
            check_scope(namespace, &key, place, problems);
            key
        }
        Err(error) => {
            problems.error(place.path(namespace), escape(&error.to_string()));
            return;
        }
    };
    let sysctl = Sysctl::new(&value.0);
    match settings.get(&key) {
        Some((first, at)) => {
            let message = match at.name() == place.name() {
                true => format!("`{key}` is set twice"),
                false if first.agrees(&sysctl) => return,
                false => format!("`{}` and `{}` are the same setting", escape(at.text()), escape(place.text())),
            };
            let problem = problems.error(place.path(namespace), message);
            problem.also(at.path(namespace), "also set here").hint("remove one of the two");
        }
        None => drop(settings.insert(key, (sysctl, place))),
    }
}

/// Adds what interfaces that say nothing else are born with.
fn inherit(namespace: &Namespace<'_>, settings: &mut Settings<'_>) {
    let born: Vec<LinkName> = namespace.interfaces.keys().filter(|name| !name.is_loopback()).copied().collect();
    let defaults = settings.iter().filter(|(key, _)| key.for_link(LinkName::LOOPBACK).is_some());
    let defaults: Vec<_> = defaults.map(|(key, (sysctl, place))| (key.clone(), sysctl.clone(), *place)).collect();
    for (key, sysctl, place) in defaults {
        for own in born.iter().filter_map(|name| key.for_link(*name)) {
            settings.entry(own).or_insert_with(|| (Sysctl { inherited: true, ..sysctl.clone() }, place));
        }
    }
}

/// Whether neither the interface's own setting nor that for all switches IPv6 off.
fn has_ipv6(settings: &Settings<'_>, link: LinkName) -> bool {
    let value = |name: &str| {
        let key = SysctlKey::of_namespace(&format!("net/ipv6/conf/{name}/disable_ipv6")).ok()?;
        settings.get(&key).map(|(sysctl, _)| !sysctl.is_on())
    };
    value(&link.as_str()).or_else(|| value("all")).unwrap_or(true)
}
