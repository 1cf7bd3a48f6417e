//! The parts of lists and maps for serde, one by one: what cannot be decoded is left out, and something else put in its place.

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::node::Decoder;
use super::{Context, Fault};
use crate::yaml::document::{Entry, Node};

/// The items of a list.
pub(super) struct Items<'n, 't> {
    pub(super) items: std::slice::Iter<'n, Node<'t>>,
    pub(super) context: &'n Context,
    /// Whether an item that cannot be decoded may be left out.
    pub(super) skip: bool,
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

/// Stands in for a value that was refused, if the field can do without.
struct Refused;

impl<'de> Deserializer<'de> for Refused {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::Reported)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_none()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(serde::de::value::SeqDeserializer::new(std::iter::empty::<u8>()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(serde::de::value::MapDeserializer::new(std::iter::empty::<(u8, u8)>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        enum identifier ignored_any
    }
}

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
        context.value(&entry.value, Some(entry)).or_else(|()| {
            context.refuse(entry.key_span);
            T::deserialize(Refused).map_err(|_| Fault::Reported)
        })
    }

    fn next_entry<K: Deserialize<'de>, T: Deserialize<'de>>(&mut self) -> Result<Option<(K, T)>, Fault> {
        while let Some(entry) = self.entries.next() {
            if self.context.is_refused(entry.key_span) {
                continue;
            }
            // Also under a key that is refused there may be more to say.
            let (key, value) = (self.key(entry), self.context.value(&entry.value, Some(entry)));
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
pub(super) struct Choice<'n, 't> {
    pub(super) entry: &'n Entry<'t>,
    pub(super) context: &'n Context,
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
