//! What is written down of a process, so that it is found again, and no other that has its number.

use std::fmt;
use std::io;

use crate::kernel::linux::process::{self, Process};
use crate::runtime::records::boot_id;

/// A process that may have ended since it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub process: i32,
    /// When it began, in clock ticks since the machine did.
    pub began: u64,
    /// Numbers are counted anew after every boot.
    pub boot: String,
    /// Which program it runs, where that is not known otherwise.
    pub program: Option<String>,
}

impl Record {
    /// That of a process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn of(process: i32) -> io::Result<Self> {
        Ok(Self { process, began: process::began(process)?, boot: boot_id()?, program: None })
    }

    /// The process, if it is still there.
    pub fn find(&self) -> Option<Process> {
        // Opened before it is looked at: what was looked at is then what was opened.
        let process = Process::open(self.process).ok()?;
        let same = boot_id().is_ok_and(|boot| boot == self.boot)
            && process::began(self.process).is_ok_and(|began| began == self.began)
            && !process.is_ending().unwrap_or(true);
        same.then_some(process)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (process, began, boot) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.to_owned());
        Some(Self { process, began, boot, program: words.next().map(str::to_owned) })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.process, self.began, self.boot)?;
        self.program.iter().try_for_each(|program| write!(f, " {program}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back() {
        let record = Record { process: 12, began: 345, boot: "a-b".into(), program: None };
        assert_eq!(Record::parse(&format!("{record}\n")), Some(record.clone()));
        let record = Record { program: Some("pasta".into()), ..record };
        assert_eq!(Record::parse(&record.to_string()), Some(record));
        for text in ["", "12", "12 345", "x 345 a-b"] {
            assert_eq!(Record::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_record_leads_to_the_process_that_it_is_of_and_to_no_other() {
        let own = Record::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.find().is_some());
        assert!(Record { began: own.began + 1, ..own.clone() }.find().is_none());
        assert!(Record { boot: "another".into(), ..own }.find().is_none());
    }
}
