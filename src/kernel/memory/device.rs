//! A link as the kernel keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::name::{LinkName, NamespaceName};
use crate::resource::address::Address;
use crate::resource::link::rules::Flags;
use crate::resource::link::{Kind, LEAST_IPV6_MTU, Link, LinkSettings, Port, Queues};
use crate::resource::route::Scope;
use crate::state::Ifindex;
use crate::value::{InterfaceAddress, Mac};

/// The index of `lo` in every namespace.
pub(super) const LOOPBACK: Ifindex = 1;

/// The namespace and the index of a link. They do not change while the link exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) namespace: NamespaceName,
    pub(super) index: Ifindex,
}

impl Place {
    pub(super) fn new(namespace: &NamespaceName, index: Ifindex) -> Self {
        Self { namespace: namespace.clone(), index }
    }
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub(super) address: InterfaceAddress,
    pub(super) attributes: Address,
    /// Whether it is not the first address of its IPv4 subnet (IFA_F_SECONDARY).
    pub(super) secondary: bool,
    /// The protocol that added it (IFA_PROTO).
    pub(super) protocol: u8,
}

impl Given {
    /// Returns the address that the connected route leads to (IFA_ADDRESS): the peer, or the address itself.
    pub(super) fn far_end(&self) -> IpAddr {
        self.attributes.peer.unwrap_or(self.address.ip())
    }
}

/// A link. `below` identifies its parent; the reference in `kind` is empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Device {
    pub(super) name: LinkName,
    /// With all options set.
    pub(super) kind: Kind,
    /// The parent, or the other end of a pair (IFLA_LINK).
    pub(super) below: Option<Place>,
    /// The namespace of its own packets.
    pub(super) underlay: Option<NamespaceName>,
    pub(super) master: Option<Ifindex>,
    /// Its options as a port, all of them set. The port that they refer to is in `port_reference`.
    pub(super) port: Option<Port>,
    pub(super) port_reference: Option<Ifindex>,
    pub(super) mac: Mac,
    pub(super) mtu: u32,
    /// Whether the mtu of the existing master was set, so that it no longer follows its ports (BROPT_MTU_SET_BY_USER).
    pub(super) mtu_set: bool,
    pub(super) up: bool,
    /// The settings without side effects. The other settings have fields of their own, and are not set here.
    pub(super) kept: LinkSettings,
    pub(super) altnames: BTreeSet<String>,
    pub(super) queues: Queues,
    pub(super) group: u32,
    pub(super) alias: String,
    /// IPv4 addresses in the kernel's order, and IPv6 addresses in the order of addition.
    pub(super) addresses: Vec<Given>,
    /// Sysctls that differ from the kernel's defaults, by `family/directory/name`.
    pub(super) sysctls: BTreeMap<String, String>,
    /// IPv4 sysctls that no longer follow `conf.default`.
    pub(super) settled: Settled,
}

/// The IPv4 sysctls of an interface that a write to `conf.default` does not change (`struct ipv4_devconf`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// These.
    Some(BTreeSet<String>),
    /// All: the interface has had an IPv4 address.
    All,
}

/// Removes the references that a device stores elsewhere from a kind, and normalises the options to the form that the kernel reports.
pub(super) fn strip(kind: &mut Kind) {
    if let Some(slot) = kind.parent_slot() {
        *slot = None;
    }
    if let Some(slot) = kind.underlay_slot() {
        *slot = None;
    }
    kind.set_ports(Vec::new());
    kind.normalise();
}

impl Device {
    /// Returns a link with the kernel's defaults. `parent` contains the flags of its parent.
    pub(super) fn new(name: LinkName, kind: &Kind, mac: Mac, mtu: u32, parent: Flags) -> Self {
        let settings = LinkSettings::of_new(kind, parent);
        let queues = kind.default_queues().unwrap_or(Queues::ONE);
        let mut kind = kind.complete();
        strip(&mut kind);
        let mut device = Self {
            name,
            kind,
            below: None,
            underlay: None,
            master: None,
            port: None,
            port_reference: None,
            mac,
            mtu,
            mtu_set: false,
            up: false,
            kept: LinkSettings::default(),
            altnames: BTreeSet::new(),
            queues,
            group: 0,
            alias: String::new(),
            addresses: Vec::new(),
            sysctls: BTreeMap::new(),
            settled: Settled::Some(BTreeSet::new()),
        };
        device.keep(&settings);
        device
    }

    /// Stores the settings that have no side effects.
    pub(super) fn keep(&mut self, settings: &LinkSettings) {
        let kept = settings.or(&self.kept);
        self.kept = LinkSettings { mac: None, mtu: None, up: None, altnames: None, master: None, ..kept };
    }

    /// Returns all settings. `master` is the name of the link's master.
    pub(super) fn settings(&self, master: Option<LinkName>) -> LinkSettings {
        LinkSettings {
            mac: Some(self.mac),
            mtu: Some(self.mtu),
            up: Some(self.up),
            altnames: Some(self.altnames.clone()),
            master,
            ..self.kept.clone()
        }
    }

    pub(super) fn flags(&self) -> Flags {
        Flags { arp: self.kept.arp, multicast: self.kept.multicast }
    }

    /// Returns `lo` of a new namespace.
    pub(super) fn loopback() -> Self {
        let Link { kind, settings, .. } = Link::new_loopback();
        let mut device = Self::new(LinkName::LOOPBACK, &kind, Mac([0; 6]), 65536, Flags::default());
        device.keep(&settings);
        let mut device = Self { up: true, settled: Settled::All, ..device };
        device.add_addresses_of_loopback(true);
        device
    }

    /// Adds the addresses that the kernel assigns to `lo` when it comes up; 127.0.0.1 only if `lo` has no IPv4 address (`inetdev_event`).
    pub(super) fn add_addresses_of_loopback(&mut self, with_ipv6: bool) {
        let has_ipv4 = self.addresses.iter().any(|given| given.address.ip().is_ipv4());
        let has_ipv6 = self.addresses.iter().any(|given| given.address.ip() == Ipv6Addr::LOCALHOST);
        let own = [(Ipv4Addr::LOCALHOST.into(), 8, has_ipv4), (Ipv6Addr::LOCALHOST.into(), 128, has_ipv6 || !with_ipv6)];
        let missing = own.into_iter().filter(|(.., present)| !present);
        self.addresses.extend(missing.filter_map(|(ip, length, _)| {
            let attributes = Address { scope: Some(Scope::Host), automatic: true, ..Address::default() };
            let address = InterfaceAddress(IpNet::new(ip, length).ok()?);
            Some(Given { address, attributes, secondary: false, protocol: 1 })
        }));
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.kind.is_loopback()
    }

    /// Removes its master, and with it the options as a port.
    pub(super) fn leave_master(&mut self) {
        (self.master, self.port, self.port_reference) = (None, None, None);
    }

    /// Returns whether the link has an IPv6 state at all (`struct inet6_dev`), with sysctls.
    pub(super) fn knows_ipv6(&self) -> bool {
        self.mtu >= LEAST_IPV6_MTU
    }

    /// Returns whether the other link is the parent. The ends of a pair are not each other's parents.
    pub(super) fn is_on(&self, place: &Place) -> bool {
        self.below.as_ref() == Some(place) && !self.kind.is_pair()
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.name.as_str() == name || self.altnames.contains(name)
    }

    pub(super) fn has_ipv4(&self) -> bool {
        self.is_loopback() || self.addresses.iter().any(|given| given.address.ip().is_ipv4())
    }
}
