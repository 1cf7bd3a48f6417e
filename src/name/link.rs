//! Names of interfaces, with and without their namespace.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{LINK_NAME_LENGTH, NameError, NamespaceName, escape, validate};
use crate::value_schema::{LINK_ID, LINK_NAME, LINK_REFERENCE, value_schema};

/// The name of an interface: 1 to 15 bytes, stored inline because a lab has thousands of them.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName([u8; LINK_NAME_LENGTH]);
value_schema!(LinkName, "Interface name", "The name of an interface: 1 to 15 letters, digits, `_`, `.` and `-`.", {
    "type": "string",
    "pattern": LINK_NAME,
    "patternErrorMessage": "Not a valid name of an interface: 1 to 15 letters, digits, `_`, `.` and `-`.",
    "examples": ["eth0"],
});

/// Orders by bytes, in one integer comparison: most of the work is done on sorted collections of names.
impl Ord for LinkName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number().cmp(&other.number())
    }
}

impl Hash for LinkName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number().hash(state);
    }
}

impl PartialOrd for LinkName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl LinkName {
    /// `lo`, which every namespace has.
    pub const LOOPBACK: Self = Self(*b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0");

    /// Takes a name reported by the kernel, without validation. Ignores bytes beyond the maximum length.
    pub fn from_kernel(name: &[u8]) -> Self {
        let name = name.split(|&b| b == 0).next().unwrap_or_default();
        let length = name.len().min(LINK_NAME_LENGTH);
        let mut bytes = [0; LINK_NAME_LENGTH];
        bytes[..length].copy_from_slice(&name[..length]);
        Self(bytes)
    }

    /// Returns the bytes as one big-endian number.
    fn number(&self) -> u128 {
        let mut bytes = [0; LINK_NAME_LENGTH + 1];
        bytes[..LINK_NAME_LENGTH].copy_from_slice(&self.0);
        u128::from_be_bytes(bytes)
    }

    /// Returns the bytes of the name, without padding.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&b| b == 0).next().unwrap_or_default()
    }

    /// Returns the name as a string. Invalid UTF-8 becomes U+FFFD.
    pub fn as_str(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Returns whether this is `lo`.
    pub fn is_loopback(&self) -> bool {
        *self == Self::LOOPBACK
    }
}

impl FromStr for LinkName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        validate(text, LINK_NAME_LENGTH)?;
        Ok(Self::from_kernel(text.as_bytes()))
    }
}

impl TryFrom<String> for LinkName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> String {
        name.as_str().into_owned()
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape(&self.as_str()))
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// An interface in a namespace, written `namespace:interface`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkId {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The name of the interface.
    pub name: LinkName,
}
value_schema!(LinkId, "Interface", "An interface of a namespace: `namespace:interface`.", {
    "type": "string",
    "pattern": LINK_ID,
    "patternErrorMessage": "Not of the form `namespace:interface`.",
    "examples": ["r1:eth0"],
});

impl LinkId {
    /// Returns a value that orders before all interfaces, as the lower bound of a range.
    pub fn lowest() -> Self {
        Self { namespace: NamespaceName::lowest(), name: LinkName([0; LINK_NAME_LENGTH]) }
    }

    /// Creates the identifier of the interface `name` in `namespace`.
    pub fn new(namespace: &NamespaceName, name: LinkName) -> Self {
        Self { namespace: namespace.clone(), name }
    }
}

impl FromStr for LinkId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts = text.split_once(':').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
        let (namespace, name) = parts.ok_or_else(|| NameError::NotAReference(text.chars().take(100).collect()))?;
        Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
    }
}

impl TryFrom<String> for LinkId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<LinkId> for String {
    fn from(id: LinkId) -> String {
        id.to_string()
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.name)
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A reference to an interface in a lab file: `interface` in the same namespace, or `namespace:interface`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkRef {
    /// The namespace, if given.
    pub namespace: Option<NamespaceName>,
    /// The interface.
    pub name: LinkName,
}
value_schema!(
    LinkRef,
    "Reference to an interface",
    "An interface: `interface` in the same namespace, or `namespace:interface`.",
    {
        "type": "string",
        "pattern": LINK_REFERENCE,
        "patternErrorMessage": "Not a reference to an interface; write it like `eth0` or `host:eth0`.",
        "examples": ["eth0", "host:eth0"],
    }
);

impl LinkRef {
    /// Resolves a reference that is used in `namespace`.
    pub fn resolve(&self, namespace: &NamespaceName) -> LinkId {
        LinkId::new(self.namespace.as_ref().unwrap_or(namespace), self.name)
    }
}

impl From<LinkId> for LinkRef {
    fn from(id: LinkId) -> Self {
        Self { namespace: Some(id.namespace), name: id.name }
    }
}

impl FromStr for LinkRef {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text.split_once(':') {
            Some((namespace, name)) => Self { namespace: Some(namespace.parse()?), name: name.parse()? },
            None => Self { namespace: None, name: text.parse()? },
        })
    }
}

impl TryFrom<String> for LinkRef {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<LinkRef> for String {
    fn from(reference: LinkRef) -> String {
        reference.to_string()
    }
}

impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}:{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl fmt::Debug for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
