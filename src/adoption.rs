//! What the user asks a lab to take over: links of `host`, and namespaces.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{LinkId, LinkName, NameError, NamespaceName};

/// The word for everything.
const ALL: &str = "all";

/// The argument of `--adopt`: `NAMESPACE`, `host:INTERFACE`, or `all`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Adoption {
    /// Everything that the lab declares and that is foreign.
    All,
    /// A link of `host`, or a namespace, which its `lo` stands for.
    Link(LinkId),
}

impl Adoption {
    /// Returns the adoption of a namespace.
    pub fn namespace(name: &NamespaceName) -> Self {
        Self::Link(LinkId::new(name, LinkName::LOOPBACK))
    }
}

impl FromStr for Adoption {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text {
            ALL => Self::All,
            text if text.contains(':') => Self::Link(text.parse()?),
            text => Self::namespace(&text.parse()?),
        })
    }
}

impl fmt::Display for Adoption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(ALL),
            Self::Link(link) if link.name.is_loopback() && !link.namespace.is_host() && link.namespace.as_str() != ALL => {
                write!(f, "{}", link.namespace)
            }
            Self::Link(link) => write!(f, "{link}"),
        }
    }
}

impl TryFrom<String> for Adoption {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Adoption> for String {
    fn from(adoption: Adoption) -> Self {
        adoption.to_string()
    }
}

/// All that a lab is to take over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Adoptions {
    /// Everything that the lab declares.
    pub all: bool,
    /// Links of `host`, and `lo` of namespaces.
    pub named: BTreeSet<LinkId>,
}

impl Adoptions {
    /// Adds those of another lab file.
    pub fn join(&mut self, other: Self) {
        self.all |= other.all;
        self.named.extend(other.named);
    }
}

impl Extend<Adoption> for Adoptions {
    fn extend<I: IntoIterator<Item = Adoption>>(&mut self, adoptions: I) {
        for adoption in adoptions {
            match adoption {
                Adoption::All => self.all = true,
                Adoption::Link(link) => drop(self.named.insert(link)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_namespaces_links_or_everything() {
        for text in ["all", "all:lo", "blue", "host:br0", "blue:eth0"] {
            let adoption: Adoption = text.parse().unwrap();
            assert_eq!(adoption.to_string(), text);
        }
        assert_eq!("blue:lo".parse::<Adoption>().unwrap(), Adoption::namespace(&"blue".parse().unwrap()));
        for text in ["", ":", "a:", ":b", "a b", "host:"] {
            assert!(text.parse::<Adoption>().is_err(), "{text:?}");
        }
    }
}
