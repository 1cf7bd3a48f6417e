//! Validated names of labs, namespaces, interfaces and processes.
//!
//! A parsed name is safe to use in a path under `/run/netns` and in a kernel attribute. Interface names reported by the kernel may
//! contain any byte; [`LinkName::from_kernel`] accepts them unchanged and [`Display`](std::fmt::Display) escapes them.

mod link;
mod pattern;
mod shared;

pub use link::{LinkId, LinkName, LinkRef};
pub use pattern::NamePattern;
pub use shared::{LabName, NamespaceName, ProcessName, SandboxName};

use std::borrow::Cow;

/// The maximum length of the name of a lab, a namespace or a process, in bytes.
pub const NAME_LENGTH: usize = 63;
/// The maximum length of the name of an interface, in bytes: `IFNAMSIZ` without the terminating zero.
pub const LINK_NAME_LENGTH: usize = 15;
/// The reserved name of the namespace that topo runs in.
pub const HOST: &str = "host";

/// The valid names, for messages.
const ALLOWED: &str = "allowed are letters, digits, `_`, `.` and `-`, beginning with a letter, a digit or `_`";

/// The reason why a string is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The string is empty.
    #[error("a name cannot be empty; {ALLOWED}")]
    Empty,
    /// The string consists of dots, such as the directory names `.` and `..`.
    #[error("`{}` consists of dots only; {ALLOWED}", escape(.0))]
    Dots(String),
    /// The first character is allowed only after the first position.
    #[error("`{}` begins with `{first}`; {ALLOWED}", escape(.name))]
    First {
        /// The string, truncated.
        name: String,
        /// The first character.
        first: char,
    },
    /// The string is too long.
    #[error("`{}` is {length} bytes long, but at most {limit} are allowed", escape(.name))]
    TooLong {
        /// The string, truncated.
        name: String,
        /// The length in bytes.
        length: usize,
        /// The maximum length.
        limit: usize,
    },
    /// The string contains a character that has a meaning in a path, in a shell or for the kernel.
    #[error("`{}` contains {}; {ALLOWED}", escape(.name), describe(*.character))]
    Character {
        /// The string, truncated.
        name: String,
        /// The first invalid character.
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
        "a space".to_owned()
    } else if character == '%' {
        "`%`, which the kernel replaces by a number".to_owned()
    } else {
        format!("`{}`", escape(character.encode_utf8(&mut [0; 4])))
    }
}

/// Escapes control characters, bidirectional formatting and zero-width characters, so that the text is safe to print on a terminal.
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

fn validate(text: &str, limit: usize) -> Result<(), NameError> {
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
    fn invalid_names_are_rejected() {
        for text in ["", ".", "..", "../x", "a/b", "-a", "a%d", "a\nb", "a\u{1b}[0m", "a b", "é", &"x".repeat(64)] {
            assert!(text.parse::<NamespaceName>().is_err(), "{text:?}");
            assert!(text.parse::<LinkName>().is_err(), "{text:?}");
        }
        assert!("x".repeat(63).parse::<NamespaceName>().is_ok());
        assert!("x".repeat(16).parse::<LinkName>().is_err());
        assert!("eth0.10".parse::<LinkName>().is_ok());
    }

    #[test]
    fn an_error_names_the_problem_and_the_valid_names() {
        let says = |text: &str, words: &str| {
            let error = text.parse::<LinkName>().unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("allowed"), "{text:?}: {error}");
        };
        says("", "empty");
        says(".", "dots only");
        says("..", "dots only");
        says("-a", "begins with `-`");
        says(".a", "begins with `.`");
        says("veth%d", "contains `%`");
        says("a\u{7}", "the control character \\u{7}");
        says("a\u{202e}b", "contains `\\u{202e}`");
        says("a b", "a space");
        says("sixteen-bytes-xx", "16 bytes long");
    }

    #[test]
    fn an_incomplete_reference_is_rejected() {
        for text in ["red", "red:", ":eth0", ":"] {
            assert!(matches!(text.parse::<LinkId>(), Err(NameError::NotAReference(_))), "{text}");
        }
    }

    #[test]
    fn an_error_never_contains_an_escape_byte() {
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
