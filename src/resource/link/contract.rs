//! The contract of a kind beyond its table of options: the kernel's rules for links of that kind. `lower` checks the desired state against
//! it, and the in-memory kernel enforces it.
//!
//! A kind knows its own options, and the kinds of other links, but not their names or indices.

use std::ops::RangeInclusive;

use super::bridge_vlans::{VlanChange, Vlans};
use super::common::Queues;
use super::kind::Kind;
use super::rules::{
    Addressing, Carrier, Cause, Exclusive, Flags, Identity, MtuAround, MtuBound, ParentRule, PathCost, Refusal, Segment, Socket,
    Sole, Switching,
};
use crate::name::{LinkId, LinkRef, NamePattern, NamespaceName};
use crate::value::Duration;

/// The mtu of an Ethernet device.
pub const ETHERNET_MTU: u32 = 1500;

/// The kernel's rules for one kind of link. The defaults are those of an Ethernet device without parent and ports.
pub trait LinkKind {
    // The parent.

    /// Returns whether links of the kind have a parent.
    fn parent_rule(&self) -> ParentRule {
        ParentRule::Never
    }

    /// Returns the parent, or the other end of a pair (IFLA_LINK).
    fn parent(&self) -> Option<&LinkRef> {
        None
    }

    /// Returns the field that contains `parent`, for a kind that has one.
    fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
        None
    }

    /// Returns the attribute of IFLA_INFO_DATA with the parent's index, for a kind that does not use IFLA_LINK.
    fn parent_attribute(&self) -> Option<u16> {
        None
    }

    /// Returns the refusal if a link of the kind `parent` cannot be the parent.
    fn refuses_parent(&self, parent: &str) -> Option<Refusal> {
        let _ = parent;
        None
    }

    /// Returns whether the kernel does not report the namespace of the parent (IFLA_LINK_NETNSID). The parent must then be in the
    /// namespace of the link.
    fn hides_parents_namespace(&self) -> bool {
        false
    }

    /// Returns whether the kernel uses the parent's own parent instead if the parent is of the kind `parent`.
    fn replaces_parent(&self, parent: &str) -> bool {
        let _ = parent;
        false
    }

    /// Returns whether the kernel brings it up and down with its parent. It cannot be up while its parent is down (ENETDOWN).
    fn follows_parent(&self) -> bool {
        false
    }

    /// Returns whether it is one end of a pair. Both ends are created by one message and deleted together.
    fn is_pair(&self) -> bool {
        false
    }

    // Other links of the kind.

    /// Returns the identity that no other link of the kind can have.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Returns the reason if it must be the only link with its receive handler on its parent.
    fn sole(&self) -> Option<Sole> {
        None
    }

    /// Returns the options that all links on one parent with this receive handler share. The last write wins.
    fn shared_options(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the receive handler that it installs on its parent or on each of its ports. A link has at most one (EBUSY). Upper links
    /// with a handler of the same name share it.
    fn receive_handler(&self) -> Option<&'static str> {
        None
    }

    /// Returns whether only one of the links on one parent with this receive handler can have an IP address (EADDRINUSE).
    fn has_exclusive_addresses(&self) -> bool {
        false
    }

    /// Returns the value that no other link of the kind in the namespace can have while a sysctl is on.
    fn exclusive(&self) -> Option<Exclusive> {
        None
    }

    /// Returns the source of its hardware address.
    fn addressing(&self) -> Addressing {
        Addressing::Own
    }

    /// Returns the layer 2 segment that it belongs to.
    fn segment(&self) -> Segment {
        Segment::Own
    }

    // The underlay.

    /// Returns whether it sends packets of its own through an underlay: the namespace in which it was created.
    fn has_underlay(&self) -> bool {
        false
    }

    /// Returns the underlay.
    fn underlay(&self) -> Option<&NamespaceName> {
        None
    }

    /// Returns the field that contains `underlay`, for a kind that has one.
    fn underlay_slot(&mut self) -> Option<&mut Option<NamespaceName>> {
        None
    }

    /// Returns whether the kernel does not report the underlay. It is then always the namespace of the link.
    fn hides_underlay(&self) -> bool {
        false
    }

    /// Returns the UDP socket in the underlay on which it receives while it is up.
    fn socket(&self) -> Option<Socket> {
        None
    }

    // The ports.

    /// Returns the maximum number of ports (IFLA_MASTER).
    fn most_ports(&self) -> usize {
        0
    }

    /// Returns the ports as the lab file lists them.
    fn ports(&self) -> &[NamePattern] {
        &[]
    }

    /// Sets the list of ports. The list is empty in a state, where each port contains its master.
    fn set_ports(&mut self, ports: Vec<NamePattern>) {
        drop(ports);
    }

    /// Returns the refusal if a link of the kind `port` cannot be a port.
    fn refuses_port(&self, port: &str) -> Option<Refusal> {
        let _ = port;
        None
    }

    /// Returns the routing table with the connected and local routes of its own addresses and those of its ports, if it is a VRF.
    fn routing_table(&self) -> Option<u32> {
        None
    }

    /// Returns whether the kernel sets a port down and up again when it joins or leaves.
    fn restarts_ports(&self) -> bool {
        false
    }

    /// Returns whether it has the hardware address of one of its ports as long as none is set.
    fn follows_ports_mac(&self) -> bool {
        false
    }

    /// Returns how it exchanges frames between its ports, if it does.
    fn switching(&self) -> Option<Switching> {
        None
    }

    /// Returns the change of its own VLANs, if the options that are set contain one.
    fn vlan_change(&self) -> Option<VlanChange> {
        None
    }

    /// Returns its own VLANs, if they are set.
    fn vlans(&self) -> Option<&Vlans> {
        None
    }

    /// Sets its own VLANs, or that they were not read.
    fn set_vlans(&mut self, vlans: Option<Vlans>) {
        drop(vlans);
    }

    /// Applies what the kernel does by itself after these changes of options. `before` contains the former options.
    fn settle_changes(&mut self, before: &Kind, changes: &Kind) {
        let _ = (before, changes);
    }

    /// Returns the temporary options with which a link with many ports is created faster, if they differ from the desired ones. The plan
    /// sets the desired options once all ports have joined.
    fn while_ports_join(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Returns whether the kernel changes the options only in a message without settings of links, such as the mtu.
    fn changes_alone(&self) -> bool {
        false
    }

    /// Returns those of these changed options that a message of their own must change first, because the kernel checks the others with
    /// the former values.
    fn changes_first(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    // The mtu.

    /// Returns the smallest and the largest mtu in bytes (`min_mtu`, `max_mtu`).
    fn mtu_limits(&self) -> RangeInclusive<u32> {
        68..=65535
    }

    /// Returns the bound that a parent with that mtu sets.
    fn mtu_bound(&self, parent: u32) -> Option<MtuBound> {
        let _ = parent;
        None
    }

    /// Returns whether its mtu is the smallest mtu of its ports, until the mtu of the existing link is set.
    fn follows_ports_mtu(&self) -> bool {
        false
    }

    /// Returns whether the kernel copies the parent's mtu, at creation and whenever the parent's mtu changes. The mtu can be changed in
    /// between.
    fn follows_parents_mtu(&self) -> bool {
        false
    }

    /// Returns the options by which the kernel looks up a route and takes the mtu from it, at creation and when they change, unless the
    /// message has an mtu. The mtu would depend on the order of changes, so that these messages always have it; `default_mtu` is that of
    /// an underlay with the mtu of Ethernet.
    fn mtu_by_route(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the mtu that the kernel gives a new link; `None` if it is unknown.
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

    /// Returns the flags of a new link. `parent` contains the flags of its parent, as far as they are known.
    fn default_flags(&self, parent: Flags) -> Flags {
        let _ = parent;
        Flags::ETHERNET
    }

    /// Returns the option that determines whether the link uses ARP. A lab cannot set `arp` then.
    fn decides_arp(&self) -> Option<&'static str> {
        None
    }

    /// Returns the path cost that a bridge gives it as a port (`port_cost`).
    fn path_cost(&self) -> PathCost {
        PathCost::Unknown
    }

    /// Returns whether the kernel generates a link-local address for it, and a route to all multicast groups of IPv6.
    fn has_automatic_inet6(&self) -> bool {
        true
    }

    /// Returns the length of the transmit queue of a new link, in packets.
    fn default_txqueuelen(&self) -> u32 {
        1000
    }

    /// Returns the number of queues of a new link; `None` if it depends on the machine.
    fn default_queues(&self) -> Option<Queues> {
        Some(Queues::ONE)
    }

    /// Returns whether messages can create and delete it; otherwise the kernel answers EOPNOTSUPP.
    fn can_be_made(&self) -> bool {
        true
    }

    /// Returns the kernel module that creates it, if that does not have the name of the kind.
    fn module(&self) -> Option<&'static str> {
        None
    }

    /// Returns what gives it its carrier.
    fn carrier(&self) -> Carrier {
        if self.parent().is_some() { Carrier::Below } else { Carrier::Own }
    }

    /// Returns the forward delay if it runs the spanning tree.
    fn spanning_tree_delay(&self) -> Option<Duration> {
        None
    }

    /// Returns the kernel's answer to a change of an option that is fixed at creation.
    fn refused_change(&self) -> Cause {
        Cause::Unsupported
    }

    // Derived.

    /// Returns whether it filters the frames of its ports by VLAN.
    fn filters_by_vlan(&self) -> bool {
        self.switching().is_some_and(|switching| switching.by_vlan)
    }

    /// Returns the other end if this is one end of a pair.
    fn peer(&self) -> Option<&LinkRef> {
        self.parent().filter(|_| self.is_pair())
    }

    /// Returns the parent of a link in `namespace`. The ends of a pair have none.
    fn below(&self, namespace: &NamespaceName) -> Option<LinkId> {
        self.parent().filter(|_| !self.is_pair()).map(|parent| parent.resolve(namespace))
    }

    /// Returns the underlay of a link in `namespace`.
    fn underlay_in<'a>(&'a self, namespace: &'a NamespaceName) -> Option<&'a NamespaceName> {
        if self.has_underlay() && self.hides_underlay() { Some(namespace) } else { self.underlay() }
    }

    /// Returns whether other links can be its ports.
    fn takes_ports(&self) -> bool {
        self.most_ports() > 0
    }
}
