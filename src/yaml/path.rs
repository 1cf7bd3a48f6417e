//! Positions in a lab file by keys and indices instead of bytes: `namespaces/blue/routes/0/via`.

use std::fmt;

use crate::name::{LinkName, NamespaceName, ProcessName, escape};

/// One segment of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The value of a key of a map.
    Key(String),
    /// An item of a list, counted from 0.
    Index(usize),
    /// The last key of the path itself, instead of its value.
    KeyItself,
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<&String> for Segment {
    fn from(key: &String) -> Self {
        Self::Key(key.clone())
    }
}

impl From<&NamespaceName> for Segment {
    fn from(name: &NamespaceName) -> Self {
        Self::Key(name.as_str().to_owned())
    }
}

impl From<&ProcessName> for Segment {
    fn from(name: &ProcessName) -> Self {
        Self::Key(name.as_str().to_owned())
    }
}

impl From<LinkName> for Segment {
    fn from(name: LinkName) -> Self {
        Self::Key(name.into())
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A path from the root of a lab file to a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Segment>);

impl Path {
    /// Returns the path of the whole file.
    pub fn root() -> Self {
        Self::default()
    }

    /// Appends a segment.
    #[must_use]
    pub fn then(mut self, segment: impl Into<Segment>) -> Self {
        self.0.push(segment.into());
        self
    }

    /// Makes the path point to its last key instead of the value.
    #[must_use]
    pub fn key(self) -> Self {
        self.then(Segment::KeyItself)
    }

    /// Returns the segments from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            if position > 0 && *segment != Segment::KeyItself {
                f.write_str("/")?;
            }
            match segment {
                Segment::KeyItself => {}
                Segment::Key(key) => f.write_str(&escape(key))?,
                Segment::Index(index) => write!(f, "{index}")?,
            }
        }
        Ok(())
    }
}
