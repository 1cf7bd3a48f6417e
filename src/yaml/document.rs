//! A YAML document as a tree of nodes with their positions in the text.
//!
//! Anchors, aliases and merge keys are resolved. An alias shares the nodes of its anchor, so memory use does not grow with the
//! expanded size. Scalars are not interpreted; [`crate::spec::decode`] does that.

use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;

use super::path::{Path, Segment};

/// A range of bytes in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The offset of the first byte.
    pub start: u32,
    /// The offset after the last byte.
    pub end: u32,
}

/// A value with its position.
#[derive(Debug, Clone)]
pub struct Node<'t> {
    /// The position. For a block collection, an empty range at its start.
    pub span: Span,
    /// The value.
    pub content: Content<'t>,
}

/// The value of a node.
#[derive(Debug, Clone)]
pub enum Content<'t> {
    /// A scalar.
    Scalar(Scalar<'t>),
    /// A list.
    Sequence(Rc<[Node<'t>]>),
    /// A map, in the order of the file; merged entries come last.
    Mapping(Rc<[Entry<'t>]>),
}

/// An uninterpreted scalar.
#[derive(Debug, Clone)]
pub struct Scalar<'t> {
    /// The text without quotes, escapes resolved.
    pub text: Cow<'t, str>,
    /// Whether it has neither quotes nor the tag `!!str`, so that `true` may be a boolean and `1` a number.
    pub plain: bool,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry<'t> {
    /// The key.
    pub key: Cow<'t, str>,
    /// The position of the key.
    pub key_span: Span,
    /// The value.
    pub value: Node<'t>,
}

impl Node<'_> {
    /// Returns the position to report for a value without a key: its own, or for a block map that of the first key.
    pub fn first_span(&self) -> Span {
        match &self.content {
            Content::Mapping(entries) if self.span.end <= self.span.start + 1 => {
                entries.first().map_or(self.span, |entry| entry.key_span)
            }
            Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => self.span,
        }
    }

    /// Returns whether this is null: empty, `~` or `null`, without quotes.
    pub fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar(scalar) => scalar.is_null(),
            Content::Sequence(_) | Content::Mapping(_) => false,
        }
    }

    /// Returns the number of items or entries; 0 for a scalar.
    pub fn length(&self) -> usize {
        match &self.content {
            Content::Scalar(_) => 0,
            Content::Sequence(items) => items.len(),
            Content::Mapping(entries) => entries.len(),
        }
    }

    /// Returns the word for its type in messages.
    pub fn describe(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_null() => "nothing",
            Content::Scalar(_) => "a scalar",
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a map",
        }
    }
}

impl Entry<'_> {
    /// Returns the position to report: that of a scalar value, otherwise of the key.
    fn span(&self) -> Span {
        match &self.value.content {
            Content::Scalar(scalar) if !scalar.is_null() => self.value.span,
            Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => self.key_span,
        }
    }
}

impl Scalar<'_> {
    /// Returns whether this is a null of YAML's core schema.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }
}

/// The result of looking up a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The position to report: that of a scalar or list item itself, or of the key of a collection.
    pub span: Span,
    /// Whether the whole path exists. Otherwise `span` is the position of its longest existing prefix.
    pub exact: bool,
}

/// A selection of nodes: those below a path, down to some depth.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subtree {
    /// The root of the subtree.
    pub path: Path,
    /// The number of levels to include; 1 for the keys or items alone.
    pub levels: usize,
    /// If not empty, only these keys of the maps at the level `at` are included. While one of them is missing, those that decoding does
    /// not know are included, too, because they may be misspelt.
    pub only: &'static [&'static str],
    /// The level of `only`; 0 is the root.
    pub at: usize,
}

/// A parsed document.
#[derive(Debug, Clone)]
pub struct Document<'t> {
    /// The root node.
    pub root: Node<'t>,
    /// The spans of the keys and list items that decoding skipped as invalid.
    pub skipped: HashSet<Span>,
    /// Those among the skipped keys that are not valid in their place.
    pub unknown: HashSet<Span>,
    /// Whether parsing dropped something that is not in the tree, such as an invalid key.
    pub incomplete: bool,
}

impl<'t> Document<'t> {
    /// Looks up the position of `path`.
    pub fn find(&self, path: &Path) -> Location {
        let mut node = &self.root;
        let mut span = node.first_span();
        let mut key = span;
        for segment in path.segments() {
            match self.follow(node, segment) {
                Target::SameNode => span = key,
                Target::Value(entry) => (node, span, key) = (&entry.value, entry.span(), entry.key_span),
                Target::Item(item) => (node, span) = (item, item.first_span()),
                Target::Missing => return Location { span, exact: false },
            }
        }
        Location { span, exact: true }
    }

    /// Returns whether nothing of the subtree was skipped. If its path does not exist, checks the last node that does, because the
    /// missing one may have been skipped there.
    pub fn is_whole(&self, subtree: &Subtree) -> bool {
        if self.incomplete || self.skipped.is_empty() {
            return !self.incomplete;
        }
        let mut node = &self.root;
        for segment in subtree.path.segments() {
            match self.follow(node, segment) {
                Target::SameNode => {}
                Target::Value(entry) if self.skipped.contains(&entry.key_span) => return false,
                Target::Value(entry) => node = &entry.value,
                Target::Item(item) => node = item,
                Target::Missing => return !self.may_lack(node),
            }
        }
        self.is_decoded(node, subtree, 0)
    }

    /// Returns whether something that a node seems not to have may be there: under an unknown key, or as an invalid item.
    fn may_lack(&self, node: &Node<'t>) -> bool {
        match &node.content {
            Content::Scalar(_) => false,
            Content::Sequence(items) => items.iter().any(|item| self.skipped.contains(&item.span)),
            Content::Mapping(entries) => entries.iter().any(|entry| self.unknown.contains(&entry.key_span)),
        }
    }

    /// Returns whether nothing of the subtree was skipped in and below a node of it, which is at that level.
    fn is_decoded(&self, node: &Node<'t>, subtree: &Subtree, level: usize) -> bool {
        if level >= subtree.levels {
            return true;
        }
        let is_decoded = |span: &Span, node: &Node<'t>| !self.skipped.contains(span) && self.is_decoded(node, subtree, level + 1);
        match &node.content {
            Content::Scalar(_) => true,
            Content::Sequence(items) => items.iter().all(|item| is_decoded(&item.span, item)),
            Content::Mapping(entries) => {
                let all = subtree.only.is_empty() || level != subtree.at;
                let some_lacks = || subtree.only.iter().any(|key| entries.iter().all(|entry| entry.key != *key));
                let doubtful = |entry: &Entry<'_>| self.unknown.contains(&entry.key_span) && some_lacks();
                let is_included = |entry: &&Entry<'_>| all || subtree.only.contains(&&*entry.key) || doubtful(entry);
                entries.iter().filter(is_included).all(|entry| is_decoded(&entry.key_span, &entry.value))
            }
        }
    }

    fn follow<'n>(&self, node: &'n Node<'t>, segment: &Segment) -> Target<'n, 't> {
        match (segment, &node.content) {
            (Segment::KeyItself, _) => Target::SameNode,
            (Segment::Key(name), Content::Mapping(entries)) => entry(entries, name).map_or(Target::Missing, Target::Value),
            (Segment::Index(index), Content::Sequence(items)) => {
                let mut items = items.iter().filter(|item| !self.skipped.contains(&item.span));
                items.nth(*index).map_or(Target::Missing, Target::Item)
            }
            (Segment::Key(_) | Segment::Index(_), _) => Target::Missing,
        }
    }
}

/// The target of a path segment.
enum Target<'n, 't> {
    SameNode,
    Value(&'n Entry<'t>),
    Item(&'n Node<'t>),
    Missing,
}

fn entry<'n, 't>(entries: &'n [Entry<'t>], key: &str) -> Option<&'n Entry<'t>> {
    let named = |key: &str| entries.iter().find(|entry| entry.key == key);
    named(key).or_else(|| match key {
        // Alternative option names of vxlan.
        "parent" => named("dev"),
        "remote" => named("group"),
        _ => None,
    })
}
