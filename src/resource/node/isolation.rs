//! The kinds of namespaces that a node has of its own, namespaces(7).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A kind of namespace, besides that of the network, which every node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceKind {
    /// Processes, pid_namespaces(7).
    Pid,
    /// Mounts, mount_namespaces(7).
    Mount,
    /// Host name and domain name, uts_namespaces(7).
    Uts,
    /// System V IPC and POSIX message queues, ipc_namespaces(7).
    Ipc,
    /// The root of control groups, cgroup_namespaces(7).
    Cgroup,
    /// Users and capabilities, user_namespaces(7).
    User,
    /// The clocks CLOCK_MONOTONIC and CLOCK_BOOTTIME, time_namespaces(7).
    Time,
}

impl NamespaceKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [Self::Pid, Self::Mount, Self::Uts, Self::Ipc, Self::Cgroup, Self::User, Self::Time];

    /// The words for them in the lab file, in the same order.
    const WORDS: [&str; 7] = ["pid", "mount", "uts", "ipc", "cgroup", "user", "time"];

    /// Returns the word for it in the lab file.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    fn of_word<E: Error>(word: &str) -> Result<Self, E> {
        let found = Self::ALL.into_iter().find(|kind| kind.word() == word);
        found.ok_or_else(|| match word {
            "net" => E::custom("`net` need not be listed: every node has a network namespace of its own"),
            _ => E::unknown_variant(word, &Self::WORDS),
        })
    }
}

/// A set of kinds. In the lab file: a list, or `full` for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Isolation(BTreeSet<NamespaceKind>);

impl Isolation {
    /// The word for all kinds.
    pub const FULL: &'static str = "full";

    /// Returns the set of all kinds.
    pub fn full() -> Self {
        NamespaceKind::ALL.into_iter().collect()
    }

    /// Returns whether the node has a namespace of this kind of its own.
    pub fn has(&self, kind: NamespaceKind) -> bool {
        self.0.contains(&kind)
    }

    /// Returns whether the node has nothing but a network of its own.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the kinds in a fixed order.
    pub fn kinds(&self) -> impl Iterator<Item = NamespaceKind> {
        self.0.iter().copied()
    }

    /// Returns it as a plan shows it.
    pub fn show(&self) -> Value {
        match *self == Self::full() {
            true => Self::FULL.into(),
            false => self.kinds().map(NamespaceKind::word).collect(),
        }
    }
}

impl FromIterator<NamespaceKind> for Isolation {
    fn from_iter<I: IntoIterator<Item = NamespaceKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().collect())
    }
}

impl Serialize for Isolation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::full() {
            return serializer.serialize_str(Self::FULL);
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for kind in self.kinds() {
            list.serialize_element(kind.word())?;
        }
        list.end()
    }
}

/// A word of the list.
struct Word(NamespaceKind);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl Visitor<'_> for Visit {
            type Value = Word;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a kind of namespace such as `pid`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Word, E> {
                NamespaceKind::of_word(text).map(Word)
            }
        }
        deserializer.deserialize_str(Visit)
    }
}

impl<'de> Deserialize<'de> for Isolation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Isolation;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`full` or a list such as `[pid, mount]`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Isolation, E> {
                match text {
                    Isolation::FULL => Ok(Isolation::full()),
                    _ => Err(E::custom("expected `full` or a list such as `[pid, mount]`")),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Isolation, A::Error> {
                let mut kinds = BTreeSet::new();
                while let Some(Word(kind)) = list.next_element()? {
                    kinds.insert(kind);
                }
                Ok(Isolation(kinds))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Isolation {
    fn schema_name() -> Cow<'static, str> {
        "Isolation".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The kinds of namespaces that the node has of its own besides its network: `full` for all, or a list.",
            "anyOf": [
                { "type": "string", "enum": [Self::FULL] },
                {
                    "type": "array",
                    "items": {
                        "description": "A kind of namespace, namespaces(7).",
                        "type": "string",
                        "enum": NamespaceKind::WORDS,
                    },
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_full_are_read_and_written() {
        let read = |text: &str| serde_json::from_str::<Isolation>(text);
        assert_eq!(read("\"full\"").unwrap(), Isolation::full());
        let some = read(r#"["uts", "pid"]"#).unwrap();
        assert_eq!(serde_json::to_string(&some).unwrap(), r#"["pid","uts"]"#);
        assert_eq!(serde_json::to_string(&Isolation::full()).unwrap(), "\"full\"");
        assert!(read("\"all\"").is_err() && read(r#"["disk"]"#).is_err());
        assert!(read(r#"["net"]"#).unwrap_err().to_string().contains("need not be listed"));
    }
}
