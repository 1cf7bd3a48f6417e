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

    /// How many items or entries it has; 0 of a single value.
    pub fn length(&self) -> usize {
        match &self.content {
            Content::Scalar(_) => 0,
            Content::Sequence(items) => items.len(),
            Content::Mapping(entries) => entries.len(),
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

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// What it is below.
    pub path: Path,
    /// Down to so many levels: 1 for the keys or items alone.
    pub levels: usize,
    /// Of the maps among them, this key alone.
    pub only: Option<&'static str>,
}

/// A parsed document.
#[derive(Debug, Clone)]
pub struct Document<'t> {
    /// Its one value.
    pub root: Node<'t>,
    /// The keys and list items, by their places, that could not be decoded and were left out.
    pub refused: HashSet<Span>,
    /// Whether something was left out that has no place in the tree, such as a key that stands a second time.
    pub torn: bool,
}

impl<'t> Document<'t> {
    /// The place of what `path` leads to.
    pub fn find(&self, path: &Path) -> Found {
        let mut node = &self.root;
        let mut span = first_place(node);
        let mut key = span;
        for segment in path.segments() {
            match self.step(node, segment) {
                Step::Same => span = key,
                Step::Value(entry) => (node, span, key) = (&entry.value, place(entry), entry.key_span),
                Step::Item(item) => (node, span) = (item, first_place(item)),
                Step::Nowhere => return Found { span, complete: false },
            }
        }
        Found { span, complete: true }
    }

    /// Whether nothing was left out of that part. Where its path leads nowhere, what is missing may be something that was left out.
    pub fn is_whole(&self, part: &Part) -> bool {
        if self.torn || self.refused.is_empty() {
            return !self.torn;
        }
        let mut node = &self.root;
        for segment in part.path.segments() {
            match self.step(node, segment) {
                Step::Same => {}
                Step::Value(entry) if self.refused.contains(&entry.key_span) => return false,
                Step::Value(entry) => node = &entry.value,
                Step::Item(item) => node = item,
                Step::Nowhere => return self.holds_all(node, 1, None),
            }
        }
        self.holds_all(node, part.levels, part.only)
    }

    fn holds_all(&self, node: &Node<'t>, levels: usize, only: Option<&str>) -> bool {
        let Some(below) = levels.checked_sub(1) else { return true };
        let holds = |place: &Span, node: &Node<'t>| !self.refused.contains(place) && self.holds_all(node, below, only);
        match &node.content {
            Content::Scalar(_) => true,
            Content::Sequence(items) => items.iter().all(|item| holds(&item.span, item)),
            Content::Mapping(entries) => {
                let mut counted = entries.iter().filter(|entry| only.is_none_or(|only| entry.key == only));
                counted.all(|entry| holds(&entry.key_span, &entry.value))
            }
        }
    }

    fn step<'n>(&self, node: &'n Node<'t>, segment: &Segment) -> Step<'n, 't> {
        match (segment, &node.content) {
            (Segment::Itself, _) => Step::Same,
            (Segment::Key(name), Content::Mapping(entries)) => entry(entries, name).map_or(Step::Nowhere, Step::Value),
            (Segment::Index(index), Content::Sequence(items)) => {
                let mut items = items.iter().filter(|item| !self.refused.contains(&item.span));
                items.nth(*index).map_or(Step::Nowhere, Step::Item)
            }
            (Segment::Key(_) | Segment::Index(_), _) => Step::Nowhere,
        }
    }
}

/// Where a segment leads.
enum Step<'n, 't> {
    Same,
    Value(&'n Entry<'t>),
    Item(&'n Node<'t>),
    Nowhere,
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
