//! `hosts` and `resolv`: the files /etc/hosts and /etc/resolv.conf of a node.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::value_schema::{Domain, ResolverOption};

/// The table of host names, hosts(5).
pub const HOSTS: &str = "/etc/hosts";
/// The configuration of the resolver, resolv.conf(5).
pub const RESOLV: &str = "/etc/resolv.conf";

/// `hosts` in the lab file: `true` for the names of all nodes, or names with their addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostsSpec {
    /// The names and addresses of all nodes of the lab, or none if false.
    All(bool),
    /// These names.
    Names(BTreeMap<String, Addresses>),
}

/// One address, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(pub Vec<IpAddr>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Addresses;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address or a list of addresses")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Addresses, E> {
                let address =
                    text.parse().map_err(|_| E::custom(format!("`{}` is not an address", crate::name::escape(text))))?;
                Ok(Addresses(vec![address]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Addresses, A::Error> {
                let mut addresses = Vec::new();
                while let Some(address) = list.next_element()? {
                    addresses.push(address);
                }
                Ok(Addresses(addresses))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for HostsSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = HostsSpec;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, or a map of names to addresses")
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<HostsSpec, E> {
                Ok(HostsSpec::All(value))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HostsSpec, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(map)).map(HostsSpec::Names)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for HostsSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All(value) => serializer.serialize_bool(*value),
            Self::Names(names) => {
                let mut map = serializer.serialize_map(Some(names.len()))?;
                for (name, Addresses(addresses)) in names {
                    map.serialize_entry(name, addresses)?;
                }
                map.end()
            }
        }
    }
}

impl JsonSchema for HostsSpec {
    fn schema_name() -> Cow<'static, str> {
        "Hosts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let address = generator.subschema_for::<IpAddr>();
        json_schema!({
            "description": "/etc/hosts of the node: `true` for the names and addresses of all nodes, or a map of names to addresses.",
            "anyOf": [
                { "type": "boolean" },
                {
                    "type": "object",
                    "additionalProperties": {
                        "description": "The address of the name, or a list of addresses.",
                        "anyOf": [address, { "type": "array", "items": address }],
                    },
                },
            ],
        })
    }
}

/// `resolv` in the lab file: the resolver of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResolvSpec {
    /// The addresses of the name servers, in the order in which they are asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<IpAddr>,
    /// The domains that are appended to short names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Domain>")]
    pub search: Vec<String>,
    /// Options such as `ndots:1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<ResolverOption>")]
    pub options: Vec<String>,
}

impl ResolvSpec {
    /// Returns the text of /etc/resolv.conf.
    ///
    /// # Errors
    /// Fails with the first word that does not fit on a line.
    pub fn text(&self) -> Result<String, String> {
        let mut text = String::new();
        for (key, words) in [("search", &self.search), ("options", &self.options)] {
            if let Some(word) =
                words.iter().find(|word| word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_control()))
            {
                return Err(format!("`{}` is not a word for `{key}`", crate::name::escape(word)));
            }
            if !words.is_empty() {
                let _ = writeln!(text, "{key} {}", words.join(" "));
            }
        }
        for server in &self.nameservers {
            let _ = writeln!(text, "nameserver {server}");
        }
        Ok(text)
    }
}

/// Returns the text of /etc/hosts: what every host has, and these addresses with their names.
pub fn table<'n>(entries: impl IntoIterator<Item = (IpAddr, &'n str)>) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for (address, names) in entries {
        let _ = writeln!(text, "{address} {names}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_all_nodes_or_names() {
        let read = |text: &str| serde_json::from_str::<HostsSpec>(text);
        assert_eq!(read("true").unwrap(), HostsSpec::All(true));
        let names = read(r#"{ "db": "10.0.0.1", "web": ["10.0.0.2", "fd00::2"] }"#).unwrap();
        let HostsSpec::Names(map) = &names else { panic!("{names:?}") };
        assert_eq!(map["web"].0.len(), 2);
        assert_eq!(read(&serde_json::to_string(&names).unwrap()).unwrap(), names);
        assert!(read(r#"{ "db": "db" }"#).is_err() && read("1").is_err());
    }

    #[test]
    fn the_resolver_gets_a_line_for_each_key() {
        let spec = ResolvSpec {
            nameservers: vec!["10.0.0.53".parse().unwrap(), "fd00::53".parse().unwrap()],
            search: vec!["lab".into()],
            options: vec!["ndots:1".into()],
        };
        assert_eq!(spec.text().unwrap(), "search lab\noptions ndots:1\nnameserver 10.0.0.53\nnameserver fd00::53\n");
        assert!(ResolvSpec { search: vec!["a\nnameserver b".into()], ..ResolvSpec::default() }.text().is_err());
    }
}
