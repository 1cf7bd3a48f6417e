//! Events of the YAML parser into the nodes of a document, counted so that the limits hold before anything is copied.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, ScalarStyle, StructureStyle, Tag};

use super::mapping::{Key, Merge, refuse_duplicates};
use super::{ANCHOR_LIMIT, DEPTH_LIMIT, NAMESPACE_LIMIT, NODE_LIMIT, report, shortened, span_of, too_deep};
use crate::name::escape;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::document::{Content, Entry, Node, Scalar, Span};

/// A limit that was reached, or another reason to stop.
pub(super) type Step = Result<(), Box<Diagnostic>>;

/// What has been read so far.
pub(super) struct Builder<'t, 'd> {
    pub(super) diagnostics: &'d mut Vec<Diagnostic>,
    frames: Vec<Frame<'t>>,
    /// The items of all lists that are being read, those of the innermost last.
    items: Vec<Node<'t>>,
    /// The entries of all maps that are being read, those of the innermost last.
    entries: Vec<Entry<'t>>,
    anchors: HashMap<usize, Anchor<'t>>,
    count: usize,
    root: Option<Node<'t>>,
    documents: usize,
}

/// A collection that is being read.
struct Frame<'t> {
    content: Open<'t>,
    span: Span,
    anchor: usize,
    /// Nodes read when it began.
    count: usize,
    /// Levels below, so far.
    height: usize,
}

enum Open<'t> {
    /// A list, with the position of its first item.
    Sequence(usize),
    /// A map, with the position of its first entry.
    Mapping { first: usize, key: Key<'t>, merge: Merge<'t> },
}

/// What an alias stands for.
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
        }
    }

    /// The value of the document, once all events are taken.
    pub(super) fn root(self) -> Option<Node<'t>> {
        self.root
    }

    pub(super) fn take(&mut self, event: Event<'t>, at: &granit_parser::Span) -> Step {
        let span = span_of(at);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    let error = Diagnostic::error("a second YAML document begins here").at(span);
                    return Err(Box::new(error.hint("a lab file is one document; remove the `---`")));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at, &["str", "int", "bool", "null", "float"]);
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.core_suffix() != Some("str"));
                // A value that is left out comes as `~` without a place.
                let text = if plain && span.start == span.end { Cow::Borrowed("") } else { text };
                self.count_nodes(1, 0, span)?;
                self.finish(Node { span, content: Content::Scalar(Scalar { text, plain }) }, anchor, 1, 0)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at, &["seq"]);
                self.open(Open::Sequence(self.items.len()), style, span, anchor)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at, &["map"]);
                let open = Open::Mapping { first: self.entries.len(), key: Key::None, merge: Merge::default() };
                self.open(open, style, span, anchor)?;
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
        let message = format!("the tag `{}` has no meaning in a lab file", escape(&shortened(&tag.original())));
        report(self.diagnostics, Diagnostic::error(message).at(span).hint("remove it"));
    }

    fn count_nodes(&mut self, nodes: usize, levels: usize, span: Span) -> Step {
        self.count = self.count.saturating_add(nodes);
        if self.count > NODE_LIMIT {
            let message = format!("the file holds more than {NODE_LIMIT} values, aliases included");
            return Err(Box::new(Diagnostic::error(message).at(span)));
        }
        if self.frames.len() + levels > DEPTH_LIMIT {
            return Err(Box::new(Diagnostic::error(too_deep()).at(span)));
        }
        Ok(())
    }

    fn open(&mut self, content: Open<'t>, style: StructureStyle, span: Span, anchor: usize) -> Step {
        let count = self.count;
        self.count_nodes(1, 1, span)?;
        // The end of a block collection is where something else begins, so that only that of `[…]` and `{…}` is of use.
        let span = if style == StructureStyle::Flow { span } else { Span { start: span.start, end: span.start } };
        self.frames.push(Frame { content, span, anchor, count, height: 1 });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Step {
        let Some(mut frame) = self.frames.pop() else { return Ok(()) };
        if frame.span.start != frame.span.end {
            frame.span.end = end.end;
        }
        let content = match frame.content {
            Open::Sequence(first) => Content::Sequence(self.items.drain(first..).collect()),
            Open::Mapping { first, merge, .. } => {
                refuse_duplicates(&mut self.entries, first, self.diagnostics);
                merge.finish(&mut self.entries, first);
                Content::Mapping(self.entries.drain(first..).collect())
            }
        };
        let nodes = self.count - frame.count;
        self.finish(Node { span: frame.span, content }, frame.anchor, nodes, frame.height)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Step {
        let Some(Anchor { node, nodes, height }) = self.anchors.get(&anchor) else {
            return Err(Box::new(Diagnostic::error("an alias cannot stand inside of what it refers to").at(span)));
        };
        let (node, nodes, height) = (node.clone(), *nodes, *height);
        self.count_nodes(nodes, height, span)?;
        self.finish(node, 0, nodes, height)
    }

    /// Puts a complete node where it belongs: into the open collection, or at the root.
    fn finish(&mut self, node: Node<'t>, anchor: usize, nodes: usize, height: usize) -> Step {
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
        // What is merged does not stand below the map, but becomes part of it.
        let merges = matches!(&frame.content, Open::Mapping { key: Key::Merge(_), .. });
        frame.height = frame.height.max(if merges { height } else { height + 1 });
        let Open::Mapping { first, key, merge } = &mut frame.content else {
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
            Key::Merge(span) => merge.take(&node, span, self.diagnostics),
            Key::Refused => {}
        }
        Ok(())
    }

    /// Refuses a file with too many namespaces as soon as that shows: while their map is being read, now of that length, or when
    /// it is complete.
    fn check_namespaces(&self, length: usize) -> Step {
        let Some(entry) = self.entries.last() else { return Ok(()) };
        let reading = match self.frames.as_slice() {
            [root, _] => length > NAMESPACE_LIMIT && root.is_at("namespaces"),
            _ => false,
        };
        let complete = self.frames.len() == 1 && entry.key == "namespaces" && entry.value.length() > NAMESPACE_LIMIT;
        if reading || complete {
            let error = Diagnostic::error(format!("the lab has more than {NAMESPACE_LIMIT} namespaces")).at(entry.key_span);
            return Err(Box::new(error.hint("divide it into several labs, on several machines")));
        }
        Ok(())
    }
}

impl Frame<'_> {
    /// Whether the value of that key is being read.
    fn is_at(&self, name: &str) -> bool {
        matches!(&self.content, Open::Mapping { key: Key::Some(key, _), .. } if key == name)
    }
}
