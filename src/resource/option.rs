//! Tables of options. A row defines the name, the attribute, the encoding and the default of an option, and whether the kernel can change
//! it in place. Options are encoded, decoded, compared, completed and shown by their rows.
//!
//! A table describes a nest of netlink attributes: of a link kind (IFLA_INFO_DATA), a port (IFLA_INFO_SLAVE_DATA) or a queueing discipline
//! (TCA_OPTIONS).

mod codec;
mod sample;

pub use codec::{
    Be16, Be32, Centiseconds, Centiseconds64, Codec, Flag, HardwareAddress, I32, Inet, Inet6, Seconds, U8, U16, U32,
};
pub use sample::{Sample, samples_of};

use netlink_packet_core::{DecodeError, DefaultNla, Emitable};
use serde_json::Value;

use super::object::wire::attributes;
use crate::iproute2::{Phrase, Said};
use crate::value::Duration;
use crate::words;

/// Whether the kernel can change an option of an existing object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// The kernel can change it in place.
    InPlace,
    /// The option is fixed at creation. A change replaces the object.
    Replace,
}

/// A row of a table. Use [`option!`](crate::option) to write one.
pub struct OptionRow<T> {
    /// The lab file's key.
    pub name: &'static str,
    /// The attribute's type; 0 if `encode_rest` and `decode_rest` of the table encode and decode the option.
    pub attribute: u16,
    /// Whether the kernel can change it in place.
    pub mutability: Mutability,
    /// Encodes the value; `None` if it is not set, or belongs to the other address family.
    pub write: fn(&T) -> Option<Vec<u8>>,
    /// Decodes the value; `None` if it has an invalid length.
    pub read: fn(&mut T, &[u8]) -> Option<()>,
    /// Returns the value as in a lab file.
    pub show: fn(&T) -> Option<Value>,
    /// Returns whether two values are equal for the kernel.
    pub same: fn(&T, &T) -> bool,
    /// Returns whether the kernel refuses this change in place, although the option can be changed otherwise. Takes the desired and the
    /// live options.
    pub unchangeable: fn(&T, &T) -> bool,
    /// Copies the value from the second to the first, if it is set.
    pub take: fn(&mut T, &T),
    /// Sets the kernel's default if there is no value.
    pub complete: fn(&mut T),
    /// Returns whether the value is the kernel's default.
    pub is_default: fn(&T) -> bool,
    /// Returns sample values as in a lab file, by default those of the type. Empty if the option needs something outside of the table.
    pub samples: fn(&T) -> Vec<Value>,
}

/// An option value that the kernel would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The key of the option.
    pub key: &'static str,
    /// The error, as a phrase.
    pub message: String,
}

/// One option that differs between the desired and the live object.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionChange {
    /// The key.
    pub name: &'static str,
    /// The live value.
    pub before: Option<Value>,
    /// The desired value, or the kernel's default if the lab does not set the option.
    pub after: Option<Value>,
    /// Whether the kernel can make the change in place.
    pub mutability: Mutability,
}

/// A table of options. Everything except the name and the rows has a default.
pub trait OptionTable: Clone + Default + 'static {
    /// The lab file's key; for link kinds also the kernel's name of the kind.
    const NAME: &'static str;
    /// The rows. A default can depend on the options of earlier rows.
    const OPTIONS: &'static [OptionRow<Self>];

    /// Checks the options without asking the kernel.
    fn validate(&self) -> Vec<Invalid> {
        Vec::new()
    }

    /// Encodes the options without an attribute of their own.
    fn encode_rest(&self, attributes: &mut Vec<DefaultNla>) {
        let _ = attributes;
    }

    /// Decodes an attribute that belongs to no row: the inverse of `encode_rest`.
    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        let _ = (attribute, bytes);
    }

    /// Adds to these changed options what the kernel or iproute2 needs beside them to make the live object the desired one,
    /// and notes what their messages need of it.
    fn complete_change(&mut self, desired: &Self, live: &Self) {
        let _ = (desired, live);
    }

    /// Returns whether the kernel temporarily reports another value than that of the option.
    fn conceals(&self, option: &str) -> bool {
        let _ = option;
        false
    }

    /// Converts the options that the kernel reported to the form of a lab file.
    fn normalise(&mut self) {}

    /// Copies what is no option, but what defaults depend on, from the object that some options are taken from.
    fn take_context(&mut self, from: &Self) {
        let _ = from;
    }

    /// Returns whether messages and commands of their own set the option.
    fn is_set_apart(option: &str) -> bool {
        let _ = option;
        false
    }

    /// Returns the options that commands for a new object contain even with the kernel's default.
    fn always_said(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the options that messages for a new object always contain, but commands only with another value than the kernel's default.
    fn unsaid_defaults(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the words of iproute2 for an option with this value, which is as in a lab file; `None` if it has none. By default, the name
    /// and the value, with `on` and `off` for a flag.
    fn phrase(&self, option: &str, value: &Value) -> Option<Phrase> {
        Some(Phrase::new(words![option, said(value)]))
    }
}

/// Returns a value as iproute2 writes most of them.
pub fn said(value: &Value) -> String {
    match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the duration in a value as a number of this unit, for commands that know no units.
pub fn said_in(unit: Duration, value: &Value) -> Option<String> {
    let duration: Duration = value.as_str()?.parse().ok()?;
    Some((duration.0 / unit.0).to_string())
}

/// Returns the words of iproute2 for the options that are set.
pub fn say<T: OptionTable>(options: &T) -> Vec<Said> {
    let shown = show(options).into_iter().filter(|(name, _)| !T::is_set_apart(name));
    shown.map(|(name, value)| (name, said(&value), options.phrase(name, &value))).collect()
}

/// Returns the words of iproute2 for the options of a new object.
pub fn say_new<T: OptionTable>(options: &T) -> Vec<Said> {
    let mut new = special(options);
    take(&mut new, &complete(options), options.always_said());
    let default = show(&complete(&T::default()));
    let is_unsaid = |(name, value, _): &Said| {
        let is_default = || default.iter().any(|(other, default)| other == name && said(default) == *value);
        options.unsaid_defaults().contains(name) && is_default()
    };
    let mut said = say(&new);
    said.retain(|said| !is_unsaid(said));
    said
}

/// Encodes all options that are set.
pub fn encode_into<T: OptionTable>(options: &T, attributes: &mut Vec<DefaultNla>) {
    for row in T::OPTIONS {
        if let Some(bytes) = (row.write)(options) {
            attributes.push(DefaultNla::new(row.attribute, bytes));
        }
    }
    options.encode_rest(attributes);
}

/// Encodes the options of a new object, except for the kernel's defaults: a kernel without a feature refuses even the default of its
/// options.
pub fn encode_new_into<T: OptionTable>(options: &T, attributes: &mut Vec<DefaultNla>) {
    encode_into(&special(options), attributes);
}

/// Returns only those options that differ from what a new object has.
pub fn special<T: OptionTable>(options: &T) -> T {
    let whole = complete(options);
    let mut differing = T::default();
    differing.take_context(options);
    for row in T::OPTIONS.iter().filter(|row| !(row.is_default)(&whole)) {
        (row.take)(&mut differing, options);
    }
    differing
}

/// Returns only those options that a lab file needs for a live object: the others follow from the defaults.
pub fn plain<T: OptionTable>(live: &T) -> T {
    let mut needed = T::default();
    needed.take_context(live);
    for row in T::OPTIONS {
        if !(row.same)(&complete(&needed), live) && !live.conceals(row.name) {
            (row.take)(&mut needed, live);
        }
    }
    needed
}

/// Returns an attribute with a number.
pub fn number(attribute: u16, number: u32) -> DefaultNla {
    DefaultNla::new(attribute, number.to_ne_bytes().to_vec())
}

/// Returns the number in an attribute of a nest.
pub fn number_in(data: &[u8], attribute: u16) -> Option<u32> {
    let (_, value) = attributes(data).flatten().find(|(kind, _)| *kind == attribute)?;
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// Returns the bytes of attributes.
pub fn emit(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut buffer = vec![0; attributes.buffer_len()];
    attributes.emit(&mut buffer);
    buffer
}

/// Decodes options from a nest of attributes.
///
/// # Errors
/// Fails if an attribute is malformed, or a value has an invalid length.
pub fn decode<T: OptionTable>(data: &[u8]) -> Result<T, DecodeError> {
    let mut options = T::default();
    for attribute in attributes(data) {
        let (kind, value) = attribute.map_err(DecodeError::from)?;
        match T::OPTIONS.iter().find(|row| row.attribute != 0 && row.attribute == kind) {
            Some(row) => (row.read)(&mut options, value)
                .ok_or_else(|| DecodeError::from(format!("unexpected value of `{}` of a {}", row.name, T::NAME)))?,
            None => options.decode_rest(kind, value),
        }
    }
    options.normalise();
    Ok(options)
}

/// Returns the options, with the kernel's defaults for those that are not set.
#[must_use]
pub fn complete<T: OptionTable>(options: &T) -> T {
    let mut complete = options.clone();
    for row in T::OPTIONS {
        (row.complete)(&mut complete);
    }
    complete
}

/// Returns the options that differ from the live ones. An option that is not set counts as the kernel's default.
pub fn compare<T: OptionTable>(desired: &T, live: &T) -> Vec<OptionChange> {
    let mut changes: Vec<OptionChange> = Vec::new();
    if T::OPTIONS.is_empty() {
        return changes;
    }
    let wanted = complete(desired);
    for row in T::OPTIONS {
        if (row.same)(&wanted, live) || changes.iter().any(|change| change.name == row.name) {
            continue;
        }
        // This kernel does not report the option, because it was built without the feature, and the lab does not need it.
        let absent = (row.show)(live).is_none() && (row.show)(desired).is_none();
        let unknown = live.conceals(row.name) || desired.conceals(row.name);
        if absent || unknown {
            continue;
        }
        changes.push(OptionChange {
            name: row.name,
            before: (row.show)(live),
            after: (row.show)(&wanted),
            mutability: if (row.unchangeable)(&wanted, live) { Mutability::Replace } else { row.mutability },
        });
    }
    changes
}

/// Returns the desired options with only those set that differ from the live ones.
#[must_use]
pub fn difference<T: OptionTable>(desired: &T, live: &T) -> T {
    let wanted = complete(desired);
    let changes = compare(desired, live);
    let mut only = T::default();
    only.take_context(desired);
    for row in T::OPTIONS {
        if changes.iter().any(|change| change.name == row.name) {
            (row.take)(&mut only, &wanted);
        }
    }
    only.complete_change(&wanted, live);
    only
}

/// Copies the options that are set in `changes`.
pub fn update<T: OptionTable>(options: &mut T, changes: &T) {
    for row in T::OPTIONS {
        (row.take)(options, changes);
    }
}

/// Copies the named options from `from`.
pub fn take<T: OptionTable>(options: &mut T, from: &T, names: &[&str]) {
    for row in T::OPTIONS.iter().filter(|row| names.contains(&row.name)) {
        (row.take)(options, from);
    }
}

/// Returns the options that are set, as in a lab file.
pub fn show<T: OptionTable>(options: &T) -> Vec<(&'static str, Value)> {
    let mut shown: Vec<(&'static str, Value)> = Vec::new();
    for row in T::OPTIONS {
        if let Some(value) = (row.show)(options)
            && shown.iter().all(|(name, _)| *name != row.name)
        {
            shown.push((row.name, value));
        }
    }
    shown
}

/// Returns every option of a table with sample values.
pub fn samples<T: OptionTable>() -> Vec<(&'static str, Vec<Value>)> {
    let mut samples: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for row in T::OPTIONS {
        if samples.iter().all(|(name, _)| *name != row.name) {
            samples.push((row.name, (row.samples)(&T::default())));
        }
    }
    samples
}

/// Calls a default that depends on other options. It exists so that the type of the closure's argument is inferred.
pub fn default_of<T, V>(options: &T, default: impl Fn(&T) -> Option<V>) -> Option<V> {
    default(options)
}

/// A row of a table. `field: Codec = ATTRIBUTE` defines the attribute; for a `field` without it, the table encodes the option itself. The
/// kernel's default comes last: `default VALUE`, or `default_of |options| …` if it depends on other options. An option without a default
/// is absent unless it is set.
///
/// ```ignore
/// option!(id: U16 = IFLA_VLAN_ID, Replace)
/// option!(protocol: Be16 = IFLA_VLAN_PROTOCOL, Replace, default VlanProtocol::Dot1Q)
/// option!(macaddrs, InPlace, default_of |macvlan| (macvlan.mode == Some(MacvlanMode::Source)).then(Vec::new))
/// ```
#[macro_export]
macro_rules! option {
    ($field:ident, $mutability:ident $(, $($default:tt)+)?) => {
        $crate::resource::option::OptionRow {
            name: stringify!($field),
            attribute: 0,
            mutability: $crate::resource::option::Mutability::$mutability,
            write: |_| None,
            read: |_, _| None,
            show: |options| options.$field.as_ref().and_then(|value| serde_json::to_value(value).ok()),
            same: |a, b| a.$field == b.$field,
            unchangeable: |_, _| false,
            take: |options, from| {
                if from.$field.is_some() {
                    options.$field.clone_from(&from.$field);
                }
            },
            complete: |options| {
                if options.$field.is_none() {
                    options.$field = $crate::option!(@default options $(, $($default)+)?);
                }
            },
            is_default: |options| {
                let default = $crate::option!(@default options $(, $($default)+)?);
                options.$field == default
            },
            samples: |options| $crate::resource::option::samples_of(&options.$field),
        }
    };
    ($field:ident : $codec:ty = $attribute:expr, $mutability:ident $(, $($default:tt)+)?) => {
        $crate::resource::option::OptionRow {
            attribute: $attribute,
            write: |options| options.$field.as_ref().and_then(<$codec as $crate::resource::option::Codec<_>>::write),
            read: |options, bytes| {
                options.$field = Some(<$codec as $crate::resource::option::Codec<_>>::read(bytes)?);
                Some(())
            },
            same: |a, b| $crate::option!(@same $codec, &a.$field, &b.$field),
            is_default: |options| {
                let default = $crate::option!(@default options $(, $($default)+)?);
                $crate::option!(@same $codec, &options.$field, &default)
            },
            ..$crate::option!($field, $mutability $(, $($default)+)?)
        }
    };
    (@same $codec:ty, $a:expr, $b:expr) => {
        match ($a, $b) {
            (Some(a), Some(b)) => <$codec as $crate::resource::option::Codec<_>>::same(a, b),
            (None, None) => true,
            _ => false,
        }
    };
    (@default $options:ident) => { None };
    (@default $options:ident, default $value:expr) => { Some($value) };
    (@default $options:ident, default_of $default:expr) => { $crate::resource::option::default_of(&*$options, $default) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options for tests.
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Sample {
        interval: Option<u32>,
        burst: Option<u32>,
        label: Option<u16>,
    }

    impl OptionTable for Sample {
        const NAME: &'static str = "sample";
        const OPTIONS: &'static [OptionRow<Self>] = &[
            option!(interval: U32 = 1, InPlace, default 10),
            option!(burst: U32 = 2, Replace, default_of |sample| sample.interval.map(|interval| interval * 2)),
            option!(label: U16 = 3, InPlace),
        ];
    }

    fn encoded(options: &Sample, new: bool) -> Vec<u16> {
        let mut encoded = Vec::new();
        let encode = if new { encode_new_into } else { encode_into };
        encode(options, &mut encoded);
        let data = emit(&encoded);
        attributes(&data).map(|attribute| attribute.unwrap().0).collect()
    }

    #[test]
    fn a_default_can_depend_on_another_option() {
        let complete = |interval| complete(&Sample { interval, ..Sample::default() });
        assert_eq!(complete(None), Sample { interval: Some(10), burst: Some(20), label: None });
        assert_eq!(complete(Some(3)).burst, Some(6));
    }

    #[test]
    fn defaults_of_a_new_object_are_not_encoded() {
        let options = Sample { interval: Some(3), burst: Some(6), label: Some(0) };
        assert_eq!(encoded(&options, true), [1, 3]);
        assert_eq!(encoded(&options, false), [1, 2, 3]);
        assert_eq!(encoded(&Sample { burst: Some(6), ..Sample::default() }, true), [2]);
    }

    #[test]
    fn only_options_that_differ_are_changed() {
        let live = complete(&Sample { label: Some(7), ..Sample::default() });
        let desired = Sample { burst: Some(5), label: Some(8), ..Sample::default() };
        let changes = compare(&desired, &live);
        let changes: Vec<_> = changes.iter().map(|change| (change.name, change.mutability)).collect();
        assert_eq!(changes, [("burst", Mutability::Replace), ("label", Mutability::InPlace)]);
        let difference = difference(&desired, &live);
        assert_eq!(difference, desired);
        let mut updated = live;
        update(&mut updated, &difference);
        assert_eq!(updated, complete(&desired));
    }

    #[test]
    fn a_value_of_invalid_length_is_an_error() {
        assert!(decode::<Sample>(&[5, 0, 1, 0, 1, 0, 0, 0]).is_err());
        assert_eq!(decode::<Sample>(&[8, 0, 1, 0, 1, 0, 0, 0]).unwrap().interval, Some(u32::from_ne_bytes([1, 0, 0, 0])));
    }
}
