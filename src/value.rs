//! Scalar values of the lab file: MAC addresses, durations, interface addresses and destinations.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::name::escape;
use crate::value_schema::{DURATION, MAC, destination_pattern, prefix_pattern, value_schema};

/// The reason why a string is not a valid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not six hexadecimal bytes.
    #[error("`{}` is not a valid MAC address; write it like `02:00:00:00:00:01`", escape(.0))]
    Mac(String),
    /// A multicast address cannot be assigned to an interface.
    #[error("`{0}` is a multicast address; an interface needs a unicast address (first byte even)")]
    MulticastMac(Mac),
    /// The zero address cannot be assigned to an interface.
    #[error("`00:00:00:00:00:00` cannot be assigned to an interface")]
    ZeroMac,
    /// Not a number with a unit.
    #[error("`{}` is not a valid duration; write it like `10ms` or `2.5s` (units: us, ms, s, m, h)", escape(.0))]
    Duration(String),
    /// Not an address, with or without a prefix length.
    #[error("`{}` is not a valid address; write it like `192.0.2.1/24` or `2001:db8::1/64`", escape(.0))]
    Address(String),
    /// The prefix length is larger than the addresses of the family.
    #[error("the prefix length of `{}` is out of range (0 to {limit})", escape(.text))]
    PrefixLength {
        /// The string.
        text: String,
        /// The maximum prefix length of the family.
        limit: u8,
    },
    /// Neither `default` nor a prefix.
    #[error("`{}` is not a valid destination; write it like `default`, `10.0.0.0/8` or `2001:db8::/32`", escape(.0))]
    Destination(String),
    /// The prefix has host bits set.
    #[error("`{}` has host bits set; the network is `{network}`", escape(.text))]
    HostBits {
        /// The string.
        text: String,
        /// The prefix without host bits.
        network: IpNet,
    },
}

fn truncated(text: &str) -> String {
    text.chars().take(60).collect()
}

macro_rules! text_value {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = ValueError;
            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// An Ethernet MAC address (IFLA_ADDRESS).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);
text_value!(Mac);
value_schema!(Mac, "MAC address", "An Ethernet MAC address: six bytes in hexadecimal.", {
    "type": "string",
    "pattern": MAC,
    "patternErrorMessage": "Not a valid MAC address; write it like `02:00:00:00:00:01`.",
    "examples": ["02:00:00:00:00:01"],
});

impl Mac {
    /// Checks that the address can be assigned to an interface.
    ///
    /// # Errors
    /// Fails if it is a multicast address or zero.
    pub fn usable(self) -> Result<Self, ValueError> {
        match self.0 {
            [0, 0, 0, 0, 0, 0] => Err(ValueError::ZeroMac),
            [first, ..] if first & 1 == 1 => Err(ValueError::MulticastMac(self)),
            _ => Ok(self),
        }
    }
}

impl FromStr for Mac {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bytes: Option<Vec<u8>> = text
            .split([':', '-'])
            .map(|part| (part.len() == 2 && !part.starts_with('+')).then(|| u8::from_str_radix(part, 16).ok()).flatten())
            .collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| ValueError::Mac(truncated(text)))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&bytes.join(":"))
    }
}

/// A duration in microseconds, written with a unit (`10ms`, `600s`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(pub u64);
text_value!(Duration);
value_schema!(Duration, "Duration", "A duration: a number with a unit, which is `us`, `ms`, `s`, `m` or `h`.", {
    "type": "string",
    "pattern": DURATION,
    "patternErrorMessage": "Not a valid duration; write it like `10ms` or `2.5s` (units: us, ms, s, m, h).",
    "examples": ["10ms", "2.5s", "5m"],
});

impl Duration {
    const UNITS: [(&'static str, u64); 5] = [("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

    /// Creates a duration from seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// Creates a duration from milliseconds.
    pub const fn milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds * 1000)
    }
}

impl FromStr for Duration {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || ValueError::Duration(truncated(text));
        let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let (_, factor) = Self::UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let whole: u64 = whole.parse().map_err(|_| error())?;
        if fraction.is_empty() || fraction.len() > 6 {
            return Err(error());
        }
        let scale = 10_u64.pow(u32::try_from(fraction.len()).map_err(|_| error())?);
        let fraction: u64 = fraction.parse().map_err(|_| error())?;
        let total = whole.checked_mul(*factor).and_then(|whole| whole.checked_add(fraction * factor / scale));
        total.map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0;
        if micros.is_multiple_of(1_000_000) {
            write!(f, "{}s", micros / 1_000_000)
        } else if micros > 1_000_000 && micros.is_multiple_of(1000) {
            let fraction = format!("{:03}", micros / 1000 % 1000);
            write!(f, "{}.{}s", micros / 1_000_000, fraction.trim_end_matches('0'))
        } else if micros.is_multiple_of(1000) {
            write!(f, "{}ms", micros / 1000)
        } else {
            write!(f, "{micros}us")
        }
    }
}

/// An address with its prefix length (`192.0.2.1/24`). The default prefix length is that of a host (`/32`, `/128`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceAddress(pub IpNet);
text_value!(InterfaceAddress);
value_schema!(
    InterfaceAddress,
    "Address",
    "An IPv4 or IPv6 address with its prefix length. Without one, it is that of a host: `/32` or `/128`.",
    {
        "type": "string",
        "pattern": prefix_pattern(),
        "patternErrorMessage": "Not a valid address; write it like `192.0.2.1/24` or `2001:db8::1/64`.",
        "examples": ["192.0.2.1/24", "2001:db8::1/64"],
    }
);

impl InterfaceAddress {
    /// Returns the address without the prefix length.
    pub fn ip(&self) -> IpAddr {
        self.0.addr()
    }
}

fn parse_prefix(text: &str, error: impl Fn() -> ValueError) -> Result<IpNet, ValueError> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| error())?;
    let limit = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        Some(length) if length.bytes().all(|b| b.is_ascii_digit()) => length.parse().map_err(|_| error())?,
        Some(_) => return Err(error()),
        None => limit,
    };
    IpNet::new(address, length).map_err(|_| ValueError::PrefixLength { text: truncated(text), limit })
}

impl FromStr for InterfaceAddress {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        parse_prefix(text, || ValueError::Address(truncated(text))).map(Self)
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The destination of a route: `default`, which does not determine the address family, or a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    /// `default`.
    Default,
    /// A prefix. An address without prefix length is a host route.
    Prefix(IpNet),
}
text_value!(Destination);
value_schema!(
    Destination,
    "Destination",
    "`default`, or a prefix without host bits. An address without a prefix length is a single host.",
    {
        "type": "string",
        "pattern": destination_pattern(),
        "patternErrorMessage": "Not a valid destination; write it like `default`, `10.0.0.0/8` or `2001:db8::/32`.",
        "examples": ["default", "10.0.0.0/8", "2001:db8::/32"],
    }
);

impl FromStr for Destination {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "default" {
            return Ok(Self::Default);
        }
        let prefix = parse_prefix(text, || ValueError::Destination(truncated(text)))?;
        if prefix.trunc() != prefix {
            return Err(ValueError::HostBits { text: truncated(text), network: prefix.trunc() });
        }
        Ok(Self::Prefix(prefix))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Prefix(prefix) => fmt::Display::fmt(prefix, f),
        }
    }
}

/// Formats a time since 1970 in UTC: `2026-01-02T03:04:05.678Z`, RFC 3339.
pub fn timestamp(since: std::time::Duration) -> String {
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// Returns year, month and day of the Gregorian calendar, given the days since 1970. Years begin in March here, so that the day that leap
/// years have in addition is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // The days from March 1 of the year 0 to 1970.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_323_045, "2026-01-02T03:04:05.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(timestamp(std::time::Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn durations_keep_their_value_and_need_a_unit() {
        for (text, micros) in [("10ms", 10_000), ("600s", 600_000_000), ("2.5s", 2_500_000), ("1h", 3_600_000_000), ("7us", 7)] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.0, micros);
            assert_eq!(duration.to_string().parse::<Duration>().unwrap(), duration);
        }
        for text in ["", "10", "s", "1.s", "-1s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_without_prefix_length_is_a_host() {
        assert_eq!("10.0.0.1".parse::<InterfaceAddress>().unwrap().to_string(), "10.0.0.1/32");
        assert_eq!("2001:db8::1".parse::<InterfaceAddress>().unwrap().to_string(), "2001:db8::1/128");
        assert!(matches!("10.0.0.1/33".parse::<InterfaceAddress>(), Err(ValueError::PrefixLength { limit: 32, .. })));
        assert!("10.0.0.1/+8".parse::<InterfaceAddress>().is_err());
    }

    #[test]
    fn a_destination_has_no_host_bits() {
        assert!(matches!("10.0.0.1/8".parse::<Destination>(), Err(ValueError::HostBits { .. })));
        assert_eq!("default".parse::<Destination>().unwrap(), Destination::Default);
    }

    #[test]
    fn multicast_mac_addresses_are_rejected() {
        assert!("02:00:00:00:00:01".parse::<Mac>().unwrap().usable().is_ok());
        assert!("01:00:5e:00:00:01".parse::<Mac>().unwrap().usable().is_err());
        assert!("2:0:0:0:0:1".parse::<Mac>().is_err());
        assert!("+2:00:00:00:00:01".parse::<Mac>().is_err());
    }
}
