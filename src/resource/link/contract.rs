//! The contract that each kind's file fulfils beyond its table of options: the kernel's rules for links of that kind. The desired
//! state is checked by it, and the kernel in memory enforces it.
//!
//! A kind knows its own options, and of other links the name of their kind. It does not know other links' names or numbers.

use std::ops::RangeInclusive;

use super::pattern::PortPattern;
use super::rules::{Addressing, Cause, Flags, Identity, MtuAround, MtuBound, ParentRule, Refusal, Sole};
use crate::name::{LinkId, LinkRef, NamespaceName};

/// The mtu of an Ethernet device.
pub const ETHERNET_MTU: u32 = 1500;

/// The kernel's rules for one kind of link. Each has a default that suits an Ethernet device without parent and ports.
pub trait LinkKind {
    // The link below it.

    /// Whether it has a parent.
    fn parent_rule(&self) -> ParentRule {
        ParentRule::Never
    }

    /// The parent, or the other end of a pair (IFLA_LINK).
    fn parent(&self) -> Option<&LinkRef> {
        None
    }

    /// Where `parent` is kept, for a kind that has one.
    fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
        None
    }

    /// The attribute of IFLA_INFO_DATA that holds the parent's number, for a kind that does not take it from IFLA_LINK.
    fn parent_attribute(&self) -> Option<u16> {
        None
    }

    /// Why a link of the kind with that name cannot be the parent.
    fn refuses_parent(&self, parent: &str) -> Option<Refusal> {
        let _ = parent;
        None
    }

    /// Whether the kernel does not report which namespace its parent is in (IFLA_LINK_NETNSID), so that a lab can only use one in the
    /// same namespace.
    fn hides_parents_namespace(&self) -> bool {
        false
    }

    /// Whether the kernel puts it on the parent's own parent when the parent is of the kind with that name.
    fn replaces_parent(&self, parent: &str) -> bool {
        let _ = parent;
        false
    }

    /// Whether the kernel brings it up and down with its parent. It cannot be up while its parent is down (ENETDOWN).
    fn follows_parent(&self) -> bool {
        false
    }

    /// Whether it is one end of a pair: both are made by one message, and neither can be without the other.
    fn is_pair(&self) -> bool {
        false
    }

    // The links beside it.

    /// What no other link of the kind may have in common with it.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Why it must be the only one of its kind on its parent, if it must.
    fn sole(&self) -> Option<Sole> {
        None
    }

    /// The options that the kernel keeps once for all links on one parent with this receive handler. The one that is set last counts.
    fn shared_options(&self) -> &'static [&'static str] {
        &[]
    }

    /// The receive handler that it installs on its parent or on each of its ports. A link has one at most (EBUSY); upper links
    /// with a handler of the same name share it.
    fn receive_handler(&self) -> Option<&'static str> {
        None
    }

    /// Whether an IP address can be on only one of the links on one parent with this receive handler (EADDRINUSE).
    fn has_exclusive_addresses(&self) -> bool {
        false
    }

    /// Where its hardware address comes from.
    fn addressing(&self) -> Addressing {
        Addressing::Own
    }

    // The namespace below it.

    /// Whether it sends packets of its own, which travel in the namespace that it was made from.
    fn has_underlay(&self) -> bool {
        false
    }

    /// That namespace.
    fn underlay(&self) -> Option<&NamespaceName> {
        None
    }

    /// Where `underlay` is kept, for a kind that has one.
    fn underlay_slot(&mut self) -> Option<&mut Option<NamespaceName>> {
        None
    }

    // Its ports.

    /// How many other links can be its ports (IFLA_MASTER).
    fn most_ports(&self) -> usize {
        0
    }

    /// The ports as the file lists them.
    fn ports(&self) -> &[PortPattern] {
        &[]
    }

    /// Sets the list of ports. A state has none: there each port knows its master.
    fn set_ports(&mut self, ports: Vec<PortPattern>) {
        drop(ports);
    }

    /// Why a link of the kind with that name cannot be a port.
    fn refuses_port(&self, port: &str) -> Option<Refusal> {
        let _ = port;
        None
    }

    /// The options that a link with many ports is better born with, if they differ from its own. It gets its own once its ports
    /// are there; until then nobody may miss what they do.
    fn while_ports_join(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    // Its mtu.

    /// The smallest and the largest mtu in bytes (`min_mtu`, `max_mtu`).
    fn mtu_limits(&self) -> RangeInclusive<u32> {
        68..=65535
    }

    /// How a parent with that mtu bounds its own.
    fn mtu_bound(&self, parent: u32) -> Option<MtuBound> {
        let _ = parent;
        None
    }

    /// Whether it takes the smallest mtu of its ports until it is given one while it lives.
    fn follows_ports_mtu(&self) -> bool {
        false
    }

    /// Whether it takes its parent's mtu, as a new link and whenever the parent's changes. In between it can have another one.
    fn follows_parents_mtu(&self) -> bool {
        false
    }

    /// The mtu that the kernel gives a new link; `None` when it cannot be told.
    fn default_mtu(&self, around: MtuAround) -> Option<u32> {
        match (self.parent_rule(), around.parent) {
            (_, Some(parent)) if self.follows_parents_mtu() => Some(parent),
            (ParentRule::Optional | ParentRule::Required, Some(parent)) => {
                Some(self.mtu_bound(parent).map_or(ETHERNET_MTU, |bound| bound.most))
            }
            (ParentRule::Required, None) => None,
            (ParentRule::Optional, None) if self.parent().is_some() => None,
            (_, _) => around.smallest_port.filter(|_| self.follows_ports_mtu()).or(Some(ETHERNET_MTU)),
        }
    }

    // The rest.

    /// The flags that a new link has. `parent` are those of its parent, where they are known.
    fn default_flags(&self, parent: Flags) -> Flags {
        let _ = parent;
        Flags::ETHERNET
    }

    /// The option by which the kernel turns ARP on and off, so that a lab cannot set `arp`.
    fn decides_arp(&self) -> Option<&'static str> {
        None
    }

    /// The length of the transmit queue of a new link, in packets.
    fn default_txqueuelen(&self) -> u32 {
        1000
    }

    /// Whether messages make and delete it; otherwise that is EOPNOTSUPP.
    fn can_be_made(&self) -> bool {
        true
    }

    /// What the kernel answers to a change of an option that it fixed at creation.
    fn refused_change(&self) -> Cause {
        Cause::Unsupported
    }

    // What follows from the above.

    /// The other end, when this is one end of a pair.
    fn peer(&self) -> Option<&LinkRef> {
        self.parent().filter(|_| self.is_pair())
    }

    /// The link that one of this kind in `namespace` needs below it: its parent. The ends of a pair need nothing below them.
    fn below(&self, namespace: &NamespaceName) -> Option<LinkId> {
        self.parent().filter(|_| !self.is_pair()).map(|parent| parent.resolve(namespace))
    }

    /// Whether other links can be its ports.
    fn takes_ports(&self) -> bool {
        self.most_ports() > 0
    }
}
