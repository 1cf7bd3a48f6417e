//! [`Kind`]: the registered kinds of links, and the kinds that have no key in the lab file.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

use netlink_packet_core::{DecodeError, DefaultNla};
use serde_json::Value;

use super::Ifindex;
use super::contract::LinkKind;
use super::device::Device;
use super::loopback::Loopback;
use super::rules::ParentRule;
use super::veth::Veth;
use crate::iproute2::Said;
use crate::name::LinkRef;
use crate::resource::option::{self, Invalid, Mutability, OptionChange, OptionTable};

/// Defines the type, and the methods that use the table of options. The methods of [`LinkKind`] are available through `Deref`.
macro_rules! define_kind {
    ($($variant:ident($type:ty) in $held:ty = $what:expr,)+) => {
        /// The kind of a link, with its options. Dereferences to `LinkKind`, the kernel's rules for the kind.
        ///
        /// Options are boxed, because most links of large labs are ends of pairs, which have none.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Kind {
            $(
                #[doc = $what]
                $variant($held),
            )+
        }

        $(
            impl From<$type> for Kind {
                fn from(options: $type) -> Self {
                    Self::$variant(options.into())
                }
            }
        )+

        impl Deref for Kind {
            type Target = dyn LinkKind;
            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$variant(kind) => { let kind: &$type = kind; kind })+
                }
            }
        }

        impl DerefMut for Kind {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self {
                    $(Self::$variant(kind) => { let kind: &mut $type = kind; kind })+
                }
            }
        }

        impl Kind {
            /// Returns the name of the kind (IFLA_INFO_KIND).
            pub fn name(&self) -> &str {
                match self {
                    Self::Device(Device(name)) if !name.is_empty() => name,
                    $(Self::$variant(_) => <$type>::NAME,)+
                }
            }

            fn encode_into(&self, attributes: &mut Vec<DefaultNla>) {
                match self {
                    $(Self::$variant(kind) => option::encode_into::<$type>(kind, attributes),)+
                }
            }

            fn encode_new_into(&self, attributes: &mut Vec<DefaultNla>) {
                match self {
                    $(Self::$variant(kind) => option::encode_new_into::<$type>(kind, attributes),)+
                }
            }

            /// Returns the words of iproute2 for the options that are set.
            pub fn say(&self) -> Vec<Said> {
                match self {
                    $(Self::$variant(kind) => option::say::<$type>(kind),)+
                }
            }

            /// Returns the words of iproute2 for the options of a new link.
            pub fn say_new(&self) -> Vec<Said> {
                match &*self.with_shared() {
                    $(Self::$variant(kind) => option::say_new::<$type>(kind),)+
                }
            }

            fn compare_options(&self, live: &Self) -> Option<Vec<OptionChange>> {
                match (self, live) {
                    $((Self::$variant(desired), Self::$variant(live)) => Some(option::compare::<$type>(desired, live)),)+
                    _ => None,
                }
            }

            /// Returns the kind with only those options set that differ from the live link.
            #[must_use]
            pub fn difference(&self, live: &Self) -> Self {
                match (self, live) {
                    $((Self::$variant(desired), Self::$variant(live)) => option::difference::<$type>(desired, live).into(),)+
                    (desired, _) => desired.clone(),
                }
            }

            /// Copies the options that are set in `changes`.
            pub fn update(&mut self, changes: &Self) {
                match (self, changes) {
                    $((Self::$variant(kind), Self::$variant(changes)) => option::update::<$type>(kind, changes),)+
                    _ => {}
                }
            }

            /// Copies the named options from `from`. A different kind must encode them in the same way.
            pub fn take(&mut self, from: &Self, names: &[&str]) {
                match (self, from) {
                    $((Self::$variant(kind), Self::$variant(from)) => option::take::<$type>(kind, from, names),)+
                    $((Self::$variant(kind), from) => {
                        if let Ok(from) = option::decode::<$type>(&from.encode(None)) {
                            option::take::<$type>(kind, &from, names);
                        }
                    })+
                }
            }

            /// Returns the kind with the kernel's defaults for all options that are not set.
            #[must_use]
            pub fn complete(&self) -> Self {
                match self {
                    $(Self::$variant(kind) => option::complete::<$type>(kind).into(),)+
                }
            }

            /// Returns a live kind with only those options set that a lab file needs for it.
            #[must_use]
            pub fn plain(&self) -> Self {
                let mut plain: Self = match self {
                    $(Self::$variant(kind) => option::plain::<$type>(kind).into(),)+
                };
                if let Some(slot) = plain.parent_slot() {
                    *slot = self.parent().cloned();
                }
                if let Some(slot) = plain.underlay_slot() {
                    *slot = self.underlay().cloned();
                }
                plain
            }

            /// Converts the options to the form in which the kernel reports them.
            pub fn normalise(&mut self) {
                match self {
                    $(Self::$variant(kind) => kind.normalise(),)+
                }
            }

            /// Returns every option of the kind with sample values, as in a lab file.
            pub fn samples(&self) -> Vec<(&'static str, Vec<Value>)> {
                match self {
                    $(Self::$variant(_) => option::samples::<$type>(),)+
                }
            }

            fn show_options(&self) -> Vec<(&'static str, Value)> {
                match self {
                    $(Self::$variant(kind) => option::show::<$type>(kind),)+
                }
            }

            fn validate_options(&self) -> Vec<Invalid> {
                match self {
                    $(Self::$variant(kind) => <$type as OptionTable>::validate(kind),)+
                }
            }

            /// Returns the kind with the temporary options of a new link with many ports, if there are any.
            pub fn while_ports_join(&self) -> Option<Self> {
                match self {
                    $(Self::$variant(kind) => <$type as LinkKind>::while_ports_join(kind).map(Self::from),)+
                }
            }

            /// Returns whether the kernel changes the options only in a message without settings of links.
            pub fn changes_alone(&self) -> bool {
                match self {
                    $(Self::$variant(kind) => <$type as LinkKind>::changes_alone(kind),)+
                }
            }

            /// Returns those of these changed options that a message of their own must change first.
            pub fn changes_first(&self) -> Option<Self> {
                match self {
                    $(Self::$variant(kind) => <$type as LinkKind>::changes_first(kind).map(Self::from),)+
                }
            }
        }
    };
}

/// Adds the kinds that have no key in the lab file to the registered ones.
macro_rules! with_all_kinds {
    ($($key:ident => $variant:ident($type:ty)),+ $(,)?) => {
        define_kind! {
            $($variant($type) in Box<$type> = concat!("`", stringify!($key), "`"),)+
            Veth(Veth) in Veth = "One end of a veth pair.",
            Loopback(Loopback) in Loopback = "`lo`.",
            Device(Device) in Device = "A link of a kind that topo only observes.",
        }

        impl Kind {
            /// Returns one of each registered kind, without options.
            pub fn registered() -> Vec<Self> {
                vec![$(<$type>::default().into()),+]
            }

            /// Decodes IFLA_INFO_KIND and IFLA_INFO_DATA.
            ///
            /// # Errors
            /// Fails if an option of a known kind has an invalid length.
            pub fn decode(name: &str, data: &[u8]) -> Result<Self, DecodeError> {
                Ok(match name {
                    $(<$type>::NAME => Self::$variant(Box::new(option::decode(data)?)),)+
                    Veth::NAME => Veth::default().into(),
                    other => Device(other.to_owned()).into(),
                })
            }
        }
    };
}
super::for_each_kind!(with_all_kinds);

/// Returns hardware.
impl Default for Kind {
    fn default() -> Self {
        Device::default().into()
    }
}

impl Kind {
    /// Returns whether it is a loopback.
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Loopback(_))
    }

    /// Encodes IFLA_INFO_DATA: the options that are set, and the parent's index if the kind has an attribute for it.
    pub fn encode(&self, parent: Option<Ifindex>) -> Vec<u8> {
        let mut attributes = self.encode_parent(parent);
        self.encode_into(&mut attributes);
        option::emit(&attributes)
    }

    /// Encodes IFLA_INFO_DATA of a new link, without the options that have the kernel's default. Options that it shares with siblings are
    /// always sent, because the siblings may have changed them.
    pub fn encode_new(&self, parent: Option<Ifindex>) -> Vec<u8> {
        let mut attributes = self.encode_parent(parent);
        self.with_shared().encode_new_into(&mut attributes);
        option::emit(&attributes)
    }

    /// Returns the kind with the kernel's defaults for the options that it shares with siblings.
    fn with_shared(&self) -> Cow<'_, Self> {
        match self.shared_options() {
            [] => Cow::Borrowed(self),
            shared => {
                let mut new = self.clone();
                new.take(&self.complete(), shared);
                Cow::Owned(new)
            }
        }
    }

    fn encode_parent(&self, parent: Option<Ifindex>) -> Vec<DefaultNla> {
        let parent = self.parent_attribute().zip(parent);
        parent.map(|(attribute, parent)| DefaultNla::new(attribute, parent.to_ne_bytes().to_vec())).into_iter().collect()
    }

    /// Returns the options that differ from the live link; `None` if the kinds differ.
    pub fn compare(&self, live: &Self) -> Option<Vec<OptionChange>> {
        if self.name() != live.name() {
            return None;
        }
        let mut changes = self.compare_options(live)?;
        changes.extend(self.compare_parent(live));
        Some(changes)
    }

    /// Compares the parent or the other end. A change replaces the link.
    fn compare_parent(&self, live: &Self) -> Option<OptionChange> {
        let show = |parent: Option<&LinkRef>| parent.map(|parent| Value::from(parent.to_string()));
        (self.parent() != live.parent()).then(|| OptionChange {
            name: if self.is_pair() { "peer" } else { "parent" },
            before: show(live.parent()),
            after: show(self.parent()),
            mutability: Mutability::Replace,
        })
    }

    /// Returns the options that are set, as in a lab file.
    pub fn show(&self) -> Vec<(&'static str, Value)> {
        let mut shown = self.show_options();
        if let (Some(parent), false) = (self.parent(), self.is_pair()) {
            shown.insert(0, ("parent", Value::from(parent.to_string())));
        }
        shown
    }

    /// Checks the options without asking the kernel.
    pub fn validate(&self) -> Vec<Invalid> {
        let orphan = self.parent_rule() == ParentRule::Required && self.parent().is_none();
        let orphan = orphan.then(|| {
            let what = with_article(self.name());
            Invalid { key: "parent", message: format!("{what} needs a `parent`, the interface that carries it") }
        });
        orphan.into_iter().chain(self.validate_options()).collect()
    }
}

/// Returns the name of a kind with its article: `a vlan`, `an ipvlan`.
pub fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {kind}")
}
