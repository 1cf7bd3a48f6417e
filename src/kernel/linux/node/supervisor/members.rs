//! Finds what belongs to a process: its session, and what left it but still has its `INVOCATION_ID` in the environment, as daemons that
//! fork away.

use std::io;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::super::process::numbers;

/// Returns the processes that belong to it and have not ended.
pub(super) fn members(session: Pid, invocation: &str) -> io::Result<Vec<Pid>> {
    let variable = format!("INVOCATION_ID={invocation}");
    let belongs = |pid: &i32| {
        let Some(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse) else {
            return false;
        };
        stat.is_alive && (stat.session == session.as_raw() || has_variable(*pid, &variable))
    };
    Ok(numbers("/proc")?.into_iter().filter(belongs).map(Pid::from_raw).collect())
}

/// Sends a signal to those processes that still exist.
pub(super) fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        // Fails if it has ended in the meantime.
        let _ = kill(*process, signal);
    }
}

fn has_variable(pid: i32, variable: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    is_alive: bool,
    session: i32,
}

/// Parses fields 3 and 6 of proc_pid_stat(5). Field 2 is the name in parentheses, and can contain any character.
fn parse(stat: &str) -> Option<Stat> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_alive = !matches!(fields.next()?, "Z" | "X");
    Some(Stat { is_alive, session: fields.nth(2)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_from_stat() {
        assert_eq!(parse("12 (a) S 1) S 1 12 34 0 -1"), Some(Stat { is_alive: true, session: 34 }));
        assert_eq!(parse("12 (a) Z 1 12 34 0 -1"), Some(Stat { is_alive: false, session: 34 }));
        assert_eq!(parse("12 (a"), None);
    }
}
