//! Percentages and rates, as the kernel keeps them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::name::escape;
use crate::scalar;
use crate::value_schema::value_schema;

/// A probability, as the kernel keeps it: a fraction of `u32::MAX`. Written as a percentage: `0.5%`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);
value_schema!(Percent, "Percentage", "A percentage: 0% to 100%.", {
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]{1,9})?%$",
    "patternErrorMessage": "Not a percentage; write it like `1%` or `0.5%`.",
    "examples": ["1%", "0.5%"],
});

impl Percent {
    /// Certainty.
    pub const ALL: Self = Self(u32::MAX);
    /// The digits after the point that are read: more than the kernel can tell apart.
    const DIGITS: u32 = 9;
    /// 100% in units of the last digit.
    const SCALE: u64 = 100 * 10_u64.pow(Self::DIGITS);

    /// Returns the probability in the unit of [`Self::SCALE`], the nearest to the kernel's.
    fn scaled(self) -> u64 {
        let (fraction, all) = (u128::from(self.0) * u128::from(Self::SCALE), u128::from(u32::MAX));
        u64::try_from((fraction + all / 2) / all).unwrap_or(Self::SCALE)
    }

    /// Returns the nearest probability that the kernel has; `None` above 100%.
    fn of_scaled(scaled: u64) -> Option<Self> {
        let (scaled, all) = (u128::from(scaled) * u128::from(u32::MAX), u128::from(Self::SCALE));
        u32::try_from((scaled + all / 2) / all).ok().map(Self)
    }

    /// Returns a fraction of two numbers, at most 1.
    pub(super) fn ratio(part: u64, whole: u64) -> Self {
        let whole = u128::from(whole.max(1));
        let scaled = (u128::from(part) * u128::from(u32::MAX) + whole / 2) / whole;
        Self(u32::try_from(scaled).unwrap_or(u32::MAX))
    }

    /// Returns the probability of the contrary.
    #[must_use]
    pub(super) fn complement(self) -> Self {
        Self(u32::MAX - self.0)
    }
}

impl FromStr for Percent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("`{}` is not a percentage; write it like `1%` or `0.5%`", escape(text));
        let number = text.strip_suffix('%').ok_or_else(error)?;
        let scaled = fixed(number, Self::DIGITS).ok_or_else(error)?;
        Self::of_scaled(scaled).ok_or_else(|| format!("`{}` is more than 100%", escape(text)))
    }
}

/// Parses a decimal number in units of its last digit.
fn fixed(text: &str, digits: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > digits as usize {
        return None;
    }
    let scale = 10_u64.pow(digits - u32::try_from(fraction.len()).ok()?);
    let fraction = fraction.parse::<u64>().ok()? * scale;
    whole.parse::<u64>().ok()?.checked_mul(10_u64.pow(digits))?.checked_add(fraction)
}

/// With as few digits as are read back as the same.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scaled = self.scaled();
        let unit = 10_u64.pow(Self::DIGITS);
        for digits in 0..=Self::DIGITS {
            let step = 10_u64.pow(Self::DIGITS - digits);
            let rounded = (scaled + step / 2) / step * step;
            if Self::of_scaled(rounded) == Some(*self) {
                let fraction = rounded % unit / step;
                return match digits {
                    0 => write!(f, "{}%", rounded / unit),
                    _ => write!(f, "{}.{fraction:0width$}%", rounded / unit, width = digits as usize),
                };
            }
        }
        write!(f, "{}.{:09}%", scaled / unit, scaled % unit)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
scalar!(
    Percent,
    "a percentage",
    |number: i128| Err(format!("`{number}` is not a percentage; write it like `{number}%`")),
    |text: &str| text.parse::<Percent>()
);

/// A rate in bytes per second, as the kernel keeps it. Written in bits per second with a unit, tc(8): `10mbit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);
value_schema!(Rate, "Rate", "A rate: a number with a unit, which is `bit`, `kbit`, `mbit`, `gbit` or `tbit` per second.", {
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]{1,9})?([kKmMgGtT]?[bB][iI][tT])$",
    "patternErrorMessage": "Not a rate; write it like `10mbit` or `1.5gbit` (units: bit, kbit, mbit, gbit, tbit).",
    "examples": ["64kbit", "10mbit", "1gbit"],
});

/// The units of rates in bits per second, the largest first.
const UNITS: [(&str, u64); 5] =
    [("tbit", 1_000_000_000_000), ("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1000), ("bit", 1)];

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!("`{}` is not a rate; write it like `10mbit` or `1.5gbit` (units: bit, kbit, mbit, gbit, tbit)", escape(text))
        };
        let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let unit = unit.to_ascii_lowercase();
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let nanos = fixed(number, 9).ok_or_else(error)?;
        let bits = u128::from(nanos) * u128::from(*factor) / 1_000_000_000;
        match u64::try_from(bits / 8) {
            Ok(0) => Err(format!("`{}` is less than a byte per second", escape(text))),
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => Err(error()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from(self.0) * 8;
        let unit = UNITS.iter().find(|(_, factor)| bits > 0 && bits.is_multiple_of(u128::from(*factor)));
        match unit {
            Some((unit, factor)) => write!(f, "{}{unit}", bits / u128::from(*factor)),
            None => write!(f, "{bits}bit"),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
scalar!(
    Rate,
    "a rate",
    |number: i128| Err(format!("`{number}` is not a rate; add a unit, such as `{number}mbit`")),
    |text: &str| text.parse::<Rate>()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_written_as_they_are_read() {
        for text in ["0%", "1%", "0.5%", "12.25%", "99.9%", "100%", "0.001%"] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), text);
        }
        assert_eq!("100%".parse(), Ok(Percent::ALL));
        assert_eq!("50%".parse(), Ok(Percent(0x8000_0000)));
        assert_eq!("01.50%".parse::<Percent>().unwrap().to_string(), "1.5%");
        for text in ["", "1", "%", "-1%", "1.%", ".5%", "100.1%", "1e2%", "1 %", "0.1234567890%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        for value in [0, 1, 2, 42_949_673, u32::MAX / 3, u32::MAX - 1, u32::MAX] {
            assert_eq!(Percent(value).to_string().parse(), Ok(Percent(value)));
        }
    }

    #[test]
    fn rates_are_written_in_the_largest_unit() {
        for (text, bytes, shown) in [
            ("8bit", 1, "8bit"),
            ("64kbit", 8000, "64kbit"),
            ("1.5mbit", 187_500, "1500kbit"),
            ("10Mbit", 1_250_000, "10mbit"),
            ("100gbit", 12_500_000_000, "100gbit"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate, rate.to_string().as_str()), (Rate(bytes), shown));
        }
        for text in ["", "10", "mbit", "7bit", "10mbps", "-1mbit", "1e6bit", "99999999999tbit"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert_eq!(Rate(0).to_string(), "0bit");
    }
}
