//! Names of labs, sandboxes and namespaces, stored as shared strings.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HOST, NAME_LENGTH, NameError, validate};

/// A string shared by all copies of a name, with its first bytes stored inline. A large lab needs millions of comparisons, and the
/// inline bytes decide most of them without following the pointer.
#[derive(Clone, PartialEq, Eq)]
struct Text {
    /// The first eight bytes as a big-endian number, padded with zeros.
    head: u64,
    whole: Arc<str>,
}

impl Text {
    fn new(text: &str) -> Self {
        let mut head = [0; size_of::<u64>()];
        for (to, from) in head.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self { head: u64::from_be_bytes(head), whole: text.into() }
    }

    fn fits_in_head(&self) -> bool {
        self.whole.len() <= size_of::<u64>()
    }
}

/// Orders by bytes, like `str`.
impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| match self.fits_in_head() && other.fits_in_head() {
            // A name contains no zero byte, so two names that fit and have the same head are equal.
            true => Ordering::Equal,
            false => self.whole.cmp(&other.whole),
        })
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.head.hash(state);
        if !self.fits_in_head() {
            self.whole.hash(state);
        }
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

macro_rules! shared_name {
    ($(#[$doc:meta])* $name:ident, $schema:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$"), description = $schema)]
        pub struct $name(#[schemars(with = "String")] Text);

        impl $name {
            /// Returns the name as a string.
            pub fn as_str(&self) -> &str {
                &self.0.whole
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                validate(text, NAME_LENGTH)?;
                Ok(Self(Text::new(text)))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

shared_name! {
    /// The name of a lab; marks the objects that the lab owns.
    LabName, "The name of the lab; marks the objects that the lab owns."
}

shared_name! {
    /// The name of a sandbox, unique for a user.
    SandboxName, "The name of a sandbox."
}
shared_name! {
    /// The name of a network namespace as shown by `ip netns`, or `host` for the namespace that topo runs in.
    NamespaceName, "The name of a network namespace, or `host`."
}

impl NamespaceName {
    /// Returns the reserved name `host`.
    pub fn host() -> Self {
        Self(Text::new(HOST))
    }

    /// Returns a value that orders before all names, as the lower bound of a range.
    pub(super) fn lowest() -> Self {
        Self(Text::new(""))
    }

    /// Returns whether this is `host`, the namespace that topo runs in.
    pub fn is_host(&self) -> bool {
        self.as_str() == HOST
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use proptest::prelude::*;

    use super::*;
    use crate::name::LinkName;

    proptest! {
        #[test]
        fn names_order_like_strings(one in "[a-c_.-]{0,12}", other in "[a-c_.-]{0,12}") {
            prop_assert_eq!(Text::new(&one).cmp(&Text::new(&other)), one.cmp(&other));
            prop_assert_eq!(Text::new(&one) == Text::new(&other), one == other);
        }

        #[test]
        fn equal_names_have_equal_hashes(name in "[a-c_.-]{0,15}", other in "[a-c_.-]{0,15}") {
            let state = RandomState::new();
            prop_assert_eq!(state.hash_one(Text::new(&name)), state.hash_one(Text::new(&name)));
            let (link, again) = (LinkName::from_kernel(name.as_bytes()), LinkName::from_kernel(format!("{name}\0x").as_bytes()));
            prop_assert_eq!(state.hash_one(link), state.hash_one(again));
            // Different names should not collide.
            prop_assert!(name == other || state.hash_one(Text::new(&name)) != state.hash_one(Text::new(&other)));
        }
    }
}
