//! Patterns for names.

use std::convert::Infallible;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::value_schema::value_schema;

/// A name, or a glob: `*` matches any text, `?` matches one character.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamePattern(pub String);
value_schema!(
    NamePattern,
    "Name or glob",
    "The name of an interface, or a glob: `*` matches any text, `?` matches one character.",
    { "type": "string", "examples": ["eth0", "p*"] }
);

impl From<&str> for NamePattern {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for NamePattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl NamePattern {
    /// Returns whether the pattern is a glob, not a name.
    pub fn is_glob(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Returns whether `name` matches, by the rules of glob(7) without character classes.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n, mut star) = (0, 0, None);
        while n < name.len() {
            if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == name[n]) && pattern[p] != b'*' {
                p += 1;
                n += 1;
            } else if p < pattern.len() && pattern[p] == b'*' {
                star = Some((p, n));
                p += 1;
            } else if let Some((at, taken)) = star {
                p = at + 1;
                n = taken + 1;
                star = Some((at, taken + 1));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|&b| b == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        let check = |pattern: &str, name: &str| NamePattern(pattern.into()).matches(name);
        assert!(check("p*", "p1") && check("p*", "p") && check("*", "x") && check("a?c", "abc") && check("a*b*c", "axxbyyc"));
        assert!(!check("p*", "xp") && !check("a?c", "ac") && !check("p1", "p10") && !check("a*b", "abx"));
    }
}
