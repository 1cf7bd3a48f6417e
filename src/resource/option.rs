//! Options as a table: one row gives an option's name, attribute, wire form, default and whether the kernel can change it in
//! place. Encoding, decoding, comparing, completing and showing follow from the rows.
//!
//! Whatever the kernel describes by a nest of attributes can have such a table: link kinds (IFLA_INFO_DATA), ports
//! (IFLA_INFO_SLAVE_DATA), queueing disciplines (TCA_OPTIONS).

mod codec;
mod sample;

pub use codec::{Be16, Be32, Centiseconds, Centiseconds64, Codec, Flag, HardwareAddress, Inet, Inet6, Seconds, U8, U16, U32};
pub use sample::{Sample, samples_of};

use netlink_packet_core::{DecodeError, DefaultNla, Emitable, NlaBuffer, NlasIterator};
use serde_json::Value;

/// Whether the kernel changes an option of a living object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutability {
    /// A message to the living object does it.
    InPlace,
    /// The kernel fixes it at creation: the object is replaced.
    Replace,
}

/// One row of a table; made by [`option!`](crate::option).
pub struct OptionRow<T> {
    /// The lab file's key.
    pub name: &'static str,
    /// The attribute's number; 0 when `encode_rest` and `decode_rest` of the table handle the option.
    pub attribute: u16,
    /// Whether it can be changed in place.
    pub mutability: Mutability,
    /// The value on the wire, or `None` when it is not set (or is of the other address family).
    pub write: fn(&T) -> Option<Vec<u8>>,
    /// Takes the value from the wire; `None` when it has an impossible length.
    pub read: fn(&mut T, &[u8]) -> Option<()>,
    /// The value as a lab file would show it.
    pub show: fn(&T) -> Option<Value>,
    /// Whether two set values are the same to the kernel.
    pub same: fn(&T, &T) -> bool,
    /// Whether the kernel refuses this change from the second to the first, although it makes others of the option.
    pub unchangeable: fn(&T, &T) -> bool,
    /// Copies the value from the second to the first where the second has one.
    pub take: fn(&mut T, &T),
    /// Sets the kernel's default where there is no value.
    pub complete: fn(&mut T),
    /// Whether the value is the kernel's default.
    pub is_default: fn(&T) -> bool,
    /// Values to try, as a lab file would show them; those of the type unless the row has others. None for an option that only
    /// makes sense together with something outside of the table.
    pub samples: fn(&T) -> Vec<Value>,
}

/// Something about options that the kernel would refuse, found without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The key it is about.
    pub key: &'static str,
    /// What is wrong, as a phrase.
    pub message: String,
}

/// One option that differs between the desired and the live object.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionChange {
    /// The key.
    pub name: &'static str,
    /// The live value.
    pub before: Option<Value>,
    /// The desired one, the kernel's default if the lab says nothing.
    pub after: Option<Value>,
    /// Whether the kernel can do it to the living object.
    pub mutability: Mutability,
}

/// A set of options that the kernel keeps together. Everything but the name and the rows has a default.
pub trait OptionTable: Clone + Default + 'static {
    /// The lab file's key; for kinds also the kernel's name of the kind.
    const NAME: &'static str;
    /// The options. A default that depends on another option finds that one complete when its row comes first.
    const OPTIONS: &'static [OptionRow<Self>];

    /// Finds what can be refused without asking the kernel.
    fn validate(&self) -> Vec<Invalid> {
        Vec::new()
    }

    /// Adds the attributes of rows that share one or need a list.
    fn encode_rest(&self, attributes: &mut Vec<DefaultNla>) {
        let _ = attributes;
    }

    /// Takes an attribute that no row names: the reverse of `encode_rest`.
    fn decode_rest(&mut self, attribute: u16, bytes: &[u8]) {
        let _ = (attribute, bytes);
    }

    /// Whether the kernel reports something else under the name of that option at the moment.
    fn conceals(&self, option: &str) -> bool {
        let _ = option;
        false
    }

    /// Brings what the kernel reported into the form that a lab file would have.
    fn normalise(&mut self) {}
}

/// Adds the attributes of all options that are set.
pub fn encode_into<T: OptionTable>(options: &T, attributes: &mut Vec<DefaultNla>) {
    for row in T::OPTIONS {
        if let Some(bytes) = (row.write)(options) {
            attributes.push(DefaultNla::new(row.attribute, bytes));
        }
    }
    options.encode_rest(attributes);
}

/// Does the same for a new object, without the options that it is born with anyway: a kernel that lacks a feature refuses even
/// its default.
pub fn encode_new_into<T: OptionTable>(options: &T, attributes: &mut Vec<DefaultNla>) {
    let whole = complete(options);
    let mut special = T::default();
    for row in T::OPTIONS.iter().filter(|row| !(row.is_default)(&whole)) {
        (row.take)(&mut special, options);
    }
    encode_into(&special, attributes);
}

/// The bytes of attributes.
pub fn emit(attributes: &[DefaultNla]) -> Vec<u8> {
    let mut buffer = vec![0; attributes.buffer_len()];
    attributes.emit(&mut buffer);
    buffer
}

/// Reads options from a nest of attributes.
///
/// # Errors
/// When an attribute is malformed, or a row's value has an impossible length.
pub fn decode<T: OptionTable>(data: &[u8]) -> Result<T, DecodeError> {
    let mut options = T::default();
    for attribute in NlasIterator::new(data) {
        let attribute: NlaBuffer<_> = attribute?;
        match T::OPTIONS.iter().find(|row| row.attribute != 0 && row.attribute == attribute.kind()) {
            Some(row) => (row.read)(&mut options, attribute.value())
                .ok_or_else(|| DecodeError::from(format!("unexpected value of `{}` of a {}", row.name, T::NAME)))?,
            None => options.decode_rest(attribute.kind(), attribute.value()),
        }
    }
    options.normalise();
    Ok(options)
}

/// The options with the kernel's defaults for those that are not set.
#[must_use]
pub fn complete<T: OptionTable>(options: &T) -> T {
    let mut complete = options.clone();
    for row in T::OPTIONS {
        (row.complete)(&mut complete);
    }
    complete
}

/// What differs from the live options; what is not set is compared as the kernel's default.
pub fn compare<T: OptionTable>(desired: &T, live: &T) -> Vec<OptionChange> {
    let mut changes: Vec<OptionChange> = Vec::new();
    if T::OPTIONS.is_empty() {
        return changes;
    }
    let wanted = complete(desired);
    for row in T::OPTIONS {
        // An option that neither the lab sets nor this kernel reports is a feature that was compiled out.
        let absent = (row.show)(live).is_none() && (row.show)(desired).is_none();
        let unknown = live.conceals(row.name) || desired.conceals(row.name);
        if absent || unknown || (row.same)(&wanted, live) || changes.iter().any(|change| change.name == row.name) {
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

/// The options that bring `live` to `desired` in place: only what differs is set.
#[must_use]
pub fn difference<T: OptionTable>(desired: &T, live: &T) -> T {
    let wanted = complete(desired);
    let changes = compare(desired, live);
    let mut only = T::default();
    for row in T::OPTIONS {
        if changes.iter().any(|change| change.name == row.name) {
            (row.take)(&mut only, &wanted);
        }
    }
    only
}

/// Takes the options that are set in `changes`.
pub fn update<T: OptionTable>(options: &mut T, changes: &T) {
    for row in T::OPTIONS {
        (row.take)(options, changes);
    }
}

/// Takes those options of `from` that are named.
pub fn take<T: OptionTable>(options: &mut T, from: &T, names: &[&str]) {
    for row in T::OPTIONS.iter().filter(|row| names.contains(&row.name)) {
        (row.take)(options, from);
    }
}

/// The options that are set, as a lab file would show them.
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

/// Every option of a table with values to try.
pub fn samples<T: OptionTable>() -> Vec<(&'static str, Vec<Value>)> {
    let mut samples: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for row in T::OPTIONS {
        if samples.iter().all(|(name, _)| *name != row.name) {
            samples.push((row.name, (row.samples)(&T::default())));
        }
    }
    samples
}

/// Calls a default that depends on other options; it fixes the type that the closure is given.
pub fn default_of<T, V>(options: &T, default: impl Fn(&T) -> Option<V>) -> Option<V> {
    default(options)
}

/// A row of a table. `field: Codec = ATTRIBUTE` names the attribute; a lone `field` is one that the table encodes itself. What
/// the kernel takes for an option that is not set comes last: `default VALUE`, or `default_of |options| …` where it depends on
/// the others. A row without either has no default: the option is absent until it is set.
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

    /// Options of nothing: what a port or a queueing discipline would have.
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
        let mut attributes = Vec::new();
        let encode = if new { encode_new_into } else { encode_into };
        encode(options, &mut attributes);
        let data = emit(&attributes);
        NlasIterator::new(data.as_slice()).map(|attribute| attribute.unwrap().kind()).collect()
    }

    #[test]
    fn a_default_can_depend_on_another_option() {
        let complete = |interval| complete(&Sample { interval, ..Sample::default() });
        assert_eq!(complete(None), Sample { interval: Some(10), burst: Some(20), label: None });
        assert_eq!(complete(Some(3)).burst, Some(6));
    }

    #[test]
    fn a_new_object_is_told_nothing_that_it_is_born_with() {
        let options = Sample { interval: Some(3), burst: Some(6), label: Some(0) };
        assert_eq!(encoded(&options, true), [1, 3]);
        assert_eq!(encoded(&options, false), [1, 2, 3]);
        assert_eq!(encoded(&Sample { burst: Some(6), ..Sample::default() }, true), [2]);
    }

    #[test]
    fn only_what_differs_is_changed() {
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
    fn a_value_of_impossible_length_is_an_error() {
        assert!(decode::<Sample>(&[5, 0, 1, 0, 1, 0, 0, 0]).is_err());
        assert_eq!(decode::<Sample>(&[8, 0, 1, 0, 1, 0, 0, 0]).unwrap().interval, Some(u32::from_ne_bytes([1, 0, 0, 0])));
    }
}
