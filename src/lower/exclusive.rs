//! Values that only one link of a kind in a namespace can have while a sysctl is on.

use std::collections::BTreeMap;

use super::interface::{Interface, Table};
use crate::name::NamespaceName;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::yaml::problem::Problems;

/// Reports links with a value that another link has, if the lab sets the sysctl that makes the kernel refuse that.
pub(super) fn check(table: &Table<'_>, sysctls: &[((NamespaceName, SysctlKey), Sysctl)], problems: &mut Problems) {
    for namespace in table.values() {
        let mut seen: BTreeMap<(&str, u32), &Interface<'_>> = BTreeMap::new();
        for interface in namespace.interfaces.values() {
            let kind = &interface.link.kind;
            let Some(exclusive) = kind.exclusive() else { continue };
            let is_set = |((of, key), sysctl): &((NamespaceName, SysctlKey), Sysctl)| {
                *of == namespace.name && key.to_string() == exclusive.sysctl && sysctl.is_on()
            };
            let Some(first) = seen.insert((kind.name(), exclusive.value), interface).filter(|_| sysctls.iter().any(is_set))
            else {
                continue;
            };
            let (option, value) = (exclusive.option, exclusive.value);
            let message = format!("`{}` and `{}` have the same `{option}` {value}", first.id, interface.id);
            let problem = problems.error(interface.kind_path(option), message);
            problem.also(first.kind_path(option), "also used here").needs(interface.option_part(option));
            let hint = format!("use another {option}, or do not set the sysctl `{}`", exclusive.sysctl);
            problem.needs(first.option_part(option)).hint(hint);
        }
    }
}
