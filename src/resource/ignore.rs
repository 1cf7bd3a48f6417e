//! `ignore`: what other programs may add or change in a namespace, or on one of its interfaces.
//!
//! ```yaml
//! ignore: [addresses, routes]   # a DHCP client runs here
//! ```
//!
//! What the lab declares itself is kept. Everything else of that kind is neither shown nor changed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::link::LinkSettings;
use super::object::for_each_object;
use crate::name::{LinkName, NamespaceName};

/// The word for sysctls that the lab does not set.
pub const SYSCTLS: &str = "sysctls";

macro_rules! list_objects {
    (
        interface { $($(#[$interface_doc:meta])* $interface_list:ident => $interface_variant:ident($interface_type:ty),)* }
        namespace { $($(#[$doc:meta])* $list:ident => $variant:ident($type:ty),)* }
    ) => {
        const OBJECTS: &[&str] = &[$(stringify!($interface_list),)* $(stringify!($list),)*];
    };
}
for_each_object!(list_objects);

/// The settings of links that cannot be ignored: addresses and routes need a link that is up.
const NEEDED: &str = "up";

/// All words that a list `ignore` can contain.
static WORDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let settings = LinkSettings::NAMES.iter().filter(|name| **name != NEEDED);
    OBJECTS.iter().chain([&SYSCTLS]).chain(settings).copied().collect()
});

/// A word of a list `ignore`: the list of a type of object, `sysctls`, or a setting of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Ignored(&'static str);

impl Ignored {
    /// Returns the word.
    pub fn word(self) -> &'static str {
        self.0
    }

    /// Returns whether it is a setting of links.
    pub fn is_link_setting(self) -> bool {
        LinkSettings::NAMES.contains(&self.0)
    }
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Ignored;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word such as `addresses`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Ignored, E> {
                let word = WORDS.iter().find(|word| **word == text);
                word.map(|word| Ignored(word)).ok_or_else(|| E::unknown_variant(text, &WORDS))
            }
        }
        deserializer.deserialize_str(Word)
    }
}

impl JsonSchema for Ignored {
    fn schema_name() -> Cow<'static, str> {
        "Ignored".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list of objects, `sysctls`, or a setting of interfaces.",
            "type": "string",
            "enum": *WORDS,
        })
    }
}

/// What is ignored in one namespace: everywhere (`None`), or at an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IgnoredThere(BTreeMap<Option<LinkName>, BTreeSet<Ignored>>);

impl IgnoredThere {
    /// Returns whether the word is ignored in the whole namespace or at one of these interfaces.
    pub fn includes(&self, word: &str, links: impl IntoIterator<Item = LinkName>) -> bool {
        let at = |place: Option<LinkName>| self.0.get(&place).is_some_and(|words| words.iter().any(|ignored| ignored.0 == word));
        at(None) || links.into_iter().any(|link| at(Some(link)))
    }

    /// Returns what is ignored, by interface; `None` for the whole namespace.
    pub fn iter(&self) -> impl Iterator<Item = (Option<LinkName>, &BTreeSet<Ignored>)> {
        self.0.iter().map(|(link, words)| (*link, words))
    }
}

/// What is ignored in all namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore(BTreeMap<NamespaceName, IgnoredThere>);

impl Ignore {
    /// Ignores a word in a namespace, or at one of its interfaces.
    pub fn add(&mut self, namespace: &NamespaceName, link: Option<LinkName>, word: Ignored) {
        self.0.entry(namespace.clone()).or_default().0.entry(link).or_default().insert(word);
    }

    /// Returns what is ignored in a namespace; `None` for nothing.
    pub fn of(&self, namespace: &NamespaceName) -> Option<&IgnoredThere> {
        self.0.get(namespace)
    }

    /// Returns whether the word is ignored in the namespace or at one of these interfaces of it.
    pub fn includes(&self, namespace: &NamespaceName, word: &str, links: impl IntoIterator<Item = LinkName>) -> bool {
        self.of(namespace).is_some_and(|there| there.includes(word, links))
    }

    /// Returns what is ignored, by namespace.
    pub fn iter(&self) -> impl Iterator<Item = (&NamespaceName, &IgnoredThere)> {
        self.0.iter()
    }

    /// Adds what `other` ignores.
    pub fn extend(&mut self, other: Self) {
        for (namespace, there) in other.0 {
            let own = self.0.entry(namespace).or_default();
            there.0.into_iter().for_each(|(link, words)| own.0.entry(link).or_default().extend(words));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Ignored {
        serde_json::from_value(text.into()).unwrap()
    }

    #[test]
    fn objects_sysctls_and_settings_can_be_ignored() {
        for text in ["addresses", "routes", "rules", "neighbors", "sysctls", "mtu", "mac", "altnames"] {
            assert_eq!(word(text).word(), text);
        }
        for text in ["up", "master", "links", "Addresses"] {
            assert!(serde_json::from_value::<Ignored>(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_namespace_covers_its_interfaces_and_not_the_other_way_round() {
        let (namespace, [one, other]) = (NamespaceName::host(), ["eth0", "eth1"].map(|name| name.parse::<LinkName>().unwrap()));
        let mut ignore = Ignore::default();
        ignore.add(&namespace, None, word("routes"));
        ignore.add(&namespace, Some(one), word("addresses"));
        assert!(ignore.includes(&namespace, "routes", [other]));
        assert!(ignore.includes(&namespace, "addresses", [other, one]));
        assert!(!ignore.includes(&namespace, "addresses", [other]));
        assert!(!ignore.includes(&namespace, "addresses", []));
    }
}
