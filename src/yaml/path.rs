//! Where something stands in a lab file, by keys and positions instead of bytes: `namespaces/blue/routes/0/via`.

use std::fmt;

use crate::name::{LinkName, NamespaceName, escape};

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// Into a map, by key.
    Key(String),
    /// Into a list, by position from 0.
    Index(usize),
    /// Not down, but to the key that the way led through last.
    Itself,
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

/// The way from the root of a lab file to something in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Segment>);

impl Path {
    /// The file as a whole.
    pub fn root() -> Self {
        Self::default()
    }

    /// The same way and a step more.
    #[must_use]
    pub fn then(mut self, segment: impl Into<Segment>) -> Self {
        self.0.push(segment.into());
        self
    }

    /// The same way, but to the key at its end instead of what stands under it.
    #[must_use]
    pub fn key(self) -> Self {
        self.then(Segment::Itself)
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            if position > 0 && *segment != Segment::Itself {
                f.write_str("/")?;
            }
            match segment {
                Segment::Itself => {}
                Segment::Key(key) => f.write_str(&escape(key))?,
                Segment::Index(index) => write!(f, "{index}")?,
            }
        }
        Ok(())
    }
}
