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
    /// Numbers are counted anew after every boot,
    pub boot: String,
    /// and in every PID namespace: its inode.
    pub pids: u64,
    /// Which program it runs, where that is not known otherwise.
    pub program: Option<String>,
}

impl Record {
    /// That of a process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn of(process: i32) -> io::Result<Self> {
        Ok(Self { process, began: process::began(process)?, boot: boot_id()?, pids: own_pids()?, program: None })
    }

    /// The process, if it is still there.
    ///
    /// # Errors
    /// When that cannot be told: nothing may be made of it, least of all that the process has ended.
    pub fn find(&self) -> io::Result<Option<Process>> {
        if boot_id()? != self.boot {
            return Ok(None);
        }
        if own_pids()? != self.pids {
            return Err(io::Error::other(
                "the process that it names is in another PID namespace; remove the file if that has gone",
            ));
        }
        // Opened before it is looked at: what was looked at is then what was opened.
        let Some(process) = Process::find(self.process)? else { return Ok(None) };
        match process::began(self.process) {
            _ if process.is_ending()? => Ok(None),
            Ok(began) => Ok((began == self.began).then_some(process)),
            Err(error) => Err(error),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (process, began) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (boot, pids) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Self { process, began, boot, pids, program: words.next().map(str::to_owned) })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.process, self.began, self.boot, self.pids)?;
        self.program.iter().try_for_each(|program| write!(f, " {program}"))
    }
}

/// The PID namespace in which this process counts.
fn own_pids() -> io::Result<u64> {
    process::identity("/proc/self/ns/pid").map(|(_, inode)| inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back() {
        let record = Record { process: 12, began: 345, boot: "a-b".into(), pids: 7, program: None };
        assert_eq!(Record::parse(&format!("{record}\n")), Some(record.clone()));
        let record = Record { program: Some("pasta".into()), ..record };
        assert_eq!(Record::parse(&record.to_string()), Some(record));
        for text in ["", "12", "12 345", "12 345 a-b", "x 345 a-b 7"] {
            assert_eq!(Record::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_record_leads_to_the_process_that_it_is_of_and_to_no_other() {
        let own = Record::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.find().unwrap().is_some());
        assert!(Record { began: own.began + 1, ..own.clone() }.find().unwrap().is_none());
        assert!(Record { boot: "another".into(), ..own.clone() }.find().unwrap().is_none());
        assert!(Record { pids: own.pids + 1, ..own }.find().is_err());
    }
}
