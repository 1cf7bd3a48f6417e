//! Removes from a live link what the kernel gives a new link of its kind by itself.

use super::common::{Inherited, Link};
use super::port::Port;
use super::rules::{Addressing, Flags};
use super::settings::LinkSettings;

impl Link {
    /// Returns the link with only those settings and options that a lab file needs to make it. `inherited` and the flags of its `parent` are
    /// what it gets from other links; `keeps_mac` tells whether somebody chose its hardware address.
    #[must_use]
    pub fn plain(&self, inherited: Inherited, parent: Flags, keeps_mac: bool) -> Self {
        let usual = match self.kind.is_loopback() {
            true => Self::new_loopback().settings,
            false => LinkSettings { mtu: inherited.mtu, ..LinkSettings::of_new(&self.kind, parent) },
        };
        let mut settings = self.settings.difference(&usual);
        if !keeps_mac || matches!(self.kind.addressing(), Addressing::Parents(_)) {
            settings.mac = None;
        }
        if self.kind.decides_arp().is_some() {
            settings.arp = None;
        }
        Self { kind: self.kind.plain(), settings, port: self.plain_port(inherited), queues: self.queues, ..self.clone() }
    }

    fn plain_port(&self, inherited: Inherited) -> Option<Port> {
        let port = self.port.as_ref()?;
        let mut usual = port.only(&[]);
        usual.inherit(inherited.path_cost);
        port.difference(&usual.complete())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::link::Kind;

    /// A link as the kernel reports a new one with these settings.
    fn live(kind: &Kind, settings: &LinkSettings) -> Link {
        let usual = LinkSettings {
            mac: Some("02:00:00:00:00:01".parse().unwrap()),
            mtu: Some(1500),
            ..LinkSettings::of_new(kind, Flags::ETHERNET)
        };
        Link { settings: settings.or(&usual), ..Link::new(kind.complete()) }
    }

    #[test]
    fn a_new_link_of_any_kind_needs_no_settings() {
        for kind in Kind::registered() {
            let inherited = Inherited { mtu: Some(1500), path_cost: None };
            let plain = live(&kind, &LinkSettings::default()).plain(inherited, Flags::ETHERNET, false);
            assert_eq!(plain.settings, LinkSettings::default(), "{}", kind.name());
            assert_eq!(plain.kind, kind);
        }
    }

    #[test]
    fn what_differs_from_a_new_link_stays() {
        let given = LinkSettings { mtu: Some(9000), up: Some(false), ..LinkSettings::default() };
        for kind in Kind::registered() {
            let plain = live(&kind, &given).plain(Inherited::default(), Flags::ETHERNET, false);
            assert_eq!(plain.settings, given);
        }
    }
}
