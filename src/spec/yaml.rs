//! YAML text into a [`Document`]: aliases and merge keys resolved, limits kept, every problem with its place.
//!
//! Limits: 16 MiB of text, 64 levels, 1,000,000 nodes counted with each use of an alias. They are checked before anything is
//! copied, so that a small text cannot ask for a large memory.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, StructureStyle, Tag, options};

use super::diagnostic::Diagnostic;
use super::document::{Content, Document, Entry, Node, Scalar, Span};
use crate::name::escape;

/// Longest text, in bytes.
pub const TEXT_LIMIT: usize = 16 << 20;
/// Most levels of lists and maps.
pub const DEPTH_LIMIT: usize = 64;
/// Most nodes, aliases counted as what they stand for.
pub const NODE_LIMIT: usize = 1_000_000;

/// Most problems that are kept, so that they cannot take more memory than the text.
pub const PROBLEM_LIMIT: usize = 1000;

/// Parses a text. Problems that leave a usable document are added to `diagnostics`; after others there is none.
pub fn parse<'t>(text: &'t str, diagnostics: &mut Vec<Diagnostic>) -> Option<Document<'t>> {
    if text.len() > TEXT_LIMIT {
        let message = format!("the file has {} bytes; at most {TEXT_LIMIT} are allowed", text.len());
        diagnostics.push(Diagnostic::error(message));
        return None;
    }
    let mut builder = Builder { diagnostics, frames: Vec::new(), anchors: HashMap::new(), count: 0, root: None, documents: 0 };
    let parser = Parser::new_from_str_with_options(text, options! { emit_comments: false });
    for event in parser {
        let step = match event {
            Ok((event, span)) => builder.take(event, &span),
            Err(error) => Err(syntax_error(text, &error)),
        };
        if let Err(diagnostic) = step {
            builder.diagnostics.push(*diagnostic);
            return None;
        }
    }
    match builder.root {
        Some(root) if !root.is_null() => Some(Document { root, refused: HashSet::new() }),
        Some(_) | None => {
            let hint = "a lab begins with its name, such as `name: demo`";
            diagnostics.push(Diagnostic::error("the file is empty").at(Span::default()).hint(hint));
            None
        }
    }
}

type Step = Result<(), Box<Diagnostic>>;

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
    Sequence(Vec<Node<'t>>),
    Mapping { entries: Vec<Entry<'t>>, key: Key<'t>, merge: Option<Span>, merged: Vec<Entry<'t>> },
}

enum Key<'t> {
    /// A key comes next.
    None,
    /// The value of this one comes next.
    Some(Cow<'t, str>, Span),
    /// The value of `<<` comes next.
    Merge(Span),
    /// The value of a key that was refused comes next.
    Refused,
}

/// What an alias stands for.
struct Anchor<'t> {
    node: Node<'t>,
    nodes: usize,
    height: usize,
}

struct Builder<'t, 'd> {
    diagnostics: &'d mut Vec<Diagnostic>,
    frames: Vec<Frame<'t>>,
    anchors: HashMap<usize, Anchor<'t>>,
    count: usize,
    root: Option<Node<'t>>,
    documents: usize,
}

impl<'t> Builder<'t, '_> {
    fn take(&mut self, event: Event<'t>, at: &granit_parser::Span) -> Step {
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
                self.finish(Node { span, content: Content::Scalar(Scalar { text, plain }) }, anchor, 1, 0);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at, &["seq"]);
                self.open(Open::Sequence(Vec::new()), style, span, anchor)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                self.check_tag(tag.as_deref(), at, &["map"]);
                let open = Open::Mapping { entries: Vec::new(), key: Key::None, merge: None, merged: Vec::new() };
                self.open(open, style, span, anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
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

    fn close(&mut self, end: Span) {
        let Some(mut frame) = self.frames.pop() else { return };
        if frame.span.start != frame.span.end {
            frame.span.end = end.end;
        }
        let content = match frame.content {
            Open::Sequence(items) => Content::Sequence(items.into()),
            Open::Mapping { mut entries, merged, .. } => {
                self.refuse_duplicates(&mut entries);
                merge(&mut entries, merged);
                Content::Mapping(entries.into())
            }
        };
        let nodes = self.count - frame.count;
        self.finish(Node { span: frame.span, content }, frame.anchor, nodes, frame.height);
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Step {
        let Some(Anchor { node, nodes, height }) = self.anchors.get(&anchor) else {
            return Err(Box::new(Diagnostic::error("an alias cannot stand inside of what it refers to").at(span)));
        };
        let (node, nodes, height) = (node.clone(), *nodes, *height);
        self.count_nodes(nodes, height, span)?;
        self.finish(node, 0, nodes, height);
        Ok(())
    }

    /// Puts a complete node where it belongs: into the open collection, or at the root.
    fn finish(&mut self, node: Node<'t>, anchor: usize, nodes: usize, height: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor { node: node.clone(), nodes, height });
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        // What is merged does not stand below the map, but becomes part of it.
        let merges = matches!(&frame.content, Open::Mapping { key: Key::Merge(_), .. });
        frame.height = frame.height.max(if merges { height } else { height + 1 });
        let Open::Mapping { entries, key, merge, merged } = &mut frame.content else {
            if let Open::Sequence(items) = &mut frame.content {
                items.push(node);
            }
            return;
        };
        match std::mem::replace(key, Key::None) {
            Key::None => *key = take_key(node, self.diagnostics),
            Key::Some(key, key_span) => entries.push(Entry { key, key_span, value: node }),
            Key::Merge(span) => {
                if let Some(first) = merge.replace(span) {
                    report(self.diagnostics, duplicate("<<", first, span).hint("write one `<<` with a list: `<<: [*one, *two]`"));
                }
                if let Err(diagnostic) = take_merge(&node, span, merged) {
                    report(self.diagnostics, diagnostic);
                }
            }
            Key::Refused => {}
        }
    }

    /// Reports the keys that stand a second time, and keeps the first of each.
    fn refuse_duplicates(&mut self, entries: &mut Vec<Entry<'t>>) {
        let repeated: Vec<(usize, Span)> = if entries.len() <= 8 {
            let first = |key: &str| entries.iter().position(|entry| entry.key == key);
            let places = entries.iter().enumerate().map(|(position, entry)| (position, first(&entry.key)));
            let repeated =
                places.filter_map(|(position, first)| first.filter(|first| *first < position).map(|first| (position, first)));
            repeated.map(|(position, first)| (position, entries[first].key_span)).collect()
        } else {
            let mut seen: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
            let places = entries.iter().enumerate();
            places.filter_map(|(position, entry)| Some((position, first_of(&mut seen, entry)?))).collect()
        };
        for (position, first) in repeated.into_iter().rev() {
            let second = entries.remove(position);
            let diagnostic = duplicate(&second.key, first, second.key_span);
            report(self.diagnostics, diagnostic.hint("remove one of the two, or put what they hold together"));
        }
    }
}

/// Where the key stood before; otherwise this is its first place.
fn first_of<'e>(seen: &mut HashMap<&'e str, Span>, entry: &'e Entry<'_>) -> Option<Span> {
    match seen.entry(&entry.key) {
        std::collections::hash_map::Entry::Occupied(first) => Some(*first.get()),
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(entry.key_span);
            None
        }
    }
}

fn duplicate(key: &str, first: Span, second: Span) -> Diagnostic {
    let message = format!("the key `{}` stands here a second time", escape(&shortened(key)));
    Diagnostic::error(message).at(second).also(first, "the first one")
}

fn report(diagnostics: &mut Vec<Diagnostic>, diagnostic: Diagnostic) {
    if diagnostics.len() < PROBLEM_LIMIT {
        diagnostics.push(diagnostic);
    }
}

fn take_key<'t>(node: Node<'t>, diagnostics: &mut Vec<Diagnostic>) -> Key<'t> {
    match node.content {
        Content::Scalar(scalar) if scalar.plain && scalar.text == "<<" => Key::Merge(node.span),
        Content::Scalar(scalar) if scalar.is_null() => {
            report(diagnostics, Diagnostic::error("a key is missing before this `:`").at(node.span));
            Key::Refused
        }
        Content::Scalar(scalar) => Key::Some(scalar.text, node.span),
        Content::Sequence(_) | Content::Mapping(_) => {
            let message = format!("a key must be a text, not {}", node.describe());
            let hint = "put quotes around a text that contains `[`, `{`, `*` or `&`";
            report(diagnostics, Diagnostic::error(message).at(super::document::first_place(&node)).hint(hint));
            Key::Refused
        }
    }
}

/// Takes the entries of the map, or of the list of maps, that `<<` gives.
fn take_merge<'t>(node: &Node<'t>, span: Span, merged: &mut Vec<Entry<'t>>) -> Result<(), Diagnostic> {
    let refuse = |span| {
        let error = Diagnostic::error("`<<` takes a map, or a list of maps, to merge").at(span);
        error.hint("for example `<<: *common`, where `&common` stands before a map")
    };
    match &node.content {
        Content::Mapping(entries) => merged.extend(entries.iter().cloned()),
        Content::Sequence(items) => {
            for item in items.iter() {
                let Content::Mapping(entries) = &item.content else { return Err(refuse(item.span)) };
                merged.extend(entries.iter().cloned());
            }
        }
        Content::Scalar(_) if node.is_null() => return Err(refuse(span)),
        Content::Scalar(_) => return Err(refuse(node.span)),
    }
    Ok(())
}

/// Adds merged entries; what was written out, and what was merged earlier, wins.
fn merge<'t>(entries: &mut Vec<Entry<'t>>, merged: Vec<Entry<'t>>) {
    if merged.is_empty() {
        return;
    }
    let mut seen: HashSet<Cow<'t, str>> = entries.iter().map(|entry| entry.key.clone()).collect();
    entries.extend(merged.into_iter().filter(|entry| seen.insert(entry.key.clone())));
}

/// Enough of a text to recognise it by.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn offset(marker: &Marker) -> u32 {
    marker.byte_offset().and_then(|offset| u32::try_from(offset).ok()).unwrap_or_default()
}

fn span_of(span: &granit_parser::Span) -> Span {
    let (start, end) = (offset(&span.start), offset(&span.end));
    Span { start, end: end.max(start) }
}

fn syntax_error(text: &str, error: &ScanError) -> Box<Diagnostic> {
    let start = offset(error.marker());
    let length = text.get(start as usize..).and_then(|rest| rest.chars().next()).filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let span = Span { start, end: start + u32::try_from(length).unwrap_or_default() };
    let (message, hint) = explain(error);
    let diagnostic = Diagnostic::error(message).at(span);
    Box::new(if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) })
}

fn too_deep() -> String {
    format!("lists and maps are nested more than {DEPTH_LIMIT} levels deep")
}

/// The usual mistakes in words that a user can act on.
fn explain(error: &ScanError) -> (String, &'static str) {
    let text = |message: &str, hint: &'static str| (message.to_owned(), hint);
    match error.kind() {
        ErrorKind::UnknownAnchor => text(
            "this alias refers to an anchor that does not stand before it",
            "an alias `*name` needs an anchor `&name` before it; put quotes around a text that begins with `*`",
        ),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => text("YAML does not allow a tab here", "indent with blanks"),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => text(
            "a `:` cannot stand here",
            "put what belongs to a key on lines of its own or between `{` and `}`, and put quotes around a text with `: `",
        ),
        ErrorKind::ExpectedBlockMappingKey => {
            text("a key is expected here", "check the indentation: the keys of a map stand below one another")
        }
        ErrorKind::SimpleKeyExpected => text("a `:` is missing after this key", "check the line, and its indentation"),
        ErrorKind::UnclosedQuotedScalar => text("this quote is not closed", ""),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            (format!("a `{open}` is closed by a `{close}`"), "check that every `[` and `{` is closed")
        }
        ErrorKind::UnclosedFlowCollection { open } => (format!("this `{open}` is not closed"), ""),
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            text("a comma or the end of the list or map is expected here", "check that every `[` and `{` is closed")
        }
        ErrorKind::RecursionLimitExceeded => (too_deep(), ""),
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("the character `{}` cannot stand here", escape(&character.to_string())), "")
        }
        _ => (format!("this is not valid YAML: {}", error.info()), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::path::Path;

    fn tree(text: &str) -> String {
        fn show(node: &Node<'_>, out: &mut String) {
            match &node.content {
                Content::Scalar(scalar) => out.push_str(&scalar.text),
                Content::Sequence(items) => {
                    out.push('[');
                    items.iter().for_each(|item| {
                        show(item, out);
                        out.push(' ');
                    });
                    out.push(']');
                }
                Content::Mapping(entries) => {
                    out.push('{');
                    for entry in entries.iter() {
                        out.push_str(&entry.key);
                        out.push('=');
                        show(&entry.value, out);
                        out.push(' ');
                    }
                    out.push('}');
                }
            }
        }
        let mut diagnostics = Vec::new();
        let mut out = String::new();
        show(&parse(text, &mut diagnostics).unwrap().root, &mut out);
        assert_eq!(diagnostics, []);
        out
    }

    fn refusal(text: &str) -> String {
        let mut diagnostics = Vec::new();
        assert!(parse(text, &mut diagnostics).is_none());
        diagnostics.pop().unwrap().message
    }

    #[test]
    fn what_is_written_wins_over_what_is_merged_and_the_earlier_over_the_later() {
        assert_eq!(tree("a: &a {x: 1, y: 1}\nb: {y: 2, <<: *a}"), "{a={x=1 y=1 } b={y=2 x=1 } }");
        assert_eq!(tree("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}"), "{a={x=1 } b={x=2 y=2 } c={x=1 y=2 } }");
        assert_eq!(tree("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}"), "{a={x=1 } b={y=2 x=1 } c={y=2 x=1 } }");
        assert_eq!(tree("'<<': 1"), "{<<=1 }");
    }

    #[test]
    fn a_merge_key_written_in_place_is_an_ordinary_map() {
        assert_eq!(tree("b: {<<: {x: 1}, y: 2}"), "{b={y=2 x=1 } }");
    }

    #[test]
    fn an_alias_points_to_where_its_text_stands() {
        let text = "a: &a\n  x: 1\nb: *a\n";
        let document = parse(text, &mut Vec::new()).unwrap();
        let found = document.find(&Path::root().then("b").then("x"));
        assert_eq!(&text[found.span.start as usize..found.span.end as usize], "1");
        assert_eq!(found.span.start, 11);
    }

    #[test]
    fn what_is_not_there_is_found_where_it_should_be() {
        let text = "a:\n  b: [1, {c: 2}]\n";
        let document = parse(text, &mut Vec::new()).unwrap();
        let at = |path: Path| {
            let found = document.find(&path);
            (&text[found.span.start as usize..found.span.end as usize], found.complete)
        };
        assert_eq!(at(Path::root().then("a").then("x").then("y")), ("a", false));
        assert_eq!(at(Path::root().then("a").then("b")), ("b", true));
        assert_eq!(at(Path::root().then("a").then("b").then(1)), ("{c: 2}", true));
        assert_eq!(at(Path::root().then("a").then("b").then(1).then("c")), ("2", true));
        assert_eq!(at(Path::root().then("a").then("b").then(1).then("c").key()), ("c", true));
        assert_eq!(at(Path::root().then("a").then("b").then(2)), ("b", false));
    }

    /// Anchored values, each of which is made of the one before.
    fn chain(first: &str, length: usize, value: impl Fn(&str, usize) -> String) -> String {
        let values = (1..length).map(|level| format!("a{level}: &a{level} {}\n", value(&format!("*a{}", level - 1), level)));
        std::iter::once(format!("a0: &a0 {first}\n")).chain(values).collect()
    }

    #[test]
    fn limits_are_reached_without_much_work() {
        assert!(refusal(&"[".repeat(100_000)).contains("nested"));
        assert!(refusal(&"- ".repeat(100_000)).contains("nested"));
        assert!(refusal(&"{a: ".repeat(100_000)).contains("nested"));
        assert!(refusal(&"x".repeat(TEXT_LIMIT + 1)).contains("bytes"));
        let bomb = chain("[x, x]", 60, |below, _| format!("{{ x: {below}, y: {below} }}"));
        assert!(refusal(&bomb).contains("1000000"));
        let merged = chain("{ x0: 0 }", 3000, |below, level| format!("{{ <<: {below}, x{level}: 0 }}"));
        assert!(refusal(&merged).contains("1000000"));
    }

    #[test]
    fn deep_aliases_count_with_their_levels() {
        let deep = chain("[x]", 70, |below, _| format!("[{below}]"));
        assert!(refusal(&deep).contains("nested"));
    }
}
