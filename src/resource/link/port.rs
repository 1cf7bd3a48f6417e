//! [`Port`]: the options of a link as a port of another link, whatever its own kind (IFLA_INFO_SLAVE_DATA).
//!
//! To add the options of ports of another kind of link, add one file here, its `mod` line, and its line in `for_each_port`.

use std::ops::{Deref, DerefMut};

use netlink_packet_core::DecodeError;
use serde_json::Value;

use super::Ifindex;
use super::bridge_vlans::{VlanChange, Vlans};
use super::kind::Kind;
use super::rules::Cause;
use crate::iproute2::Said;
use crate::name::LinkName;
use crate::resource::option::{self, Invalid, OptionChange, OptionTable};

/// The registry: passes all types of ports to the macro `$then`, after `$head`. A row is the key in the lab file, with its description
/// in the schema.
macro_rules! for_each_port {
    ($then:ident { $($head:tt)* }) => {
        $then! {
            { $($head)* }
            /// Options of a port of a bridge (IFLA_INFO_SLAVE_DATA).
            bridge_port => Bridge($crate::resource::link::bridge_port::BridgePort),
        }
    };
}
pub(crate) use for_each_port;

/// The surroundings of a port, as far as a lab file determines them.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The master.
    pub master: &'a Kind,
    /// Whether the port and its master are up.
    pub up: bool,
    /// Whether the port has a carrier: the other end of its pair is up.
    pub carrier: bool,
}

/// The kernel's rules for the ports of one kind of link.
pub trait LinkPort {
    /// Returns the kind of the master (IFLA_INFO_SLAVE_KIND).
    fn master(&self) -> &'static str;

    /// Sets what depends on the options of the master.
    fn follow(&mut self, master: &Kind) {
        let _ = master;
    }

    /// Sets what depends on the speed of the link, if it is not set. `path_cost` is the one that a bridge would give it, if known.
    fn inherit(&mut self, path_cost: Option<u32>) {
        let _ = path_cost;
    }

    /// Returns why the kernel refuses a change of the options that are set, if it does.
    fn refused(&self, around: Surroundings<'_>) -> Option<Cause> {
        let _ = around;
        None
    }

    /// Returns the first option that the kernel refuses, or silently ignores, in these surroundings.
    fn misplaced(&self, around: Surroundings<'_>) -> Option<Invalid> {
        let _ = around;
        None
    }

    /// Returns the other port of the same master that this one refers to, with the name of the option.
    fn reference(&self) -> Option<(&'static str, LinkName)> {
        None
    }

    /// Returns whether the option that refers to another port is set, if only to none.
    fn sets_reference(&self) -> bool {
        false
    }

    /// Sets the port that this one refers to.
    fn refer(&mut self, to: Option<LinkName>) {
        let _ = to;
    }

    /// Returns whether frames of all kinds pass between it and the other ports.
    fn passes_all(&self) -> bool {
        true
    }

    /// Returns whether the other ports and the stations behind it find each other by ARP and neighbour discovery.
    fn passes_discovery(&self) -> bool {
        true
    }

    /// Returns the change of its VLANs in the master, if the options that are set contain one.
    fn vlan_change(&self) -> Option<VlanChange> {
        None
    }

    /// Returns its VLANs in the master, if they are set.
    fn vlans(&self) -> Option<&Vlans> {
        None
    }

    /// Sets its VLANs in the master, or that they were not read.
    fn set_vlans(&mut self, vlans: Option<Vlans>) {
        drop(vlans);
    }

    /// Applies what the kernel does to a port when the options of its master change.
    fn master_changed(&mut self, before: &Kind, after: &Kind) {
        let _ = (before, after);
    }

    /// Forgets the options that are not the user's choice: the kernel sets them to what it finds when the link becomes a port again.
    fn leave_to_kernel(&mut self) {}

    /// Returns whether the kernel accepts the options that are set only while the link has a carrier.
    fn needs_carrier(&self) -> bool {
        false
    }

    /// Returns whether it forwards by its own options alone.
    fn forwards(&self) -> bool {
        true
    }

    /// Returns the state of a live port that the spanning tree advances to another one after a time.
    fn passing_state(&self) -> Option<&'static str> {
        None
    }

    /// Applies what the kernel does to a port when it can pass packets (`enabled`), or no longer can.
    fn enable(&mut self, enabled: bool) {
        let _ = enabled;
    }
}

/// The table of options of the ports of one kind of link.
pub trait PortTable: OptionTable + LinkPort {
    /// The kind of the master.
    const MASTER: &'static str;
    /// The attribute with the index of the port that this one refers to.
    const REFERENCE: Option<u16>;
}

macro_rules! define_port {
    ({} $($(#[$doc:meta])* $key:ident => $variant:ident($type:ty),)+) => {
        /// The options of a port. The kernel's rules are methods of `LinkPort`, which this type dereferences to.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Port {
            $($(#[$doc])* $variant(Box<$type>),)+
        }

        $(
            impl From<$type> for Port {
                fn from(options: $type) -> Self {
                    Self::$variant(Box::new(options))
                }
            }
        )+

        impl Deref for Port {
            type Target = dyn LinkPort;
            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$variant(port) => &**port,)+
                }
            }
        }

        impl DerefMut for Port {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self {
                    $(Self::$variant(port) => &mut **port,)+
                }
            }
        }

        impl Port {
            /// The kinds of links whose ports have options.
            pub const MASTERS: &'static [&'static str] = &[$(<$type as PortTable>::MASTER),+];

            /// Returns one port of each type, without options.
            pub fn registered() -> Vec<Self> {
                vec![$(<$type>::default().into()),+]
            }

            /// Returns a port of this master without options; `None` if its ports have no options.
            pub fn of(master: &Kind) -> Option<Self> {
                let mut port = match master.name() {
                    $(<$type as PortTable>::MASTER => Self::from(<$type>::default()),)+
                    _ => return None,
                };
                port.follow(master);
                Some(port)
            }

            /// Returns the key in the lab file.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$type>::NAME,)+
                }
            }

            /// Decodes IFLA_INFO_SLAVE_DATA of a port of that kind of master. Returns the port with the index of the port that it refers
            /// to; `None` if topo does not know options of such ports.
            ///
            /// # Errors
            /// Returns an error if the value of an option has an impossible length.
            pub fn decode(master: &str, data: &[u8]) -> Result<Option<(Self, Option<Ifindex>)>, DecodeError> {
                Ok(match master {
                    $(<$type as PortTable>::MASTER => {
                        let reference = <$type as PortTable>::REFERENCE.and_then(|attribute| option::number_in(data, attribute));
                        Some((Self::from(option::decode::<$type>(data)?), reference))
                    })+
                    _ => None,
                })
            }

            /// Encodes IFLA_INFO_SLAVE_DATA with the options that are set, and the index of the port that they refer to.
            pub fn encode(&self, reference: Option<Ifindex>) -> Vec<u8> {
                let mut attributes = Vec::new();
                match self {
                    $(Self::$variant(port) => {
                        option::encode_into::<$type>(port, &mut attributes);
                        if let (Some(attribute), true) = (<$type as PortTable>::REFERENCE, port.sets_reference()) {
                            attributes.push(option::number(attribute, reference.unwrap_or_default()));
                        }
                    })+
                }
                option::emit(&attributes)
            }

            /// Returns the port with only those options set that differ from those of a new port; `None` if there are none.
            pub fn special(&self) -> Option<Self> {
                match self {
                    $(Self::$variant(port) => {
                        let special = option::special::<$type>(port);
                        (!option::show(&special).is_empty()).then(|| special.into())
                    })+
                }
            }

            /// Returns the options that differ from the live port; `None` if the kinds of the masters differ.
            #[allow(unreachable_patterns, reason = "there may be only one type")]
            pub fn compare(&self, live: &Self) -> Option<Vec<OptionChange>> {
                match (self, live) {
                    $((Self::$variant(desired), Self::$variant(live)) => Some(option::compare::<$type>(desired, live)),)+
                    _ => None,
                }
            }

            /// Returns the port with only those options set that differ from the live one; `None` if there are none.
            #[allow(unreachable_patterns, reason = "there may be only one type")]
            pub fn difference(&self, live: &Self) -> Option<Self> {
                match (self, live) {
                    $((Self::$variant(desired), Self::$variant(live)) => {
                        let differs = !option::compare::<$type>(desired, live).is_empty();
                        differs.then(|| option::difference::<$type>(desired, live).into())
                    })+
                    _ => None,
                }
            }

            /// Sets the options that are set in `changes`.
            #[allow(unreachable_patterns, reason = "there may be only one type")]
            pub fn update(&mut self, changes: &Self) {
                match (self, changes) {
                    $((Self::$variant(port), Self::$variant(changes)) => {
                        option::update::<$type>(port, changes);
                    })+
                    _ => {}
                }
            }

            /// Converts the options to the form in which the kernel reports them.
            pub fn normalise(&mut self) {
                match self {
                    $(Self::$variant(port) => port.normalise(),)+
                }
            }

            /// Returns the port with only the named options.
            #[must_use]
            pub fn only(&self, names: &[&str]) -> Self {
                match self {
                    $(Self::$variant(port) => {
                        let mut only = <$type>::default();
                        only.take_context(port);
                        option::take::<$type>(&mut only, port, names);
                        only.into()
                    })+
                }
            }

            /// Returns the port with the kernel's defaults for all options that are not set.
            #[must_use]
            pub fn complete(&self) -> Self {
                match self {
                    $(Self::$variant(port) => option::complete::<$type>(port).into(),)+
                }
            }

            /// Returns every option with sample values, as in a lab file.
            pub fn samples(&self) -> Vec<(&'static str, Vec<Value>)> {
                match self {
                    $(Self::$variant(_) => option::samples::<$type>(),)+
                }
            }

            /// Returns the options that are set, as in a lab file.
            pub fn show(&self) -> Vec<(&'static str, Value)> {
                match self {
                    $(Self::$variant(port) => option::show::<$type>(port),)+
                }
            }

            /// Returns the words of iproute2 for the options that are set.
            pub fn say(&self) -> Vec<Said> {
                match self {
                    $(Self::$variant(port) => option::say::<$type>(port),)+
                }
            }

            /// Returns the options that are invalid whatever the surroundings.
            pub fn validate(&self) -> Vec<Invalid> {
                match self {
                    $(Self::$variant(port) => port.validate(),)+
                }
            }
        }
    };
}
for_each_port!(define_port {});
