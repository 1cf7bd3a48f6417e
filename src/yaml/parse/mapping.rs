//! The keys of a map: merge keys resolved, and what stands twice refused.

use std::borrow::Cow;
use std::collections::HashSet;
use std::collections::hash_map::{self, HashMap};

use super::{report, shortened};
use crate::name::escape;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::document::{Content, Entry, Node, Span, first_place};

/// Up to so many keys are compared with one another; more are looked up.
const FEW: usize = 8;

/// What comes next in a map that is being read.
pub(super) enum Key<'t> {
    /// A key.
    None,
    /// The value of this one.
    Some(Cow<'t, str>, Span),
    /// The value of `<<`.
    Merge(Span),
    /// The value of a key that was refused.
    Refused,
}

/// What `<<` adds to a map.
#[derive(Default)]
pub(super) struct Merge<'t> {
    /// Where the last `<<` stands.
    place: Option<Span>,
    entries: Vec<Entry<'t>>,
}

impl<'t> Key<'t> {
    /// The key that a node is.
    pub(super) fn of(node: Node<'t>, diagnostics: &mut Vec<Diagnostic>) -> Self {
        match node.content {
            Content::Scalar(scalar) if scalar.plain && scalar.text == "<<" => Self::Merge(node.span),
            Content::Scalar(scalar) if scalar.is_null() => {
                report(diagnostics, Diagnostic::error("a key is missing before this `:`").at(node.span));
                Self::Refused
            }
            Content::Scalar(scalar) => Self::Some(scalar.text, node.span),
            Content::Sequence(_) | Content::Mapping(_) => {
                let message = format!("a key must be a text, not {}", node.describe());
                let hint = "put quotes around a text that contains `[`, `{`, `*` or `&`";
                report(diagnostics, Diagnostic::error(message).at(first_place(&node)).hint(hint));
                Self::Refused
            }
        }
    }
}

impl<'t> Merge<'t> {
    /// Takes the entries of the map, or of the list of maps, that the `<<` at `span` gives.
    pub(super) fn take(&mut self, node: &Node<'t>, span: Span, diagnostics: &mut Vec<Diagnostic>) {
        if let Some(first) = self.place.replace(span) {
            report(diagnostics, duplicate("<<", first, span).hint("write one `<<` with a list: `<<: [*one, *two]`"));
        }
        if let Err(span) = self.add(node, span) {
            let error = Diagnostic::error("`<<` takes a map, or a list of maps, to merge").at(span);
            report(diagnostics, error.hint("for example `<<: *common`, where `&common` stands before a map"));
        }
    }

    /// The error is the place of what cannot be merged.
    fn add(&mut self, node: &Node<'t>, span: Span) -> Result<(), Span> {
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

    /// Adds what was merged to the entries from `start`; what was written out, and what was merged earlier, wins.
    pub(super) fn finish(self, entries: &mut Vec<Entry<'t>>, start: usize) {
        if self.entries.is_empty() {
            return;
        }
        let mut seen: HashSet<Cow<'t, str>> = entries[start..].iter().map(|entry| entry.key.clone()).collect();
        entries.extend(self.entries.into_iter().filter(|entry| seen.insert(entry.key.clone())));
    }
}

/// Reports the keys that stand a second time among the entries from `start`, and keeps the first of each.
pub(super) fn refuse_duplicates(entries: &mut Vec<Entry<'_>>, start: usize, diagnostics: &mut Vec<Diagnostic>) {
    for (position, first) in repeated(&entries[start..]).into_iter().rev() {
        let second = entries.remove(start + position);
        let diagnostic = duplicate(&second.key, first, second.key_span);
        report(diagnostics, diagnostic.hint("remove one of the two, or put what they hold together"));
    }
}

/// The positions of keys that stand a second time, with the place of the first.
fn repeated(entries: &[Entry<'_>]) -> Vec<(usize, Span)> {
    let places = entries.iter().enumerate();
    if entries.len() <= FEW {
        let first = |before: usize, key: &str| entries[..before].iter().find(|entry| entry.key == key);
        return places.filter_map(|(position, entry)| Some((position, first(position, &entry.key)?.key_span))).collect();
    }
    let mut seen: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
    places.filter_map(|(position, entry)| Some((position, first_of(&mut seen, entry)?))).collect()
}

/// Where the key stood before; otherwise this is its first place.
fn first_of<'e>(seen: &mut HashMap<&'e str, Span>, entry: &'e Entry<'_>) -> Option<Span> {
    match seen.entry(&entry.key) {
        hash_map::Entry::Occupied(first) => Some(*first.get()),
        hash_map::Entry::Vacant(place) => {
            place.insert(entry.key_span);
            None
        }
    }
}

fn duplicate(key: &str, first: Span, second: Span) -> Diagnostic {
    let message = format!("the key `{}` stands here a second time", escape(&shortened(key)));
    Diagnostic::error(message).at(second).also(first, "the first one")
}
