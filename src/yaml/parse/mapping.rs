//! The keys of a map: resolves merge keys and rejects duplicates.

use std::borrow::Cow;
use std::collections::HashSet;
use std::collections::hash_map::{self, HashMap};

use super::{report, shortened};
use crate::name::escape;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::document::{Content, Entry, Node, Span};

/// The maximum number of keys for which a linear search for duplicates is used.
const LINEAR_SEARCH_LIMIT: usize = 8;

/// The next node expected in an open map.
pub(super) enum Key<'t> {
    /// A key.
    None,
    /// The value of this key.
    Some(Cow<'t, str>, Span),
    /// The value of `<<`.
    Merge(Span),
    /// The value of an invalid key, to be dropped.
    Invalid,
}

/// The entries that `<<` adds to a map.
#[derive(Default)]
pub(super) struct Merge<'t> {
    /// The position of the last `<<`.
    span: Option<Span>,
    entries: Vec<Entry<'t>>,
}

impl<'t> Key<'t> {
    /// Interprets a node as a key.
    pub(super) fn of(node: Node<'t>, diagnostics: &mut Vec<Diagnostic>) -> Self {
        match node.content {
            Content::Scalar(scalar) if scalar.plain && scalar.text == "<<" => Self::Merge(node.span),
            Content::Scalar(scalar) if scalar.is_null() => {
                report(diagnostics, Diagnostic::error("missing key before `:`").at(node.span));
                Self::Invalid
            }
            Content::Scalar(scalar) => Self::Some(scalar.text, node.span),
            Content::Sequence(_) | Content::Mapping(_) => {
                let message = format!("expected a string as key, found {}", node.describe());
                let hint = "quote a string that contains `[`, `{`, `*` or `&`";
                report(diagnostics, Diagnostic::error(message).at(node.first_span()).hint(hint));
                Self::Invalid
            }
        }
    }
}

impl<'t> Merge<'t> {
    /// Adds the entries of `node`, the value of the `<<` at `span`: a map or a list of maps.
    pub(super) fn add(&mut self, node: &Node<'t>, span: Span, diagnostics: &mut Vec<Diagnostic>) {
        if let Some(first) = self.span.replace(span) {
            report(diagnostics, duplicate("<<", first, span).hint("use one `<<` with a list: `<<: [*one, *two]`"));
        }
        if let Err(span) = self.extend(node, span) {
            let error = Diagnostic::error("the value of `<<` must be a map or a list of maps").at(span);
            report(diagnostics, error.hint("for example `<<: *common`, with a map anchored as `&common`"));
        }
    }

    /// Returns the position of a node that is not a map as the error.
    fn extend(&mut self, node: &Node<'t>, span: Span) -> Result<(), Span> {
        match &node.content {
            Content::Mapping(entries) => self.entries.extend(entries.iter().cloned()),
            Content::Sequence(items) => {
                for item in items.iter() {
                    let Content::Mapping(entries) = &item.content else { return Err(item.span) };
                    self.entries.extend(entries.iter().cloned());
                }
            }
            Content::Scalar(_) if node.is_null() => return Err(span),
            Content::Scalar(_) => return Err(node.span),
        }
        Ok(())
    }

    /// Appends the merged entries to those from `start`. Explicit keys take precedence, then earlier merged ones.
    pub(super) fn append(self, entries: &mut Vec<Entry<'t>>, start: usize) {
        if self.entries.is_empty() {
            return;
        }
        let mut seen: HashSet<Cow<'t, str>> = entries[start..].iter().map(|entry| entry.key.clone()).collect();
        entries.extend(self.entries.into_iter().filter(|entry| seen.insert(entry.key.clone())));
    }
}

/// Reports and removes duplicate keys among the entries from `start`; keeps the first of each, and adds its span to `doubtful`.
pub(super) fn remove_duplicates(
    entries: &mut Vec<Entry<'_>>,
    start: usize,
    doubtful: &mut HashSet<Span>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (position, first) in duplicates(&entries[start..]).into_iter().rev() {
        let second = entries.remove(start + position);
        let diagnostic = duplicate(&second.key, first, second.key_span);
        doubtful.insert(first);
        report(diagnostics, diagnostic.hint("remove one of them, or merge their values"));
    }
}

/// Returns the indices of duplicate keys, each with the span of the first occurrence.
fn duplicates(entries: &[Entry<'_>]) -> Vec<(usize, Span)> {
    let indexed = entries.iter().enumerate();
    if entries.len() <= LINEAR_SEARCH_LIMIT {
        let first = |before: usize, key: &str| entries[..before].iter().find(|entry| entry.key == key);
        return indexed.filter_map(|(position, entry)| Some((position, first(position, &entry.key)?.key_span))).collect();
    }
    let mut seen: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
    indexed.filter_map(|(position, entry)| Some((position, first_of(&mut seen, entry)?))).collect()
}

/// Returns the span of the key's first occurrence, or records this one.
fn first_of<'e>(seen: &mut HashMap<&'e str, Span>, entry: &'e Entry<'_>) -> Option<Span> {
    match seen.entry(&entry.key) {
        hash_map::Entry::Occupied(first) => Some(*first.get()),
        hash_map::Entry::Vacant(vacant) => {
            vacant.insert(entry.key_span);
            None
        }
    }
}

fn duplicate(key: &str, first: Span, second: Span) -> Diagnostic {
    let message = format!("duplicate key `{}`", escape(&shortened(key)));
    Diagnostic::error(message).at(second).also(first, "first used here")
}
