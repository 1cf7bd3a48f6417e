//! Files of a node: `files`, and those that `hosts` and `resolv` ask for.
//!
//! They are in the node's own view of its file system. The machine's files stay as they are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::name::escape;
use crate::resource::FieldChange;
use crate::value_schema::value_schema;

/// The largest file in bytes.
pub const LIMIT: usize = 4 << 20;

/// An absolute path in a node, without `.` and `..` and without superfluous slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodePath(Arc<str>);
value_schema!(NodePath, "Path in the node", "An absolute path in the node, without `.` and `..`.", {
    "type": "string",
    "pattern": "^/+[^/]",
    "patternErrorMessage": "Not an absolute path; write it like `/etc/motd`.",
    "examples": ["/etc/motd"],
});

impl NodePath {
    /// Returns the path as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodePath {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const LENGTH: usize = 4095;
        let shown = || escape(&text.chars().take(60).collect::<String>()).into_owned();
        let Some(rest) = text.strip_prefix('/') else { return Err(format!("`{}` is not an absolute path", shown())) };
        if text.len() > LENGTH || text.contains('\0') || text.contains('\n') {
            return Err(format!("`{}` is not a valid path", shown()));
        }
        let names: Vec<_> = rest.split('/').filter(|name| !name.is_empty()).collect();
        if names.iter().any(|name| matches!(*name, "." | "..")) {
            return Err(format!("`{}` contains `.` or `..`", shown()));
        }
        if names.is_empty() || text.ends_with('/') {
            return Err(format!("`{}` is a directory", shown()));
        }
        Ok(Self(format!("/{}", names.join("/")).into()))
    }
}

impl TryFrom<String> for NodePath {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<NodePath> for String {
    fn from(path: NodePath) -> Self {
        path.as_str().to_owned()
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(self.as_str()))
    }
}

/// The permissions of a file, chmod(2), written as an octal number in quotes: `"0644"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);
value_schema!(Mode, "Permissions", "The permissions of a file, chmod(2): an octal number in quotes.", {
    "type": ["string", "integer"],
    "pattern": "^0?[0-7]{3,4}$",
    "patternErrorMessage": "Not a mode; write it like `\"0644\"`.",
    "examples": ["0644", "0755"],
});

impl Mode {
    /// The permissions of a copied program for which the lab file has none.
    pub const EXECUTABLE: Self = Self(0o755);
}

impl TryFrom<String> for Mode {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let is_octal = (3..=5).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let number = if is_octal { u32::from_str_radix(&text, 8).ok() } else { None };
        let number = number.filter(|number| *number <= 0o7777);
        number.map(Self).ok_or_else(|| format!("`{}` is not a mode; write it like \"0644\"", escape(&text)))
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// The owner of a file: numbers of a user and a group, written `0:0` or as one number for both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}
value_schema!(Owner, "Owner", "The owner of a file: the numbers of a user and a group, or one number for both.", {
    "type": ["string", "integer"],
    "pattern": r"^\+?[0-9]+(:\+?[0-9]+)?$",
    "patternErrorMessage": "Not an owner; write the numbers of a user and a group, like `0:0`.",
    "minimum": 0,
    "maximum": u32::MAX - 1,
    "examples": ["0:0", "1000:1000"],
});

impl TryFrom<String> for Owner {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number != u32::MAX);
        let (user, group) = text.split_once(':').unwrap_or((&text, &text));
        let both = number(user).zip(number(group));
        both.map(|(user, group)| Self { user, group })
            .ok_or_else(|| format!("`{}` is not an owner; write the numbers of a user and a group, like `0:0`", escape(&text)))
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        format!("{}:{}", owner.user, owner.group)
    }
}

/// A file of a node in the lab file: its text, or a file beside the lab file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FileSpec {
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The file to copy; a relative path begins at the directory of the lab file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The bytes of the `source`, or why it cannot be read. Whoever has read the lab file fills this in.
    #[serde(skip)]
    #[schemars(skip)]
    pub loaded: Option<Result<Arc<[u8]>, String>>,
    /// The permissions; default `"0644"`, or `"0755"` for a `source` that its owner can execute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The numbers of the owner and the group, `0:0` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// A file of a node.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its bytes.
    pub content: Arc<[u8]>,
    /// Its permissions.
    pub mode: Mode,
    /// Its owner.
    pub owner: Owner,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content, mode, owner } = self;
        write!(f, "File {{ {} bytes, {mode:?}, {owner:?} }}", content.len())
    }
}

impl File {
    /// The permissions of a file for which the lab file has none.
    pub const MODE: Mode = Mode(0o644);

    /// Returns a file of root that everybody can read.
    pub fn new(content: impl Into<Arc<[u8]>>) -> Self {
        Self { content: content.into(), mode: Self::MODE, owner: Owner::default() }
    }

    /// Returns the key of the lab file: the text itself. `None` if it is not text.
    pub fn raise(&self) -> Option<FileSpec> {
        let content = String::from_utf8(self.content.to_vec()).ok()?;
        let mode = (self.mode != Self::MODE).then_some(self.mode);
        let owner = (self.owner != Owner::default()).then_some(self.owner);
        Some(FileSpec { content: Some(content), mode, owner, ..FileSpec::default() })
    }

    /// Returns the attributes in which a desired file differs from the live one.
    pub fn compare(&self, live: &Self) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        if self.content != live.content {
            let (before, after) = differing_lines(&live.content, &self.content);
            changes.push(FieldChange::new("content", before.into(), after.into()));
        }
        let text = |mode: Mode| Value::from(String::from(mode));
        if self.mode != live.mode {
            changes.push(FieldChange::new("mode", text(live.mode), text(self.mode)));
        }
        if self.owner != live.owner {
            changes.push(FieldChange::new("owner", String::from(live.owner).into(), String::from(self.owner).into()));
        }
        changes
    }

    /// Returns the attributes for plans. The content is shown as its size and a checksum, because a file can be long or secret.
    pub fn show(&self) -> Vec<(&'static str, Value)> {
        let mut shown = vec![("size", json!(self.content.len())), (CHECKSUM, checksum(&self.content).into())];
        shown.extend((self.mode != Self::MODE).then(|| ("mode", String::from(self.mode).into())));
        shown.extend((self.owner != Owner::default()).then(|| ("owner", String::from(self.owner).into())));
        shown
    }
}

/// The attribute with the checksum of the content.
pub const CHECKSUM: &str = "checksum";

/// Returns the FNV-1a hash of 64 bits, in hexadecimal digits. A saved plan notices by it that a file has changed since.
fn checksum(content: &[u8]) -> String {
    let hash =
        content.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// Describes two contents: their sizes, and the first line that differs, without its text.
fn differing_lines(before: &[u8], after: &[u8]) -> (String, String) {
    let first = before.split(|byte| *byte == b'\n').zip(after.split(|byte| *byte == b'\n')).take_while(|(a, b)| a == b).count();
    let size = |content: &[u8]| format!("{} bytes", content.len());
    (size(before), format!("{}, changed from line {}", size(after), first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_plain() {
        let path = |text: &str| text.parse::<NodePath>();
        assert_eq!(path("/etc//frr/frr.conf").unwrap().as_str(), "/etc/frr/frr.conf");
        for text in ["etc/motd", "/", "/etc/", "/etc/../x", "/a\nb", ""] {
            assert!(path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn modes_and_owners_are_read_and_written() {
        let mode = |text: &str| Mode::try_from(text.to_owned());
        assert_eq!(mode("0644").unwrap(), Mode(0o644));
        assert_eq!(String::from(mode("755").unwrap()), "0755");
        assert!(mode("8").is_err() && mode("0888").is_err() && mode("rw").is_err());
        let owner = |text: &str| Owner::try_from(text.to_owned());
        assert_eq!(owner("5").unwrap(), Owner { user: 5, group: 5 });
        assert_eq!(String::from(owner("1:2").unwrap()), "1:2");
        assert!(owner("root").is_err() && owner("4294967295").is_err());
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(checksum(b""), "cbf29ce484222325");
        assert_eq!(checksum(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn a_change_of_content_names_the_line_and_not_the_text() {
        let [old, new] = ["a\nb\n", "a\nc\n"].map(|text| File::new(text.as_bytes()));
        let changes = new.compare(&old);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].after, "4 bytes, changed from line 2");
        assert_eq!(new.compare(&new), []);
    }
}
