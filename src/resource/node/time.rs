//! Offsets of a node's clocks, time_namespaces(7).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::value::{Duration, ValueError};
use crate::value_schema::{OFFSET, value_schema};

/// An offset, written as a duration with an optional sign: `24h`, `-10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Offset(
    /// Microseconds.
    pub i64,
);
value_schema!(Offset, "Offset of a clock", "An offset: a duration with an optional minus sign.", {
    "type": "string",
    "pattern": OFFSET,
    "patternErrorMessage": "Not an offset; write it like `24h` or `-10m` (units: us, ms, s, m, h).",
    "examples": ["24h", "-10m"],
});

impl FromStr for Offset {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (sign, size) = text.strip_prefix('-').map_or((1, text), |size| (-1, size));
        let size: Duration = size.parse()?;
        let size = i64::try_from(size.0).map_err(|_| ValueError::Duration(text.chars().take(60).collect()))?;
        Ok(Self(sign * size))
    }
}

impl TryFrom<String> for Offset {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<Offset> for String {
    fn from(offset: Offset) -> Self {
        offset.to_string()
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", Duration(self.0.unsigned_abs()))
    }
}

/// The offsets of a node's clocks in the lab file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeSpec {
    /// What the node's CLOCK_MONOTONIC is ahead of the machine's; negative if it is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monotonic: Option<Offset>,
    /// What the node's CLOCK_BOOTTIME is ahead of the machine's. `uptime` shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boottime: Option<Offset>,
}

/// The offsets of a node's clocks in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffsets {
    /// That of CLOCK_MONOTONIC.
    pub monotonic: i64,
    /// That of CLOCK_BOOTTIME.
    pub boottime: i64,
}

impl TimeOffsets {
    /// Returns the offsets that a lab file asks for.
    pub fn of(spec: &TimeSpec) -> Self {
        let micros = |offset: Option<Offset>| offset.map_or(0, |offset| offset.0);
        Self { monotonic: micros(spec.monotonic), boottime: micros(spec.boottime) }
    }

    /// Returns the key of the lab file; the inverse of [`Self::of`].
    pub fn raise(self) -> Option<TimeSpec> {
        let offset = |micros: i64| (micros != 0).then_some(Offset(micros));
        (self != Self::default()).then(|| TimeSpec { monotonic: offset(self.monotonic), boottime: offset(self.boottime) })
    }

    /// Returns them as a plan shows them.
    pub fn show(self) -> Value {
        let mut shown = serde_json::Map::new();
        for (name, micros) in [("monotonic", self.monotonic), ("boottime", self.boottime)] {
            if micros != 0 {
                shown.insert(name.to_owned(), json!(Offset(micros).to_string()));
            }
        }
        if shown.is_empty() { Value::Null } else { Value::Object(shown) }
    }

    /// Returns the lines of /proc/self/timens_offsets, time_namespaces(7).
    pub fn lines(self) -> String {
        let line = |clock: &str, micros: i64| {
            // The nanoseconds are never negative.
            let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
            format!("{clock} {seconds} {}\n", rest * 1000)
        };
        line("monotonic", self.monotonic) + &line("boottime", self.boottime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_a_sign() {
        assert_eq!("24h".parse::<Offset>().unwrap(), Offset(86_400_000_000));
        assert_eq!("-1.5s".parse::<Offset>().unwrap().to_string(), "-1.5s");
        assert!("--1s".parse::<Offset>().is_err() && "1".parse::<Offset>().is_err());
    }

    #[test]
    fn the_kernel_gets_nanoseconds_that_are_not_negative() {
        let offsets = TimeOffsets { monotonic: -1_500_000, boottime: 3_600_000_000 };
        assert_eq!(offsets.lines(), "monotonic -2 500000000\nboottime 3600 0\n");
    }
}
