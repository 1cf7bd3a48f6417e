//! The numbers of routing tables that the lab file names.

use std::collections::BTreeMap;

use super::{DEFAULT_TABLE, LOCAL_TABLE, MAIN_TABLE, Table};
use crate::yaml::{Path, Problems};

/// The tables that have a name everywhere.
const NAMED: [(&str, u32); 3] = [("default", DEFAULT_TABLE), ("main", MAIN_TABLE), ("local", LOCAL_TABLE)];

/// Returns the name that a table has everywhere, or its number.
pub fn word(table: u32) -> String {
    let named = NAMED.iter().find(|(_, number)| *number == table);
    named.map_or_else(|| table.to_string(), |(name, _)| (*name).to_owned())
}

impl Table {
    /// The number of a table, given the names of rt_tables; without one it is `main`. `None` if the name is unknown.
    pub fn number_in(table: Option<&Self>, names: &BTreeMap<String, u32>) -> Option<u32> {
        match table {
            None => Some(MAIN_TABLE),
            Some(Self::Number(number)) => Some(*number),
            Some(Self::Name(name)) => {
                let fixed = NAMED.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
                fixed.or_else(|| names.get(name).copied())
            }
        }
    }

    /// The same, with a problem at `path` if the name is unknown.
    pub fn resolve(
        table: Option<&Self>,
        names: &BTreeMap<String, u32>,
        path: impl FnOnce() -> Path,
        problems: &mut Problems,
    ) -> Option<u32> {
        let number = Self::number_in(table, names);
        if let (None, Some(Self::Name(name))) = (number, table) {
            let known = NAMED.iter().map(|(name, _)| *name).chain(names.keys().map(String::as_str));
            let message = format!("unknown routing table `{}`", crate::name::escape(name));
            let problem = problems.unknown(path(), message, name, known);
            problem.hint.get_or_insert_with(|| "use its number, or define it in /etc/iproute2/rt_tables".into());
        }
        number
    }
}
