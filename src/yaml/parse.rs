//! Parses YAML text into a [`Document`]. Resolves aliases and merge keys, and enforces limits.
//!
//! The limits are 16 MiB of text, 64 levels, 720,000 nodes (each use of an alias counts), 10,000 anchors and 16,000 namespaces. They
//! are checked during parsing and before nodes are copied, so a small file cannot cause large memory use.

mod builder;
mod mapping;
mod syntax;

use granit_parser::{Marker, Parser, options};

use self::builder::Builder;
use super::diagnostic::Diagnostic;
use super::document::{Document, Span};

/// The maximum length of the text, in bytes.
pub const TEXT_LIMIT: usize = 16 << 20;
/// The maximum nesting depth of lists and maps.
pub const DEPTH_LIMIT: usize = 64;
/// The maximum number of nodes. An alias counts as many as its anchor.
pub const NODE_LIMIT: usize = 720_000;
/// The maximum number of anchors. All of them are kept until the end.
pub const ANCHOR_LIMIT: usize = 10_000;
/// The maximum number of namespaces. Few machines allow as many (user.max_net_namespaces), and the diagnostics for as many invalid
/// namespaces still fit into 64 MiB.
pub const NAMESPACE_LIMIT: usize = 16_000;

/// The maximum number of problems that are kept, which bounds their memory.
pub const PROBLEM_LIMIT: usize = 1000;

/// Parses a text. Adds problems to `diagnostics`; returns `None` if one of them leaves no usable document.
pub fn parse<'t>(text: &'t str, diagnostics: &mut Vec<Diagnostic>) -> Option<Document<'t>> {
    if text.len() > TEXT_LIMIT {
        let message = format!("the file has {} bytes, but at most {TEXT_LIMIT} are allowed", text.len());
        diagnostics.push(Diagnostic::error(message));
        return None;
    }
    let mut builder = Builder::new(diagnostics);
    let parser = Parser::new_from_str_with_options(text, options! { emit_comments: false });
    for event in parser {
        let result = match event {
            Ok((event, span)) => builder.handle(event, &span),
            Err(error) => Err(syntax::diagnostic(text, &error)),
        };
        if let Err(diagnostic) = result {
            builder.diagnostics.push(*diagnostic);
            return None;
        }
    }
    match builder.document() {
        Some(document) if !document.root.is_null() => Some(document),
        Some(_) | None => {
            let hint = "a lab needs at least a name: `name: demo`";
            diagnostics.push(Diagnostic::error("the file is empty").at(Span::default()).hint(hint));
            None
        }
    }
}

fn report(diagnostics: &mut Vec<Diagnostic>, diagnostic: Diagnostic) {
    if diagnostics.len() < PROBLEM_LIMIT {
        diagnostics.push(diagnostic);
    }
}

/// Returns the first 60 characters of a text, for messages.
pub fn shortened(text: &str) -> String {
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

fn too_deep() -> String {
    format!("lists and maps are nested more than {DEPTH_LIMIT} levels deep")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::document::{Content, Node};
    use crate::yaml::path::Path;

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

    fn parse_error(text: &str) -> String {
        let mut diagnostics = Vec::new();
        assert!(parse(text, &mut diagnostics).is_none());
        diagnostics.pop().unwrap().message
    }

    #[test]
    fn explicit_keys_override_merged_keys_and_earlier_merges_override_later_ones() {
        assert_eq!(tree("a: &a {x: 1, y: 1}\nb: {y: 2, <<: *a}"), "{a={x=1 y=1 } b={y=2 x=1 } }");
        assert_eq!(tree("a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}"), "{a={x=1 } b={x=2 y=2 } c={x=1 y=2 } }");
        assert_eq!(tree("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}"), "{a={x=1 } b={y=2 x=1 } c={y=2 x=1 } }");
        assert_eq!(tree("'<<': 1"), "{<<=1 }");
    }

    #[test]
    fn a_merge_key_takes_an_inline_map() {
        assert_eq!(tree("b: {<<: {x: 1}, y: 2}"), "{b={y=2 x=1 } }");
    }

    #[test]
    fn an_alias_has_the_position_of_its_anchor() {
        let text = "a: &a\n  x: 1\nb: *a\n";
        let document = parse(text, &mut Vec::new()).unwrap();
        let found = document.find(&Path::root().then("b").then("x"));
        assert_eq!(&text[found.span.start as usize..found.span.end as usize], "1");
        assert_eq!(found.span.start, 11);
    }

    #[test]
    fn a_missing_path_has_the_position_of_its_longest_prefix() {
        let text = "a:\n  b: [1, {c: 2}]\n";
        let document = parse(text, &mut Vec::new()).unwrap();
        let at = |path: Path| {
            let found = document.find(&path);
            (&text[found.span.start as usize..found.span.end as usize], found.exact)
        };
        assert_eq!(at(Path::root().then("a").then("x").then("y")), ("a", false));
        assert_eq!(at(Path::root().then("a").then("b")), ("b", true));
        assert_eq!(at(Path::root().then("a").then("b").then(1)), ("{c: 2}", true));
        assert_eq!(at(Path::root().then("a").then("b").then(1).then("c")), ("2", true));
        assert_eq!(at(Path::root().then("a").then("b").then(1).then("c").key()), ("c", true));
        assert_eq!(at(Path::root().then("a").then("b").then(2)), ("b", false));
    }

    /// Returns anchored values, each built from the previous one.
    fn chain(first: &str, length: usize, value: impl Fn(&str, usize) -> String) -> String {
        let values = (1..length).map(|level| format!("a{level}: &a{level} {}\n", value(&format!("*a{}", level - 1), level)));
        std::iter::once(format!("a0: &a0 {first}\n")).chain(values).collect()
    }

    #[test]
    fn exceeding_a_limit_is_detected_quickly() {
        assert!(parse_error(&"[".repeat(100_000)).contains("nested"));
        assert!(parse_error(&"- ".repeat(100_000)).contains("nested"));
        assert!(parse_error(&"{a: ".repeat(100_000)).contains("nested"));
        assert!(parse_error(&"x".repeat(TEXT_LIMIT + 1)).contains("bytes"));
        let bomb = chain("[x, x]", 60, |below, _| format!("{{ x: {below}, y: {below} }}"));
        assert!(parse_error(&bomb).contains(&NODE_LIMIT.to_string()));
        let merged = chain("{ x0: 0 }", 3000, |below, level| format!("{{ <<: {below}, x{level}: 0 }}"));
        assert!(parse_error(&merged).contains(&NODE_LIMIT.to_string()));
    }

    #[test]
    fn anchors_are_limited() {
        let anchors = |count: usize| (0..count).map(|n| format!("- &a{n} x\n")).collect::<String>();
        assert!(parse(&anchors(ANCHOR_LIMIT), &mut Vec::new()).is_some());
        assert!(parse_error(&anchors(ANCHOR_LIMIT + 1)).contains("anchors"));
    }

    #[test]
    fn namespaces_are_limited_also_through_aliases_and_merge_keys() {
        let map = |count: usize| (0..count).map(|n| format!("n{n},")).collect::<String>();
        let allowed = map(NAMESPACE_LIMIT);
        let too_many = map(NAMESPACE_LIMIT + 1);
        assert!(parse(&format!("{{ namespaces: {{ {allowed} }} }}"), &mut Vec::new()).is_some());
        assert!(parse(&format!("{{ routes: {{ {too_many} }} }}"), &mut Vec::new()).is_some());
        for text in [
            format!("{{ namespaces: {{ {too_many} }} }}"),
            format!("{{ a: &a {{ {too_many} }}, namespaces: *a }}"),
            format!("{{ a: &a {{ {too_many} }}, namespaces: {{ <<: *a }} }}"),
        ] {
            assert!(parse_error(&text).contains("namespaces"));
        }
    }

    #[test]
    fn aliases_count_towards_the_depth() {
        let deep = chain("[x]", 70, |below, _| format!("[{below}]"));
        assert!(parse_error(&deep).contains("nested"));
    }
}
