//! The difference of sysctls. They cannot be created or deleted, only written; what a new interface inherits needs no write.

use std::collections::{HashMap, HashSet};

use super::{Action, Differ, Sides, Subject};
use crate::name::{LinkId, NamespaceName};
use crate::resource::sysctl::conf::Setting;
use crate::resource::sysctl::{Effect, Sysctl, SysctlKey};
use crate::state::{ResourceId, State};

/// The sysctls that are written in each namespace.
type Written<'a> = HashMap<&'a NamespaceName, HashSet<&'a SysctlKey>>;

impl<'a> Differ<'a> {
    pub(super) fn sysctls(&mut self) {
        // In the order of writes: sysctls that the kernel copies to others come first.
        let mut desired: Vec<_> = self.desired.sysctls.iter().collect();
        desired.sort_by_cached_key(|((_, key), _)| key.rank());
        let mut written = Written::<'a>::new();
        // Those of `all` change settings of interfaces that the lab declares.
        self.undeclared_sysctls(&mut written, |key| key.link().is_none());
        for ((namespace, key), sysctl) in desired {
            // Sysctls of a deleted namespace are removed with it.
            if self.is_namespace_deleted(namespace) {
                continue;
            }
            let live = self.live_sysctl(namespace, key);
            let agrees = live.is_some_and(|live| sysctl.agrees(live));
            let reason = if agrees { self.overwritten_by(namespace, key, sysctl, &written) } else { None };
            let follows = live.is_some_and(|live| self.follows(namespace, key, (live, sysctl), &written));
            // A new link has what it inherits. One whose mtu is too small for IPv6 lacks IPv6 sysctls.
            let needs_write = if live.is_some() { !(agrees || follows) || reason.is_some() } else { !sysctl.inherited };
            if needs_write {
                written.entry(namespace).or_default().insert(key);
                let action = if live.is_some() { Action::Update } else { Action::Create };
                let sides = Sides { before: live.cloned(), after: Some(sysctl.clone()) };
                self.add(ResourceId::Sysctl(namespace.clone(), key.clone()), action, Subject::Sysctl(sides), reason);
            }
        }
        self.undeclared_sysctls(&mut written, |key| key.link().is_some());
    }

    /// Restores those `of_kind` of the settings of the lab's namespaces that the lab does not name, and that somebody has changed.
    fn undeclared_sysctls(&mut self, written: &mut Written<'a>, of_kind: fn(&SysctlKey) -> bool) {
        let (desired, live): (&'a State, &'a State) = (self.desired, &self.live.state);
        let mut undeclared: Vec<_> = live
            .sysctls
            .iter()
            .filter(|(id, _)| of_kind(&id.1) && !id.0.is_host() && !desired.sysctls.contains_key(id))
            .collect();
        undeclared.sort_by_cached_key(|((_, key), _)| key.rank());
        for ((namespace, key), sysctl) in undeclared {
            if !self.stays(namespace, key) || Self::written_cause(namespace, key, written).is_some() {
                continue;
            }
            let Some((expected, reason)) = self.expected(namespace, key).filter(|(expected, _)| !expected.agrees(sysctl)) else {
                continue;
            };
            written.entry(namespace).or_default().insert(key);
            let sides = Sides { before: Some(sysctl.clone()), after: Some(expected) };
            self.add(ResourceId::Sysctl(namespace.clone(), key.clone()), Action::Update, Subject::Sysctl(sides), Some(reason));
        }
    }

    /// Returns whether the namespace or the link of a sysctl exists before and after the change.
    fn stays(&self, namespace: &NamespaceName, key: &SysctlKey) -> bool {
        let link = key.link().map(|name| LinkId::new(namespace, name));
        let link_stays = link.is_none_or(|link| self.desired.link(&link).is_some() && !self.is_created(&link));
        self.desired.namespaces.contains(namespace) && !self.namespaces.contains_key(namespace) && link_stays
    }

    /// Returns the value of a setting that the lab does not name, and why it has this value.
    fn expected(&self, namespace: &NamespaceName, key: &SysctlKey) -> Option<(Sysctl, String)> {
        let setting = Setting::of_key(key)?;
        let declared = |cause: &SysctlKey| self.desired.sysctls.get(&(namespace.clone(), cause.clone()));
        let cause = key.causes().into_iter().find_map(|(cause, effect)| Some((effect.value(&declared(&cause)?.value), cause)));
        Some(match cause {
            Some((value, cause)) => (Sysctl::new(&value), format!("the lab does not set it, and the kernel copies `{cause}`")),
            None => (Sysctl::new(&setting.default.to_string()), "the lab does not set it: the kernel's default".to_owned()),
        })
    }

    /// Returns the live sysctl, unless its link or namespace is created.
    fn live_sysctl(&self, namespace: &NamespaceName, key: &SysctlKey) -> Option<&Sysctl> {
        let created = match key.link() {
            Some(name) => self.is_created(&LinkId::new(namespace, name)),
            None => self.namespaces.get(namespace) == Some(&Action::Create),
        };
        self.live.sysctl(namespace, key).filter(|_| !created)
    }

    /// Returns the first cause of a sysctl that is written, with its effect.
    fn written_cause(namespace: &NamespaceName, key: &SysctlKey, written: &Written<'_>) -> Option<(SysctlKey, Effect)> {
        let written = written.get(namespace)?;
        key.causes().into_iter().find(|(cause, _)| written.contains(cause))
    }

    /// Returns the value that the kernel gives a sysctl when its cause is written.
    fn effect(&self, namespace: &NamespaceName, (cause, effect): &(SysctlKey, Effect)) -> Option<Sysctl> {
        let cause = self.desired.sysctls.get(&(namespace.clone(), cause.clone()))?;
        Some(Sysctl::new(&effect.value(&cause.value)))
    }

    /// Returns whether the kernel gives a foreign sysctl the desired value when it changes its cause, as it gave it the live value when
    /// the cause was changed before.
    fn follows(
        &self,
        namespace: &NamespaceName,
        key: &SysctlKey,
        (live, desired): (&Sysctl, &Sysctl),
        written: &Written<'_>,
    ) -> bool {
        let is_foreign = namespace.is_host() && self.live.foreign_sysctls.contains_key(key);
        let Some(cause) = Self::written_cause(namespace, key, written).filter(|_| is_foreign) else { return false };
        let before = self.live.sysctl(namespace, &cause.0).map(|before| Sysctl::new(&cause.1.value(&before.value)));
        let copied = before.is_some_and(|before| before.agrees(live));
        copied && self.effect(namespace, &cause).is_some_and(|after| after.agrees(desired))
    }

    /// Returns which other change overwrites a sysctl that has the desired value.
    fn overwritten_by(
        &self,
        namespace: &NamespaceName,
        key: &SysctlKey,
        desired: &Sysctl,
        written: &Written<'_>,
    ) -> Option<String> {
        let cause = Self::written_cause(namespace, key, written);
        let differs = |cause: &(SysctlKey, Effect)| !self.effect(namespace, cause).is_some_and(|after| after.agrees(desired));
        let cause = cause.filter(differs).map(|(cause, _)| format!("`{cause}` overwrites it"));
        cause.or_else(|| {
            let link = key.link().filter(|_| key.follows_mtu())?;
            let Some(Subject::Link(_, delta)) = self.change_of(&LinkId::new(namespace, link)).map(|change| &change.subject)
            else {
                return None;
            };
            let written = delta.written();
            (written.mtu.is_some() || written.up == Some(true)).then(|| "the kernel sets it to the mtu of the link".to_owned())
        })
    }
}
