//! A [`Document`] into [`LabFile`] by way of serde, all problems in one run.
//!
//! What cannot be decoded is reported once, then left out, and decoding goes on: an item of a list is skipped, an optional field
//! stays empty, and a map that loses a field that it needs is skipped as a whole. What is missing only because it was left out is
//! not reported again. Scalars are read as what is asked for, so that a name may look like a number.
//!
//! A key with nothing after it, or with `null`, is an empty map or list where such is asked for: `bridge:` is `bridge: {}`. Where a
//! single value is asked for, it is an error: a template that has lost its value must not go unnoticed.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::{self, Display};

use serde::de::{self, Deserialize, Expected, Unexpected};

use self::node::Decoder;
use super::file::LabFile;
use crate::name::escape;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::document::{Content, Document, Entry, Node, Scalar, Span, first_place};
use crate::yaml::parse::{PROBLEM_LIMIT, shortened};
use crate::yaml::suggest::{list, meant};

mod node;
mod parts;

/// Decodes a lab. Problems are added to `diagnostics`, and what was left out is marked in the document.
pub fn lab(document: &mut Document<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<LabFile> {
    let context = Context::default();
    let lab = LabFile::decode(&document.root, &context);
    diagnostics.extend(context.problems.into_inner());
    document.refused = context.refused.into_inner();
    lab
}

impl LabFile {
    fn decode(root: &Node<'_>, context: &Context) -> Option<Self> {
        if let Ok(lab) = context.value::<Self>(root, None) {
            return Some(lab);
        }
        // The name is the one thing that a lab cannot do without; the rest of the file has problems of its own to be found.
        let Content::Mapping(entries) = &root.content else { return None };
        let name = Scalar { text: "unnamed".into(), plain: true };
        let name = Node { span: Span::default(), content: Content::Scalar(name) };
        let name = Entry { key: "name".into(), key_span: Span::default(), value: name };
        let others = entries.iter().filter(|entry| entry.key != "name").cloned();
        let entries = std::iter::once(name).chain(others).collect();
        context.value(&Node { span: root.span, content: Content::Mapping(entries) }, None).ok()
    }
}

/// What the standard library says of a text that is no address, without saying which.
const NO_ADDRESS: &str = "invalid IP address syntax";

/// How the message about a value ends that is not there.
const NOTHING_FOUND: &str = ", found nothing";

/// A value to be quoted in a message.
fn quote(scalar: &Scalar<'_>) -> String {
    let text = shortened(&scalar.text);
    if scalar.plain { escape(&text).into_owned() } else { format!("\"{}\"", escape(&text)) }
}

/// What is common to the decoding of one document.
#[derive(Default)]
struct Context {
    problems: RefCell<Vec<Diagnostic>>,
    /// The keys and list items that are left out, by their places.
    refused: RefCell<HashSet<Span>>,
}

/// Why a value could not be decoded.
#[derive(Debug)]
enum Fault {
    /// For a reason that was reported, and that has been left out of the document by now.
    Reported,
    /// For one that is about the value as a whole.
    Fresh(Box<Problem>),
}

#[derive(Debug)]
struct Problem {
    message: String,
    hint: Option<String>,
    /// The field that a map lacks.
    missing: Option<&'static str>,
}

impl Context {
    /// Decodes a value, again and again without what was found wrong inside of it. `Err` means that the value itself is wrong,
    /// which has been reported.
    fn value<'de, T: Deserialize<'de>>(&self, node: &Node<'_>, owner: Option<&Entry<'_>>) -> Result<T, ()> {
        loop {
            let refused = self.refused.borrow().len();
            match T::deserialize(Decoder { node, context: self }) {
                Ok(value) => return Ok(value),
                Err(Fault::Reported) if self.refused.borrow().len() > refused => {}
                Err(Fault::Reported) => return Err(()),
                Err(Fault::Fresh(problem)) => {
                    self.report_value(*problem, node, owner);
                    return Err(());
                }
            }
        }
    }

    fn report_value(&self, mut problem: Problem, node: &Node<'_>, owner: Option<&Entry<'_>>) {
        if let (Some(missing), Content::Mapping(entries)) = (problem.missing, &node.content) {
            let refused = self.refused.borrow();
            let meant = |entry: &Entry<'_>| entry.key == missing || meant(&entry.key, &[missing]).is_some();
            if entries.iter().any(|entry| refused.contains(&entry.key_span) && meant(entry)) {
                return;
            }
        }
        if let (Content::Scalar(scalar), NO_ADDRESS) = (&node.content, problem.message.as_str()) {
            problem.message = format!("`{}` is not an address such as `192.0.2.1` or `2001:db8::1`", quote(scalar));
        }
        if let (Some(owner), true, Some(expected)) = (owner, node.is_null(), problem.message.strip_suffix(NOTHING_FOUND)) {
            problem.message = format!("the key `{}` has no value; {expected}", escape(&shortened(&owner.key)));
            problem.hint.get_or_insert_with(|| "give it one, or remove the key".into());
        }
        let span = match (&node.content, owner) {
            (Content::Scalar(scalar), _) if !scalar.is_null() => node.span,
            (_, Some(owner)) => owner.key_span,
            (_, None) => first_place(node),
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

    fn refuse(&self, span: Span) {
        self.refused.borrow_mut().insert(span);
    }

    fn is_refused(&self, span: Span) -> bool {
        let refused = self.refused.borrow();
        !refused.is_empty() && refused.contains(&span)
    }
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self::Fresh(Box::new(Problem { message: message.into(), hint: None, missing: None }))
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Fresh(problem) = &mut self {
            problem.hint = Some(hint.into());
        }
        self
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported => f.write_str("reported before"),
            Self::Fresh(problem) => f.write_str(&problem.message),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
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
        Self::new(format!("`{field}` is given twice, once under another name")).hint("remove one of the two")
    }

    fn missing_field(field: &'static str) -> Self {
        let message = format!("the key `{field}` is missing");
        Self::Fresh(Box::new(Problem { message, hint: None, missing: Some(field) }))
    }
}

fn unknown(what: &str, word: &str, known: &'static [&'static str]) -> Fault {
    let fault = Fault::new(format!("unknown {what} `{}`", escape(&shortened(word))));
    match meant(word, known) {
        Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
        None if known.is_empty() => fault.hint("nothing can be set here; leave it empty: `{}`"),
        None => fault.hint(format!("possible {what}s are {}", list(known.iter().copied()))),
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
    fn a_text_may_look_like_a_number() {
        let lab = lab("name: 007\nnamespaces: { 10: {}, true: {}, 1e3: {} }");
        assert_eq!(lab.name.as_str(), "007");
        assert_eq!(lab.namespaces.keys().map(NamespaceName::as_str).collect::<Vec<_>>(), ["10", "1e3", "true"]);
    }

    #[test]
    fn nothing_is_an_empty_map_or_list() {
        let lab =
            lab("name: a\nlinks:\nnamespaces: { x: , y: ~, z: { routes: null, interfaces: { d: { dummy: , altnames: } } } }");
        assert_eq!(lab.namespaces.len(), 3);
        let d = lab.namespaces.values().flat_map(|namespace| namespace.interfaces.values()).next().unwrap();
        assert!(d.dummy.is_some());
        assert_eq!(d.altnames, Some(Vec::new()));
    }

    #[test]
    fn nothing_is_no_single_value() {
        let text = "name: a\nnamespaces: { x: { interfaces: { d: { dummy: , mtu: , mac: ~, up: null } }, sysctls: { a: }, routes: [{ to: }] } }";
        let problems = problems(text);
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("has no value; expected")), "{problems:?}");
    }

    #[test]
    fn settings_of_the_kernel_keep_their_text() {
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
    fn every_problem_is_told_once() {
        let text = "name: a\nnamespaces: { x: { routes: [{ to: 1, bad: 1 }, { to: 2 }, { to: default, via: x, dev: '-' }], a: 1, b: 1 } }";
        assert_eq!(problems(text).len(), 7);
    }

    #[test]
    fn a_list_keeps_what_is_right() {
        let loaded = load("name: a\nnamespaces: { x: { routes: [{ to: 10.0.0.0/8 }, { to: x }, { to: 10.0.0.1, foo: 1 }] } }");
        let lab = loaded.lab.unwrap();
        let to: Vec<_> = lab.namespaces.values().next().unwrap().routes.iter().map(|route| route.to.to_string()).collect();
        assert_eq!(to, ["10.0.0.0/8", "10.0.0.1/32"]);
    }

    #[test]
    fn what_was_left_out_is_not_missed() {
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
