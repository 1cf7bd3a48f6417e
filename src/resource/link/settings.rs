//! The settings that every link has, whatever its kind, as one table. From a row follow the field of [`LinkSettings`], the key in the
//! lab file with its schema, the wire form in both directions, the default, comparing and showing.
//!
//! Two settings are no rows, because each is special in all of these: the alternative names and the master.

use std::collections::BTreeSet;

use netlink_packet_core::DefaultNla;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kind::Kind;
use super::rules::Flags;
use crate::name::LinkName;
use crate::resource::FieldChange;
use crate::resource::option::{Codec, HardwareAddress, U32};
use crate::value::Mac;

/// The table: hands its rows to the macro `$then`, after `$head`.
///
/// A row is `name: Type = FORM`, with the text of the schema above it. The form is `attribute(NUMBER, Codec)`, `flag(BIT)` of
/// `ifi_flags`, or `unflag(BIT)` for one that is the reverse of the setting. `default` is what a new link has, where that is the
/// same for all kinds. A row with `link` can be given for both ends of a link at once; that text is for the schema, too.
macro_rules! for_each_setting {
    ($then:ident { $($head:tt)* }) => {
        $then! {
            { $($head)* }
            /// MAC address (IFLA_ADDRESS); the kernel chooses one by default.
            mac: Mac = attribute(IFLA_ADDRESS, HardwareAddress);
            /// Maximum packet size in bytes, 68 to 65535 (IFLA_MTU).
            mtu: u32 = attribute(IFLA_MTU, U32), link "The mtu of both endpoints; an endpoint can override it.";
            /// Administratively up; default true (IFF_UP).
            up: bool = flag(IFF_UP), default true, link "Whether both endpoints are up; an endpoint can override it.";
            /// Length of the transmit queue in packets, default 1000, of an ipvtap 500 (IFLA_TXQLEN).
            txqueuelen: u32 = attribute(IFLA_TXQLEN, U32), default 1000,
                link "The length of both transmit queues; an endpoint can override it.";
            /// Use ARP; default true.
            arp: bool = unflag(IFF_NOARP);
            /// Use multicast; default true.
            multicast: bool = flag(IFF_MULTICAST);
            /// Receive all multicast packets; default false.
            allmulti: bool = flag(IFF_ALLMULTI), default false;
            /// Promiscuous mode: receive all packets; default false.
            promisc: bool = flag(IFF_PROMISC), default false;
        }
    };
}
pub(crate) use for_each_setting;

const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_TXQLEN: u16 = 13;

const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;
const IFF_PROMISC: u32 = 0x100;
const IFF_ALLMULTI: u32 = 0x200;
const IFF_MULTICAST: u32 = 0x1000;

/// Flags of `struct ifinfomsg`, and which of them are meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlagBits {
    /// The flags that are set (`ifi_flags`).
    pub flags: u32,
    /// The flags that are said (`ifi_change`).
    pub mask: u32,
}

impl FlagBits {
    fn say(&mut self, bit: u32, set: Option<bool>) {
        if let Some(set) = set {
            self.mask |= bit;
            self.flags |= if set { bit } else { 0 };
        }
    }
}

/// What a row's form means: `encode` to attributes, `say` to flags, `decode` from an attribute, `look` at flags.
macro_rules! form {
    (encode $attributes:ident, $value:expr, attribute($number:expr, $codec:ty)) => {
        let bytes = $value.as_ref().and_then(<$codec as Codec<_>>::write);
        $attributes.extend(bytes.map(|bytes| DefaultNla::new($number, bytes)));
    };
    (encode $attributes:ident, $value:expr, $flag:ident($bit:expr)) => {};
    (say $bits:ident, $value:expr, attribute($number:expr, $codec:ty)) => {};
    (say $bits:ident, $value:expr, flag($bit:expr)) => {
        $bits.say($bit, $value)
    };
    (say $bits:ident, $value:expr, unflag($bit:expr)) => {
        $bits.say($bit, $value.map(|set| !set))
    };
    (decode $kind:ident, $bytes:ident, $value:expr, attribute($number:expr, $codec:ty)) => {
        if $kind == $number {
            $value = <$codec as Codec<_>>::read($bytes);
            return;
        }
    };
    (decode $kind:ident, $bytes:ident, $value:expr, $flag:ident($bit:expr)) => {};
    (look $flags:ident, $value:expr, attribute($number:expr, $codec:ty)) => {};
    (look $flags:ident, $value:expr, flag($bit:expr)) => {
        $value = Some($flags & $bit != 0)
    };
    (look $flags:ident, $value:expr, unflag($bit:expr)) => {
        $value = Some($flags & $bit == 0)
    };
    (keep $kept:ident, $value:expr, $slot:expr, attribute($number:expr, $codec:ty)) => {};
    (keep $kept:ident, $value:expr, $slot:expr, $flag:ident($bit:expr)) => {
        $slot = $value
    };
}

macro_rules! define_link_settings {
    ({} $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        /// The settings of a link. In a desired link `None` means that the lab says nothing; a live link has all of them.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct LinkSettings {
            $($(#[$doc])* pub $field: Option<$type>,)+
            /// Alternative names (IFLA_ALT_IFNAME).
            pub altnames: Option<BTreeSet<String>>,
            /// The bridge, bond or vrf that this is a port of (IFLA_MASTER).
            pub master: Option<LinkName>,
        }

        impl LinkSettings {
            /// The attributes of a link message that carry the settings that are set.
            pub fn encode(&self) -> Vec<DefaultNla> {
                let mut attributes = Vec::new();
                $(form!(encode attributes, self.$field, $form($($wire)*));)+
                attributes
            }

            /// The flags of a link message that do.
            pub fn flag_bits(&self) -> FlagBits {
                let mut bits = FlagBits::default();
                $(form!(say bits, self.$field, $form($($wire)*));)+
                bits
            }

            /// Takes the setting that an attribute carries, if it carries one. What is not of the usual length, such as the
            /// hardware address of a tunnel, is no setting.
            #[inline]
            pub fn decode(&mut self, attribute: u16, bytes: &[u8]) {
                $(form!(decode attribute, bytes, self.$field, $form($($wire)*));)+
            }

            /// Takes the settings that flags carry (`ifi_flags`).
            pub fn decode_flags(&mut self, flags: u32) {
                $(form!(look flags, self.$field, $form($($wire)*));)+
            }

            /// The settings that are flags.
            #[must_use]
            pub fn only_flags(&self) -> Self {
                let mut only = Self::default();
                $(form!(keep only, self.$field, only.$field, $form($($wire)*));)+
                only
            }

            /// What a new link of any kind has. What differs between kinds is open.
            fn defaults() -> Self {
                Self { $($($field: Some($default),)?)+ altnames: Some(BTreeSet::new()), ..Self::default() }
            }

            fn fields(&self) -> Vec<Field> {
                vec![
                    $((stringify!($field), self.$field.as_ref().map(|value| json!(value))),)+
                    ("altnames", self.altnames.as_ref().map(|names| json!(names))),
                    ("master", self.master.as_ref().map(|master| json!(master))),
                ]
            }
        }
    };
}
for_each_setting!(define_link_settings {});

/// Combines two settings field by field with a function that is generic in the field's type.
macro_rules! combine {
    ({ $combine:ident($a:expr, $b:expr) } $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        LinkSettings {
            $($field: $combine(&$a.$field, &$b.$field),)+
            altnames: $combine(&$a.altnames, &$b.altnames),
            master: $combine(&$a.master, &$b.master),
        }
    };
}

/// A setting's name and its value, if it is set.
type Field = (&'static str, Option<Value>);

impl LinkSettings {
    /// The settings with the kernel's own values for those that are open: `inherited_mtu` is what it gives this link of that kind.
    #[must_use]
    pub(super) fn complete(&self, inherited_mtu: Option<u32>, kind: &Kind) -> Self {
        let Flags { arp, multicast } = kind.default_flags(Flags::default());
        let txqueuelen = Some(kind.default_txqueuelen());
        self.or(&Self { mtu: inherited_mtu, arp, multicast, txqueuelen, ..Self::defaults() })
    }

    /// The settings of a new link of that kind over a parent with those flags; unknown flags as an Ethernet device has them.
    #[must_use]
    pub fn of_new(kind: &Kind, parent: Flags) -> Self {
        let Flags { arp, multicast } = kind.default_flags(parent);
        let (arp, multicast) = (arp.or(Some(true)), multicast.or(Some(true)));
        Self { arp, multicast, txqueuelen: Some(kind.default_txqueuelen()), ..Self::defaults() }
    }

    /// The settings that are set, as a lab file would show them.
    pub fn show(&self) -> impl Iterator<Item = (String, Value)> {
        let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        self.fields().into_iter().filter_map(move |(name, value)| Some((name.to_owned(), value.filter(|value| !empty(value))?)))
    }

    /// The settings that are set here, where they differ from the live ones.
    pub(super) fn compare(&self, live: &Self) -> Vec<FieldChange> {
        let pairs = self.fields().into_iter().zip(live.fields());
        let differing = pairs.filter(|((_, after), (_, before))| after.is_some() && before != after);
        let change = |(after, before): (Field, Field)| {
            FieldChange::new(after.0, before.1.unwrap_or(Value::Null), after.1.unwrap_or(Value::Null))
        };
        differing.map(change).collect()
    }

    /// The settings of `self` that differ from the live ones, nothing else.
    #[must_use]
    pub fn difference(&self, live: &Self) -> Self {
        fn changed<T: Clone + PartialEq>(desired: &Option<T>, live: &Option<T>) -> Option<T> {
            desired.clone().filter(|_| desired != live)
        }
        for_each_setting!(combine { changed(self, live) })
    }

    /// The settings of `self`, and those of `other` where it has none.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        fn either<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            own.as_ref().or(other.as_ref()).cloned()
        }
        for_each_setting!(combine { either(self, other) })
    }

    /// The live values of those settings that `self` changes.
    #[must_use]
    pub fn touching(&self, live: &Self) -> Self {
        fn touched<T: Clone + PartialEq>(desired: &Option<T>, live: &Option<T>) -> Option<T> {
            live.clone().filter(|_| desired.is_some() && desired != live)
        }
        for_each_setting!(combine { touched(self, live) })
    }

    /// The settings of `self` that `other` has not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        fn alone<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            own.clone().filter(|_| other.is_none())
        }
        for_each_setting!(combine { alone(self, other) })
    }

    /// The settings of `self` that `other` has, too.
    #[must_use]
    pub fn only_those_of(&self, other: &Self) -> Self {
        fn shared<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            own.clone().filter(|_| other.is_some())
        }
        for_each_setting!(combine { shared(self, other) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> LinkSettings {
        LinkSettings {
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            mtu: Some(1400),
            up: Some(false),
            arp: Some(false),
            ..LinkSettings::defaults()
        }
    }

    #[test]
    fn every_setting_survives_the_wire() {
        let wanted = LinkSettings { multicast: Some(true), allmulti: Some(true), altnames: None, ..all() };
        let mut decoded = LinkSettings::default();
        for attribute in wanted.encode() {
            let mut bytes = vec![0; netlink_packet_core::Nla::value_len(&attribute)];
            netlink_packet_core::Nla::emit_value(&attribute, &mut bytes);
            decoded.decode(netlink_packet_core::Nla::kind(&attribute), &bytes);
        }
        decoded.decode_flags(wanted.flag_bits().flags);
        assert_eq!(decoded, wanted);
    }

    #[test]
    fn only_what_is_set_is_said() {
        let off = LinkSettings { arp: Some(false), promisc: Some(false), ..LinkSettings::default() };
        assert_eq!(off.flag_bits(), FlagBits { flags: IFF_NOARP, mask: IFF_NOARP | IFF_PROMISC });
        assert!(off.encode().is_empty());
        assert_eq!(all().only_flags().mtu, None);
        assert_eq!(all().only_flags().up, Some(false));
    }

    #[test]
    fn an_address_of_another_length_is_no_hardware_address() {
        let mut settings = LinkSettings::default();
        settings.decode(IFLA_ADDRESS, &[10, 0, 0, 1]);
        assert_eq!(settings, LinkSettings::default());
    }
}
