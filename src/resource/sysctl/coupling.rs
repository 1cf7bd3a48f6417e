//! Sysctls that the kernel changes when another one is written.

use super::conf::Setting;
use super::{IP_FORWARD, Sysctl, SysctlKey};
use crate::name::LinkName;

/// IPv6 sysctls that the kernel copies from `all` to `default` and to every interface (net/ipv6/addrconf.c).
pub const IPV6_SPREADING: [&str; 5] =
    ["addr_gen_mode", "disable_ipv6", "force_forwarding", "forwarding", "ignore_routes_with_linkdown"];

/// The value of `addr_gen_mode` once a `stable_secret` is set (IN6_ADDR_GEN_MODE_STABLE_PRIVACY).
pub const STABLE_PRIVACY: &str = "2";

/// What the kernel writes to a sysctl when it changes its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The same value.
    Copy,
    /// 0 if the cause is on, otherwise 1.
    Opposite,
    /// [`STABLE_PRIVACY`].
    StablePrivacy,
}

impl Effect {
    /// Returns the value after the cause is set to `cause`.
    pub fn value(self, cause: &str) -> String {
        match self {
            Self::Copy => cause.to_owned(),
            Self::Opposite => if Sysctl::new(cause).is_on() { "0" } else { "1" }.to_owned(),
            Self::StablePrivacy => STABLE_PRIVACY.to_owned(),
        }
    }
}

impl SysctlKey {
    /// Returns the sysctls that the kernel changes this one with.
    ///
    /// IPv4 copies `default` only to interfaces whose sysctl was never written (`devinet_copy_dflt_conf`).
    pub fn causes(&self) -> Vec<(Self, Effect)> {
        let key = |path: String| Self(path);
        let forwarding = |effect| vec![(key(IP_FORWARD.to_owned()), effect)];
        match self.words().as_slice() {
            ["net", "ipv4", "conf", "all", "accept_redirects"] => forwarding(Effect::Opposite),
            ["net", _, "conf", "all", _] => Vec::new(),
            ["net", "ipv4", "conf", _, "forwarding"] => forwarding(Effect::Copy),
            ["net", "ipv4", "conf", whose, name] if *whose != "default" => {
                vec![(key(format!("net/ipv4/conf/default/{name}")), Effect::Copy)]
            }
            ["net", "ipv6", "conf", whose, name] if IPV6_SPREADING.contains(name) => {
                let mut causes = vec![(key(format!("net/ipv6/conf/all/{name}")), Effect::Copy)];
                if *name == "addr_gen_mode" && *whose != "default" {
                    for whose in ["default", whose] {
                        causes.push((key(format!("net/ipv6/conf/{whose}/stable_secret")), Effect::StablePrivacy));
                    }
                }
                causes
            }
            _ => Vec::new(),
        }
    }

    /// Returns the sysctls of the namespace that the kernel can change with this one, by [`Self::causes`], if these are its interfaces.
    pub fn effects(&self, links: impl Iterator<Item = LinkName>) -> Vec<Self> {
        let (families, name): (&[&str], &str) = match self.words().as_slice() {
            ["net", "ipv4", "ip_forward"] => (&["ipv4"], "forwarding"),
            ["net", "ipv4", "conf", "default", name] if *name != "forwarding" => (&["ipv4"], name),
            ["net", "ipv6", "conf", "all", name] if IPV6_SPREADING.contains(name) => (&["ipv6"], name),
            ["net", "ipv6", "conf", "default", "stable_secret"] => (&["ipv6"], "addr_gen_mode"),
            ["net", "ipv6", "conf", _, "stable_secret"] => return self.beside("addr_gen_mode").into_iter().collect(),
            _ => return Vec::new(),
        };
        let places = ["default".into()].into_iter().chain(links.map(|link| link.as_str().into_owned()));
        let own = places.flat_map(|place| families.iter().map(move |family| format!("net/{family}/conf/{place}/{name}")));
        let redirects = "net/ipv4/conf/all/accept_redirects".to_owned();
        let all = own.chain([redirects]).map(Self);
        all.filter(|key| key != self && key.causes().iter().any(|(cause, _)| cause == self)).collect()
    }

    /// Returns the sysctl of this name of the same interface.
    fn beside(&self, name: &str) -> Option<Self> {
        let (directory, _) = self.0.rsplit_once('/')?;
        Some(Self(format!("{directory}/{name}")))
    }

    /// Returns the setting of interfaces that the kernel sets to the same value on all of them.
    pub fn spreads(&self) -> Option<Setting> {
        let is_of_all = self.parts().is_some_and(|(_, place, _)| place == "all");
        Setting::of_key(self).filter(|setting| is_of_all && setting.spreads())
    }

    /// Returns the position among the sysctls of a namespace or of a link: causes are written before what they change.
    pub fn rank(&self) -> i64 {
        match self.words().as_slice() {
            ["net", "ipv4", "ip_forward"] => 0,
            ["net", _, "conf", "all", _] => 1,
            ["net", _, "conf", _, "stable_secret"] => 2,
            _ => 3,
        }
    }

    /// Returns whether it is for all interfaces, so that the kernel changes its effects with it whatever their values are.
    pub fn of_all(&self) -> bool {
        matches!(self.words().as_slice(), ["net", "ipv4", "ip_forward"] | ["net", _, "conf", "all", _])
    }

    /// Returns whether it can disable IPv6 on interfaces that exist.
    pub fn disables_ipv6(&self) -> bool {
        matches!(self.words().as_slice(), ["net", "ipv6", "conf", whose, "disable_ipv6"] if *whose != "default")
    }

    /// Returns the sysctl that disables IPv6 on an interface.
    pub fn disable_ipv6(link: LinkName) -> Self {
        Self(format!("net/ipv6/conf/{}/disable_ipv6", link.as_str()))
    }

    /// Returns the sysctl that disables IPv6 on new interfaces.
    pub fn disable_ipv6_by_default() -> Self {
        Self("net/ipv6/conf/default/disable_ipv6".to_owned())
    }

    /// Returns whether the kernel sets it to the link's mtu whenever that changes and whenever the link is set up (`addrconf_notify`).
    pub fn follows_mtu(&self) -> bool {
        matches!(self.words().as_slice(), ["net", "ipv6", "conf", _, "mtu"]) && self.link().is_some()
    }

    /// Returns the other names of the same sysctl, in another unit.
    pub fn aliases(&self) -> Vec<Self> {
        const OF_NEIGHBOURS: [[&str; 2]; 3] = [
            ["base_reachable_time", "base_reachable_time_ms"],
            ["retrans_time", "retrans_time_ms"],
            ["unres_qlen", "unres_qlen_bytes"],
        ];
        match self.words().as_slice() {
            ["net", family, "neigh", whose, name] => {
                let names = OF_NEIGHBOURS.into_iter().filter(|names| names.contains(name)).flatten();
                names.filter(|other| other != name).map(|other| Self(format!("net/{family}/neigh/{whose}/{other}"))).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SysctlKey {
        SysctlKey::of_namespace(text).unwrap()
    }

    /// The causes of a sysctl, each with what it makes of 1.
    fn causes(text: &str) -> Vec<String> {
        key(text).causes().into_iter().map(|(cause, effect)| format!("{cause} {}", effect.value("1"))).collect()
    }

    #[test]
    fn a_change_of_forwarding_changes_other_sysctls() {
        let copied = ["net.ipv4.ip_forward 1"];
        assert_eq!(causes("net.ipv4.conf.eth0.forwarding"), copied);
        assert_eq!(causes("net.ipv4.conf.default.forwarding"), copied);
        assert_eq!(causes("net.ipv4.conf.all.accept_redirects"), ["net.ipv4.ip_forward 0"]);
        assert_eq!(causes("net.ipv4.ip_forward"), [""; 0]);
        assert_eq!(["0", "0x0", "2"].map(|cause| Effect::Opposite.value(cause)), ["1", "1", "0"]);
    }

    #[test]
    fn effects_are_the_inverse_of_causes() {
        let effects = |text: &str| {
            let links = ["lo".parse().unwrap(), "eth0".parse().unwrap()];
            key(text).effects(links.into_iter()).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let ipv4 = ["default.forwarding", "lo.forwarding", "eth0.forwarding", "all.accept_redirects"];
        assert_eq!(effects("net.ipv4.ip_forward"), ipv4.map(|name| format!("net.ipv4.conf.{name}")));
        let ipv6 = ["default", "lo", "eth0"].map(|place| format!("net.ipv6.conf.{place}.disable_ipv6"));
        assert_eq!(effects("net.ipv6.conf.all.disable_ipv6"), ipv6);
        assert_eq!(
            effects("net.ipv4.conf.default.rp_filter"),
            ["lo", "eth0"].map(|place| format!("net.ipv4.conf.{place}.rp_filter"))
        );
        assert_eq!(effects("net.ipv6.conf.eth0.stable_secret"), ["net.ipv6.conf.eth0.addr_gen_mode"]);
        assert_eq!(effects("net.ipv4.conf.default.forwarding"), [""; 0]);
        assert_eq!(effects("net.ipv4.tcp_sack"), [""; 0]);
    }

    #[test]
    fn interfaces_follow_all_or_default() {
        assert_eq!(causes("net.ipv6.conf.default.disable_ipv6"), ["net.ipv6.conf.all.disable_ipv6 1"]);
        assert_eq!(causes("net.ipv4.conf.eth0.rp_filter"), ["net.ipv4.conf.default.rp_filter 1"]);
        assert_eq!(causes("net.ipv6.conf.eth0.accept_ra"), [""; 0]);
        assert_eq!(
            causes("net.ipv6.conf.eth0.addr_gen_mode"),
            ["net.ipv6.conf.all.addr_gen_mode 1", "net.ipv6.conf.default.stable_secret 2", "net.ipv6.conf.eth0.stable_secret 2"]
        );
    }

    #[test]
    fn causes_are_written_first() {
        let keys = [
            "net.ipv4.conf.all.accept_redirects",
            "net.ipv4.conf.all.forwarding",
            "net.ipv4.conf.default.forwarding",
            "net.ipv6.conf.eth0.addr_gen_mode",
            "net.ipv6.conf.default.stable_secret",
            "net.ipv6.conf.eth0.stable_secret",
        ];
        for text in keys {
            assert!(key(text).causes().iter().all(|(cause, _)| cause.rank() < key(text).rank()), "{text}");
        }
    }

    #[test]
    fn other_names_are_known() {
        let aliases = |text: &str| key(text).aliases().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(aliases("net.ipv6.neigh.eth0.retrans_time_ms"), ["net.ipv6.neigh.eth0.retrans_time"]);
        assert_eq!(aliases("net.ipv4.conf.eth0.forwarding"), [""; 0]);
    }
}
