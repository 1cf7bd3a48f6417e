//! Names of labs, namespaces and interfaces, parsed once so that later code never checks again.
//!
//! What is refused here can reach neither a path under `/run/netns` nor a kernel attribute. Names that the kernel
//! reports may hold any byte; [`LinkName::from_kernel`] takes them as they are and [`fmt::Display`] escapes them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest name of a lab or a namespace, in bytes.
pub const NAME_LENGTH: usize = 63;
/// Longest name of an interface, in bytes: the kernel's `IFNAMSIZ` less its terminating zero.
pub const LINK_NAME_LENGTH: usize = 15;
/// The reserved namespace that stands for the one topo runs in.
pub const HOST: &str = "host";

/// What names are made of, for messages.
const ALLOWED: &str = "letters, digits, `_`, `.` and `-` are allowed, the first of them a letter, a digit or `_`";

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name cannot be empty; {ALLOWED}")]
    Empty,
    /// `.`, `..` and the like, which stand for directories.
    #[error("`{}` is made of dots alone, as the names of directories are; {ALLOWED}", escape(.0))]
    Dots(String),
    /// Something that may stand further on, but not first.
    #[error("`{}` begins with `{first}`; {ALLOWED}", escape(.name))]
    First {
        /// The text, cut.
        name: String,
        /// Its first character.
        first: char,
    },
    /// The text is longer than the kernel or topo allows.
    #[error("`{}` is {length} bytes long; at most {limit} are allowed", escape(.name))]
    TooLong {
        /// The text, cut.
        name: String,
        /// Its length in bytes.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A character that could be taken for something else on a path, in a shell or by the kernel.
    #[error("`{}` holds {}; {ALLOWED}", escape(.name), describe(*.character))]
    Character {
        /// The text, cut.
        name: String,
        /// The first such character.
        character: char,
    },
    /// `NAMESPACE:INTERFACE` was expected.
    #[error("`{}` is not of the form `namespace:interface`", escape(.0))]
    NotAReference(String),
}

fn describe(character: char) -> String {
    if character.is_control() {
        format!("the control character {}", character.escape_default())
    } else if character == ' ' {
        "a blank".to_owned()
    } else if character == '%' {
        "`%`, in place of which the kernel puts a number".to_owned()
    } else {
        format!("`{}`", escape(character.encode_utf8(&mut [0; 4])))
    }
}

/// Makes a text from a file or from the kernel safe to print on a terminal: control characters and the like are escaped.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let bidirectional =
            matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if character.is_control() || bidirectional {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

fn check(text: &str, limit: usize) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let shown = || text.chars().take(limit + 1).collect();
    if let Some(character) = text.chars().find(|&c| !(word(c) || c == '.' || c == '-')) {
        return Err(NameError::Character { name: shown(), character });
    }
    if text.bytes().all(|byte| byte == b'.') {
        return Err(NameError::Dots(shown()));
    }
    if !word(first) {
        return Err(NameError::First { name: shown(), first });
    }
    if text.len() > limit {
        return Err(NameError::TooLong { name: format!("{}...", &text[..limit]), length: text.len(), limit });
    }
    Ok(())
}

macro_rules! shared_name {
    ($(#[$doc:meta])* $name:ident, $schema:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$"), description = $schema)]
        pub struct $name(#[schemars(with = "String")] Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, NAME_LENGTH)?;
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
                name.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

shared_name! {
    /// The name of a lab: marks what the lab owns.
    LabName, "The name of the lab; it marks what the lab owns."
}

shared_name! {
    /// The name of a sandbox: a world of its own for labs, told from others of the same user.
    SandboxName, "The name of a sandbox."
}
shared_name! {
    /// The name of a network namespace as `ip netns` shows it, or `host` for the one topo runs in.
    NamespaceName, "The name of a network namespace, or `host`."
}

impl NamespaceName {
    /// The reserved namespace `host`.
    pub fn host() -> Self {
        Self(HOST.into())
    }

    /// Whether this is the namespace topo runs in.
    pub fn is_host(&self) -> bool {
        &*self.0 == HOST
    }
}

/// The name of an interface: 1 to 15 bytes, held inline because a lab has thousands of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$"), description = "The name of an interface.")]
pub struct LinkName(#[schemars(with = "String")] [u8; LINK_NAME_LENGTH]);

/// By bytes, all of them in one comparison: sorted sets of names are what most of the work is done on.
impl Ord for LinkName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let number = |name: &Self| {
            let mut bytes = [0; LINK_NAME_LENGTH + 1];
            bytes[..LINK_NAME_LENGTH].copy_from_slice(&name.0);
            u128::from_be_bytes(bytes)
        };
        number(self).cmp(&number(other))
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

    /// A name as the kernel reports it, whatever it holds; bytes beyond the kernel's own limit are cut.
    pub fn from_kernel(name: &[u8]) -> Self {
        let name = name.split(|&b| b == 0).next().unwrap_or_default();
        let length = name.len().min(LINK_NAME_LENGTH);
        let mut bytes = [0; LINK_NAME_LENGTH];
        bytes[..length].copy_from_slice(&name[..length]);
        Self(bytes)
    }

    /// The bytes of the name, without padding.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&b| b == 0).next().unwrap_or_default()
    }

    /// The name as text; a byte that is not UTF-8 becomes U+FFFD.
    pub fn as_str(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Whether this is `lo`.
    pub fn is_loopback(&self) -> bool {
        *self == Self::LOOPBACK
    }
}

impl FromStr for LinkName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text, LINK_NAME_LENGTH)?;
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

/// One interface of one namespace, written `namespace:interface`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkId {
    /// Where the interface lives.
    pub namespace: NamespaceName,
    /// Its name there.
    pub name: LinkName,
}

impl LinkId {
    /// The name of no interface, which comes before all others in order.
    pub fn lowest() -> Self {
        Self { namespace: NamespaceName("".into()), name: LinkName([0; LINK_NAME_LENGTH]) }
    }

    /// The interface `name` of `namespace`.
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

/// An interface as a lab file refers to it: `interface` in the same namespace, or `namespace:interface`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,62}:)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$"))]
pub struct LinkRef {
    /// The namespace, when the reference names one.
    #[schemars(with = "String")]
    pub namespace: Option<NamespaceName>,
    /// The interface.
    pub name: LinkName,
}

impl LinkRef {
    /// The interface meant when the reference stands in `namespace`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for text in ["", ".", "..", "../x", "a/b", "-a", "a%d", "a\nb", "a\u{1b}[0m", "a b", "é", &"x".repeat(64)] {
            assert!(text.parse::<NamespaceName>().is_err(), "{text:?}");
            assert!(text.parse::<LinkName>().is_err(), "{text:?}");
        }
        assert!("x".repeat(63).parse::<NamespaceName>().is_ok());
        assert!("x".repeat(16).parse::<LinkName>().is_err());
        assert!("eth0.10".parse::<LinkName>().is_ok());
    }

    #[test]
    fn an_error_says_what_is_wrong_and_what_is_allowed() {
        let says = |text: &str, words: &str| {
            let error = text.parse::<LinkName>().unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("allowed"), "{text:?}: {error}");
        };
        says("", "empty");
        says(".", "dots alone");
        says("..", "dots alone");
        says("-a", "begins with `-`");
        says(".a", "begins with `.`");
        says("veth%d", "holds `%`");
        says("a\u{7}", "the control character \\u{7}");
        says("a\u{202e}b", "holds `\\u{202e}`");
        says("a b", "a blank");
        says("sixteen-bytes-xx", "16 bytes long");
    }

    #[test]
    fn half_a_reference_is_none() {
        for text in ["red", "red:", ":eth0", ":"] {
            assert!(matches!(text.parse::<LinkId>(), Err(NameError::NotAReference(_))), "{text}");
        }
    }

    #[test]
    fn an_error_never_carries_an_escape_byte() {
        let error = "a\u{1b}[31m".parse::<LinkName>().unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn kernel_names_are_kept_and_escaped_when_shown() {
        let name = LinkName::from_kernel(b"a\x1bb\0\0");
        assert_eq!(name.as_bytes(), b"a\x1bb");
        assert_eq!(name.to_string(), "a\\u{1b}b");
    }
}
