//! Codecs: encode and decode the values of options.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::value::{Duration, Mac};

/// Encodes and decodes values of type `T`.
pub trait Codec<T> {
    /// Encodes a value; `None` if it belongs to the attribute of the other address family.
    fn write(value: &T) -> Option<Vec<u8>>;
    /// Decodes a value; `None` if the length is invalid.
    fn read(bytes: &[u8]) -> Option<T>;
    /// Returns whether two values are equal for the kernel.
    fn same(a: &T, b: &T) -> bool
    where
        T: PartialEq,
    {
        a == b
    }
}

macro_rules! integer_codec {
    ($(#[$doc:meta])* $name:ident, $integer:ty, $from:ident, $to:ident) => {
        $(#[$doc])*
        pub struct $name;
        impl Codec<$integer> for $name {
            fn write(value: &$integer) -> Option<Vec<u8>> {
                Some(value.$to().to_vec())
            }
            fn read(bytes: &[u8]) -> Option<$integer> {
                Some(<$integer>::$from(bytes.try_into().ok()?))
            }
        }
        impl Codec<bool> for $name {
            fn write(value: &bool) -> Option<Vec<u8>> {
                Some(<$integer>::from(*value).$to().to_vec())
            }
            fn read(bytes: &[u8]) -> Option<bool> {
                Some(<$integer>::$from(bytes.try_into().ok()?) != 0)
            }
        }
    };
}
integer_codec!(
    /// One byte.
    U8, u8, from_ne_bytes, to_ne_bytes
);
integer_codec!(
    /// Two bytes in native byte order.
    U16, u16, from_ne_bytes, to_ne_bytes
);
integer_codec!(
    /// Two bytes in network order.
    Be16, u16, from_be_bytes, to_be_bytes
);
integer_codec!(
    /// Four bytes in native byte order.
    U32, u32, from_ne_bytes, to_ne_bytes
);
/// Four bytes in native byte order, with a sign.
pub struct I32;
impl Codec<i32> for I32 {
    fn write(value: &i32) -> Option<Vec<u8>> {
        Some(value.to_ne_bytes().to_vec())
    }
    fn read(bytes: &[u8]) -> Option<i32> {
        Some(i32::from_ne_bytes(bytes.try_into().ok()?))
    }
}
integer_codec!(
    /// Four bytes in network order.
    Be32, u32, from_be_bytes, to_be_bytes
);

/// An attribute without a value; its presence means true.
pub struct Flag;
impl Codec<bool> for Flag {
    fn write(value: &bool) -> Option<Vec<u8>> {
        value.then(Vec::new)
    }
    fn read(_: &[u8]) -> Option<bool> {
        Some(true)
    }
}

/// Whole seconds in four bytes.
pub struct Seconds;
impl Codec<Duration> for Seconds {
    fn write(value: &Duration) -> Option<Vec<u8>> {
        Some(u32::try_from(value.0 / 1_000_000).unwrap_or(u32::MAX).to_ne_bytes().to_vec())
    }
    fn read(bytes: &[u8]) -> Option<Duration> {
        Some(Duration::seconds(u32::from_ne_bytes(bytes.try_into().ok()?).into()))
    }
}

/// Hundredths of a second (USER_HZ) in four bytes. The kernel counts in its own ticks, so the value that it reports can differ by one.
pub struct Centiseconds;
/// Hundredths of a second in eight bytes.
pub struct Centiseconds64;

const CENTISECOND: u64 = 10_000;

impl Codec<Duration> for Centiseconds {
    fn write(value: &Duration) -> Option<Vec<u8>> {
        Some(u32::try_from(value.0 / CENTISECOND).unwrap_or(u32::MAX).to_ne_bytes().to_vec())
    }
    fn read(bytes: &[u8]) -> Option<Duration> {
        Some(Duration(u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)) * CENTISECOND))
    }
    fn same(a: &Duration, b: &Duration) -> bool {
        a.0.abs_diff(b.0) <= CENTISECOND
    }
}

impl Codec<Duration> for Centiseconds64 {
    fn write(value: &Duration) -> Option<Vec<u8>> {
        Some((value.0 / CENTISECOND).to_ne_bytes().to_vec())
    }
    fn read(bytes: &[u8]) -> Option<Duration> {
        Some(Duration(u64::from_ne_bytes(bytes.try_into().ok()?).saturating_mul(CENTISECOND)))
    }
    fn same(a: &Duration, b: &Duration) -> bool {
        a.0.abs_diff(b.0) <= CENTISECOND
    }
}

/// A hardware address of six bytes.
pub struct HardwareAddress;
impl Codec<Mac> for HardwareAddress {
    fn write(value: &Mac) -> Option<Vec<u8>> {
        Some(value.0.to_vec())
    }
    fn read(bytes: &[u8]) -> Option<Mac> {
        Some(Mac(bytes.try_into().ok()?))
    }
}

/// An IPv4 address, for an option with an attribute for each family.
pub struct Inet;
impl Codec<IpAddr> for Inet {
    fn write(value: &IpAddr) -> Option<Vec<u8>> {
        match value {
            IpAddr::V4(address) => Some(address.octets().to_vec()),
            IpAddr::V6(_) => None,
        }
    }
    fn read(bytes: &[u8]) -> Option<IpAddr> {
        Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into())
    }
}

/// An IPv6 address, for an option with an attribute for each family.
pub struct Inet6;
impl Codec<IpAddr> for Inet6 {
    fn write(value: &IpAddr) -> Option<Vec<u8>> {
        match value {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address.octets().to_vec()),
        }
    }
    fn read(bytes: &[u8]) -> Option<IpAddr> {
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
    }
}

/// Implements a codec for an enumeration of the kernel, encoded as the given integer.
#[macro_export]
macro_rules! kernel_enum {
    ($codec:ty, $integer:ty, $type:ty { $($variant:ident = $value:expr),+ $(,)? }) => {
        impl $crate::resource::option::Codec<$type> for $codec {
            fn write(value: &$type) -> Option<Vec<u8>> {
                let value: $integer = match value { $(<$type>::$variant => $value),+ };
                <$codec as $crate::resource::option::Codec<$integer>>::write(&value)
            }
            fn read(bytes: &[u8]) -> Option<$type> {
                let value = <$codec as $crate::resource::option::Codec<$integer>>::read(bytes)?;
                $(if value == $value { return Some(<$type>::$variant); })+
                None
            }
        }

        impl $crate::resource::option::Sample for $type {
            fn samples() -> Vec<Self> {
                vec![$(<$type>::$variant),+]
            }
        }
    };
}
