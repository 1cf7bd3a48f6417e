//! A [`Document`] into [`LabFile`] by way of serde, all problems in one run.
//!
//! What cannot be decoded is reported once, then left out, and decoding goes on: an item of a list is skipped, an optional field
//! stays empty, and a map that loses a field that it needs is skipped as a whole. What is missing only because it was left out is
//! not reported again. Scalars are read as what is asked for, so that a name may look like a number.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};

use super::diagnostic::Diagnostic;
use super::document::{Content, Document, Entry, Node, Scalar, Span, first_place};
use super::file::LabFile;
use super::suggest::{list, meant};
use super::yaml::{PROBLEM_LIMIT, shortened};
use crate::name::escape;

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

/// A value to be quoted in a message.
fn quote(scalar: &Scalar<'_>) -> String {
    let text = escape(&shortened(&scalar.text));
    if scalar.plain { text } else { format!("\"{text}\"") }
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
    fn value<'de, T: Deserialize<'de>>(&self, node: &Node<'_>, owner: Option<Span>) -> Result<T, ()> {
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

    fn report_value(&self, mut problem: Problem, node: &Node<'_>, owner: Option<Span>) {
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
        let span = match (&node.content, owner) {
            (Content::Scalar(scalar), _) if !scalar.is_null() => node.span,
            (_, Some(owner)) => owner,
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

/// One node, to be decoded.
#[derive(Clone, Copy)]
struct Decoder<'n, 't> {
    node: &'n Node<'t>,
    context: &'n Context,
}

impl Decoder<'_, '_> {
    fn expected(self, what: &str) -> Fault {
        match &self.node.content {
            Content::Scalar(scalar) if !scalar.is_null() => Fault::new(format!("expected {what}, found `{}`", quote(scalar))),
            _ => Fault::new(format!("expected {what}, found {}", self.node.describe())),
        }
    }

    fn integer(self, least: i128, most: i128) -> Result<i128, Fault> {
        let expected = "a whole number";
        let Content::Scalar(scalar) = &self.node.content else { return Err(self.expected(expected)) };
        match parse_integer(&scalar.text) {
            Some(_) if !scalar.plain => Err(self.expected(expected).hint("remove the quotes")),
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(_) => {
                let message = format!("`{}` is out of range", escape(&shortened(&scalar.text)));
                Err(Fault::new(message).hint(format!("the range is {least} to {most}")))
            }
            None => Err(self.expected(expected)),
        }
    }

    fn boolean(self) -> Result<bool, Fault> {
        let expected = "`true` or `false`";
        let Content::Scalar(scalar) = &self.node.content else { return Err(self.expected(expected)) };
        let value = match &*scalar.text {
            "true" | "True" | "TRUE" => true,
            "false" | "False" | "FALSE" => false,
            other => {
                let meant = match other.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "1" => "true",
                    "no" | "off" | "n" | "0" => "false",
                    _ => return Err(self.expected(expected)),
                };
                return Err(self.expected(expected).hint(format!("write `{meant}`")));
            }
        };
        if scalar.plain { Ok(value) } else { Err(self.expected(expected).hint("remove the quotes")) }
    }
}

/// A whole number of YAML's core schema.
fn parse_integer(text: &str) -> Option<i128> {
    let digits = |text: &str, radix| {
        let valid = !text.is_empty() && text.len() <= 30 && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if valid { i128::from_str_radix(text, radix).ok() } else { None }
    };
    match (text.strip_prefix("0x"), text.strip_prefix("0o"), text.strip_prefix('-')) {
        (Some(hexadecimal), _, _) => digits(hexadecimal, 16),
        (_, Some(octal), _) => digits(octal, 8),
        (_, _, Some(negative)) => digits(negative, 10).map(|number| -number),
        _ => digits(text.strip_prefix('+').unwrap_or(text), 10),
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty,)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let number = self.integer(<$type>::MIN.into(), <$type>::MAX.into())?;
            visitor.$visit(<$type>::try_from(number).map_err(|_| self.expected("a whole number"))?)
        })+
    };
}

impl<'de> Deserializer<'de> for Decoder<'_, '_> {
    type Error = Fault;

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    /// By YAML's core schema, but that numbers with a fraction stay texts: a lab has none.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.content {
            Content::Scalar(scalar) if scalar.is_null() => visitor.visit_unit(),
            Content::Scalar(scalar) if !scalar.plain => visitor.visit_str(&scalar.text),
            Content::Scalar(scalar) => {
                if let "true" | "True" | "TRUE" | "false" | "False" | "FALSE" = &*scalar.text {
                    return visitor.visit_bool(self.boolean()?);
                }
                let number = parse_integer(&scalar.text);
                if let Some(number) = number.and_then(|number| u64::try_from(number).ok()) {
                    visitor.visit_u64(number)
                } else if let Some(number) = number.and_then(|number| i64::try_from(number).ok()) {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_str(&scalar.text)
                }
            }
            Content::Sequence(items) => visitor.visit_seq(Items { items: items.iter(), context: self.context, skip: true }),
            Content::Mapping(entries) => visitor.visit_map(Entries::new(entries, self.context)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.content {
            Content::Scalar(scalar) if scalar.plain => match scalar.text.parse::<f64>() {
                Ok(number) if number.is_finite() => visitor.visit_f64(number),
                Ok(_) | Err(_) => Err(self.expected("a number")),
            },
            _ => Err(self.expected("a number")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.content {
            Content::Scalar(scalar) if !scalar.is_null() => visitor.visit_str(&scalar.text),
            _ => Err(self.expected("a text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let items: &[Node<'_>] = match &self.node.content {
            Content::Sequence(items) => items,
            _ if self.node.is_null() => &[],
            _ => return Err(self.expected("a list").hint("write the items one a line after `- `, or between `[` and `]`")),
        };
        visitor.visit_seq(Items { items: items.iter(), context: self.context, skip: true })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.content {
            Content::Sequence(items) if items.len() == length => {
                visitor.visit_seq(Items { items: items.iter(), context: self.context, skip: false })
            }
            _ => Err(self.expected(&format!("a list of {length} items"))),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let entries: &[Entry<'_>] = match &self.node.content {
            Content::Mapping(entries) => entries,
            _ if self.node.is_null() => &[],
            _ => return Err(self.expected("a map").hint("write `key: value` lines, or `{ key: value }`")),
        };
        visitor.visit_map(Entries::new(entries, self.context))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.content {
            Content::Scalar(scalar) if !scalar.is_null() => {
                visitor.visit_enum(IntoDeserializer::into_deserializer(&*scalar.text))
            }
            Content::Mapping(entries) if entries.len() == 1 => {
                visitor.visit_enum(Choice { entry: &entries[0], context: self.context })
            }
            _ => Err(self.expected("one value")),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() { visitor.visit_unit() } else { Err(self.expected("nothing")) }
    }

    serde::forward_to_deserialize_any! { bytes byte_buf unit_struct ignored_any }
}

/// The items of a list.
struct Items<'n, 't> {
    items: std::slice::Iter<'n, Node<'t>>,
    context: &'n Context,
    /// Whether an item that cannot be decoded may be left out.
    skip: bool,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(Decoder { node, context: self.context }).map(Some)
    }

    fn next_element<T: Deserialize<'de>>(&mut self) -> Result<Option<T>, Fault> {
        for node in self.items.by_ref() {
            if self.skip && self.context.is_refused(node.span) {
                continue;
            }
            match self.context.value(node, None) {
                Ok(value) => return Ok(Some(value)),
                Err(()) if self.skip => self.context.refuse(node.span),
                Err(()) => return Err(Fault::Reported),
            }
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of a map.
struct Entries<'n, 't> {
    entries: std::slice::Iter<'n, Entry<'t>>,
    context: &'n Context,
    value: Option<&'n Entry<'t>>,
}

impl<'n, 't> Entries<'n, 't> {
    fn new(entries: &'n [Entry<'t>], context: &'n Context) -> Self {
        Self { entries: entries.iter(), context, value: None }
    }

    fn key<'de, K: Deserialize<'de>>(&self, entry: &Entry<'_>) -> Option<K> {
        if self.context.is_refused(entry.key_span) {
            return None;
        }
        let key: StrDeserializer<'_, Fault> = entry.key.as_ref().into_deserializer();
        match K::deserialize(key) {
            Ok(key) => Some(key),
            Err(fault) => {
                if let Fault::Fresh(problem) = fault {
                    self.context.report(*problem, entry.key_span);
                }
                self.context.refuse(entry.key_span);
                None
            }
        }
    }
}

/// What decodes in place of a value that was refused, if the field can do without.
const NOTHING: Node<'static> = Node {
    span: Span { start: 0, end: 0 },
    content: Content::Scalar(Scalar { text: std::borrow::Cow::Borrowed(""), plain: true }),
};

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.value = self.entries.find(|entry| !self.context.is_refused(entry.key_span));
        let Some(entry) = self.value else { return Ok(None) };
        let key: StrDeserializer<'_, Fault> = entry.key.as_ref().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let entry = self.value.take().ok_or(Fault::Reported)?;
        seed.deserialize(Decoder { node: &entry.value, context: self.context })
    }

    fn next_key<K: Deserialize<'de>>(&mut self) -> Result<Option<K>, Fault> {
        while let Some(entry) = self.entries.next() {
            if let Some(key) = self.key(entry) {
                self.value = Some(entry);
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn next_value<T: Deserialize<'de>>(&mut self) -> Result<T, Fault> {
        let entry = self.value.take().ok_or(Fault::Reported)?;
        let context = self.context;
        context.value(&entry.value, Some(entry.key_span)).or_else(|()| {
            context.refuse(entry.key_span);
            T::deserialize(Decoder { node: &NOTHING, context }).map_err(|_| Fault::Reported)
        })
    }

    fn next_entry<K: Deserialize<'de>, T: Deserialize<'de>>(&mut self) -> Result<Option<(K, T)>, Fault> {
        while let Some(entry) = self.entries.next() {
            if self.context.is_refused(entry.key_span) {
                continue;
            }
            // Also under a key that is refused there may be more to say.
            let (key, value) = (self.key(entry), self.context.value(&entry.value, Some(entry.key_span)));
            match (key, value) {
                (Some(key), Ok(value)) => return Ok(Some((key, value))),
                (_, Err(())) => self.context.refuse(entry.key_span),
                (None, Ok(_)) => {}
            }
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A choice with a value, written as a map of one entry.
struct Choice<'n, 't> {
    entry: &'n Entry<'t>,
    context: &'n Context,
}

impl<'de> EnumAccess<'de> for Choice<'_, '_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let key: StrDeserializer<'_, Fault> = self.entry.key.as_ref().into_deserializer();
        Ok((seed.deserialize(key)?, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_, '_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Deserialize::deserialize(Decoder { node: &self.entry.value, context: self.context })
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(Decoder { node: &self.entry.value, context: self.context })
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        Decoder { node: &self.entry.value, context: self.context }.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        Decoder { node: &self.entry.value, context: self.context }.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(lab.namespaces.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["10", "1e3", "true"]);
    }

    #[test]
    fn nothing_is_an_empty_map_or_list() {
        let lab = lab("name: a\nlinks:\nnamespaces: { x: , y: ~, z: { routes: null, interfaces: { d: { dummy: , mtu: } } } }");
        assert_eq!(lab.namespaces.len(), 3);
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
