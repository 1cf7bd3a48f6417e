//! Problems of a lab file with their places, and how they are shown: the line, underlined, and what to do about it.
//!
//! Whatever the file holds, nothing but printable characters and line ends is written, apart from the colours asked for.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Padding, Renderer, Snippet};

use super::document::Span;
use crate::name::escape;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The lab cannot be made.
    Error,
    /// It can, but hardly as it was meant.
    Warning,
}

/// A problem of a lab file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: a lowercase phrase.
    pub message: String,
    /// Where; `None` for the file as a whole.
    pub span: Option<Span>,
    /// What to say at the place itself; may be empty.
    pub label: String,
    /// Other places that have to do with it, and how.
    pub related: Vec<(Span, String)>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Whether to write colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Never,
    /// With the escape sequences of a terminal.
    Always,
}

impl Diagnostic {
    /// An error about the file as a whole.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// A problem of the file as a whole.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self { severity, message: message.into(), span: None, label: String::new(), related: Vec::new(), hint: None }
    }

    /// With its place.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// With a word at its place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With another place, and what that has to do with it.
    #[must_use]
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Most problems that are shown; more than that help nobody.
const SHOWN_LIMIT: usize = 100;

/// Shows the problems of the file `path`, sorted by place, one after the other with an empty line between: the first hundred, and
/// how many more there are.
pub fn render(diagnostics: &[Diagnostic], path: &str, text: &str, colour: Colour) -> String {
    let source = Source::new(path, text);
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| (diagnostic.span.is_none(), diagnostic.span, diagnostic.severity));
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
        for line in shown.lines().filter(|line| !is_nameless(line)) {
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    if let Some(more) = sorted.len().checked_sub(SHOWN_LIMIT).filter(|more| *more > 0) {
        let _ = writeln!(out, "\nand {more} more problems, which are not shown");
    }
    out
}

/// Whether the line is the renderer's heading of a snippet without a path. The heading stands above it, with the column in the
/// file, while the renderer knows only that in the part of the line that is shown.
fn is_nameless(line: &str) -> bool {
    let mut visible = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        visible.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    visible.push_str(rest);
    visible.trim() == ":::"
}

/// Longest part of a source line that is shown, in characters.
const LINE_LIMIT: usize = 120;

/// Lines are counted from the last of the places that lie so many bytes apart.
const STRIDE: usize = 1 << 16;

/// A text, and how to find its lines.
struct Source<'t> {
    path: String,
    text: &'t str,
    /// The line ends before each multiple of [`STRIDE`]. All line starts would take more memory than a text of empty lines.
    line_ends: Vec<usize>,
}

/// What is shown of a line: safe to print, cut to a useful length, with the range to underline in it.
struct Shown {
    line: usize,
    column: usize,
    text: String,
    mark: std::ops::Range<usize>,
}

impl<'t> Source<'t> {
    fn new(path: &str, text: &'t str) -> Self {
        let mut line_ends = vec![0];
        for part in text.as_bytes().chunks(STRIDE) {
            line_ends.push(line_ends[line_ends.len() - 1] + count_line_ends(part));
        }
        Self { path: escape(path).into_owned(), text, line_ends }
    }

    fn show(&self, span: Span) -> Shown {
        let start = self.boundary(span.start as usize);
        let stride = start / STRIDE;
        let index = self.line_ends[stride] + count_line_ends(&self.text.as_bytes()[stride * STRIDE..start]);
        let begin = self.text[..start].rfind('\n').map_or(0, |end| end + 1);
        let end = self.text[start..].find('\n').map_or(self.text.len(), |end| start + end);
        let line = self.text[begin..end].trim_end_matches('\r');
        let (from, to) = ((start - begin).min(line.len()), (self.boundary(span.end as usize).max(start) - begin).min(line.len()));
        let (text, mark) = printable(line, from, from + line[from..to].trim_end().len());
        let bom = usize::from(begin == 0 && line.starts_with('\u{feff}') && from > 0);
        Shown { line: index + 1, column: line[..from].chars().count() + 1 - bom, text, mark }
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

/// The part of a line around `from..to` that can be shown, and where that range is in it.
fn printable(line: &str, from: usize, to: usize) -> (String, std::ops::Range<usize>) {
    let long = line.char_indices().nth(LINE_LIMIT).is_some();
    let far = line[..from].char_indices().nth(LINE_LIMIT / 2).is_some();
    let (begin, cut_begin) = if long && far { (back(line, from, LINE_LIMIT / 4), "...") } else { (0, "") };
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

/// The place some characters before another.
fn back(line: &str, from: usize, characters: usize) -> usize {
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
    let primary = source.show(span);
    let mut places = vec![(AnnotationKind::Primary, primary, &diagnostic.label)];
    places.extend(diagnostic.related.iter().map(|(span, label)| (AnnotationKind::Context, source.show(*span), label)));
    let mut group = group.element(origin(source, &places[0].1));
    let mut rest = places.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let same = others.iter().take_while(|(_, shown, _)| shown.line == first.1.line && shown.text == first.1.text).count();
        let (these, later) = rest.split_at(1 + same);
        group = group.element(snippet(these));
        rest = later;
        if let Some((_, shown, _)) = rest.first() {
            group = group.element(Padding).element(origin(source, shown));
        }
    }
    let hint = hint(diagnostic);
    if hint.is_empty() { group } else { group.element(Padding).elements(hint) }
}

fn origin<'a>(source: &Source<'a>, shown: &Shown) -> Origin<'a> {
    Origin::path(source.path.clone()).line(shown.line).char_column(shown.column)
}

fn snippet<'a>(places: &[(AnnotationKind, Shown, &'a String)]) -> Element<'a> {
    let shown = &places[0].1;
    let mut snippet = Snippet::source(shown.text.clone()).line_start(shown.line);
    for (kind, shown, label) in places {
        let label = (!label.is_empty()).then(|| escape(label));
        snippet = snippet.annotation(kind.span(shown.mark.clone()).label(label));
    }
    snippet.into()
}

fn hint(diagnostic: &Diagnostic) -> Vec<Element<'_>> {
    diagnostic.hint.iter().map(|hint| Level::HELP.with_name("hint").message(escape(hint)).into()).collect()
}
