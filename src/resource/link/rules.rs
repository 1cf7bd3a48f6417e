//! The words in which a kind states the kernel's rules for its links. [`LinkKind`](super::contract::LinkKind) says which rule is
//! about what.

/// Why the kernel refuses something, by its error number.
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
}

/// A refusal of the kernel, and what its user can do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub cause: Cause,
    /// The text of the kernel's extended acknowledgement, if it sends one.
    pub message: Option<&'static str>,
    /// The remedy, if there is a usual one.
    pub hint: Option<&'static str>,
}

impl Refusal {
    /// A refusal without text and remedy.
    pub const fn new(cause: Cause) -> Self {
        Self { cause, message: None, hint: None }
    }

    /// With the kernel's text.
    #[must_use]
    pub const fn message(self, message: &'static str) -> Self {
        Self { message: Some(message), ..self }
    }

    /// With a remedy.
    #[must_use]
    pub const fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

/// Whether a kind has a link below it (IFLA_LINK).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentRule {
    /// It has none.
    Never,
    /// It may have one.
    Optional,
    /// It cannot be without.
    Required,
}

/// Among which links an [`Identity`] must be unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Those of the kind on the same parent.
    Siblings,
    /// Those of the kind whose own packets travel in the same namespace.
    Underlay,
}

/// What the kernel tells links of one kind apart by. Two that have it in common cannot exist at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Among which links it must be unique.
    pub among: Among,
    /// The numbers that it consists of. Options that are not set count with their default.
    pub key: Vec<u32>,
    /// The option that an error points at.
    pub option: &'static str,
    /// What two links with the same identity have in common, as in "`a` and `b` *are both VLAN 10 of* `eth0`".
    pub relation: String,
    /// What the kernel answers.
    pub refusal: Refusal,
}

/// Why a link must be the only one of its kind on its parent. The kernel answers EINVAL when there are others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sole {
    /// What must be alone, as in "*a macvlan with `mode: passthru`* must be the only one".
    pub what: &'static str,
    /// The option that makes it so.
    pub option: &'static str,
    /// The remedy.
    pub hint: &'static str,
}

/// Where a link's hardware address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// It has one of its own, which no rule of the kernel compares with others.
    Own,
    /// Its own one must differ from that of its parent and of its siblings that are up (EADDRINUSE).
    Distinct,
    /// It always has its parent's. The text says what has, as in "*a macvlan with `mode: passthru`*".
    Parents(&'static str),
}

/// Flags that a new link has, where they can be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Uses ARP (not IFF_NOARP).
    pub arp: Option<bool>,
    /// Uses multicast (IFF_MULTICAST).
    pub multicast: Option<bool>,
}

impl Flags {
    /// Those of an Ethernet device.
    pub const ETHERNET: Self = Self { arp: Some(true), multicast: Some(true) };
}

/// The mtus, in bytes, that a link's own may follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MtuAround {
    /// Its parent's.
    pub parent: Option<u32>,
    /// The smallest of its ports'.
    pub smallest_port: Option<u32>,
}

/// How the parent's mtu bounds that of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MtuBound {
    /// The largest mtu over that parent, in bytes; also what a new link gets when nothing is said.
    pub most: u32,
    /// Whether the link shrinks along when its parent does.
    pub shrinks: bool,
    /// Whether a new link that asks for more silently gets `most`; otherwise that is EINVAL.
    pub clamps: bool,
    /// What a living link that asks for more is answered.
    pub refusal: Cause,
}

impl MtuBound {
    /// The bound of a link that passes its parent's frames on, less what it puts around them.
    pub const fn shrinking(most: u32) -> Self {
        Self { most, shrinks: true, clamps: false, refusal: Cause::Invalid }
    }

    /// The bound of a tunnel, which is looked at when it is made and asked for, and otherwise not.
    pub const fn of_tunnel(most: u32) -> Self {
        Self { most, shrinks: false, clamps: true, refusal: Cause::Invalid }
    }
}
