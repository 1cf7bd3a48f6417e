//! `topo apply --wait`: waits until the lab is usable, and tells what is not ready.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use super::Format;
use super::args::duration;
use super::change::Options;
use super::error::{self, Failure};
use super::output::Output;
use super::signals::{Interruptible, Signals};
use crate::apply::{self, Goal, WaitError};
use crate::kernel::linux::Linux;
use crate::readiness::Unready;
use crate::report::json::{self, Event};

/// What to do about an address that another host has.
pub const DUPLICATE_HINT: &str = "another host on the segment has the address: give one of the two another one, or set `nodad: true`; \
                                  `topo apply` adds the address again, so that detection is tried again";

/// At most this many lines of the lab file are shown.
const EXCERPT_LIMIT: usize = 5;

const OPTION: &str = "--wait";

/// Rewrites `--wait TIME` as `--wait=TIME` before clap parses the arguments. The time is optional, so a word that is no time, or is a
/// file, is the lab file.
pub fn join_time(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.into_iter();
    for argument in arguments.by_ref() {
        let follows = joined.last().is_some_and(|last| last == OPTION);
        let time = argument.to_str().filter(|text| follows && duration(text).is_ok() && !Path::new(text).exists());
        match time {
            Some(time) => {
                let joint = format!("{OPTION}={time}").into();
                joined.pop();
                joined.push(joint);
            }
            None => joined.push(argument),
        }
        if joined.last().is_some_and(|last| last == "--") {
            break;
        }
    }
    joined.extend(arguments);
    joined
}

/// Waits until the lab is usable, if the user wants that. Returns the exit status. After an error, the network stays as it is.
pub fn until_usable(
    kernel: &mut Linux,
    goal: &Goal,
    signals: &Signals,
    options: &Options<'_>,
    output: &mut Output,
) -> Result<u8, Failure> {
    let Some(limit) = options.wait else { return Ok(0) };
    let start = Instant::now();
    match apply::until_usable(kernel, goal, limit, &Interruptible(signals.clone())) {
        Ok(()) => {
            let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            match options.arguments.format() {
                Format::Events => output.print(&json::line(&Event::Usable { milliseconds }))?,
                _ if options.is_quiet => {}
                _ => output.message(&format!("The lab is usable after another {milliseconds} ms.")),
            }
            Ok(0)
        }
        Err(error) => Err(explain(error, goal, signals, options, output)),
    }
}

fn explain(error: WaitError, goal: &Goal, signals: &Signals, options: &Options<'_>, output: &Output) -> Failure {
    let (unready, hint) = match &error {
        WaitError::Timeout { unready, .. } => (unready.clone(), Some("wait longer with `--wait=TIME`, such as `--wait=2m`")),
        WaitError::Failed { unready } => (unready.clone(), Some(DUPLICATE_HINT)),
        WaitError::Interrupted | WaitError::Observe(_) => (BTreeSet::new(), None),
    };
    let interrupted = matches!(error, WaitError::Interrupted);
    let status = signals.exit_status().filter(|_| interrupted).unwrap_or(error::STATUS);
    let title = error.to_string();
    let failure = Failure::from(error);
    let excerpt = excerpt(&title, &unready, goal, options, output);
    let mut notes: Vec<String> = unready.iter().map(|unready| format!("  {unready}")).collect();
    notes.push("The changes were made and are kept.".into());
    Failure { excerpt, notes, hint: hint.map(str::to_owned).or(failure.hint.clone()), status, ..failure }
}

/// Shows the lines of the lab file that declare what is not ready.
fn excerpt(title: &str, unready: &BTreeSet<Unready>, goal: &Goal, options: &Options<'_>, output: &Output) -> String {
    let ids: Vec<_> = unready.iter().take(EXCERPT_LIMIT).map(|unready| unready.resource(&goal.desired)).collect();
    let source = options.source.filter(|_| !ids.is_empty());
    source
        .map(|source| source.excerpt(&[(title.to_owned(), ids.iter().collect())], output.diagnostic_colour()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let joined = join_time(line.split(' ').map(OsString::from).collect());
        assert_eq!(joined.join(OsStr::new(" ")), expected);
    }

    #[test]
    fn a_time_is_joined_to_the_option_before_it() {
        check("topo apply --wait 60s lab.yaml", "topo apply --wait=60s lab.yaml");
        check("topo apply lab.yaml --wait 1m", "topo apply lab.yaml --wait=1m");
        for line in ["topo apply --wait lab.yaml", "topo apply --wait", "topo exec a -- x --wait 1s", "topo apply --wait=1s 2s"] {
            check(line, line);
        }
    }
}
