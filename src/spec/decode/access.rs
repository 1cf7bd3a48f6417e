//! Serde access to lists, maps and enums. Invalid items and entries are skipped; a default takes the place of a skipped field.

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::node::Decoder;
use super::{Context, DecodeError};
use crate::yaml::document::{Entry, Node};

/// Access to the items of a list.
pub(super) struct Items<'n, 't> {
    pub(super) items: std::slice::Iter<'n, Node<'t>>,
    pub(super) context: &'n Context,
    /// Whether to skip invalid items; otherwise the list is invalid.
    pub(super) skip_invalid: bool,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(Decoder { node, context: self.context }).map(Some)
    }

    fn next_element<T: Deserialize<'de>>(&mut self) -> Result<Option<T>, DecodeError> {
        for node in self.items.by_ref() {
            if self.skip_invalid && self.context.is_skipped(node.span) {
                continue;
            }
            match self.context.value(node, None) {
                Ok(value) => return Ok(Some(value)),
                Err(()) if self.skip_invalid => self.context.skip(node.span),
                Err(()) => return Err(DecodeError::Reported),
            }
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// Access to the entries of a map.
pub(super) struct Entries<'n, 't> {
    entries: std::slice::Iter<'n, Entry<'t>>,
    context: &'n Context,
    value: Option<&'n Entry<'t>>,
}

impl<'n, 't> Entries<'n, 't> {
    pub(super) fn new(entries: &'n [Entry<'t>], context: &'n Context) -> Self {
        Self { entries: entries.iter(), context, value: None }
    }

    fn key<'de, K: Deserialize<'de>>(&self, entry: &Entry<'_>) -> Option<K> {
        if self.context.is_skipped(entry.key_span) {
            return None;
        }
        let key: StrDeserializer<'_, DecodeError> = entry.key.as_ref().into_deserializer();
        match K::deserialize(key) {
            Ok(key) => Some(key),
            Err(error) => {
                if let DecodeError::Invalid(problem) = error {
                    self.context.report(*problem, entry.key_span);
                }
                self.context.skip(entry.key_span);
                self.context.unknown.borrow_mut().insert(entry.key_span);
                None
            }
        }
    }
}

/// Decodes to the empty value of a skipped field, if its type has one.
struct SkippedValue;

impl<'de> Deserializer<'de> for SkippedValue {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::Reported)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_none()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(serde::de::value::SeqDeserializer::new(std::iter::empty::<u8>()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(serde::de::value::MapDeserializer::new(std::iter::empty::<(u8, u8)>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.value = self.entries.find(|entry| !self.context.is_skipped(entry.key_span));
        let Some(entry) = self.value else { return Ok(None) };
        let key: StrDeserializer<'_, DecodeError> = entry.key.as_ref().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let entry = self.value.take().ok_or(DecodeError::Reported)?;
        seed.deserialize(Decoder { node: &entry.value, context: self.context })
    }

    fn next_key<K: Deserialize<'de>>(&mut self) -> Result<Option<K>, DecodeError> {
        while let Some(entry) = self.entries.next() {
            if let Some(key) = self.key(entry) {
                self.value = Some(entry);
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn next_value<T: Deserialize<'de>>(&mut self) -> Result<T, DecodeError> {
        let entry = self.value.take().ok_or(DecodeError::Reported)?;
        let context = self.context;
        context.value(&entry.value, Some(entry)).or_else(|()| {
            context.skip(entry.key_span);
            T::deserialize(SkippedValue).map_err(|_| DecodeError::Reported)
        })
    }

    fn next_entry<K: Deserialize<'de>, T: Deserialize<'de>>(&mut self) -> Result<Option<(K, T)>, DecodeError> {
        while let Some(entry) = self.entries.next() {
            if self.context.is_skipped(entry.key_span) {
                continue;
            }
            // Decode the value of an invalid key too, to report its problems.
            let (key, value) = (self.key(entry), self.context.value(&entry.value, Some(entry)));
            match (key, value) {
                (Some(key), Ok(value)) => return Ok(Some((key, value))),
                (_, Err(())) => self.context.skip(entry.key_span),
                (None, Ok(_)) => {}
            }
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// Access to an enum variant with a value, written as a map with one entry.
pub(super) struct Variant<'n, 't> {
    pub(super) entry: &'n Entry<'t>,
    pub(super) context: &'n Context,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let key: StrDeserializer<'_, DecodeError> = self.entry.key.as_ref().into_deserializer();
        Ok((seed.deserialize(key)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Deserialize::deserialize(Decoder { node: &self.entry.value, context: self.context })
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(Decoder { node: &self.entry.value, context: self.context })
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, DecodeError> {
        Decoder { node: &self.entry.value, context: self.context }.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, DecodeError> {
        Decoder { node: &self.entry.value, context: self.context }.deserialize_map(visitor)
    }
}
