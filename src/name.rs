//! Names of labs, namespaces and interfaces, parsed once so that later code never checks again.
//!
//! What is refused here can reach neither a path under `/run/netns` nor a kernel attribute. Names that the kernel
//! reports may hold any byte; [`LinkName::from_kernel`] takes them as they are and [`Display`](std::fmt::Display) escapes them.

mod link;
mod shared;

pub use link::{LinkId, LinkName, LinkRef};
pub use shared::{LabName, NamespaceName, SandboxName};

use std::borrow::Cow;

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
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Cow::Borrowed(text);
    }
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
    Cow::Owned(out)
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
