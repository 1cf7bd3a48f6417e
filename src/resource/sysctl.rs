//! A kernel setting under /proc/sys/net, sysctl(8), of a namespace or of one of its interfaces.
//!
//! ```yaml
//! sysctls: { net.ipv4.ip_forward: 1 }                      # of a namespace
//! eth0: { sysctls: { ipv4.rp_filter: 0, ipv6.accept_ra: 0 } }  # of an interface: net.ipv4.conf.eth0.rp_filter
//! ```

pub mod changed;
pub mod conf;
mod coupling;
mod scope;
mod value;

pub use coupling::{Effect, IPV6_SPREADING};
pub use scope::Scope;
pub use value::Sysctl;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::iproute2::Command;
use crate::name::{LinkName, NamespaceName};

/// The name of the one value in the kernel that has two names: `net.ipv4.conf.all.forwarding` is `net.ipv4.ip_forward`.
const IP_FORWARD: &str = "net/ipv4/ip_forward";
const ALL_FORWARDING: &str = "net/ipv4/conf/all/forwarding";

/// The path of a setting below /proc/sys, with slashes, since names of interfaces may hold dots. Two names of the same value are one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SysctlKey(String);

/// Why a text names no setting that topo may touch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SysctlError {
    /// Only the network's settings belong to a namespace.
    #[error("only settings below `net.` belong to a network namespace")]
    NotNetwork,
    /// Characters that could leave the directory.
    #[error("a setting is written as words joined by dots, such as `net.ipv4.ip_forward`")]
    Syntax,
    /// An interface's setting must say which family's it is.
    #[error("a setting of an interface is written with its family: `ipv4.{0}` or `ipv6.{0}`")]
    Family(String),
}

impl SysctlKey {
    /// A setting of a namespace: `net.ipv4.ip_forward`, or with slashes.
    ///
    /// # Errors
    /// When it is not below `net.` or could leave its directory.
    pub fn of_namespace(text: &str) -> Result<Self, SysctlError> {
        // As in sysctl(8), whichever of the two comes first is the separator, and the other then stands for itself.
        let slashes = text.find(['.', '/']).is_some_and(|at| text.as_bytes()[at] == b'/');
        let path: String = if slashes { text.to_owned() } else { text.chars().map(swap).collect() };
        if !path.starts_with("net/") {
            return Err(SysctlError::NotNetwork);
        }
        Self::checked(path)
    }

    /// A setting of an interface, by family and name: `ipv4.rp_filter`, `ipv6.accept_ra`, `ipv4.neigh.gc_stale_time`, `mpls.input`.
    ///
    /// # Errors
    /// When no family is named, or the name could leave its directory.
    pub fn of_link(link: LinkName, text: &str) -> Result<Self, SysctlError> {
        let mut words: Vec<&str> = text.split('.').collect();
        if words.first() == Some(&"net") {
            words.remove(0);
        }
        let (family, rest) = match words.split_first() {
            Some((&family @ ("ipv4" | "ipv6" | "mpls"), rest)) if !rest.is_empty() => (family, rest),
            _ => return Err(SysctlError::Family(text.chars().take(60).collect())),
        };
        let (directory, rest) = match rest {
            ["neigh", rest @ ..] => ("neigh", rest),
            ["conf", rest @ ..] | rest => ("conf", rest),
        };
        let [name] = rest else { return Err(SysctlError::Syntax) };
        Self::checked(format!("net/{family}/{directory}/{}/{name}", link.as_str()))
    }

    fn checked(path: String) -> Result<Self, SysctlError> {
        let word = |word: &str| {
            !word.is_empty()
                && !word.starts_with('.')
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if path.len() <= 200 && path.split('/').all(word) { Ok(Self::of_path(path)) } else { Err(SysctlError::Syntax) }
    }

    fn of_path(path: String) -> Self {
        Self(if path == ALL_FORWARDING { IP_FORWARD.to_owned() } else { path })
    }

    /// Returns the key that sorts before all others, for searches.
    pub fn lowest() -> Self {
        Self(String::new())
    }

    /// The parts of the path.
    fn words(&self) -> Vec<&str> {
        self.0.split('/').collect()
    }

    /// The path below /proc/sys.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The command that writes it.
    pub fn say(&self, namespace: &NamespaceName, value: &str) -> Command {
        Command::sysctl(namespace, &self.0, value)
    }

    /// The interface that the setting belongs to, if it belongs to one: `all` and `default` stand for all of them.
    pub fn link(&self) -> Option<LinkName> {
        match self.parts()? {
            ("net/ipv4/conf" | "net/ipv4/neigh" | "net/ipv6/conf" | "net/ipv6/neigh" | "net/mpls/conf", link, _)
                if !matches!(link, "all" | "default") =>
            {
                link.parse().ok()
            }
            _ => None,
        }
    }

    /// For a setting of an interface: its name as an interface lists it, such as `ipv4.rp_filter`; the inverse of [`Self::of_link`].
    pub fn name_in_link(&self) -> Option<String> {
        let link = self.link()?;
        let (directory, _, name) = self.parts()?;
        let (family, sort) = directory.strip_prefix("net/")?.split_once('/')?;
        let text = if sort == "neigh" { format!("{family}.neigh.{name}") } else { format!("{family}.{name}") };
        Self::of_link(link, &text).is_ok_and(|key| key == *self).then_some(text)
    }

    /// For a setting in `conf/default`: the same setting of the interface `link`.
    pub fn for_link(&self, link: LinkName) -> Option<Self> {
        match self.parts()? {
            (directory @ ("net/ipv4/conf" | "net/ipv4/neigh" | "net/ipv6/conf" | "net/ipv6/neigh"), "default", name) => {
                Some(Self([directory, "/", &link.as_str(), "/", name].concat()))
            }
            _ => None,
        }
    }

    /// For a setting of an interface: that of the interface with the name that `now` returns.
    #[must_use]
    pub fn renamed(self, now: impl Fn(LinkName) -> LinkName) -> Self {
        match (self.link(), self.parts()) {
            (Some(link), Some((directory, _, name))) => Self([directory, "/", &now(link).as_str(), "/", name].concat()),
            _ => self,
        }
    }

    /// The path as directory, last but one and last word.
    fn parts(&self) -> Option<(&str, &str, &str)> {
        let path = if self.0 == IP_FORWARD { ALL_FORWARDING } else { &self.0 };
        let (rest, name) = path.rsplit_once('/')?;
        let (directory, link) = rest.rsplit_once('/')?;
        Some((directory, link, name))
    }

    /// For a setting of an interface: the one in `default` that interfaces are born with.
    pub fn of_default(&self) -> Option<Self> {
        let link = self.link()?;
        Some(Self(self.0.replacen(&format!("/{}/", link.as_str()), "/default/", 1)))
    }
}

impl TryFrom<String> for SysctlKey {
    type Error = SysctlError;
    fn try_from(text: String) -> Result<Self, SysctlError> {
        Self::of_namespace(&text)
    }
}

impl From<SysctlKey> for String {
    fn from(key: SysctlKey) -> String {
        key.to_string()
    }
}

fn swap(character: char) -> char {
    match character {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

impl fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.chars().map(swap).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_interface_names_stay_in_the_name() {
        let link: LinkName = "eth0.10".parse().unwrap();
        let key = SysctlKey::of_link(link, "ipv4.rp_filter").unwrap();
        assert_eq!(key.path(), "net/ipv4/conf/eth0.10/rp_filter");
        assert_eq!(key.to_string(), "net.ipv4.conf.eth0/10.rp_filter");
        assert_eq!(SysctlKey::of_namespace(&key.to_string()).unwrap(), key);
        assert_eq!(key.link(), Some(link));
        assert_eq!(key.of_default().unwrap().path(), "net/ipv4/conf/default/rp_filter");
    }

    #[test]
    fn two_names_of_a_value_are_one_key() {
        let key = |text: &str| SysctlKey::of_namespace(text).unwrap();
        assert_eq!(key("net.ipv4.conf.all.forwarding"), key("net.ipv4.ip_forward"));
        assert_eq!(key("net/ipv4/conf/all/forwarding").to_string(), "net.ipv4.ip_forward");
        assert_ne!(key("net.ipv6.conf.all.forwarding"), key("net.ipv4.ip_forward"));
    }

    #[test]
    fn nothing_outside_of_the_network_can_be_named() {
        for text in ["kernel.hostname", "net", "net..x", "net./etc", "net.ipv4.../x", "net/../kernel/x", "net.a b", "net.a\n"] {
            assert!(SysctlKey::of_namespace(text).is_err(), "{text}");
        }
        assert!(SysctlKey::of_link("eth0".parse().unwrap(), "rp_filter").is_err());
        assert!(SysctlKey::of_link("eth0".parse().unwrap(), "ipv4.../../x").is_err());
    }
}
