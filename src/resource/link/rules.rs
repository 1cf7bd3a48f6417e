//! The types with which a kind describes the kernel's rules for its links in [`LinkKind`](super::contract::LinkKind).

use std::net::IpAddr;

/// What gives a link its carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Nothing else: it has carrier while it is up.
    Own,
    /// Its parent, or the other end of its pair.
    Below,
    /// A port that forwards.
    Ports,
    /// Something outside of the lab file.
    Unknown,
}

/// The error number of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// EINVAL
    Invalid,
    /// EOPNOTSUPP
    Unsupported,
    /// EBUSY
    Busy,
    /// EEXIST
    Exists,
    /// ERANGE
    OutOfRange,
    /// ELOOP
    Loop,
    /// ENETDOWN
    Down,
    /// EPERM
    Permission,
}

/// A refusal of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The error number.
    pub cause: Cause,
    /// The kernel's message (extended acknowledgement), if any.
    pub message: Option<&'static str>,
    /// A hint for the user, if any.
    pub hint: Option<&'static str>,
}

impl Refusal {
    /// Returns a refusal without message and hint.
    pub const fn new(cause: Cause) -> Self {
        Self { cause, message: None, hint: None }
    }

    /// Adds the kernel's message.
    #[must_use]
    pub const fn message(self, message: &'static str) -> Self {
        Self { message: Some(message), ..self }
    }

    /// Adds a hint.
    #[must_use]
    pub const fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

/// Whether links of a kind have a parent (IFLA_LINK).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentRule {
    /// They have no parent.
    Never,
    /// They can have a parent.
    Optional,
    /// They must have a parent.
    Required,
}

/// The set of links in which an [`Identity`] must be unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Links of the kind on the same parent.
    Siblings,
    /// Links of the kind with the same underlay.
    Underlay,
}

/// The attributes by which the kernel distinguishes links of one kind. Two links cannot have the same identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The set of links in which it must be unique.
    pub among: Among,
    /// The values of the attributes. Options that are not set count as their defaults.
    pub key: Vec<u32>,
    /// The options that the values come from.
    pub options: &'static [&'static str],
    /// The option to which an error points.
    pub option: &'static str,
    /// The relation of two links with the same identity, as in "`a` and `b` *have the same VLAN ID 10 on* `eth0`".
    pub relation: String,
    /// The kernel's answer.
    pub refusal: Refusal,
}

/// A value that only one link of a kind in a namespace can have while a sysctl is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exclusive {
    /// The option.
    pub option: &'static str,
    /// Its value.
    pub value: u32,
    /// The sysctl of the namespace.
    pub sysctl: &'static str,
    /// The kernel's answer to a second link with the value.
    pub refusal: Refusal,
}

/// The reason why a link must be the only one with its receive handler on its parent. The kernel answers EINVAL if there are others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sole {
    /// A description of the link, as in "*a macvlan with `mode: passthru`* must be the only one".
    pub what: &'static str,
    /// The option that is the cause.
    pub option: &'static str,
    /// A hint for the user.
    pub hint: &'static str,
}

/// The source of a link's hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// The link has its own address, without restrictions.
    Own,
    /// The link has its own address. It must differ from that of its parent and of its siblings that are up (EADDRINUSE).
    Distinct,
    /// The link has the address of its parent. The text describes the link, as in "*a macvlan with `mode: passthru`*".
    Parents(&'static str),
}

/// The layer 2 segment that a link belongs to: the set of links that receive each other's broadcasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// A segment of its own, which the other end of its pair and its master join.
    Own,
    /// That of its parent.
    Parents,
    /// The frames on its parent's segment with this VLAN tag.
    Tagged {
        /// The ethertype of the tag.
        protocol: u16,
        /// The VLAN ID.
        id: u16,
    },
    /// The other end of a tunnel, as far as the options tell it.
    Tunnel {
        /// The virtual network identifier.
        id: u32,
        /// The UDP port.
        port: u16,
        /// The other end, or a multicast group.
        remote: IpAddr,
    },
}

/// How a link exchanges frames between its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switching {
    /// Whether a spanning tree opens loops.
    pub spanning_tree: bool,
    /// Whether it depends on VLANs which ports exchange frames.
    pub by_vlan: bool,
}

/// The UDP socket on which a tunnel receives. Tunnels of one namespace share it if they have the same port and flags; with other flags
/// the second one cannot come up (EADDRINUSE).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// The UDP port.
    pub port: u16,
    /// Whether it receives over IPv4, and over IPv6.
    pub families: [bool; 2],
    /// Whether the kernel compares the flags when the link is created, even if it is down.
    pub at_creation: bool,
    /// The options that must be the same, with their values.
    pub flags: Vec<(&'static str, bool)>,
    /// All options that this comes from.
    pub options: &'static [&'static str],
}

/// The flags of a new link; `None` if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Whether it uses ARP (not IFF_NOARP).
    pub arp: Option<bool>,
    /// Whether it uses multicast (IFF_MULTICAST).
    pub multicast: Option<bool>,
}

impl Flags {
    /// The flags of an Ethernet device.
    pub const ETHERNET: Self = Self { arp: Some(true), multicast: Some(true) };
}

/// The path cost of a link in a spanning tree, which the kernel derives from its speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathCost {
    /// The same for all links of the kind.
    Fixed(u32),
    /// The path cost of the parent.
    Parents,
    /// Unknown, as for hardware.
    Unknown,
}

/// The mtus of other links, in bytes, from which the kernel derives a link's mtu.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MtuAround {
    /// The mtu of its parent.
    pub parent: Option<u32>,
    /// The smallest mtu of its ports.
    pub smallest_port: Option<u32>,
}

/// The bound that the parent's mtu sets on that of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MtuBound {
    /// The largest mtu in bytes; also the default of a new link.
    pub most: u32,
    /// Whether the kernel reduces the mtu when the parent's mtu becomes smaller.
    pub shrinks: bool,
    /// Whether the kernel silently reduces a larger mtu of a new link to `most`; otherwise it answers EINVAL.
    pub clamps: bool,
    /// The kernel's answer to a larger mtu for an existing link.
    pub refusal: Cause,
}

impl MtuBound {
    /// Returns the bound of a link that uses the frames of its parent.
    pub const fn shrinking(most: u32) -> Self {
        Self { most, shrinks: true, clamps: false, refusal: Cause::Invalid }
    }

    /// Returns the bound of a tunnel. It applies at creation and to explicit changes, but not when the parent's mtu changes.
    pub const fn of_tunnel(most: u32) -> Self {
        Self { most, shrinks: false, clamps: true, refusal: Cause::Invalid }
    }
}
