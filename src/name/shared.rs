//! Names of labs, sandboxes, namespaces and processes, stored as shared strings.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{HOST, NAME_LENGTH, NameError, validate};
use crate::value_schema::{SHARED_NAME, value_schema};

macro_rules! shared_name {
    ($(#[$doc:meta])* $name:ident, $title:literal, $schema:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);
        value_schema!($name, $title, $schema, {
            "type": "string",
            "pattern": SHARED_NAME,
            "patternErrorMessage": "Not a valid name: 1 to 63 letters, digits, `_`, `.` and `-`.",
            "examples": [$example],
        });

        impl $name {
            /// Returns the name as a string.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                validate(text, NAME_LENGTH)?;
                Ok(Self(text.into()))
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
    LabName, "Name of the lab", "The name of the lab: 1 to 63 letters, digits, `_`, `.` and `-`.", "demo"
}

shared_name! {
    /// The name of a sandbox, unique for a user.
    SandboxName, "Name of a sandbox", "The name of a sandbox: 1 to 63 letters, digits, `_`, `.` and `-`.", "default"
}
shared_name! {
    /// The name of a process of a node.
    ProcessName, "Name of a process", "The name of a process of a node: 1 to 63 letters, digits, `_`, `.` and `-`.", "web"
}
shared_name! {
    /// The name of a network namespace as shown by `ip netns`, or `host` for the namespace that topo runs in.
    NamespaceName, "Name of a namespace", "The name of a network namespace, or `host`.", "r1"
}

impl NamespaceName {
    /// Returns the reserved name `host`.
    pub fn host() -> Self {
        Self(HOST.into())
    }

    /// Returns a value that orders before all names, as the lower bound of a range.
    pub(super) fn lowest() -> Self {
        Self("".into())
    }

    /// Returns whether this is `host`, the namespace that topo runs in.
    pub fn is_host(&self) -> bool {
        self.as_str() == HOST
    }
}
