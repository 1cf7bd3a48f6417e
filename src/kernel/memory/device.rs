//! A link as the kernel keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::name::{LinkName, NamespaceName};
use crate::resource::address::Address;
use crate::resource::link::rules::Flags;
use crate::resource::link::{Kind, Link, LinkSettings, Queues};
use crate::state::Ifindex;
use crate::value::{InterfaceAddress, Mac};

/// The smallest mtu on which IPv6 lives (IPV6_MIN_MTU).
pub(super) const IPV6_MTU: u32 = 1280;
/// The number of `lo` in every namespace.
pub(super) const LOOPBACK: Ifindex = 1;

/// Where a link is: its namespace, and its number there, which it keeps for life.
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

/// An address that an interface was given.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    pub(super) address: InterfaceAddress,
    pub(super) attributes: Address,
    /// Not the first of its IPv4 subnet (IFA_F_SECONDARY).
    pub(super) secondary: bool,
    /// Who gave it (IFA_PROTO).
    pub(super) protocol: u8,
}

impl Given {
    /// The address that the connected route is made of (IFA_ADDRESS).
    pub(super) fn far_end(&self) -> IpAddr {
        self.attributes.peer.unwrap_or(self.address.ip())
    }
}

/// A link. What it stands on is named by place; the kind's own reference is empty.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Device {
    pub(super) name: LinkName,
    /// With all options set.
    pub(super) kind: Kind,
    /// The link below, or the other end of a pair (IFLA_LINK).
    pub(super) below: Option<Place>,
    /// The namespace that its own packets travel in.
    pub(super) underlay: Option<NamespaceName>,
    pub(super) master: Option<Ifindex>,
    pub(super) mac: Mac,
    pub(super) mtu: u32,
    /// Whether the mtu of a link that follows its ports' was set while it lived, so that it no longer does (BROPT_MTU_SET_BY_USER).
    pub(super) mtu_set: bool,
    pub(super) up: bool,
    /// The settings that the kernel does no more than keep; those above and below are open here.
    pub(super) kept: LinkSettings,
    pub(super) altnames: BTreeSet<String>,
    pub(super) queues: Queues,
    pub(super) group: u32,
    pub(super) alias: String,
    /// In the order in which the kernel keeps IPv4 addresses; IPv6 ones in the order in which they were given.
    pub(super) addresses: Vec<Given>,
    /// Settings that differ from what the kernel gives, by `family/directory/name`.
    pub(super) sysctls: BTreeMap<String, String>,
    /// IPv4 settings that no longer follow `conf.default`.
    pub(super) settled: Settled,
}

/// Which IPv4 settings of an interface are its own, so that writing `conf.default` does not change them (`struct ipv4_devconf`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// These.
    Some(BTreeSet<String>),
    /// All: the interface has had an IPv4 address.
    All,
}

/// Takes from a kind what a device keeps elsewhere, and brings the rest into the form in which the kernel reports it.
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
    /// A link of that kind as the kernel sets it up when nothing is said, over a parent with those flags.
    pub(super) fn new(name: LinkName, kind: &Kind, mac: Mac, mtu: u32, parent: Flags) -> Self {
        let settings = LinkSettings::of_new(kind, parent);
        let mut kind = kind.complete();
        strip(&mut kind);
        let mut device = Self {
            name,
            kind,
            below: None,
            underlay: None,
            master: None,
            mac,
            mtu,
            mtu_set: false,
            up: false,
            kept: LinkSettings::default(),
            altnames: BTreeSet::new(),
            queues: Queues { transmit: 1, receive: 1 },
            group: 0,
            alias: String::new(),
            addresses: Vec::new(),
            sysctls: BTreeMap::new(),
            settled: Settled::Some(BTreeSet::new()),
        };
        device.keep(&settings);
        device
    }

    /// Takes the settings that are no more than kept.
    pub(super) fn keep(&mut self, settings: &LinkSettings) {
        let kept = settings.or(&self.kept);
        self.kept = LinkSettings { mac: None, mtu: None, up: None, altnames: None, master: None, ..kept };
    }

    /// All settings; `master` is the name of the link's master.
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

    /// `lo` of a namespace that is in use.
    pub(super) fn loopback() -> Self {
        let Link { kind, settings, .. } = Link::new_loopback();
        let mut device = Self::new(LinkName::LOOPBACK, &kind, Mac([0; 6]), 65536, Flags::default());
        device.keep(&settings);
        Self { up: true, settled: Settled::All, ..device }
    }

    pub(super) fn is_loopback(&self) -> bool {
        self.kind.is_loopback()
    }

    /// Whether IPv6 keeps a record of the link at all, with settings under /proc/sys.
    pub(super) fn knows_ipv6(&self) -> bool {
        self.mtu >= IPV6_MTU
    }

    /// Whether the link stands on another one, and dies with it. The ends of a pair stand side by side.
    pub(super) fn stands_on(&self, place: &Place) -> bool {
        self.below.as_ref() == Some(place) && !self.kind.is_pair()
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.name.as_str() == name || self.altnames.contains(name)
    }

    pub(super) fn has_ipv4(&self) -> bool {
        self.is_loopback() || self.addresses.iter().any(|given| given.address.ip().is_ipv4())
    }
}
