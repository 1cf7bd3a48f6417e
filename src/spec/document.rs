//! A YAML document as a tree that knows where each of its parts stands in the text.
//!
//! Anchors, aliases and merge keys are resolved; an alias shares the nodes of its anchor, so that a small text stays small in
//! memory whatever it expands to. What the scalars mean is left to [`super::decode`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::rc::Rc;

use super::path::{Path, Segment};

/// A range of bytes in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Where it begins.
    pub start: u32,
    /// Where the next thing begins.
    pub end: u32,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node<'t> {
    /// Where it stands. Of a block collection that is where it begins.
    pub span: Span,
    /// What it is.
    pub content: Content<'t>,
}

/// What a node can be.
#[derive(Debug, Clone)]
pub enum Content<'t> {
    /// A single value.
    Scalar(Scalar<'t>),
    /// A list.
    Sequence(Rc<[Node<'t>]>),
    /// A map, in the order of the file; merged entries come last.
    Mapping(Rc<[Entry<'t>]>),
}

/// A single value, not interpreted.
#[derive(Debug, Clone)]
pub struct Scalar<'t> {
    /// The text without quotes, escapes resolved.
    pub text: Cow<'t, str>,
    /// Whether it stands without quotes and without the tag `!!str`, so that `true` may be a truth value and `1` a number.
    pub plain: bool,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry<'t> {
    /// The key.
    pub key: Cow<'t, str>,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Node<'t>,
}

impl Node<'_> {
    /// Whether this is a null: nothing, `~` or `null`, without quotes.
    pub fn is_null(&self) -> bool {
        match &self.content {
            Content::Scalar(scalar) => scalar.is_null(),
            Content::Sequence(_) | Content::Mapping(_) => false,
        }
    }

    /// The word for what it is.
    pub fn describe(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) if scalar.is_null() => "nothing",
            Content::Scalar(_) => "a single value",
            Content::Sequence(_) => "a list",
            Content::Mapping(_) => "a map",
        }
    }
}

impl Scalar<'_> {
    /// Whether this is a null of YAML's core schema.
    pub fn is_null(&self) -> bool {
        self.plain && matches!(&*self.text, "" | "~" | "null" | "Null" | "NULL")
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The best place to point at: a scalar or a list item itself, of a collection the key that it stands under.
    pub span: Span,
    /// Whether the whole path is there; otherwise the place is that of its longest beginning.
    pub complete: bool,
}

/// A parsed document.
#[derive(Debug, Clone)]
pub struct Document<'t> {
    /// Its one value.
    pub root: Node<'t>,
    /// The keys and list items, by their places, that could not be decoded and were left out.
    pub refused: HashSet<Span>,
}

impl Document<'_> {
    /// The place of what `path` leads to.
    pub fn find(&self, path: &Path) -> Found {
        let mut node = &self.root;
        let mut span = first_place(node);
        let mut key = span;
        for segment in path.segments() {
            let next = match (segment, &node.content) {
                (Segment::Itself, _) => Some((node, key)),
                (Segment::Key(name), Content::Mapping(entries)) => entry(entries, name).map(|entry| {
                    key = entry.key_span;
                    (&entry.value, place(entry))
                }),
                (Segment::Index(index), Content::Sequence(items)) => {
                    let mut items = items.iter().filter(|item| !self.refused.contains(&item.span));
                    items.nth(*index).map(|item| (item, first_place(item)))
                }
                (Segment::Key(_) | Segment::Index(_), _) => None,
            };
            match next {
                Some(next) => (node, span) = next,
                None => return Found { span, complete: false },
            }
        }
        Found { span, complete: true }
    }
}

fn entry<'n, 't>(entries: &'n [Entry<'t>], key: &str) -> Option<&'n Entry<'t>> {
    let named = |key: &str| entries.iter().find(|entry| entry.key == key);
    named(key).or_else(|| match key {
        // The other names that a vxlan's options go by.
        "parent" => named("dev"),
        "remote" => named("group"),
        _ => None,
    })
}

fn place(entry: &Entry<'_>) -> Span {
    match &entry.value.content {
        Content::Scalar(scalar) if !scalar.is_null() => entry.value.span,
        Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => entry.key_span,
    }
}

/// Where to point for a value that has no key: itself, if it is written on its own, or its first key.
pub fn first_place(node: &Node<'_>) -> Span {
    match &node.content {
        Content::Mapping(entries) if node.span.end <= node.span.start + 1 => {
            entries.first().map_or(node.span, |entry| entry.key_span)
        }
        Content::Scalar(_) | Content::Sequence(_) | Content::Mapping(_) => node.span,
    }
}
