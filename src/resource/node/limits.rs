//! Limits of a node's memory, processes and processor time: a control group of version 2, cgroups(7).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::value_schema::value_schema;

/// The largest page size of Linux, in bytes. The kernel rounds limits of memory to whole pages.
const PAGE: u64 = 64 << 10;
/// The smallest limit of memory in bytes: what the node's init and a small program need.
const MEMORY_MINIMUM: u64 = 4 << 20;
/// The largest limit of memory in bytes: far below what the kernel takes for no limit.
const MEMORY_MAXIMUM: u64 = 1 << 50;
/// The smallest limit of processes, the node's init and one that is just being started in the node, and the largest one, PID_MAX_LIMIT.
const PIDS_RANGE: RangeInclusive<u32> = 2..=4_194_304;
/// The period in which processor time is counted, in microseconds: the kernel's default.
const PERIOD: u32 = 100_000;
/// The smallest and the largest limit of processor time in processors. The kernel counts at least 1 ms in a period.
const CPU_RANGE: (f64, f64) = (0.01, 8192.0);

/// Why limits are not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Not a number with a unit.
    #[error("`{0}` is not a size of memory; write it like `256MiB` (units: KiB, MiB, GiB)")]
    Memory(String),
    /// Not a multiple of [`PAGE`].
    #[error("`{0}` is not a multiple of 64KiB, the largest page size")]
    Pages(String),
    /// Too little.
    #[error("`{0}` is less than the 4MiB that the init of a node and a small program need")]
    LittleMemory(String),
    /// Too much.
    #[error("`{0}` is more than 1048576GiB")]
    MuchMemory(String),
    /// Out of range.
    #[error("{0} is out of range (2 to 4194304; the init of a node is a process, too)")]
    Pids(u32),
    /// Out of range.
    #[error("{0} is out of range (0.01 to 8192 processors)")]
    Cpu(String),
}

/// A size of memory in bytes, written with a unit: `256MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory(u64);
value_schema!(Memory, "Size of memory", "A size of memory: a number with a unit, which is `KiB`, `MiB` or `GiB`.", {
    "type": "string",
    "pattern": "^[0-9]+(KiB|MiB|GiB)$",
    "patternErrorMessage": "Not a size; write it like `256MiB` (units: KiB, MiB, GiB).",
    "examples": ["256MiB", "1GiB"],
});

impl FromStr for Memory {
    type Err = LimitError;
    fn from_str(text: &str) -> Result<Self, LimitError> {
        let shown = || crate::name::escape(&text.chars().take(60).collect::<String>()).into_owned();
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let parse = || {
            let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
            let is_number = number.chars().all(|c| c.is_ascii_digit());
            number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(1 << shift)
        };
        match parse() {
            None => Err(LimitError::Memory(shown())),
            Some(bytes) if bytes < MEMORY_MINIMUM => Err(LimitError::LittleMemory(shown())),
            Some(bytes) if bytes > MEMORY_MAXIMUM => Err(LimitError::MuchMemory(shown())),
            Some(bytes) if bytes % PAGE != 0 => Err(LimitError::Pages(shown())),
            Some(bytes) => Ok(Self(bytes)),
        }
    }
}

impl TryFrom<String> for Memory {
    type Error = LimitError;
    fn try_from(text: String) -> Result<Self, LimitError> {
        text.parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        memory.to_string()
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes % (1 << 30) == 0 => write!(f, "{}GiB", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => write!(f, "{}MiB", bytes >> 20),
            bytes => write!(f, "{}KiB", bytes >> 10),
        }
    }
}

/// A number of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Pids(u32);
value_schema!(Pids, "Number of processes", "A number of processes and threads: 2 to 4194304.", {
    "type": "integer",
    "minimum": *PIDS_RANGE.start(),
    "maximum": *PIDS_RANGE.end(),
    "examples": [64],
});

impl TryFrom<u32> for Pids {
    type Error = LimitError;
    fn try_from(number: u32) -> Result<Self, LimitError> {
        if PIDS_RANGE.contains(&number) { Ok(Self(number)) } else { Err(LimitError::Pids(number)) }
    }
}

impl From<Pids> for u32 {
    fn from(pids: Pids) -> Self {
        pids.0
    }
}

/// A number of processors, such as 0.5.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Cpu(f64);
value_schema!(Cpu, "Number of processors", "A number of processors: 0.01 to 8192.", {
    "type": "number",
    "minimum": CPU_RANGE.0,
    "maximum": CPU_RANGE.1,
    "examples": [0.5, 2],
});

impl TryFrom<f64> for Cpu {
    type Error = LimitError;
    fn try_from(number: f64) -> Result<Self, LimitError> {
        if (CPU_RANGE.0..=CPU_RANGE.1).contains(&number) { Ok(Self(number)) } else { Err(LimitError::Cpu(number.to_string())) }
    }
}

impl From<Cpu> for f64 {
    fn from(cpu: Cpu) -> Self {
        cpu.0
    }
}

impl Cpu {
    /// Returns it as a plan shows it: 2 rather than 2.0.
    fn show(self) -> Value {
        let quota = self.quota();
        if quota.is_multiple_of(PERIOD) { json!(quota / PERIOD) } else { json!(self.0) }
    }

    /// Returns the microseconds of processor time in a period.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    fn quota(self) -> u32 {
        (self.0 * f64::from(PERIOD)).round() as u32
    }
}

/// The limits of a node in the lab file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// The memory of all processes of the node, with the page cache that they cause: `256MiB`. A multiple of 64KiB, at least 4MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The number of processes and threads of the node, with its init; 2 to 4194304.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    /// The processor time of the node in processors: 0.5 is half of one. At least 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
}

/// What a control group limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Controller {
    /// The memory.
    Memory,
    /// The number of processes.
    Pids,
    /// The processor time.
    Cpu,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    /// Returns its name, which is the key of the lab file, too.
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
        }
    }

    /// Returns the file of the limit in a control group.
    pub fn file(self) -> &'static str {
        match self {
            Self::Memory => "memory.max",
            Self::Pids => "pids.max",
            Self::Cpu => "cpu.max",
        }
    }
}

/// The limits of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Microseconds of processor time in 100 ms.
    pub cpu: Option<u32>,
}

impl Limits {
    /// Returns the limits that a lab file asks for.
    pub fn of(spec: &LimitsSpec) -> Self {
        Self { memory: spec.memory.map(|memory| memory.0), pids: spec.pids.map(|pids| pids.0), cpu: spec.cpu.map(Cpu::quota) }
    }

    /// Returns the key of the lab file; the inverse of [`Self::of`].
    pub fn raise(self) -> LimitsSpec {
        let cpu = |quota: u32| Cpu(f64::from(quota) / f64::from(PERIOD));
        LimitsSpec { memory: self.memory.map(Memory), pids: self.pids.map(Pids), cpu: self.cpu.map(cpu) }
    }

    /// Returns whether nothing is limited.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Returns them as a plan shows them.
    pub fn show(self) -> Value {
        let LimitsSpec { memory, pids, cpu } = self.raise();
        let shown: Map<String, Value> = [
            ("memory", memory.map(|memory| json!(memory.to_string()))),
            ("pids", pids.map(|pids| json!(pids.0))),
            ("cpu", cpu.map(Cpu::show)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
        if shown.is_empty() { Value::Null } else { Value::Object(shown) }
    }

    /// Returns the limits that are set.
    pub fn controllers(self) -> impl Iterator<Item = Controller> {
        let is_set = [self.memory.is_some(), self.pids.is_some(), self.cpu.is_some()];
        Controller::ALL.into_iter().zip(is_set).filter(|(_, is_set)| *is_set).map(|(controller, _)| controller)
    }

    /// Returns what is written to the file of a limit; `max` for none.
    pub fn text(self, controller: Controller) -> String {
        let text = match controller {
            Controller::Memory => self.memory.map(|bytes| bytes.to_string()),
            Controller::Pids => self.pids.map(|number| number.to_string()),
            Controller::Cpu => return self.cpu.map_or_else(|| "max".to_owned(), |quota| format!("{quota} {PERIOD}")),
        };
        text.unwrap_or_else(|| "max".to_owned())
    }

    /// Takes over what the file of a limit contains.
    pub fn read(&mut self, controller: Controller, text: &str) {
        let text = text.trim_end();
        match controller {
            Controller::Memory => self.memory = text.parse().ok(),
            Controller::Pids => self.pids = text.parse().ok(),
            Controller::Cpu => {
                let parts = || {
                    let (quota, period) = text.split_once(' ')?;
                    Some((quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?))
                };
                let scaled = parts().and_then(|(quota, period)| (quota * u64::from(PERIOD)).checked_div(period));
                self.cpu = scaled.and_then(|quota| quota.try_into().ok());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(value: Value) -> Result<LimitsSpec, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_those_of_the_kernel() {
        let limits = Limits::of(&spec(json!({ "memory": "256MiB", "pids": 64, "cpu": 0.5 })).unwrap());
        assert_eq!(limits, Limits { memory: Some(256 << 20), pids: Some(64), cpu: Some(50_000) });
        let texts: Vec<String> = Controller::ALL.iter().map(|controller| limits.text(*controller)).collect();
        assert_eq!(texts, ["268435456", "64", "50000 100000"]);
        assert_eq!(limits.raise(), spec(json!({ "memory": "256MiB", "pids": 64, "cpu": 0.5 })).unwrap());
        let mut read = Limits::default();
        for (controller, text) in Controller::ALL.into_iter().zip(["268435456\n", "64\n", "5000 10000\n"]) {
            read.read(controller, text);
        }
        assert_eq!(read, limits);
        for (controller, text) in Controller::ALL.into_iter().zip(["max\n", "max\n", "max 100000\n"]) {
            read.read(controller, text);
        }
        assert!(read.is_empty() && read.show().is_null());
    }

    #[test]
    fn what_the_kernel_would_round_is_refused() {
        let error = |value: Value| spec(value).unwrap_err();
        assert_eq!(error(json!({ "memory": "5001KiB" })), "`5001KiB` is not a multiple of 64KiB, the largest page size");
        assert!(error(json!({ "memory": "256" })).contains("write it like `256MiB`"));
        assert!(error(json!({ "memory": "+8MiB" })).contains("write it like `256MiB`"));
        assert!(error(json!({ "memory": "99999999999999GiB" })).contains("write it like `256MiB`"));
        assert!(error(json!({ "memory": "1MiB" })).contains("less than the 4MiB"));
        assert!(error(json!({ "pids": 1 })).contains("out of range (2 to 4194304"));
        assert!(error(json!({ "memory": "8589934592GiB" })).contains("more than"));
        assert!(error(json!({ "pids": 5_000_000 })).contains("out of range"));
        assert!(error(json!({ "cpu": 0 })).contains("out of range"));
        assert_eq!(spec(json!({ "memory": "1536MiB" })).unwrap().memory.unwrap().to_string(), "1536MiB");
        assert_eq!(spec(json!({ "memory": "2048MiB" })).unwrap().memory.unwrap().to_string(), "2GiB");
    }
}
