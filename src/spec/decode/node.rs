//! A [`Deserializer`] for one node of a document. The expected type decides how a scalar is read.

use serde::de::{Deserializer, IntoDeserializer, Visitor};

use super::access::{Entries, Items, Variant};
use super::{Context, DecodeError, quote};
use crate::name::escape;
use crate::yaml::document::{Content, Entry, Node};
use crate::yaml::parse::shortened;
use crate::yaml::suggest::list;

/// Decodes one node.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'n, 't> {
    pub(super) node: &'n Node<'t>,
    pub(super) context: &'n Context,
}

impl Decoder<'_, '_> {
    fn expected(self, what: &str) -> DecodeError {
        match &self.node.content {
            Content::Scalar(scalar) if !scalar.is_null() => {
                DecodeError::new(format!("expected {what}, found `{}`", quote(scalar)))
            }
            _ => DecodeError::new(format!("expected {what}, found {}", self.node.describe())),
        }
    }

    fn integer(self, least: i128, most: i128) -> Result<i128, DecodeError> {
        let expected = "an integer";
        let Content::Scalar(scalar) = &self.node.content else { return Err(self.expected(expected)) };
        match parse_integer(&scalar.text) {
            Some(_) if !scalar.plain => Err(self.expected(expected).hint("remove the quotes")),
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(_) => {
                Err(DecodeError::new(format!("`{}` is out of range ({least} to {most})", escape(&shortened(&scalar.text)))))
            }
            None => Err(self.expected(expected)),
        }
    }

    fn boolean(self) -> Result<bool, DecodeError> {
        let expected = "`true` or `false`";
        let Content::Scalar(scalar) = &self.node.content else { return Err(self.expected(expected)) };
        let value = match &*scalar.text {
            "true" | "True" | "TRUE" => true,
            "false" | "False" | "FALSE" => false,
            other => {
                let value = match other.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "1" => "true",
                    "no" | "off" | "n" | "0" => "false",
                    _ => return Err(self.expected(expected)),
                };
                return Err(self.expected(expected).hint(format!("write `{value}`")));
            }
        };
        if scalar.plain { Ok(value) } else { Err(self.expected(expected).hint("remove the quotes")) }
    }
}

/// Parses an integer of YAML's core schema.
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
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let number = self.integer(<$type>::MIN.into(), <$type>::MAX.into())?;
            visitor.$visit(<$type>::try_from(number).map_err(|_| self.expected("an integer"))?)
        })+
    };
}

impl<'de> Deserializer<'de> for Decoder<'_, '_> {
    type Error = DecodeError;

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

    /// Follows YAML's core schema, except that floating-point numbers stay strings: a lab file has none.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
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
            Content::Sequence(items) => {
                visitor.visit_seq(Items { items: items.iter(), context: self.context, skip_invalid: true })
            }
            Content::Mapping(entries) => visitor.visit_map(Entries::new(entries, self.context)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_bool(self.boolean()?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.content {
            Content::Scalar(scalar) if scalar.plain => match scalar.text.parse::<f64>() {
                Ok(number) if number.is_finite() => visitor.visit_f64(number),
                Ok(_) | Err(_) => Err(self.expected("a number")),
            },
            _ => Err(self.expected("a number")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.content {
            Content::Scalar(scalar) if !scalar.is_null() => visitor.visit_str(&scalar.text),
            _ => Err(self.expected("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    /// A key that is present is never `None`: without a value it is an empty map or list.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let items: &[Node<'_>] = match &self.node.content {
            Content::Sequence(items) => items,
            _ if self.node.is_null() => &[],
            _ => return Err(self.expected("a list").hint("write one `- item` per line, or `[item, item]`")),
        };
        visitor.visit_seq(Items { items: items.iter(), context: self.context, skip_invalid: true })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.content {
            Content::Sequence(items) if items.len() == length => {
                visitor.visit_seq(Items { items: items.iter(), context: self.context, skip_invalid: false })
            }
            _ => Err(self.expected(&format!("a list of {length} items"))),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let entries: &[Entry<'_>] = match &self.node.content {
            Content::Mapping(entries) => entries,
            _ if self.node.is_null() => &[],
            _ => return Err(self.expected("a map").hint("write one `key: value` per line, or `{ key: value }`")),
        };
        visitor.visit_map(Entries::new(entries, self.context))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match (&self.node.content, fields) {
            (Content::Sequence(_), [key, ..]) => {
                Err(self.expected("a map").hint(format!("write `key: value`, with keys such as `{key}`")))
            }
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.node.content {
            Content::Scalar(scalar) if !scalar.is_null() => {
                visitor.visit_enum(IntoDeserializer::into_deserializer(&*scalar.text))
            }
            Content::Mapping(entries) if entries.len() == 1 => {
                visitor.visit_enum(Variant { entry: &entries[0], context: self.context })
            }
            _ => Err(self.expected(&format!("one of {}", list(variants.iter().copied())))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.node.is_null() { visitor.visit_unit() } else { Err(self.expected("nothing")) }
    }

    serde::forward_to_deserialize_any! { bytes byte_buf unit_struct ignored_any }
}
