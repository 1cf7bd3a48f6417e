//! Builds the nodes of a document from the events of the YAML parser, and checks the limits before nodes are copied.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{Event, ScalarStyle, StructureStyle, Tag};

use super::mapping::{Key, Merge, remove_duplicates};
use super::{ANCHOR_LIMIT, DEPTH_LIMIT, NAMESPACE_LIMIT, NODE_LIMIT, report, shortened, span_of, too_deep};
use crate::name::escape;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::document::{Content, Document, Entry, Node, Scalar, Span};

/// The error is the reason to stop parsing, such as an exceeded limit.
pub(super) type BuildResult = Result<(), Box<Diagnostic>>;

/// The state of parsing.
pub(super) struct Builder<'t, 'd> {
    pub(super) diagnostics: &'d mut Vec<Diagnostic>,
    /// The open collections, the innermost last.
    frames: Vec<Frame<'t>>,
    /// The items of all open lists, those of the innermost last.
    items: Vec<Node<'t>>,
    /// The entries of all open maps, those of the innermost last.
    entries: Vec<Entry<'t>>,
    anchors: HashMap<usize, Anchor<'t>>,
    count: usize,
    root: Option<Node<'t>>,
    documents: usize,
    /// The keys that are given a second time.
    doubtful: HashSet<Span>,
    /// The number of diagnostics about them.
    duplicates: usize,
}

/// An open collection.
struct Frame<'t> {
    collection: Collection<'t>,
    span: Span,
    anchor: usize,
    /// The number of nodes before it.
    count: usize,
    /// The height of its subtree so far.
    height: usize,
}

enum Collection<'t> {
    /// A list, with the index of its first item in `Builder::items`.
    Sequence(usize),
    /// A map, with the index of its first entry in `Builder::entries`.
    Mapping { first: usize, key: Key<'t>, merge: Merge<'t> },
}

/// An anchored node, with its node count and height.
struct Anchor<'t> {
    node: Node<'t>,
    nodes: usize,
    height: usize,
}

impl<'t, 'd> Builder<'t, 'd> {
    pub(super) fn new(diagnostics: &'d mut Vec<Diagnostic>) -> Self {
        Self {
            diagnostics,
            frames: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            anchors: HashMap::new(),
            count: 0,
            root: None,
            documents: 0,
            doubtful: HashSet::new(),
            duplicates: 0,
        }
    }

    /// Returns the document, after the last event.
    pub(super) fn document(self) -> Option<Document<'t>> {
        let incomplete = self.diagnostics.len() > self.duplicates;
        Some(Document { root: self.root?, skipped: self.doubtful, unknown: HashSet::new(), incomplete })
    }

    pub(super) fn handle(&mut self, event: Event<'t>, at: &granit_parser::Span) -> BuildResult {
        let span = span_of(at);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let error = Diagnostic::error("the file contains a second YAML document").at(span);
                    return Err(Box::new(error.hint("remove the `---`, or move the document to another file")));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at, &["str", "int", "bool", "null", "float"]);
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.core_suffix() != Some("str"));
                // The parser reports a missing value as `~` with an empty span.
                let text = if plain && span.start == span.end { Cow::Borrowed("") } else { text };
                self.count_nodes(1, 0, span)?;
                self.insert(Node { span, content: Content::Scalar(Scalar { text, plain }) }, anchor, 1, 0)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at, &["seq"]);
                self.open(Collection::Sequence(self.items.len()), style, span, anchor)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at, &["map"]);
                let map = Collection::Mapping { first: self.entries.len(), key: Key::None, merge: Merge::default() };
                self.open(map, style, span, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(anchor) => self.alias(anchor, span)?,
            _ => {}
        }
        Ok(())
    }

    fn check_tag(&mut self, tag: Option<&Tag>, at: &granit_parser::Span, known: &[&str]) {
        let Some(tag) = tag else { return };
        if tag.core_suffix().is_some_and(|suffix| known.contains(&suffix)) {
            return;
        }
        let span = at.tag_span().map_or_else(|| span_of(at), |span| span_of(&span));
        let message = format!("unsupported tag `{}`", escape(&shortened(&tag.original())));
        report(self.diagnostics, Diagnostic::error(message).at(span).hint("remove the tag"));
    }

    fn count_nodes(&mut self, nodes: usize, levels: usize, span: Span) -> BuildResult {
        self.count = self.count.saturating_add(nodes);
        if self.count > NODE_LIMIT {
            let message = format!("the file has more than {NODE_LIMIT} values, including expanded aliases");
            return Err(Box::new(Diagnostic::error(message).at(span)));
        }
        if self.frames.len() + levels > DEPTH_LIMIT {
            return Err(Box::new(Diagnostic::error(too_deep()).at(span)));
        }
        Ok(())
    }

    fn open(&mut self, collection: Collection<'t>, style: StructureStyle, span: Span, anchor: usize) -> BuildResult {
        let count = self.count;
        self.count_nodes(1, 1, span)?;
        // The parser reports the end of a block collection too late: where the next token begins. Keep that of `[…]` and `{…}` only.
        let span = if style == StructureStyle::Flow { span } else { Span { start: span.start, end: span.start } };
        self.frames.push(Frame { collection, span, anchor, count, height: 1 });
        Ok(())
    }

    fn close(&mut self, end: Span) -> BuildResult {
        let Some(mut frame) = self.frames.pop() else { return Ok(()) };
        if frame.span.start != frame.span.end {
            frame.span.end = end.end;
        }
        let content = match frame.collection {
            Collection::Sequence(first) => Content::Sequence(self.items.drain(first..).collect()),
            Collection::Mapping { first, merge, .. } => {
                let before = self.diagnostics.len();
                remove_duplicates(&mut self.entries, first, &mut self.doubtful, self.diagnostics);
                self.duplicates += self.diagnostics.len() - before;
                merge.append(&mut self.entries, first);
                Content::Mapping(self.entries.drain(first..).collect())
            }
        };
        let nodes = self.count - frame.count;
        self.insert(Node { span: frame.span, content }, frame.anchor, nodes, frame.height)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> BuildResult {
        let Some(Anchor { node, nodes, height }) = self.anchors.get(&anchor) else {
            return Err(Box::new(Diagnostic::error("an alias cannot be used inside its own anchor").at(span)));
        };
        let (node, nodes, height) = (node.clone(), *nodes, *height);
        self.count_nodes(nodes, height, span)?;
        self.insert(node, 0, nodes, height)
    }

    /// Inserts a complete node into the innermost open collection, or makes it the root.
    fn insert(&mut self, node: Node<'t>, anchor: usize, nodes: usize, height: usize) -> BuildResult {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor { node: node.clone(), nodes, height });
            if self.anchors.len() > ANCHOR_LIMIT {
                let message = format!("the file has more than {ANCHOR_LIMIT} anchors");
                return Err(Box::new(Diagnostic::error(message).at(node.span)));
            }
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        // A merged map becomes part of this map and adds no level.
        let merges = matches!(&frame.collection, Collection::Mapping { key: Key::Merge(_), .. });
        frame.height = frame.height.max(if merges { height } else { height + 1 });
        let Collection::Mapping { first, key, merge } = &mut frame.collection else {
            self.items.push(node);
            return Ok(());
        };
        match std::mem::replace(key, Key::None) {
            Key::None => *key = Key::of(node, self.diagnostics),
            Key::Some(key, key_span) => {
                self.entries.push(Entry { key, key_span, value: node });
                let length = self.entries.len() - *first;
                return self.check_namespaces(length);
            }
            Key::Merge(span) => merge.add(&node, span, self.diagnostics),
            Key::Invalid => {}
        }
        Ok(())
    }

    /// Rejects a file with too many namespaces as early as possible: while their map, now of `length`, is open, or when it is
    /// complete.
    fn check_namespaces(&self, length: usize) -> BuildResult {
        let Some(entry) = self.entries.last() else { return Ok(()) };
        let open = match self.frames.as_slice() {
            [root, _] => length > NAMESPACE_LIMIT && root.is_at("namespaces"),
            _ => false,
        };
        let complete = self.frames.len() == 1 && entry.key == "namespaces" && entry.value.length() > NAMESPACE_LIMIT;
        if open || complete {
            let error = Diagnostic::error(format!("the lab has more than {NAMESPACE_LIMIT} namespaces")).at(entry.key_span);
            return Err(Box::new(error.hint("split it into several labs on several machines")));
        }
        Ok(())
    }
}

impl Frame<'_> {
    /// Returns whether the next node is the value of that key.
    fn is_at(&self, name: &str) -> bool {
        matches!(&self.collection, Collection::Mapping { key: Key::Some(key, _), .. } if key == name)
    }
}
