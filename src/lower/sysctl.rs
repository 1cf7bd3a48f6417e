//! Kernel settings: of namespaces and of interfaces, and what interfaces inherit from `default`.

use std::collections::BTreeMap;

use super::interface::{Interface, Namespace, Table};
use super::problem::Problems;
use crate::name::{LinkId, escape};
use crate::resource::sysctl::{Sysctl, SysctlError, SysctlKey};
use crate::spec::Path;
use crate::state::{Resource, ResourceId, State};

type Settings = BTreeMap<SysctlKey, (Sysctl, Path)>;

/// Adds the settings of all namespaces to the state.
pub(super) fn lower(table: &Table<'_>, state: &mut State, problems: &mut Problems) {
    for namespace in table.values() {
        let settings = collect(namespace, problems);
        let inherited = if namespace.is_owned() { inherit(namespace, &settings) } else { Vec::new() };
        let given = settings.into_iter().map(|(key, (sysctl, _))| (key, sysctl));
        for (key, sysctl) in given.chain(inherited) {
            state.insert(ResourceId::Sysctl(namespace.name.clone(), key), Resource::Sysctl(sysctl));
        }
    }
}

fn collect(namespace: &Namespace<'_>, problems: &mut Problems) -> Settings {
    let mut settings = Settings::new();
    for (text, value) in namespace.spec.iter().flat_map(|spec| &spec.sysctls) {
        let path = namespace.path().then("sysctls").then(text);
        take(&mut settings, SysctlKey::of_namespace(text), &value.0, path, problems);
    }
    let of_namespace: Vec<SysctlKey> = settings.keys().cloned().collect();
    for interface in namespace.interfaces.values() {
        for (text, value) in &interface.settings.sysctls {
            let key = SysctlKey::of_link(interface.id.name, text);
            take(&mut settings, key, &value.0, interface.sysctl_path(text), problems);
        }
    }
    for key in of_namespace {
        let Some(name) = key.link().filter(|name| !namespace.interfaces.contains_key(name)) else { continue };
        let path = settings[&key].1.clone();
        let names = namespace.names();
        let message = format!("`{}` is no interface of this lab", LinkId::new(&namespace.name, name));
        problems.unknown(path, message, &name.as_str(), names.iter().map(String::as_str));
        if let Some(problem) = problems.0.last_mut()
            && problem.hint.is_none()
            && namespace.name.is_host()
        {
            problem.hint(format!("if it exists already, declare it: `{name}: {{ external: true }}`"));
        }
    }
    settings
}

fn take(settings: &mut Settings, key: Result<SysctlKey, SysctlError>, value: &str, path: Path, problems: &mut Problems) {
    let key = match key {
        Ok(key) => key,
        Err(error) => {
            problems.error(path, escape(&error.to_string()));
            return;
        }
    };
    match settings.get(&key) {
        Some((_, first)) => {
            let problem = problems.error(path, format!("`{key}` is given twice"));
            problem.also(first.clone(), "the first time").hint("remove one of the two");
        }
        None => drop(settings.insert(key, (Sysctl::new(value), path))),
    }
}

/// What interfaces that say nothing else are born with.
fn inherit(namespace: &Namespace<'_>, settings: &Settings) -> Vec<(SysctlKey, Sysctl)> {
    let mut inherited = Vec::new();
    for (key, (sysctl, _)) in settings {
        let born = |interface: &&Interface<'_>| !interface.id.name.is_loopback();
        for interface in namespace.interfaces.values().filter(born) {
            let Some(own) = key.for_link(interface.id.name) else { break };
            if !settings.contains_key(&own) {
                inherited.push((own, Sysctl { inherited: true, ..sysctl.clone() }));
            }
        }
    }
    inherited
}

/// Whether a setting of the namespace or of the interface switches IPv6 off there.
pub(super) fn without_ipv6(state: &State, link: &LinkId) -> bool {
    let value = |name: &str| {
        let key = SysctlKey::of_namespace(&format!("net/ipv6/conf/{name}/disable_ipv6")).ok()?;
        match state.resources.get(&ResourceId::Sysctl(link.namespace.clone(), key)) {
            Some(Resource::Sysctl(sysctl)) => Some(sysctl.value != "0"),
            _ => None,
        }
    };
    value(&link.name.as_str()).or_else(|| value("all")).unwrap_or(false)
}
