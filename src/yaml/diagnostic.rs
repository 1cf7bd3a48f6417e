//! Problems of a lab file with their positions, and their rendering with the source line and a hint.
//!
//! The output contains only printable characters and newlines, whatever the file contains, and colour sequences if requested.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Padding, Renderer, Snippet};

use super::document::Span;
use crate::name::escape;

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The lab cannot be applied.
    Error,
    /// The lab can be applied, but is probably not what the user wants.
    Warning,
}

/// A problem of a lab file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// The message: a lowercase phrase.
    pub message: String,
    /// The position; `None` for the whole file.
    pub span: Option<Span>,
    /// The label at the position; may be empty.
    pub label: String,
    /// Related positions with their labels.
    pub related: Vec<(Span, String)>,
    /// How to fix it.
    pub hint: Option<String>,
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// ANSI escape sequences.
    Always,
}

impl Diagnostic {
    /// Creates an error about the whole file.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// Creates a problem of the whole file.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self { severity, message: message.into(), span: None, label: String::new(), related: Vec::new(), hint: None }
    }

    /// Sets the position.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Sets the label at the position.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds a related position with its label.
    #[must_use]
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A position in a text. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Finds the lines and columns of a text.
pub struct Locator<'t>(Source<'t>);

impl<'t> Locator<'t> {
    /// Takes a text.
    pub fn new(text: &'t str) -> Self {
        Self(Source::new("", text))
    }

    /// Returns the first position of a range, and the one after its last.
    pub fn locate(&self, span: Span) -> [Position; 2] {
        [span, Span { start: span.end, ..span }].map(|span| {
            let Excerpt { line, column, .. } = self.0.excerpt(span);
            Position { line, column }
        })
    }
}

/// Returns the problems sorted by position, as [`render`] shows them.
pub fn sorted(diagnostics: &[Diagnostic]) -> Vec<&Diagnostic> {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| (diagnostic.span.is_none(), diagnostic.span, diagnostic.severity));
    sorted
}

/// The maximum number of problems that are shown.
const SHOWN_LIMIT: usize = 100;

/// Renders the problems of the file `path`, sorted by position and separated by empty lines. Shows the first hundred, then the
/// number of remaining ones.
pub fn render(diagnostics: &[Diagnostic], path: &str, text: &str, colour: Colour) -> String {
    let source = Source::new(path, text);
    let sorted = sorted(diagnostics);
    let renderer = match colour {
        Colour::Never => Renderer::plain(),
        Colour::Always => Renderer::styled(),
    };
    let mut out = String::new();
    for diagnostic in sorted.iter().take(SHOWN_LIMIT) {
        if !out.is_empty() {
            out.push('\n');
        }
        let shown = renderer.render(&[group(diagnostic, &source)]);
        for line in shown.lines().filter(|line| !is_empty_origin(line)) {
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    if let Some(more) = sorted.len().checked_sub(SHOWN_LIMIT).filter(|more| *more > 0) {
        let _ = writeln!(out, "\n{more} more problems not shown");
    }
    out
}

/// Returns whether the line is the renderer's heading of a snippet without a path. [`origin`] writes the heading instead, because
/// the renderer knows the column within the shown part of the line, not within the file.
fn is_empty_origin(line: &str) -> bool {
    let mut visible = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        visible.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    visible.push_str(rest);
    visible.trim() == ":::"
}

/// The maximum number of characters shown of a source line.
const LINE_LIMIT: usize = 120;

/// The distance in bytes between the offsets whose line numbers are stored.
const CHUNK: usize = 1 << 16;

/// A text with an index of its line numbers.
struct Source<'t> {
    path: String,
    text: &'t str,
    /// The number of newlines before each multiple of [`CHUNK`]. The offsets of all lines would take more memory than a text of
    /// empty lines.
    line_ends: Vec<usize>,
}

/// The shown part of a source line: escaped, cut to [`LINE_LIMIT`], with the range to underline.
struct Excerpt {
    line: usize,
    column: usize,
    text: String,
    underline: std::ops::Range<usize>,
}

impl<'t> Source<'t> {
    fn new(path: &str, text: &'t str) -> Self {
        let mut line_ends = vec![0];
        for part in text.as_bytes().chunks(CHUNK) {
            line_ends.push(line_ends[line_ends.len() - 1] + count_line_ends(part));
        }
        Self { path: escape(path).into_owned(), text, line_ends }
    }

    fn excerpt(&self, span: Span) -> Excerpt {
        let start = self.boundary(span.start as usize);
        let chunk = start / CHUNK;
        let index = self.line_ends[chunk] + count_line_ends(&self.text.as_bytes()[chunk * CHUNK..start]);
        let begin = self.text[..start].rfind('\n').map_or(0, |end| end + 1);
        let end = self.text[start..].find('\n').map_or(self.text.len(), |end| start + end);
        let line = self.text[begin..end].trim_end_matches('\r');
        let (from, to) = ((start - begin).min(line.len()), (self.boundary(span.end as usize).max(start) - begin).min(line.len()));
        let (text, underline) = printable(line, from, from + line[from..to].trim_end().len());
        let bom = usize::from(begin == 0 && line.starts_with('\u{feff}') && from > 0);
        Excerpt { line: index + 1, column: line[..from].chars().count() + 1 - bom, text, underline }
    }

    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

fn count_line_ends(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').count() - 1
}

/// Returns the printable excerpt of a line around `from..to`, and that range within the excerpt.
fn printable(line: &str, from: usize, to: usize) -> (String, std::ops::Range<usize>) {
    let long = line.char_indices().nth(LINE_LIMIT).is_some();
    let far = line[..from].char_indices().nth(LINE_LIMIT / 2).is_some();
    let (begin, cut_begin) = if long && far { (offset_before(line, from, LINE_LIMIT / 4), "...") } else { (0, "") };
    let mut text = cut_begin.to_owned();
    let (mut start, mut end) = (None, None);
    for (taken, (at, character)) in line[begin..].char_indices().map(|(at, character)| (begin + at, character)).enumerate() {
        if at >= from {
            start.get_or_insert(text.len());
        }
        if at >= to {
            end.get_or_insert(text.len());
        }
        if taken == LINE_LIMIT {
            end.get_or_insert(text.len());
            text.push_str("...");
            break;
        }
        match character {
            '\t' => text.push_str("    "),
            '\u{feff}' if at == 0 => {}
            character if character.is_ascii_graphic() || character == ' ' => text.push(character),
            character => text.push_str(&escape(character.encode_utf8(&mut [0; 4]))),
        }
    }
    let start = start.unwrap_or(text.len());
    (text.clone(), start..end.unwrap_or(text.len()).max(start))
}

/// Returns the offset that is a number of characters before `from`.
fn offset_before(line: &str, from: usize, characters: usize) -> usize {
    line[..from].char_indices().rev().nth(characters - 1).map_or(0, |(at, _)| at)
}

fn group<'a>(diagnostic: &'a Diagnostic, source: &Source<'a>) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let group = Group::with_title(level.primary_title(escape(&diagnostic.message)));
    let Some(span) = diagnostic.span else {
        let group = group.element(Origin::path(source.path.clone()));
        return group.elements(hint(diagnostic));
    };
    let primary = source.excerpt(span);
    let mut places = vec![(AnnotationKind::Primary, primary, &diagnostic.label)];
    places.extend(diagnostic.related.iter().map(|(span, label)| (AnnotationKind::Context, source.excerpt(*span), label)));
    let mut group = group.element(origin(source, &places[0].1));
    let mut rest = places.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let same =
            others.iter().take_while(|(_, excerpt, _)| excerpt.line == first.1.line && excerpt.text == first.1.text).count();
        let (these, later) = rest.split_at(1 + same);
        group = group.element(snippet(these));
        rest = later;
        if let Some((_, excerpt, _)) = rest.first() {
            group = group.element(Padding).element(origin(source, excerpt));
        }
    }
    let hint = hint(diagnostic);
    if hint.is_empty() { group } else { group.element(Padding).elements(hint) }
}

fn origin<'a>(source: &Source<'a>, excerpt: &Excerpt) -> Origin<'a> {
    Origin::path(source.path.clone()).line(excerpt.line).char_column(excerpt.column)
}

fn snippet<'a>(places: &[(AnnotationKind, Excerpt, &'a String)]) -> Element<'a> {
    let first = &places[0].1;
    let mut snippet = Snippet::source(first.text.clone()).line_start(first.line);
    for (kind, excerpt, label) in places {
        let label = (!label.is_empty()).then(|| escape(label));
        snippet = snippet.annotation(kind.span(excerpt.underline.clone()).label(label));
    }
    snippet.into()
}

fn hint(diagnostic: &Diagnostic) -> Vec<Element<'_>> {
    diagnostic.hint.iter().map(|hint| Level::HELP.with_name("hint").message(escape(hint)).into()).collect()
}
