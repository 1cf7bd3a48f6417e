//! Containers with one field or one variant for each registered type of object.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wire::Request;
use super::{At, Awaited, Bodies, Foreign, Id, Message, Object, Put, Restoration, Verdict};
use crate::iproute2::Line;
use crate::name::NamespaceName;
use crate::resource::link::Ifindex;

/// A family of types: one for each type of object.
pub trait Container {
    /// The type for objects of type `O`.
    type Of<O: Object>;
}

macro_rules! containers {
    ($($(#[$doc:meta])* $name:ident<$object:ident> = $type:ty;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name;
            impl Container for $name {
                type Of<$object: Object> = $type;
            }
        )+
    };
}
containers! {
    /// The objects of a state, by identity.
    Sorted<O> = BTreeMap<Id<O>, O>;
    /// Identities.
    Ids<O> = Id<O>;
    /// Sets of identities.
    IdSets<O> = BTreeSet<Id<O>>;
    /// Changes of objects: namespace and verdict.
    Verdicts<O> = (NamespaceName, Verdict<O>);
    /// Objects with their namespaces and indices.
    Places<O> = At<O>;
    /// Objects to be added or changed.
    Puts<O> = Put<O>;
    /// Foreign objects of a namespace, in the kernel's order.
    ForeignLists<O> = Vec<Foreign<O>>;
    /// Messages that reported foreign objects of a namespace.
    Messages<O> = Vec<Message>;
    /// Messages of a snapshot by the positions of their objects.
    Reported<O> = Bodies;
    /// Foreign objects to be added again.
    Restorations<O> = Restoration<O>;
    /// Objects as the kernel reports them.
    Dumped<O> = Vec<super::wire::Found<O>>;
}

/// A visitor of all types of objects.
pub trait Visit {
    /// Visits the type `O`.
    fn visit<O: Registered>(&mut self);
}

/// A function of an object of any type.
pub trait Inspect<'a, C: Container> {
    /// The result.
    type Result;
    /// Calls the function with an object of type `O`.
    fn inspect<O: Registered>(self, item: &'a C::Of<O>) -> Self::Result;
}

/// A registered type of object.
pub trait Registered: Object {
    /// Returns its field.
    fn table<C: Container>(tables: &Tables<C>) -> &C::Of<Self>;
    /// Returns its field for modification.
    fn table_mut<C: Container>(tables: &mut Tables<C>) -> &mut C::Of<Self>;
    /// Wraps an item into its variant.
    fn any<C: Container>(item: C::Of<Self>) -> Any<C>;
    /// Returns the item if it is in its variant.
    fn of_any<C: Container>(any: &Any<C>) -> Option<&C::Of<Self>>;
}

macro_rules! define_tables {
    (
        interface { $($(#[$interface_doc:meta])* $interface_list:ident => $interface_variant:ident($interface_type:ty),)* }
        namespace { $($(#[$doc:meta])* $list:ident => $variant:ident($type:ty),)* }
    ) => {
        define_tables! { @all
            $($(#[$interface_doc])* $interface_list => $interface_variant($interface_type),)*
            $($(#[$doc])* $list => $variant($type),)*
        }
    };
    (@all $($(#[$doc:meta])* $list:ident => $variant:ident($type:ty),)+) => {
        /// One container for each type of object.
        pub struct Tables<C: Container> {
            $($(#[$doc])* pub $list: C::Of<$type>,)+
        }

        impl<C: Container> Default for Tables<C> where $(C::Of<$type>: Default),+ {
            fn default() -> Self {
                Self { $($list: Default::default()),+ }
            }
        }

        impl<C: Container> Clone for Tables<C> where $(C::Of<$type>: Clone),+ {
            fn clone(&self) -> Self {
                Self { $($list: self.$list.clone()),+ }
            }
        }

        impl<C: Container> PartialEq for Tables<C> where $(C::Of<$type>: PartialEq),+ {
            fn eq(&self, other: &Self) -> bool {
                $(self.$list == other.$list)&&+
            }
        }

        impl<C: Container> fmt::Debug for Tables<C> where $(C::Of<$type>: fmt::Debug),+ {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Tables")$(.field(stringify!($list), &self.$list))+.finish()
            }
        }

        impl Serialize for Tables<IdSets> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let count = [$(stringify!($list)),+].len();
                let mut tables = serializer.serialize_struct("Tables", count)?;
                $(tables.serialize_field(stringify!($list), &self.$list)?;)+
                tables.end()
            }
        }

        impl<'de> Deserialize<'de> for Tables<IdSets> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Default, Deserialize)]
                #[serde(deny_unknown_fields, default)]
                struct Sets {
                    $($list: BTreeSet<Id<$type>>,)+
                }
                let Sets { $($list),+ } = Sets::deserialize(deserializer)?;
                Ok(Self { $($list),+ })
            }
        }

        impl Serialize for Tables<Messages> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let count = [$(stringify!($list)),+].len();
                let mut tables = serializer.serialize_struct("Tables", count)?;
                $(tables.serialize_field(stringify!($list), &self.$list)?;)+
                tables.end()
            }
        }

        impl<'de> Deserialize<'de> for Tables<Messages> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Default, Deserialize)]
                #[serde(deny_unknown_fields, default)]
                struct Lists {
                    $($list: Vec<Message>,)+
                }
                let Lists { $($list),+ } = Lists::deserialize(deserializer)?;
                Ok(Self { $($list),+ })
            }
        }

        /// An item of any type of object.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Any<C: Container> {
            $(
                #[doc = concat!("Of `", stringify!($list), "`.")]
                $variant(C::Of<$type>),
            )+
        }

        impl<C: Container> Any<C> {
            /// Calls a function with the item.
            pub fn inspect<'a, I: Inspect<'a, C>>(&'a self, inspect: I) -> I::Result {
                match self {
                    $(Self::$variant(item) => inspect.inspect::<$type>(item),)+
                }
            }
        }

        impl Any<Ids> {
            /// Returns the namespace of the object.
            pub fn namespace(&self) -> &NamespaceName {
                match self {
                    $(Self::$variant((namespace, _)) => namespace,)+
                }
            }

            /// Returns the word for its type.
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$type>::WORD,)+
                }
            }
        }

        impl fmt::Display for Any<Ids> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant((namespace, key)) => f.write_str(&<$type>::address(namespace, key)),)+
                }
            }
        }

        impl Any<Places> {
            /// Returns the identity of the object.
            pub fn id(&self) -> Any<Ids> {
                match self {
                    $(Self::$variant(at) => Any::$variant((at.namespace.clone(), at.key.clone())),)+
                }
            }

            /// Returns the namespace of the object.
            pub fn namespace(&self) -> &NamespaceName {
                match self {
                    $(Self::$variant(at) => &at.namespace,)+
                }
            }

            /// Returns the messages that remove it.
            pub fn requests(&self) -> Vec<Request> {
                match self {
                    $(Self::$variant(at) => <$type>::remove(at),)+
                }
            }

            /// Returns the commands that remove it.
            pub fn say(&self) -> Vec<Line> {
                match self {
                    $(Self::$variant(at) => <$type>::say_remove(at),)+
                }
            }
        }

        impl Any<Restorations> {
            /// Returns the identity of the object.
            pub fn id(&self) -> Any<Ids> {
                match self {
                    $(Self::$variant(again) => Any::$variant((again.namespace.clone(), again.foreign.key.clone())),)+
                }
            }

            /// Returns the namespace of the object.
            pub fn namespace(&self) -> &NamespaceName {
                match self {
                    $(Self::$variant(again) => &again.namespace,)+
                }
            }

            /// Returns the type, the body and the flags of the request that adds it.
            pub fn request(&self) -> (u16, &Message, u16) {
                match self {
                    $(Self::$variant(again) => (<$type>::NEW, &again.request, <$type>::flags_of_again(&again.request)),)+
                }
            }

            /// Returns the command that adds it.
            pub fn say(&self) -> Line {
                match self {
                    $(Self::$variant(again) => <$type>::say_again(again),)+
                }
            }

            /// Returns the address that must be usable first.
            pub fn awaited(&self) -> Option<&Awaited> {
                match self {
                    $(Self::$variant(again) => again.awaited.as_deref(),)+
                }
            }
        }

        impl Any<Puts> {
            /// Returns the namespace of the object.
            pub fn namespace(&self) -> &NamespaceName {
                match self {
                    $(Self::$variant(put) => &put.at.namespace,)+
                }
            }

            /// Returns the identity of the object.
            pub fn id(&self) -> Any<Ids> {
                match self {
                    $(Self::$variant(put) => Any::$variant((put.at.namespace.clone(), put.at.key.clone())),)+
                }
            }

            /// Returns the messages that add or change it.
            pub fn requests(&self) -> Vec<Request> {
                match self {
                    $(Self::$variant(put) => <$type>::put(&put.at, &put.over),)+
                }
            }

            /// Returns the commands that add or change it.
            pub fn say(&self) -> Vec<Line> {
                match self {
                    $(Self::$variant(put) => <$type>::say_put(&put.at, &put.over),)+
                }
            }

            /// Returns the address that must be usable first.
            pub fn awaited(&self) -> Option<&Awaited> {
                match self {
                    $(Self::$variant(put) => put.awaited.as_deref(),)+
                }
            }

            /// Returns the interface whose loss of carrier would cost the object.
            pub fn kept_by_carrier_of(&self) -> Option<Ifindex> {
                match self {
                    $(Self::$variant(put) => put.kept_by_carrier_of(),)+
                }
            }
        }

        $(
            impl Registered for $type {
                fn table<C: Container>(tables: &Tables<C>) -> &C::Of<Self> {
                    &tables.$list
                }
                fn table_mut<C: Container>(tables: &mut Tables<C>) -> &mut C::Of<Self> {
                    &mut tables.$list
                }
                fn any<C: Container>(item: C::Of<Self>) -> Any<C> {
                    Any::$variant(item)
                }
                fn of_any<C: Container>(any: &Any<C>) -> Option<&C::Of<Self>> {
                    match any {
                        Any::$variant(item) => Some(item),
                        _ => None,
                    }
                }
            }
        )+

        /// Visits each type of object, in the order of the registry.
        pub fn visit(visit: &mut impl Visit) {
            $(visit.visit::<$type>();)+
        }

        /// Returns the position of the type in the registry.
        pub fn position<O: Object>() -> usize {
            const LISTS: &[&str] = &[$(stringify!($list)),+];
            LISTS.iter().position(|list| *list == O::LIST).unwrap_or(LISTS.len())
        }
    };
}
super::for_each_object!(define_tables);

impl<C: Container> Tables<C> {
    /// Returns the container of type `O`.
    pub fn of<O: Registered>(&self) -> &C::Of<O> {
        O::table(self)
    }

    /// Returns the container of type `O` for modification.
    pub fn of_mut<O: Registered>(&mut self) -> &mut C::Of<O> {
        O::table_mut(self)
    }
}

/// A container of lists that can become the tables of a state.
pub trait IntoSorted: Container {
    /// Removes the objects from a list, with their identities.
    fn drain<O: Object>(list: &mut Self::Of<O>) -> impl Iterator<Item = (Id<O>, O)>;
}

impl<C: IntoSorted> Tables<C> {
    /// Converts the lists to the tables of a state.
    pub fn sorted(mut self) -> Tables<Sorted> {
        let mut sorting = Sorting { lists: &mut self, sorted: Tables::<Sorted>::default() };
        visit(&mut sorting);
        sorting.sorted
    }
}

struct Sorting<'a, C: Container> {
    lists: &'a mut Tables<C>,
    sorted: Tables<Sorted>,
}

impl<C: IntoSorted> Visit for Sorting<'_, C> {
    fn visit<O: Registered>(&mut self) {
        *self.sorted.of_mut::<O>() = C::drain::<O>(self.lists.of_mut::<O>()).collect();
    }
}
