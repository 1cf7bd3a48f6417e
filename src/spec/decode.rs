//! Decodes a [`Document`] into a [`LabFile`] with serde, and reports all problems in one pass.
//!
//! An invalid value is reported once and skipped, then decoding continues: an invalid list item is dropped, an optional field
//! stays empty, and a map without a required field is dropped as a whole. A field that is missing because its value was skipped is
//! not reported again. The expected type decides how a scalar is read, so a name may look like a number.
//!
//! A key without a value, or with `null`, is an empty map or list where one is expected: `bridge:` means `bridge: {}`. Where a
//! scalar is expected it is an error, because a template may have lost the value.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::{self, Display};

use serde::de::{self, Deserialize, Expected, Unexpected};

use self::node::Decoder;
use super::file::LabFile;
use crate::name::escape;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::document::{Content, Document, Entry, Node, Scalar, Span};
use crate::yaml::parse::{PROBLEM_LIMIT, shortened};
use crate::yaml::suggest::{list, suggestion};
use crate::yaml::words;

mod access;
mod node;

/// Decodes a lab. Adds problems to `diagnostics` and records in the document what was skipped.
pub fn lab(document: &mut Document<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<LabFile> {
    let context = Context::default();
    let lab = match without_anchors(&document.root) {
        Some(root) => LabFile::decode(&root, &context),
        None => LabFile::decode(&document.root, &context),
    };
    diagnostics.extend(context.problems.into_inner());
    document.skipped.extend(context.skipped.into_inner());
    document.unknown = context.unknown.into_inner();
    lab
}

/// Returns the root without the keys that only hold anchors; `None` if there are none.
fn without_anchors<'t>(root: &Node<'t>) -> Option<Node<'t>> {
    let Content::Mapping(entries) = &root.content else { return None };
    let holds_anchors = |entry: &Entry<'_>| entry.key.starts_with("x-");
    if !entries.iter().any(holds_anchors) {
        return None;
    }
    let others = entries.iter().filter(|entry| !holds_anchors(entry)).cloned().collect();
    Some(Node { span: root.span, content: Content::Mapping(others) })
}

impl LabFile {
    fn decode(root: &Node<'_>, context: &Context) -> Option<Self> {
        if let Ok(lab) = context.value::<Self>(root, None) {
            return Some(lab);
        }
        // `name` is the only required key. Decode the rest with a placeholder name, to report its problems too.
        let Content::Mapping(entries) = &root.content else { return None };
        let name = Scalar { text: "unnamed".into(), plain: true };
        let name = Node { span: Span::default(), content: Content::Scalar(name) };
        let name = Entry { key: "name".into(), key_span: Span::default(), value: name };
        let others = entries.iter().filter(|entry| entry.key != "name").cloned();
        let entries = std::iter::once(name).chain(others).collect();
        context.value(&Node { span: root.span, content: Content::Mapping(entries) }, None).ok()
    }
}

/// The standard library's error for an invalid IP address. It does not quote the address.
const INVALID_ADDRESS: &str = "invalid IP address syntax";

/// The end of the message about a missing value.
const FOUND_NOTHING: &str = ", found nothing";

/// Returns a value as messages quote it.
fn quote(scalar: &Scalar<'_>) -> String {
    let text = shortened(&scalar.text);
    if scalar.plain { escape(&text).into_owned() } else { format!("\"{}\"", escape(&text)) }
}

/// The state shared by all decoders of one document.
#[derive(Default)]
struct Context {
    problems: RefCell<Vec<Diagnostic>>,
    /// The spans of skipped keys and list items.
    skipped: RefCell<HashSet<Span>>,
    /// The spans of those keys among them that are not valid in their place.
    unknown: RefCell<HashSet<Span>>,
}

/// Why a value could not be decoded.
#[derive(Debug)]
enum DecodeError {
    /// An invalid value inside it was reported and skipped.
    Reported,
    /// The value itself is invalid; not reported yet.
    Invalid(Box<Problem>),
}

#[derive(Debug)]
struct Problem {
    message: String,
    hint: Option<String>,
    /// The required field that is missing from the map.
    missing: Option<&'static str>,
}

impl Context {
    /// Decodes a value. When something inside is invalid, skips that and tries again. `Err` means that the value itself is invalid;
    /// this has been reported.
    fn value<'de, T: Deserialize<'de>>(&self, node: &Node<'_>, owner: Option<&Entry<'_>>) -> Result<T, ()> {
        loop {
            let skipped = self.skipped.borrow().len();
            match T::deserialize(Decoder { node, context: self }) {
                Ok(value) => return Ok(value),
                Err(DecodeError::Reported) if self.skipped.borrow().len() > skipped => {}
                Err(DecodeError::Reported) => return Err(()),
                Err(DecodeError::Invalid(problem)) => {
                    self.report_value(*problem, node, owner);
                    return Err(());
                }
            }
        }
    }

    fn report_value(&self, mut problem: Problem, node: &Node<'_>, owner: Option<&Entry<'_>>) {
        if let (Some(missing), Content::Mapping(entries)) = (problem.missing, &node.content) {
            let skipped = self.skipped.borrow();
            let is_missing = |entry: &Entry<'_>| entry.key == missing || suggestion(&entry.key, &[missing]).is_some();
            if entries.iter().any(|entry| skipped.contains(&entry.key_span) && is_missing(entry)) {
                return;
            }
        }
        if let (Content::Scalar(scalar), INVALID_ADDRESS) = (&node.content, problem.message.as_str()) {
            problem.message = format!("`{}` is not a valid IP address", quote(scalar));
            problem.hint = Some("write it like `192.0.2.1` or `2001:db8::1`".into());
        }
        if let (Some(owner), true, Some(expected)) = (owner, node.is_null(), problem.message.strip_suffix(FOUND_NOTHING)) {
            problem.message = format!("key `{}` has no value: {expected}", escape(&shortened(&owner.key)));
            problem.hint.get_or_insert_with(|| "add a value or remove the key".into());
        }
        if let (Content::Scalar(scalar), Some(owner)) = (&node.content, owner) {
            problem.hint = problem.hint.or_else(|| words::value_advice(&owner.key, &scalar.text));
            if problem.message.contains("is not a valid duration") {
                problem.hint = problem.hint.or_else(|| words::duration_advice(&owner.key, &scalar.text));
            }
        }
        let span = match (&node.content, owner) {
            (Content::Scalar(scalar), _) if !scalar.is_null() => node.span,
            (_, Some(owner)) => owner.key_span,
            (_, None) => node.first_span(),
        };
        self.report(problem, span);
    }

    fn report(&self, problem: Problem, span: Span) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() >= PROBLEM_LIMIT {
            return;
        }
        let diagnostic = Diagnostic::error(problem.message).at(span);
        problems.push(match problem.hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    }

    fn skip(&self, span: Span) {
        self.skipped.borrow_mut().insert(span);
    }

    fn is_skipped(&self, span: Span) -> bool {
        let skipped = self.skipped.borrow();
        !skipped.is_empty() && skipped.contains(&span)
    }
}

impl DecodeError {
    fn new(message: impl Into<String>) -> Self {
        Self::Invalid(Box::new(Problem { message: message.into(), hint: None, missing: None }))
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Invalid(problem) = &mut self {
            problem.hint = Some(hint.into());
        }
        self
    }
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported => f.write_str("already reported"),
            Self::Invalid(problem) => f.write_str(&problem.message),
        }
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", describe(&unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {length} items"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        unknown("value", variant, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        unknown("key", field, expected)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is given twice, once by its other name")).hint("remove one of the two")
    }

    fn missing_field(field: &'static str) -> Self {
        let message = format!("missing key `{field}`");
        Self::Invalid(Box::new(Problem { message, hint: None, missing: Some(field) }))
    }
}

fn unknown(what: &str, word: &str, known: &'static [&'static str]) -> DecodeError {
    let error = DecodeError::new(format!("unknown {what} `{}`", escape(&shortened(word))));
    if let Some(advice) = words::advice(word, known) {
        return error.hint(advice);
    }
    match suggestion(word, known) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None if known.is_empty() => error.hint("it has no keys; write `{}`"),
        None => error.hint(format!("valid {what}s: {}", list(known.iter().copied()))),
    }
}

fn describe(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number `{value}`"),
        Unexpected::Signed(value) => format!("the number `{value}`"),
        Unexpected::Str(text) => format!("`{}`", escape(&shortened(text))),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::name::NamespaceName;
    use crate::spec::{LabFile, load};

    fn lab(text: &str) -> LabFile {
        let loaded = load(text);
        assert_eq!(loaded.diagnostics, []);
        loaded.lab.unwrap()
    }

    fn problems(text: &str) -> Vec<String> {
        load(text).diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect()
    }

    #[test]
    fn a_string_may_look_like_a_number() {
        let lab = lab("name: 007\nnamespaces: { 10: {}, true: {}, 1e3: {} }");
        assert_eq!(lab.name.as_str(), "007");
        assert_eq!(lab.namespaces.keys().map(NamespaceName::as_str).collect::<Vec<_>>(), ["10", "1e3", "true"]);
    }

    #[test]
    fn a_missing_value_is_an_empty_map_or_list() {
        let lab =
            lab("name: a\nlinks:\nnamespaces: { x: , y: ~, z: { routes: null, interfaces: { d: { dummy: , altnames: } } } }");
        assert_eq!(lab.namespaces.len(), 3);
        let d = lab.namespaces.values().flat_map(|namespace| namespace.interfaces.values()).next().unwrap();
        assert!(d.dummy.is_some());
        assert_eq!(d.altnames, Some(Vec::new()));
    }

    #[test]
    fn a_missing_scalar_is_an_error() {
        let text = "name: a\nnamespaces: { x: { interfaces: { d: { dummy: , mtu: , mac: ~, up: null } }, sysctls: { a: }, routes: [{ to: }] } }";
        let problems = problems(text);
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("has no value: expected")), "{problems:?}");
    }

    #[test]
    fn keys_for_anchors_are_ignored() {
        let text =
            "x-a: &a { mtu: 9000 }\nname: a\nx-b: [1, { c: d }]\nnamespaces: { n: { interfaces: { b: { <<: *a, bridge: } } } }";
        let lab = lab(text);
        assert_eq!(lab.namespaces.values().next().unwrap().interfaces.values().next().unwrap().mtu, Some(9000));
        assert_eq!(problems("name: a\nnamespaces: { x: { x-a: 1 } }").len(), 1);
        assert_eq!(problems("x-a: 1\nnamespaces: {}"), ["missing key `name`"]);
    }

    #[test]
    fn sysctl_values_keep_their_text() {
        let lab = lab(
            r#"{name: a, namespaces: {x: {sysctls: {a: 1, b: true, c: "true", d: 1 2 3, e: 0x10, f: -1, g: 1.5, h: "08"}}}}"#,
        );
        let values: Vec<_> = lab.namespaces.values().flat_map(|x| x.sysctls.values()).map(|value| value.0.as_str()).collect();
        assert_eq!(values, ["1", "1", "true", "1 2 3", "16", "-1", "1.5", "08"]);
    }

    #[test]
    fn numbers_may_be_hexadecimal() {
        let lab = lab("name: a\nnamespaces: { x: { routes: [{ to: 10.0.0.1, dev: d, tos: 0x10, table: 0xff }] } }");
        assert_eq!(lab.namespaces.values().next().unwrap().routes[0].tos, Some(16));
    }

    #[test]
    fn every_problem_is_reported_once() {
        let text = "name: a\nnamespaces: { x: { routes: [{ to: 1, bad: 1 }, { to: 2 }, { to: default, via: x, dev: '-' }], a: 1, b: 1 } }";
        assert_eq!(problems(text).len(), 7);
    }

    #[test]
    fn a_list_keeps_its_valid_items() {
        let loaded = load("name: a\nnamespaces: { x: { routes: [{ to: 10.0.0.0/8 }, { to: x }, { to: 10.0.0.1, foo: 1 }] } }");
        let lab = loaded.lab.unwrap();
        let to: Vec<_> = lab.namespaces.values().next().unwrap().routes.iter().map(|route| route.to.to_string()).collect();
        assert_eq!(to, ["10.0.0.0/8", "10.0.0.1/32"]);
    }

    #[test]
    fn a_skipped_value_is_not_reported_as_missing() {
        assert_eq!(problems("name: a b\nnamespaces: {}").len(), 1);
        assert_eq!(problems("nmae: a\nnamespaces: {}").len(), 1);
        assert_eq!(problems("name: a\nlinks: [{ endpoint: [] }, { endpoints: 5 }]").len(), 2);
        assert_eq!(problems("name: a\nlinks: [{ mtuu: 5 }]").len(), 2);
        assert_eq!(problems("name: a\nnamespaces: { x: { interfaces: { v: { vxlan: { id: 1, srcport: [1, x] } } } } }").len(), 1);
    }

    #[test]
    fn many_problems_take_little_time() {
        let many: String = (0..50_000).map(|n| format!("      - {{ to: x{n}, foo: 1 }}\n")).collect();
        assert_eq!(problems(&format!("name: a\nnamespaces:\n  x:\n    routes:\n{many}")).len(), super::PROBLEM_LIMIT);
        let many: String = (0..20_000).map(|n| format!("key{n}: 1\n")).collect();
        assert_eq!(problems(&format!("{many}name: a\n")).len(), super::PROBLEM_LIMIT);
    }
}
