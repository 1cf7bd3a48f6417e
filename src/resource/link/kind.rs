//! [`Kind`]: any one of the registered kinds of links, or one that topo only observes.

use netlink_packet_core::DecodeError;
use serde_json::Value;

use super::Ifindex;
use super::contract::{self, LinkKind, MtuAround, PortPattern};
use super::veth::Veth;
use crate::name::{LinkId, LinkRef, NamespaceName};
use crate::resource::option::{self, Invalid, OptionChange, OptionTable};

macro_rules! define_kind {
    ($($key:ident => $variant:ident($type:ty)),+ $(,)?) => {
        /// Any link: one of the registered kinds, the end of a veth pair, a loopback, or a device that topo only observes.
        ///
        /// Options are boxed: most links are ends of pairs and have none, and a lab has thousands of them.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Kind {
            $(
                #[doc = concat!("`", stringify!($key), "`")]
                $variant(Box<$type>),
            )+
            /// One end of a veth pair.
            Veth(Veth),
            /// `lo`.
            Loopback,
            /// A device of a kind that topo does not make; the text is its IFLA_INFO_KIND, empty for hardware.
            Device(String),
        }

        $(
            impl From<$type> for Kind {
                fn from(options: $type) -> Self {
                    Self::$variant(Box::new(options))
                }
            }
        )+

        impl Kind {
            /// The kind's name: IFLA_INFO_KIND.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant(_) => <$type>::NAME,)+
                    Self::Veth(_) => Veth::NAME,
                    Self::Loopback => "loopback",
                    Self::Device(name) if name.is_empty() => "device",
                    Self::Device(name) => name,
                }
            }

            /// Reads IFLA_INFO_KIND and IFLA_INFO_DATA.
            ///
            /// # Errors
            /// When an option of a kind that topo knows has an impossible length.
            pub fn decode(name: &str, data: &[u8]) -> Result<Self, DecodeError> {
                Ok(match name {
                    $(<$type>::NAME => Self::$variant(Box::new(option::decode(data)?)),)+
                    Veth::NAME => Self::Veth(Veth::default()),
                    other => Self::Device(other.to_owned()),
                })
            }

            /// The attribute of IFLA_INFO_DATA that holds the parent's number, for a kind that does not take it from IFLA_LINK.
            pub fn parent_attribute(&self) -> Option<u16> {
                match self {
                    $(Self::$variant(_) => <$type>::PARENT_ATTRIBUTE,)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => None,
                }
            }

            /// IFLA_INFO_DATA with the options that are set, and the parent's number where the kind wants it there.
            pub fn encode(&self, parent: Option<Ifindex>) -> Vec<u8> {
                match self {
                    $(Self::$variant(kind) => contract::encode(&**kind, parent),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => Vec::new(),
                }
            }

            /// The same for a new link, without the options that it is born with anyway.
            pub fn encode_new(&self, parent: Option<Ifindex>) -> Vec<u8> {
                match self {
                    $(Self::$variant(kind) => contract::encode_new(&**kind, parent),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => Vec::new(),
                }
            }

            /// What differs from the live link; `None` when the two are of different kinds.
            pub fn compare(&self, live: &Self) -> Option<Vec<OptionChange>> {
                match (self, live) {
                    $((Self::$variant(desired), Self::$variant(live)) => {
                        let mut changes = option::compare(&**desired, live);
                        changes.extend(contract::compare_parent(desired.parent(), live.parent()));
                        Some(changes)
                    })+
                    (Self::Veth(desired), Self::Veth(live)) => Some(desired.compare_peer(live)),
                    (Self::Loopback, Self::Loopback) => Some(Vec::new()),
                    (Self::Device(desired), Self::Device(live)) if desired == live => Some(Vec::new()),
                    _ => None,
                }
            }

            /// The kind with only those options set that differ from the live link.
            #[must_use]
            pub fn difference(&self, live: &Self) -> Self {
                match (self, live) {
                    $((Self::$variant(desired), Self::$variant(live)) => option::difference(&**desired, live).into(),)+
                    (desired, _) => desired.clone(),
                }
            }

            /// Takes the options that are set in `changes`.
            pub fn update(&mut self, changes: &Self) {
                match (self, changes) {
                    $((Self::$variant(kind), Self::$variant(changes)) => option::update(&mut **kind, changes),)+
                    _ => {}
                }
            }

            /// The kind with the kernel's values for all that is not set.
            #[must_use]
            pub fn complete(&self) -> Self {
                match self {
                    $(Self::$variant(kind) => option::complete(&**kind).into(),)+
                    other => other.clone(),
                }
            }

            /// The options that are set, as a lab file would show them.
            pub fn show(&self) -> Vec<(&'static str, Value)> {
                let mut shown = match self {
                    $(Self::$variant(kind) => option::show(&**kind),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => Vec::new(),
                };
                if let (Some(parent), false) = (self.parent(), matches!(self, Self::Veth(_))) {
                    shown.insert(0, ("parent", Value::from(parent.to_string())));
                }
                shown
            }

            /// What can be refused without asking the kernel.
            pub fn validate(&self) -> Vec<Invalid> {
                match self {
                    $(Self::$variant(kind) => kind.validate(),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => Vec::new(),
                }
            }

            /// The link that this one needs (IFLA_LINK): the parent, or the other end of a pair.
            pub fn parent(&self) -> Option<&LinkRef> {
                match self {
                    $(Self::$variant(kind) => kind.parent(),)+
                    Self::Veth(veth) => veth.peer.as_ref(),
                    Self::Loopback | Self::Device(_) => None,
                }
            }

            /// Where the parent or peer is kept, for a kind that has one.
            pub fn parent_slot(&mut self) -> Option<&mut Option<LinkRef>> {
                match self {
                    $(Self::$variant(kind) => kind.parent_slot(),)+
                    Self::Veth(veth) => Some(&mut veth.peer),
                    Self::Loopback | Self::Device(_) => None,
                }
            }

            /// The namespace that the link's own packets travel in, for a kind that sends such.
            pub fn underlay(&self) -> Option<&NamespaceName> {
                match self {
                    $(Self::$variant(kind) => kind.underlay(),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => None,
                }
            }

            /// Where that namespace is kept.
            pub fn underlay_slot(&mut self) -> Option<&mut Option<NamespaceName>> {
                match self {
                    $(Self::$variant(kind) => kind.underlay_slot(),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => None,
                }
            }

            /// The ports as the file lists them.
            pub fn ports(&self) -> &[PortPattern] {
                match self {
                    $(Self::$variant(kind) => kind.ports(),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => &[],
                }
            }

            /// Forgets the ports: each port knows its master from then on.
            pub fn clear_ports(&mut self) {
                match self {
                    $(Self::$variant(kind) => kind.clear_ports(),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => {}
                }
            }

            /// Whether a new link uses ARP and multicast; `None` when it cannot be told.
            pub fn default_flags(&self) -> (Option<bool>, Option<bool>) {
                match self {
                    $(Self::$variant(_) => (<$type>::ARP, <$type>::MULTICAST),)+
                    Self::Veth(_) => (Some(true), Some(true)),
                    Self::Loopback | Self::Device(_) => (None, None),
                }
            }

            /// Whether other links can be its ports.
            pub fn takes_ports(&self) -> bool {
                self.most_ports() > 0
            }

            /// The same with the options that one with many ports is better born with, if that has other ones.
            pub fn while_ports_join(&self) -> Option<Self> {
                match self {
                    $(Self::$variant(kind) => kind.while_ports_join().map(Self::from),)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => None,
                }
            }

            /// How many other links can be its ports.
            pub fn most_ports(&self) -> usize {
                match self {
                    $(Self::$variant(_) => <$type>::MOST_PORTS,)+
                    Self::Veth(_) | Self::Loopback | Self::Device(_) => 0,
                }
            }

            /// The mtu that the kernel gives a new link of this kind; `None` when it cannot be told.
            pub fn default_mtu(&self, around: MtuAround) -> Option<u32> {
                match self {
                    $(Self::$variant(kind) => kind.default_mtu(around),)+
                    Self::Veth(_) => Some(1500),
                    Self::Loopback => Some(65536),
                    Self::Device(_) => None,
                }
            }
        }
    };
}
super::for_each_kind!(define_kind);

impl Kind {
    /// The other end, when this is an end of a veth pair.
    pub fn peer(&self) -> Option<&LinkRef> {
        match self {
            Self::Veth(veth) => veth.peer.as_ref(),
            _ => None,
        }
    }

    /// The link that one of this kind in `namespace` stands on: its parent, while the ends of a pair stand on nothing.
    pub fn below(&self, namespace: &NamespaceName) -> Option<LinkId> {
        self.parent().filter(|_| self.peer().is_none()).map(|parent| parent.resolve(namespace))
    }
}
