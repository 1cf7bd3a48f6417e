//! [`Kind`]: any one of the registered kinds of links, or one that no section of a lab file makes.

use std::ops::{Deref, DerefMut};

use netlink_packet_core::{DecodeError, DefaultNla};
use serde_json::Value;

use super::Ifindex;
use super::contract::LinkKind;
use super::device::Device;
use super::loopback::Loopback;
use super::rules::ParentRule;
use super::veth::Veth;
use crate::name::LinkRef;
use crate::resource::option::{self, Invalid, Mutability, OptionChange, OptionTable};

/// Defines the type, and the methods that need to know which kind it is: those over its table of options. What a kind says as a
/// [`LinkKind`] needs no line here.
macro_rules! define_kind {
    ($($variant:ident($type:ty) in $held:ty = $what:expr,)+) => {
        /// Any link. What the kernel's rules say of it is asked by way of `LinkKind`, which this type dereferences to.
        ///
        /// Options are boxed: most links are ends of pairs and have none, and a lab has thousands of them.
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
            /// The kind's name: IFLA_INFO_KIND.
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

            fn compare_options(&self, live: &Self) -> Option<Vec<OptionChange>> {
                match (self, live) {
                    $((Self::$variant(desired), Self::$variant(live)) => Some(option::compare::<$type>(desired, live)),)+
                    _ => None,
                }
            }

            /// The kind with only those options set that differ from the live link.
            #[must_use]
            pub fn difference(&self, live: &Self) -> Self {
                match (self, live) {
                    $((Self::$variant(desired), Self::$variant(live)) => option::difference::<$type>(desired, live).into(),)+
                    (desired, _) => desired.clone(),
                }
            }

            /// Takes the options that are set in `changes`.
            pub fn update(&mut self, changes: &Self) {
                match (self, changes) {
                    $((Self::$variant(kind), Self::$variant(changes)) => option::update::<$type>(kind, changes),)+
                    _ => {}
                }
            }

            /// Takes those options of `from` that are named. One of another kind must have them in the same wire form.
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

            /// The kind with the kernel's values for all that is not set.
            #[must_use]
            pub fn complete(&self) -> Self {
                match self {
                    $(Self::$variant(kind) => option::complete::<$type>(kind).into(),)+
                }
            }

            /// Brings the options into the form in which the kernel reports them.
            pub fn normalise(&mut self) {
                match self {
                    $(Self::$variant(kind) => kind.normalise(),)+
                }
            }

            /// Every option of the kind with values to try, as a lab file would show them.
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

            /// The same link with the options that one with many ports is better born with, if that has other ones.
            pub fn while_ports_join(&self) -> Option<Self> {
                match self {
                    $(Self::$variant(kind) => <$type as LinkKind>::while_ports_join(kind).map(Self::from),)+
                }
            }
        }
    };
}

/// Puts the registered kinds beside those that no section of a lab file makes.
macro_rules! with_all_kinds {
    ($($key:ident => $variant:ident($type:ty)),+ $(,)?) => {
        define_kind! {
            $($variant($type) in Box<$type> = concat!("`", stringify!($key), "`"),)+
            Veth(Veth) in Veth = "One end of a veth pair.",
            Loopback(Loopback) in Loopback = "`lo`.",
            Device(Device) in Device = "A device of a kind that topo does not make.",
        }

        impl Kind {
            /// One of each kind that a section of a lab file makes, without options.
            pub fn registered() -> Vec<Self> {
                vec![$(<$type>::default().into()),+]
            }

            /// Reads IFLA_INFO_KIND and IFLA_INFO_DATA.
            ///
            /// # Errors
            /// When an option of a kind that topo knows has an impossible length.
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

/// Hardware.
impl Default for Kind {
    fn default() -> Self {
        Device::default().into()
    }
}

impl Kind {
    /// Whether it is a loopback.
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Loopback(_))
    }

    /// IFLA_INFO_DATA with the options that are set, and the parent's number where the kind wants it there.
    pub fn encode(&self, parent: Option<Ifindex>) -> Vec<u8> {
        let mut attributes = self.encode_parent(parent);
        self.encode_into(&mut attributes);
        option::emit(&attributes)
    }

    /// The same for a new link, without the options that it is born with anyway. What it shares with others it may find changed.
    pub fn encode_new(&self, parent: Option<Ifindex>) -> Vec<u8> {
        let mut attributes = self.encode_parent(parent);
        match self.shared_options() {
            [] => self.encode_new_into(&mut attributes),
            shared => {
                let mut new = self.clone();
                new.take(&self.complete(), shared);
                new.encode_new_into(&mut attributes);
            }
        }
        option::emit(&attributes)
    }

    fn encode_parent(&self, parent: Option<Ifindex>) -> Vec<DefaultNla> {
        let parent = self.parent_attribute().zip(parent);
        parent.map(|(attribute, parent)| DefaultNla::new(attribute, parent.to_ne_bytes().to_vec())).into_iter().collect()
    }

    /// What differs from the live link; `None` when the two are of different kinds.
    pub fn compare(&self, live: &Self) -> Option<Vec<OptionChange>> {
        if self.name() != live.name() {
            return None;
        }
        let mut changes = self.compare_options(live)?;
        changes.extend(self.compare_parent(live));
        Some(changes)
    }

    /// Another parent, or another other end, needs another link.
    fn compare_parent(&self, live: &Self) -> Option<OptionChange> {
        let show = |parent: Option<&LinkRef>| parent.map(|parent| Value::from(parent.to_string()));
        (self.parent() != live.parent()).then(|| OptionChange {
            name: if self.is_pair() { "peer" } else { "parent" },
            before: show(live.parent()),
            after: show(self.parent()),
            mutability: Mutability::Replace,
        })
    }

    /// The options that are set, as a lab file would show them.
    pub fn show(&self) -> Vec<(&'static str, Value)> {
        let mut shown = self.show_options();
        if let (Some(parent), false) = (self.parent(), self.is_pair()) {
            shown.insert(0, ("parent", Value::from(parent.to_string())));
        }
        shown
    }

    /// What can be refused without asking the kernel.
    pub fn validate(&self) -> Vec<Invalid> {
        let orphan = self.parent_rule() == ParentRule::Required && self.parent().is_none();
        let orphan = orphan.then(|| {
            let what = with_article(self.name());
            Invalid { key: "parent", message: format!("{what} needs a `parent`, the interface that carries it") }
        });
        orphan.into_iter().chain(self.validate_options()).collect()
    }
}

/// The name of a kind with its article: `a vlan`, `an ipvlan`.
pub fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {kind}")
}
