//! The keeper: how little it takes, and what its end at any moment means.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::harness::{User, eventually, rounds, with_users};
use super::PAIR;

fn end(process: i32) {
    kill(Pid::from_raw(process), Signal::SIGKILL).unwrap();
}

/// What cannot be told is no reason to take a sandbox for gone, and clear it away.
#[test]
fn a_keeper_that_cannot_be_looked_at_is_left_alone() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", &file]).ok();
        let keeper = user.keepers();
        let topo = user.program().to_str().unwrap();
        for limit in 3..14 {
            let script = format!("ulimit -n {limit}; {topo} exec a -- true; {topo} plan {file}; {topo} list");
            let _ = user.command("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(user.keepers(), keeper, "with {limit} descriptors");
        }
        let elsewhere = ["-Urpf", "--mount-proc", topo, "--sandbox", "plan", &file];
        let outcome = user.command("unshare").args(elsewhere).output().unwrap();
        assert_eq!(outcome.status.code(), Some(1), "{}", String::from_utf8_lossy(&outcome.stderr));
        assert!(String::from_utf8_lossy(&outcome.stderr).contains("another PID namespace"));
        assert_eq!(user.keepers(), keeper);
        user.topo(&["exec", "a", "--", "true"]).ok();
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
    });
}

#[test]
fn its_end_takes_all_with_it_and_the_next_command_says_so() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        for next in [["plan", &file].as_slice(), &["apply", &file], &["destroy", "pair"], &["exec", "a", "--", "true"]] {
            user.topo(&["apply", &file]).ok();
            end(user.keepers()[0]);
            let outcome = user.topo(next).says("Sandbox `default` and everything in it is gone");
            assert_eq!(outcome.status, if next[0] == "exec" { 125 } else { 0 }, "{next:?}: {}", outcome.stderr);
            if next[0] == "apply" {
                outcome.says("Created sandbox `default`").says("Plan: 6 to add");
                user.topo(&["destroy", "pair"]).ok();
            }
            user.assert_nothing_left();
        }
        user.topo(&["apply", &file]).ok();
        end(user.keepers()[0]);
        user.topo(&["sandbox", "list"]).ok().says("dead");
        user.topo(&["sandbox", "stop", "default"]).ok().says("was not running any more");
        user.assert_nothing_left();
    });
}

#[test]
fn killed_at_every_step_it_leaves_nothing() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        // What only the keeper calls, or calls first, in the order of its way; then the next one of each.
        let steps = ["setsid", "unshare", "prctl", "mount", "ioctl", "linkat", "inotify_init1", "inotify_add_watch", "unlinkat"];
        let mut killed = 0;
        let points: Vec<_> = steps.iter().flat_map(|step| (1..=3).map(move |time| (step, time))).collect();
        let taken = usize::try_from(rounds(points.len() as u64)).unwrap();
        for (step, time) in points.iter().step_by(points.len() / taken) {
            let inject = format!("inject={step}:signal=SIGKILL:when={time}");
            let mut command = user.command("strace");
            // Detached, since it stays with a keeper that lives on.
            command.args(["-qq", "-D", "-f", "-o", "/dev/null", "-e", &inject, "-e", &format!("trace={step}")]);
            let said = fs::File::create(user.home.join("said")).unwrap();
            command.stdout(said.try_clone().unwrap()).stderr(said);
            command.arg(user.program()).args(["apply", &file]).status().unwrap();
            let stderr = fs::read_to_string(user.home.join("said")).unwrap();
            assert!(!stderr.contains("panicked"), "{inject}: {stderr}");
            killed += usize::from(stderr.contains("the sandbox's holder process exited before the sandbox was ready"));
            user.topo(&["apply", "--lock-timeout", "10s", &file]).ok();
            user.assert_reaches("a", "10.0.0.2");
            user.topo(&["destroy", "pair"]).ok().says("Stopped sandbox `default`");
            user.assert_nothing_left();
        }
        assert!(killed * 4 >= taken, "the keeper was killed {killed} times on its way");
    });
}

/// How long it takes to make a sandbox and apply the lab in it, at best.
fn time_of_apply(user: &User, file: &str) -> Duration {
    let measure = |_| {
        let began = Instant::now();
        user.topo(&["apply", file]).ok();
        let took = began.elapsed();
        user.topo(&["destroy", "pair"]).ok();
        took
    };
    (0..3).map(measure).min().unwrap()
}

#[test]
fn killed_at_any_moment_of_a_command_it_leaves_nothing() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        let (took, steps) = (time_of_apply(&user, &file), rounds(40));
        let mut killed = 0;
        for step in 0..steps {
            if step % 2 == 0 {
                user.topo(&["apply", &file]).ok();
            }
            let arguments: &[&str] = if step % 4 == 0 { &["destroy", "pair"] } else { &["apply", &file] };
            let child = user.start(arguments);
            // A sample of the moments of a run, whichever they turn out to be.
            sleep(took * u32::try_from(step).unwrap() / u32::try_from(steps).unwrap());
            for keeper in user.keepers() {
                killed += u64::from(kill(Pid::from_raw(keeper), Signal::SIGKILL).is_ok());
            }
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!stderr.contains("panicked"), "{stderr}");
            user.topo(&["apply", &file]).ok();
            user.assert_reaches("a", "10.0.0.2");
            user.topo(&["destroy", "pair"]).ok();
            user.assert_nothing_left();
        }
        assert!(killed * 4 >= steps, "{killed} keepers were killed in {steps} runs");
    });
}

#[test]
fn a_command_that_is_killed_leaves_a_sandbox_that_the_next_one_finds() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        let (took, steps) = (time_of_apply(&user, &file), rounds(30));
        let mut killed = 0;
        for step in 0..steps {
            let mut child = user.start(&["apply", &file]);
            // A sample of the moments of a run, whichever they turn out to be.
            sleep(took * u32::try_from(step).unwrap() / u32::try_from(steps).unwrap());
            let _ = child.kill();
            killed += u64::from(child.wait().unwrap().signal() == Some(Signal::SIGKILL as i32));
            user.topo(&["apply", "--lock-timeout", "10s", &file]).ok();
            user.topo(&["destroy", "pair"]).ok();
            user.assert_nothing_left();
        }
        assert!(killed * 4 >= steps, "{killed} of {steps} runs were killed");
    });
}

#[test]
fn it_ends_with_the_runtime_directory() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        user.topo(&["apply", &file]).ok();
        let keeper = user.keepers()[0];
        fs::remove_dir_all(user.runtime().join("topo")).unwrap();
        let gone = || fs::read_to_string(format!("/proc/{keeper}/stat")).map_or(true, |stat| stat.contains(") Z "));
        eventually("the end of the keeper", gone);
        user.assert_nothing_left();
    });
}

#[test]
fn it_holds_on_to_nothing() {
    with_users(|| {
        let user = User::new();
        let file = user.file("lab.yaml", PAIR);
        // With a descriptor of the user's, as scripts that lock a file have it.
        let script = format!("exec 9>lock; flock 9; {} apply {file} >out 2>&1", user.program().display());
        assert!(user.command("bash").args(["-c", &script]).status().unwrap().success());
        let keeper = user.keepers()[0];
        let path = |name: &str| fs::read_link(format!("/proc/{keeper}/{name}")).unwrap_or_default();
        assert_eq!(path("cwd").to_str(), Some("/"));
        let open: Vec<_> = fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().flatten().map(|entry| entry.file_name()).collect();
        let open: Vec<_> = open.iter().map(|name| path(&format!("fd/{}", name.to_string_lossy()))).collect();
        let known = |path: &std::path::PathBuf| ["/dev/null", "anon_inode:inotify"].contains(&path.to_str().unwrap());
        assert!(open.len() == 4 && open.iter().all(known), "{open:?}");
        assert!(user.command("bash").args(["-c", "exec 9>lock; flock -n 9"]).status().unwrap().success());
        let status = fs::read_to_string(format!("/proc/{keeper}/status")).unwrap();
        assert!(status.contains("Threads:\t1\n"), "{status}");
        // What is its own. The code of a debug build, which comes on top, is not what users have.
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse::<u32>().ok());
        assert!(own.is_some_and(|kilobytes| kilobytes < 2048), "{status}");
        assert_eq!(fs::read(format!("/proc/{keeper}/environ")).unwrap_or_default(), b"");
        user.topo(&["destroy", "pair"]).ok();
        user.assert_nothing_left();
    });
}
