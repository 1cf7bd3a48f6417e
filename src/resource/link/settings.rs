//! The table of settings that every link has. A row defines the field of [`LinkSettings`], the key in the lab file and its schema, the
//! encoding and decoding, the default, and how the setting is compared and shown.
//!
//! The alternative names and the master are not in the table, because they differ in all of these.

use std::collections::BTreeSet;

use netlink_packet_core::DefaultNla;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kind::Kind;
use super::rules::Flags;
use crate::iproute2::Phrase;
use crate::name::LinkName;
use crate::resource::FieldChange;
use crate::resource::option::{Codec, HardwareAddress, U32, said};
use crate::value::Mac;
use crate::words;

/// The table: hands its rows to the macro `$then`, after `$head`.
///
/// A row is `name: Type = FORM`, with the description for the schema above it. The form is `attribute(NUMBER, Codec)`, `flag(BIT)` of
/// `ifi_flags`, or `unflag(BIT)` if the flag is the inverse of the setting. `default` is the value of a new link, if it is the same for
/// all kinds. A row with `link` is also a key of `links`, for both ends; the text is its description in the schema.
macro_rules! for_each_setting {
    ($then:ident { $($head:tt)* }) => {
        $then! {
            { $($head)* }
            /// MAC address; default chosen by the kernel (IFLA_ADDRESS).
            mac: Mac = attribute(IFLA_ADDRESS, HardwareAddress);
            /// Maximum packet size (MTU) in bytes: 68 to 65535 for most kinds, default 1500 or derived from the parent or the ports
            /// (IFLA_MTU).
            mtu: u32 = attribute(IFLA_MTU, U32), link "The mtu of both endpoints; an endpoint can override it.";
            /// Bring the interface up; default true (IFF_UP).
            up: bool = flag(IFF_UP), default true, link "Whether both endpoints are up; an endpoint can override it.";
            /// Length of the transmit queue in packets; default 1000, for an ipvtap or a macvtap 500, for an ifb 32 (IFLA_TXQLEN).
            txqueuelen: u32 = attribute(IFLA_TXQLEN, U32), default 1000,
                link "The length of both transmit queues; an endpoint can override it.";
            /// Use ARP; default true, for a dummy, an ifb or a vrf false (IFF_NOARP).
            arp: bool = unflag(IFF_NOARP);
            /// Use multicast; default true, for a dummy, an ifb or a vrf false (IFF_MULTICAST).
            multicast: bool = flag(IFF_MULTICAST);
            /// Receive all multicast packets; default false (IFF_ALLMULTI).
            allmulti: bool = flag(IFF_ALLMULTI), default false;
            /// Receive all packets (promiscuous mode); default false (IFF_PROMISC).
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

/// The flags of `struct ifinfomsg`, and the mask of flags to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FlagBits {
    /// The values of the flags (`ifi_flags`).
    pub flags: u32,
    /// The flags to change (`ifi_change`).
    pub mask: u32,
}

impl FlagBits {
    fn set(&mut self, bit: u32, set: Option<bool>) {
        if let Some(set) = set {
            self.mask |= bit;
            self.flags |= if set { bit } else { 0 };
        }
    }
}

/// Implements the forms of rows: `encode` to attributes, `encode_flag` to flags, `decode` from an attribute, `decode_flag` from flags.
/// `keep_flag` copies the settings that are flags.
macro_rules! form {
    (encode $attributes:ident, $value:expr, attribute($number:expr, $codec:ty)) => {
        let bytes = $value.as_ref().and_then(<$codec as Codec<_>>::write);
        $attributes.extend(bytes.map(|bytes| DefaultNla::new($number, bytes)));
    };
    (encode $attributes:ident, $value:expr, $flag:ident($bit:expr)) => {};
    (encode_flag $bits:ident, $value:expr, attribute($number:expr, $codec:ty)) => {};
    (encode_flag $bits:ident, $value:expr, flag($bit:expr)) => {
        $bits.set($bit, $value)
    };
    (encode_flag $bits:ident, $value:expr, unflag($bit:expr)) => {
        $bits.set($bit, $value.map(|set| !set))
    };
    (decode $kind:ident, $bytes:ident, $value:expr, attribute($number:expr, $codec:ty)) => {
        if $kind == $number {
            $value = <$codec as Codec<_>>::read($bytes);
            return;
        }
    };
    (decode $kind:ident, $bytes:ident, $value:expr, $flag:ident($bit:expr)) => {};
    (decode_flag $flags:ident, $value:expr, attribute($number:expr, $codec:ty)) => {};
    (decode_flag $flags:ident, $value:expr, flag($bit:expr)) => {
        $value = Some($flags & $bit != 0)
    };
    (decode_flag $flags:ident, $value:expr, unflag($bit:expr)) => {
        $value = Some($flags & $bit == 0)
    };
    (keep_flag $kept:ident, $value:expr, $slot:expr, attribute($number:expr, $codec:ty)) => {};
    (keep_flag $kept:ident, $value:expr, $slot:expr, $flag:ident($bit:expr)) => {
        $slot = $value
    };
}

macro_rules! define_link_settings {
    ({} $(
        $(#[$doc:meta])*
        $field:ident: $type:ty = $form:ident($($wire:tt)*) $(, default $default:literal)? $(, link $link:literal)?;
    )+) => {
        /// The settings of a link. In a desired link, `None` means that the lab does not set it. A live link has all settings.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct LinkSettings {
            $($(#[$doc])* pub $field: Option<$type>,)+
            /// Alternative names (IFLA_ALT_IFNAME).
            pub altnames: Option<BTreeSet<String>>,
            /// The master of which the link is a port (IFLA_MASTER).
            pub master: Option<LinkName>,
        }

        impl LinkSettings {
            /// The keys of all settings in the lab file.
            pub const NAMES: &[&str] = &[$(stringify!($field),)+ "altnames"];

            /// Removes the settings whose keys `ignored` contains, except for the master.
            pub fn forget(&mut self, ignored: &dyn Fn(&str) -> bool) {
                $(if ignored(stringify!($field)) {
                    self.$field = None;
                })+
                if ignored("altnames") {
                    self.altnames = None;
                }
            }

            /// Returns the settings that are attributes of a link message.
            pub fn encode(&self) -> Vec<DefaultNla> {
                let mut attributes = Vec::new();
                $(form!(encode attributes, self.$field, $form($($wire)*));)+
                attributes
            }

            /// Returns the settings that are flags of a link message.
            pub fn flag_bits(&self) -> FlagBits {
                let mut bits = FlagBits::default();
                $(form!(encode_flag bits, self.$field, $form($($wire)*));)+
                bits
            }

            /// Decodes an attribute, if it is a setting. Ignores values of an unusual length, such as the hardware address of a tunnel.
            #[inline]
            pub fn decode(&mut self, attribute: u16, bytes: &[u8]) {
                $(form!(decode attribute, bytes, self.$field, $form($($wire)*));)+
            }

            /// Decodes the flags (`ifi_flags`).
            pub fn decode_flags(&mut self, flags: u32) {
                $(form!(decode_flag flags, self.$field, $form($($wire)*));)+
            }

            /// Returns only the settings that are flags.
            #[must_use]
            pub fn only_flags(&self) -> Self {
                let mut only = Self::default();
                $(form!(keep_flag only, self.$field, only.$field, $form($($wire)*));)+
                only
            }

            /// Returns the defaults that are the same for all kinds.
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
    /// Returns the settings, with the kernel's defaults for those that are not set. `inherited_mtu` is the default mtu.
    #[must_use]
    pub(super) fn complete(&self, inherited_mtu: Option<u32>, kind: &Kind) -> Self {
        let Flags { arp, multicast } = kind.default_flags(Flags::default());
        let txqueuelen = Some(kind.default_txqueuelen());
        self.or(&Self { mtu: inherited_mtu, arp, multicast, txqueuelen, ..Self::defaults() })
    }

    /// Returns the settings of a new link of that kind. `parent` contains the flags of its parent. Unknown flags are those of an Ethernet
    /// device.
    #[must_use]
    pub fn of_new(kind: &Kind, parent: Flags) -> Self {
        let Flags { arp, multicast } = kind.default_flags(parent);
        let (arp, multicast) = (arp.or(Some(true)), multicast.or(Some(true)));
        Self { arp, multicast, txqueuelen: Some(kind.default_txqueuelen()), ..Self::defaults() }
    }

    /// Returns the settings that are set, as in a lab file.
    pub fn show(&self) -> impl Iterator<Item = (String, Value)> {
        let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
        self.fields().into_iter().filter_map(move |(name, value)| Some((name.to_owned(), value.filter(|value| !empty(value))?)))
    }

    /// Returns the words of ip-link(8) for the settings that are set, except for the alternative names and the master.
    pub fn say(&self) -> Vec<Phrase> {
        let phrase = |(name, value): Field| {
            let value = value?;
            Some(Phrase::new(match (name, &value) {
                ("altnames" | "master", _) => return None,
                ("up", Value::Bool(up)) => words![if *up { "up" } else { "down" }].to_vec(),
                ("mac", _) => words!["address", said(&value)].to_vec(),
                ("allmulti", _) => words!["allmulticast", said(&value)].to_vec(),
                _ => words![name, said(&value)].to_vec(),
            }))
        };
        self.fields().into_iter().filter_map(phrase).collect()
    }

    /// Returns the changes of the settings that are set here and differ from the live ones.
    pub(super) fn compare(&self, live: &Self) -> Vec<FieldChange> {
        let pairs = self.fields().into_iter().zip(live.fields());
        let differing = pairs.filter(|((_, after), (_, before))| after.is_some() && before != after);
        let change = |(after, before): (Field, Field)| {
            FieldChange::new(after.0, before.1.unwrap_or(Value::Null), after.1.unwrap_or(Value::Null))
        };
        differing.map(change).collect()
    }

    /// Returns the settings of `self` that differ from the live ones.
    #[must_use]
    pub fn difference(&self, live: &Self) -> Self {
        fn changed<T: Clone + PartialEq>(desired: &Option<T>, live: &Option<T>) -> Option<T> {
            desired.clone().filter(|_| desired != live)
        }
        for_each_setting!(combine { changed(self, live) })
    }

    /// Returns the settings of `self`, and those of `other` that `self` does not set.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        fn either<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            own.as_ref().or(other.as_ref()).cloned()
        }
        for_each_setting!(combine { either(self, other) })
    }

    /// Returns the live values of the settings that `self` changes.
    #[must_use]
    pub fn touching(&self, live: &Self) -> Self {
        fn touched<T: Clone + PartialEq>(desired: &Option<T>, live: &Option<T>) -> Option<T> {
            live.clone().filter(|_| desired.is_some() && desired != live)
        }
        for_each_setting!(combine { touched(self, live) })
    }

    /// Returns the settings of `self` that `other` does not set.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        fn alone<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            own.clone().filter(|_| other.is_none())
        }
        for_each_setting!(combine { alone(self, other) })
    }

    /// Returns the settings of `self` that `other` sets too.
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
    fn only_settings_that_are_set_are_encoded() {
        let off = LinkSettings { arp: Some(false), promisc: Some(false), ..LinkSettings::default() };
        assert_eq!(off.flag_bits(), FlagBits { flags: IFF_NOARP, mask: IFF_NOARP | IFF_PROMISC });
        assert!(off.encode().is_empty());
        assert_eq!(all().only_flags().mtu, None);
        assert_eq!(all().only_flags().up, Some(false));
    }

    #[test]
    fn a_hardware_address_of_another_length_is_ignored() {
        let mut settings = LinkSettings::default();
        settings.decode(IFLA_ADDRESS, &[10, 0, 0, 1]);
        assert_eq!(settings, LinkSettings::default());
    }
}
