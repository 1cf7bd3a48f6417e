//! Finds what belongs to a process: its session, and what left it but still has its `INVOCATION_ID` in the environment, as daemons that
//! fork away.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::super::process::numbers;

/// The flag of a thread of the kernel, include/linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Returns the processes that belong to it and have not ended: those of its session, those with the variable, and what any of them started.
/// A program that writes its title over its environment, as sshd does, is found as long as its parent is there.
pub(super) fn members(session: Pid, invocation: &str) -> io::Result<Vec<Pid>> {
    let variable = format!("INVOCATION_ID={invocation}");
    let stat = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse);
    let all = numbers("/proc")?.into_iter().filter_map(|pid| Some((pid, stat(pid)?)));
    let all: Vec<(i32, Stat)> = all.filter(|(_, stat)| stat.is_alive && !stat.is_kernel).collect();
    let belongs = |(pid, stat): &(i32, Stat)| stat.session == session.as_raw() || has_variable(*pid, &variable);
    let (mut found, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(belongs);
    loop {
        let known: HashSet<i32> = found.iter().map(|(pid, _)| *pid).collect();
        let (started, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, stat)| known.contains(&stat.parent));
        if started.is_empty() {
            return Ok(known.into_iter().map(Pid::from_raw).collect());
        }
        found.extend(started);
        others = rest;
    }
}

/// Sends a signal to those processes that still exist.
pub(super) fn signal(processes: &[Pid], signal: Signal) {
    for process in processes {
        // Fails if it has ended in the meantime.
        let _ = kill(*process, signal);
    }
}

fn has_variable(pid: i32, variable: &str) -> bool {
    environment(pid).split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
}

/// Returns the environment of a process; nothing if it has ended. In the middle of execve(2), a process has neither an environment nor
/// arguments; it is looked at again.
fn environment(pid: i32) -> Vec<u8> {
    /// How long execve(2) may take between giving up the old program and having the new one.
    const PATIENCE: Duration = Duration::from_millis(20);
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}"));
    let begin = Instant::now();
    loop {
        match read("environ") {
            Ok(text) if text.is_empty() && begin.elapsed() < PATIENCE && read("cmdline").is_ok_and(|text| text.is_empty()) => {
                std::thread::yield_now();
            }
            environment => return environment.unwrap_or_default(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    is_alive: bool,
    parent: i32,
    session: i32,
    /// Whether it is a thread of the kernel.
    is_kernel: bool,
}

/// Parses fields 3, 4, 6 and 9 of proc_pid_stat(5). Field 2 is the name in parentheses, and can contain any character.
fn parse(stat: &str) -> Option<Stat> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_alive = !matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let flags: u32 = fields.nth(2)?.parse().ok()?;
    Some(Stat { is_alive, parent, session, is_kernel: flags & PF_KTHREAD != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_from_stat() {
        let stat = |is_alive, is_kernel| Some(Stat { is_alive, parent: 1, session: 34, is_kernel });
        assert_eq!(parse("12 (a) S 1) S 1 12 34 0 -1 4194560 9"), stat(true, false));
        assert_eq!(parse("12 (a) Z 1 12 34 0 -1 4194560 9"), stat(false, false));
        assert_eq!(parse("12 (a) I 1 12 34 0 -1 2129984 9"), stat(true, true));
        assert_eq!(parse("12 (a"), None);
    }
}
