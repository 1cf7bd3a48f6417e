//! What objects need to exist, and what of it is lost during a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::name::{LinkName, NamespaceName};

/// A condition for the existence of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// The interface exists.
    Link(LinkName),
    /// The interface exists and is up.
    Up(LinkName),
    /// The interface exists, is up, and has an IPv4 address. The kernel removes IPv4 routes with the last address.
    Inet(LinkName),
    /// The interface exists, is up, and has IPv6.
    Inet6(LinkName),
    /// The interface keeps its hardware address and its use of ARP.
    Hardware(LinkName),
    /// The interface has a carrier.
    Carrier(LinkName),
    /// The namespace has this address, which is the source of packets.
    Source(IpAddr),
}

impl Need {
    /// Returns the interface.
    pub fn link(&self) -> Option<LinkName> {
        match self {
            Self::Link(link)
            | Self::Up(link)
            | Self::Inet(link)
            | Self::Inet6(link)
            | Self::Hardware(link)
            | Self::Carrier(link) => Some(*link),
            Self::Source(_) => None,
        }
    }
}

/// The loss of a link, permanent or temporary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkLoss {
    /// The link is deleted.
    Deleted,
    /// The link is replaced.
    Replaced,
    /// The link goes down.
    Down,
    /// The kernel sets the link down and up again, because it joins or leaves a VRF.
    Restarted,
}

/// The links and addresses of one namespace that are lost during the plan, at least temporarily.
#[derive(Debug, Clone, Default)]
pub struct Losses {
    /// The namespace, for reasons.
    pub namespace: Option<NamespaceName>,
    /// Links that are deleted, replaced or set down.
    pub links: BTreeMap<LinkName, LinkLoss>,
    /// Links that lose their last IPv4 address.
    pub without_inet: BTreeSet<LinkName>,
    /// Links whose hardware address or use of ARP changes.
    pub readdressed: BTreeSet<LinkName>,
    /// Links that lose their carrier.
    pub without_carrier: BTreeSet<LinkName>,
    /// Local addresses that are removed.
    pub sources: BTreeSet<IpAddr>,
}

impl Losses {
    /// Returns empty losses of this namespace.
    pub fn of_namespace(namespace: &NamespaceName) -> Self {
        Self { namespace: Some(namespace.clone()), ..Self::default() }
    }

    /// Returns whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        let Self { namespace: _, links, without_inet, readdressed, without_carrier, sources } = self;
        let of_links = [without_inet, readdressed, without_carrier];
        links.is_empty() && of_links.iter().all(|links| links.is_empty()) && sources.is_empty()
    }

    fn full_name(&self, link: LinkName) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}:{link}"),
            None => link.to_string(),
        }
    }

    /// Returns the loss of the link as a phrase.
    pub fn reason(&self, link: LinkName) -> Option<String> {
        let name = self.full_name(link);
        self.links.get(&link).map(|loss| match loss {
            LinkLoss::Deleted => format!("`{name}` is deleted"),
            LinkLoss::Replaced => format!("`{name}` is replaced"),
            LinkLoss::Down => format!("`{name}` goes down"),
            LinkLoss::Restarted => format!("the kernel restarts `{name}`"),
        })
    }

    /// Returns whether the link is deleted or replaced.
    pub fn is_gone(&self, link: LinkName) -> bool {
        matches!(self.links.get(&link), Some(LinkLoss::Deleted | LinkLoss::Replaced))
    }

    /// Returns the reason if a need is not met during the plan.
    pub fn of(&self, need: &Need) -> Option<String> {
        match need {
            Need::Link(link) => self.reason(*link).filter(|_| self.is_gone(*link)),
            Need::Up(link) | Need::Inet6(link) => self.reason(*link),
            Need::Inet(link) => {
                let lost = || self.without_inet.contains(link).then(|| self.full_name(*link));
                self.reason(*link).or_else(|| Some(format!("the IPv4 addresses of `{}` change", lost()?)))
            }
            Need::Hardware(link) => {
                let changes = self.readdressed.contains(link);
                changes.then(|| format!("the hardware address of `{}`, or its use of ARP, may change", self.full_name(*link)))
            }
            Need::Carrier(link) => {
                let lost = self.without_carrier.contains(link);
                lost.then(|| format!("`{}` loses its carrier", self.full_name(*link)))
            }
            Need::Source(ip) => self.sources.contains(ip).then(|| format!("its source address {ip} changes")),
        }
    }
}
