//! Sysctls: which exist, which values a new interface inherits, and how a write to `all` or `default` changes interfaces.

use std::collections::BTreeMap;

use nix::libc;

use super::device::{Device, Place, Settled};
use super::network::Network;
use super::tables::{GLOBAL, IPV4_NEIGH, IPV6_CONF, IPV6_NEIGH, SPECIAL};
use crate::kernel::Errno;
use crate::name::NamespaceName;
use crate::resource::sysctl::conf::INET;
use crate::resource::sysctl::{IPV6_SPREADING, SysctlKey};

/// The parts of a sysctl's path.
#[derive(Debug, Clone, Copy)]
enum Setting<'a> {
    Global,
    Of(Interface<'a>),
}

/// A sysctl of one interface, or of `all` or `default`.
#[derive(Debug, Clone, Copy)]
struct Interface<'a> {
    family: &'a str,
    directory: &'a str,
    interface: &'a str,
    name: &'a str,
}

impl<'a> Interface<'a> {
    fn conf(family: &'a str, interface: &'a str, name: &'a str) -> Self {
        Self { family, directory: "conf", interface, name }
    }

    /// Returns the kernel's default; `None` if the sysctl does not exist.
    fn default(&self) -> Option<&'static str> {
        let special = |(family, interface, name, value): &(&str, &str, &str, &'static str)| {
            ((*family, *interface, *name) == (self.family, self.interface, self.name) && self.directory == "conf")
                .then_some(*value)
        };
        let of = |table: &[(&str, &'static str)]| table.iter().find(|(name, _)| *name == self.name).map(|(_, value)| *value);
        SPECIAL.iter().find_map(special).or_else(|| match (self.family, self.directory) {
            ("ipv4", "conf") => {
                let conf = INET.iter().find(|conf| conf.name == self.name)?;
                Some(if self.interface == "all" { conf.all } else { conf.default })
            }
            ("ipv6", "conf") => of(IPV6_CONF),
            ("ipv4", "neigh") => of(IPV4_NEIGH),
            ("ipv6", "neigh") => of(IPV6_NEIGH),
            _ => None,
        })
    }

    fn is_shared(&self) -> bool {
        matches!(self.interface, "all" | "default")
    }

    /// Returns the path, as the key for `all` and `default` in the namespace.
    fn path(&self) -> String {
        format!("net/{}/{}/{}/{}", self.family, self.directory, self.interface, self.name)
    }

    /// Returns the key within an interface.
    fn key(&self) -> String {
        format!("{}/{}/{}", self.family, self.directory, self.name)
    }
}

fn parse(path: &str) -> Setting<'_> {
    if path == "net/ipv4/ip_forward" {
        return Setting::Of(Interface::conf("ipv4", "all", "forwarding"));
    }
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["net", family @ ("ipv4" | "ipv6"), directory @ ("conf" | "neigh"), interface, name] => {
            Setting::Of(Interface { family, directory, interface, name })
        }
        _ => Setting::Global,
    }
}

/// Stores a value. Removes it if it is the default.
fn put(values: &mut BTreeMap<String, String>, key: String, value: &str, default: &str) {
    if value == default {
        values.remove(&key);
    } else {
        values.insert(key, value.to_owned());
    }
}

/// Returns the values that a new interface of the namespace inherits, except for the kernel's defaults.
pub(super) fn inherited_sysctls(shared: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut inherited = BTreeMap::new();
    for (path, value) in shared {
        if let Setting::Of(setting) = parse(path)
            && setting.interface == "default"
        {
            inherited.insert(setting.key(), value.clone());
        }
    }
    inherited
}

impl Network {
    /// Returns the value of a sysctl; `None` if it does not exist.
    pub(super) fn read_sysctl(&self, namespace: &NamespaceName, path: &str) -> Option<String> {
        let namespace = self.namespaces.get(namespace)?;
        let setting = match parse(path) {
            Setting::Global => {
                let default = GLOBAL.iter().find(|(name, _)| *name == path).map(|(_, value)| *value)?;
                return Some(namespace.sysctls.get(path).cloned().unwrap_or_else(|| default.to_owned()));
            }
            Setting::Of(setting) => setting,
        };
        let default = setting.default()?;
        let value = if setting.is_shared() {
            if setting.directory == "neigh" {
                return None;
            }
            namespace.sysctls.get(&setting.path())
        } else {
            let device = namespace.devices.values().find(|device| device.name.as_str() == setting.interface)?;
            if setting.family == "ipv6" && !device.knows_ipv6() {
                return None;
            }
            device.sysctls.get(&setting.key())
        };
        Some(value.cloned().unwrap_or_else(|| default.to_owned()))
    }

    pub(super) fn write_sysctl(&mut self, namespace: &NamespaceName, key: &SysctlKey, value: &str) -> Result<(), Errno> {
        let before = self.read_sysctl(namespace, key.path()).ok_or_else(|| Errno::new(libc::ENOENT))?;
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let number = |text: &str| text.parse::<i64>().is_ok();
        if before.split(' ').all(number) && !value.split(' ').all(number) {
            return Err(Errno::new(libc::EINVAL));
        }
        if value != "0" && self.has_duplicates(namespace, key) {
            return Err(Errno::new(libc::EBUSY));
        }
        match parse(key.path()) {
            Setting::Global => {
                let default = GLOBAL.iter().find(|(name, _)| *name == key.path()).map_or("", |(_, value)| *value);
                if let Some(namespace) = self.namespaces.get_mut(namespace) {
                    put(&mut namespace.sysctls, key.path().to_owned(), &value, default);
                }
            }
            Setting::Of(setting) if setting.is_shared() => self.write_shared(namespace, setting, &before, &value),
            Setting::Of(setting) => self.write_own(namespace, setting, &value),
        }
        Ok(())
    }

    /// Returns whether two links have a value that only one can have while the sysctl is on.
    fn has_duplicates(&self, namespace: &NamespaceName, key: &SysctlKey) -> bool {
        let devices = self.namespaces.get(namespace).into_iter().flat_map(|namespace| namespace.devices.values());
        let exclusive = devices.filter_map(|device| device.kind.exclusive());
        let mut values: Vec<u32> =
            exclusive.filter(|exclusive| exclusive.sysctl == key.to_string()).map(|exclusive| exclusive.value).collect();
        let number = values.len();
        values.sort_unstable();
        values.dedup();
        values.len() < number
    }

    fn write_shared(&mut self, namespace: &NamespaceName, setting: Interface<'_>, before: &str, value: &str) {
        self.set_shared(namespace, setting, value);
        match (setting.family, setting.interface, setting.name) {
            ("ipv4", "all", "forwarding") if before != value => {
                let on = value != "0";
                self.set_shared(namespace, Interface::conf("ipv4", "all", "accept_redirects"), if on { "0" } else { "1" });
                self.spread(namespace, setting, value);
            }
            ("ipv4", "default", "forwarding") => {}
            ("ipv4", "default", _) => self.follow_default(namespace, setting, value),
            ("ipv6", "all", name) if IPV6_SPREADING.contains(&name) => self.spread(namespace, setting, value),
            _ => {}
        }
    }

    fn set_shared(&mut self, namespace: &NamespaceName, setting: Interface<'_>, value: &str) {
        if let (Some(namespace), Some(default)) = (self.namespaces.get_mut(namespace), setting.default()) {
            put(&mut namespace.sysctls, setting.path(), value, default);
        }
    }

    /// Copies a sysctl of `all` to `default` and to every interface.
    fn spread(&mut self, namespace: &NamespaceName, setting: Interface<'_>, value: &str) {
        self.set_shared(namespace, Interface { interface: "default", ..setting }, value);
        for (place, name) in self.names(namespace) {
            let own = Interface { interface: &name, ..setting };
            self.set_own(&place, own, value);
        }
    }

    /// Copies an IPv4 sysctl of `default` to the interfaces where it was never written (`devinet_copy_dflt_conf`).
    fn follow_default(&mut self, namespace: &NamespaceName, setting: Interface<'_>, value: &str) {
        for (place, name) in self.names(namespace) {
            let follows = self.device(&place).is_some_and(|device| match &device.settled {
                Settled::All => false,
                Settled::Some(names) => !names.contains(setting.name),
            });
            if follows {
                self.set_own(&place, Interface { interface: &name, ..setting }, value);
            }
        }
    }

    fn names(&self, namespace: &NamespaceName) -> Vec<(Place, String)> {
        let devices = self.namespaces.get(namespace).map(|namespace| &namespace.devices);
        let name = |(index, device): (&u32, &Device)| (Place::new(namespace, *index), device.name.as_str().into_owned());
        devices.into_iter().flatten().map(name).collect()
    }

    fn write_own(&mut self, namespace: &NamespaceName, setting: Interface<'_>, value: &str) {
        let Some((place, _)) = self.names(namespace).into_iter().find(|(_, name)| name == setting.interface) else { return };
        if let Some(device) = self.device_mut(&place)
            && let Settled::Some(names) = &mut device.settled
            && setting.family == "ipv4"
            && setting.name != "forwarding"
        {
            names.insert(setting.name.to_owned());
        }
        self.set_own(&place, setting, value);
    }

    fn set_own(&mut self, place: &Place, setting: Interface<'_>, value: &str) {
        let (Some(device), Some(default)) = (self.device_mut(place), setting.default()) else { return };
        if setting.family == "ipv6" && !device.knows_ipv6() {
            return;
        }
        put(&mut device.sysctls, setting.key(), value, default);
        if (setting.family, setting.name) == ("ipv6", "disable_ipv6") {
            if value == "0" { self.enable_ipv6(place) } else { self.disable_ipv6(place) }
        }
    }

    /// Returns whether IPv6 is enabled on the link: its mtu is large enough, and `disable_ipv6` is not set.
    pub(super) fn has_ipv6(&self, place: &Place) -> bool {
        let Some(device) = self.device(place) else { return false };
        device.knows_ipv6() && device.sysctls.get("ipv6/conf/disable_ipv6").is_none_or(|value| value == "0")
    }

    /// Returns whether a secondary address becomes primary when the primary one is removed (`promote_secondaries`).
    pub(super) fn promotes_secondaries(&self, place: &Place) -> bool {
        let all = self.read_sysctl(&place.namespace, "net/ipv4/conf/all/promote_secondaries");
        let own = self.device(place).and_then(|device| device.sysctls.get("ipv4/conf/promote_secondaries"));
        all.is_some_and(|value| value != "0") || own.is_some_and(|value| value != "0")
    }
}
