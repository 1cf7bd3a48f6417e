//! Who made a live object, by its protocol.

use super::wire::RTPROT_KERNEL;

/// Protocols of manually added objects (RTPROT_UNSPEC, BOOT, STATIC).
const BY_HAND: [u8; 3] = [0, 3, 4];
/// Protocols of objects that the kernel adds or learns (RTPROT_REDIRECT, KERNEL, RA).
const BY_KERNEL: [u8; 3] = [1, RTPROT_KERNEL, 9];

/// The creator of a live object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// topo.
    Topo,
    /// A user, manually.
    Hand,
    /// The kernel.
    Kernel,
    /// A daemon with that protocol, rtnetlink(7).
    Daemon(u8),
    /// Not reported by the kernel. The object counts as the kernel's unless the lab declares it.
    Unknown,
}

impl Maker {
    /// Returns the protocol of objects of this creator.
    pub fn protocol(self) -> u8 {
        match self {
            Self::Topo => crate::ownership::PROTOCOL,
            Self::Hand | Self::Unknown => BY_HAND[1],
            Self::Kernel => RTPROT_KERNEL,
            Self::Daemon(protocol) => protocol,
        }
    }

    /// Returns whether such an object of a namespace may be somebody else's: in `host`, other labs use the protocol of topo as well.
    pub fn may_be_foreign(self, is_host: bool) -> bool {
        match self {
            Self::Topo => is_host,
            Self::Hand | Self::Daemon(_) | Self::Unknown => true,
            Self::Kernel => false,
        }
    }

    /// Returns the creator of an object with that protocol (`rtm_protocol` and the like).
    pub fn of_protocol(protocol: u8) -> Self {
        match protocol {
            crate::ownership::PROTOCOL => Self::Topo,
            protocol if BY_HAND.contains(&protocol) => Self::Hand,
            protocol if BY_KERNEL.contains(&protocol) => Self::Kernel,
            protocol => Self::Daemon(protocol),
        }
    }
}
