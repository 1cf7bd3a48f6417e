//! Finds the sysctls of the lab: those that it declares, and those of its namespaces that somebody has changed although it does not.

use super::{Findings, Judging, SeenLink, named};
use crate::resource::ignore::SYSCTLS;
use crate::resource::sysctl::conf::Setting;
use crate::resource::sysctl::{Sysctl, SysctlKey};
use crate::snapshot::FoundLink;

impl Judging<'_> {
    /// Adds the sysctls of the namespace and of the given links.
    pub(super) fn add_sysctls(&self, links: &[SeenLink], findings: &mut Findings) {
        let existing = self.snapshot.sysctls.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        for (key, value) in existing {
            let declared = self.declares(key);
            if self.is_host && !declared {
                findings.foreign_sysctls.push((key.clone(), value.clone()));
            } else if self.is_relevant(key, links) && (declared || !self.ignores(&[])) {
                findings.sysctls.push(((self.namespace.clone(), key.clone()), value.clone()));
            }
        }
        if !self.is_host && !self.ignores(&[]) {
            self.add_changed(findings);
        }
    }

    /// Returns whether the sysctl is not one of an interface that the lab does not know.
    fn is_relevant(&self, key: &SysctlKey, links: &[SeenLink]) -> bool {
        self.is_host || key.link().is_none_or(|name| named(links, name).is_some())
    }

    /// Adds the settings of links that are not as the lab and the kernel make them, without those that the lab declares.
    fn add_changed(&self, findings: &mut Findings) {
        let spread = self.spread();
        let is_as_spread = |setting: Setting, value: i32| {
            spread.iter().any(|(other, expected)| (other.family, other.name, *expected) == (setting.family, setting.name, value))
        };
        for found in &self.snapshot.links {
            let changed = found.conf.changed.iter().filter(|(setting, value)| !is_as_spread(*setting, *value));
            let left_out = spread.iter().filter(|(setting, _)| setting.is_inet() || found.conf.has_inet6);
            let left_out = left_out
                .filter(|(setting, expected)| *expected != setting.default && found.conf.value(*setting) == setting.default);
            let left_out = left_out.map(|(setting, _)| (*setting, setting.default));
            for (setting, value) in changed.copied().chain(left_out) {
                self.add_setting(found, setting, value, findings);
            }
        }
    }

    fn add_setting(&self, found: &FoundLink, setting: Setting, value: i32, findings: &mut Findings) {
        let key = setting.of(&found.name.as_str());
        if !self.declares(&key) && !self.ignores(&[found.name]) {
            findings.sysctls.push(((self.namespace.clone(), key), Sysctl::new(&value.to_string())));
        }
    }

    /// Returns the settings that the kernel copies to all links because the lab sets them for `all`, with their values.
    fn spread(&self) -> Vec<(Setting, i32)> {
        let declared = self.desired.sysctls_of(self.namespace);
        let spread = declared.filter_map(|(key, sysctl)| Some((key.spreads()?, sysctl.value.parse().ok()?)));
        spread.collect()
    }

    fn declares(&self, key: &SysctlKey) -> bool {
        self.desired.sysctls.contains_key(&(self.namespace.clone(), key.clone()))
    }

    fn ignores(&self, links: &[crate::name::LinkName]) -> bool {
        self.ignored.is_some_and(|ignored| ignored.includes(SYSCTLS, links.iter().copied()))
    }
}
