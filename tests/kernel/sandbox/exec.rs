//! The exit status, the signals, the terminal and the surroundings of commands.

use std::io::Write;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

use super::super::harness::{User, command, eventually, in_namespaces, lab, sh, tools, topo, with_users};
use super::PAIR;

/// A user with the pair applied.
fn with_pair(test: impl FnOnce(&User)) {
    let user = User::new();
    let file = user.file("lab.yaml", PAIR);
    user.topo(&["apply", &file]).ok();
    test(&user);
    user.topo(&["destroy", "pair"]).ok();
    user.assert_nothing_left();
}

#[test]
fn the_exit_status_is_the_commands() {
    with_users(|| {
        with_pair(|user| {
            let topo = user.program().to_str().unwrap();
            let script = user.file("script", "no magic number here\n");
            let text = user.file("text", "exit 3\n");
            sh(&format!("chmod 755 {text}"));
            let missing_interpreter = user.file("interpreter", "#!/nowhere/sh\n");
            sh(&format!("chmod 755 {missing_interpreter}"));
            let cases: [(&[&str], i32); 19] = [
                (&["exec", "a", "--", "env", "PATH=/root/unreadable:/usr/bin", topo, "exec", "b", "--", "no-such-command"], 127),
                (&["exec", "a", "--", "true"], 0),
                (&["exec", "a", "--", "false"], 1),
                (&["exec", "a", "--", "sh", "-c", "exit 42"], 42),
                (&["exec", "a", "--", "sh", "-c", "exit 2"], 2),
                (&["exec", "host", "--", "sh", "-c", "exit 255"], 255),
                (&["exec", "a", "--", &text], 3),
                (&["exec", "a", "--", "/nowhere"], 127),
                (&["exec", "a", "--", "no-such-command"], 127),
                (&["exec", "a", "--", &missing_interpreter], 127),
                (&["exec", "a", "--", &script], 126),
                (&["exec", "a", "--", "/"], 126),
                (&["exec", "a", "--", ""], 127),
                (&["exec", "c", "--", "true"], 125),
                (&["exec", "../a", "--", "true"], 125),
                (&["exec", "--", "true"], 125),
                (&["exec", "a"], 125),
                (&["exec", "a", "--no-such-option", "--", "true"], 125),
                (&["shell"], 125),
            ];
            for (arguments, status) in cases {
                let outcome = user.topo(arguments);
                assert_eq!(outcome.status, status, "{arguments:?}: {}", outcome.stderr);
            }
            for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSEGV] {
                let number = signal as i32;
                let outer = format!("{} exec a -- sh -c 'kill -{number} $$'; echo status $?", user.program().display());
                let output = user.command("bash").args(["-c", &outer]).output().unwrap();
                let stdout = String::from_utf8_lossy(&output.stdout);
                assert!(stdout.contains(&format!("status {}", 128 + number)), "{signal}: {stdout}");
            }
        });
    });
}

#[test]
fn signals_reach_the_command_itself() {
    const SIGNALS: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1];
    for ignored in SIGNALS {
        // What the tests ignore, under nohup(1) or as a shell's job in the background, the command would ignore, too.
        // SAFETY: no handler is installed.
        unsafe { signal(ignored, SigHandler::SigDfl) }.unwrap();
    }
    with_users(|| {
        with_pair(|user| {
            for signal in SIGNALS {
                let mut child = user.start(&["exec", "a", "--", "sleep", "1000"]);
                let number = Pid::from_raw(i32::try_from(child.id()).unwrap());
                let name = || std::fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
                eventually("the command in topo's place", || name() == "sleep\n");
                kill(number, signal).unwrap();
                assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
            }
            // As any program has it; Rust's own programs ignore it.
            let output = user.topo(&["exec", "a", "--", "sh", "-c", "(yes; echo $? >&2) | head -n 1"]).ok();
            assert_eq!(output.stderr.trim(), "141");
        });
    });
}

#[test]
fn standard_streams_and_the_terminal_are_passed_through() {
    with_users(|| {
        with_pair(|user| {
            let mut command = user.topo_command(&["exec", "b", "--", "cat"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(b"a\0b\xff\n").unwrap();
            assert_eq!(child.wait_with_output().unwrap().stdout, b"a\0b\xff\n");
            let topo = user.program().display();
            let on_terminal = |script: &str| {
                let output = user.command("script").args(["-qec", script, "/dev/null"]).output().unwrap();
                (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
            };
            let (status, text) = on_terminal(&format!("{topo} exec a -- sh -c 'test -t 0 && test -t 1 && stty size && exit 7'"));
            assert_eq!(status, Some(7), "{text}");
            // Control-C on the terminal goes to the command, which is in the foreground.
            let (_, text) = on_terminal(&format!("{topo} exec a -- sh -c 'ps -o stat= -p $$'"));
            assert!(text.contains('+'), "{text}");
            let open = user.topo(&["exec", "a", "--", "ls", "/proc/self/fd"]).ok().stdout;
            let usual = user.command("ls").arg("/proc/self/fd").output().unwrap().stdout;
            assert_eq!(open, String::from_utf8_lossy(&usual));
        });
    });
}

#[test]
fn a_command_sees_its_namespace_and_the_users_files() {
    with_users(|| {
        with_pair(|user| {
            let seen = user.topo(&["exec", "a", "--", "ls", "/sys/class/net"]).ok().stdout;
            assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["eth0", "lo"]);
            let host = user.topo(&["exec", "host", "--", "ls", "/sys/class/net"]).ok().stdout;
            assert_eq!(host.trim(), "lo");
            user.topo(&["exec", "host", "--", "ip", "-o", "link", "show", "lo", "up"]).ok().says("lo");
            user.topo(&["exec", "a", "--", "id", "-u"]).ok().says("0");
            let here = user.topo(&["exec", "a", "--", "pwd"]).ok().stdout;
            assert_eq!(here.trim(), user.home.to_str().unwrap());
            user.topo(&["exec", "a", "--", "sh", "-c", "echo made > made && ip link add x type veth && ip link del x"]).ok();
            assert_eq!(std::fs::read_to_string(user.home.join("made")).unwrap(), "made\n");
            let environment = user.topo(&["exec", "a", "--", "env"]).ok().stdout;
            assert!(
                environment.contains("TOPO_NAMESPACE=a\n") && environment.contains("TOPO_SANDBOX=default\n"),
                "{environment}"
            );
            // topo finds the sandbox from inside of it, too.
            let topo = user.program().to_str().unwrap();
            user.topo(&["exec", "b", "--", topo, "plan", "--detailed-exitcode"]).ok().says("No changes.");
            user.topo(&["exec", "b", "--", topo, "exec", "a", "--", "ping", "-c1", "10.0.0.2"]).ok();
        });
    });
}

#[test]
fn all_namespaces_at_once() {
    with_users(|| {
        with_pair(|user| {
            let script = "echo here $TOPO_NAMESPACE; echo there >&2; printf end";
            let outcome = user.topo(&["exec", "--all", "--", "sh", "-c", script]).ok();
            let mut lines: Vec<_> = outcome.stdout.lines().collect();
            lines.sort_unstable();
            assert_eq!(lines, ["a: end", "a: here a", "b: end", "b: here b"]);
            assert_eq!(outcome.stderr.matches(": there\n").count(), 2);
            let one_fails = user.topo(&["exec", "--all", "pair", "--", "sh", "-c", "test $TOPO_NAMESPACE = a || exit 9"]);
            assert_eq!(one_fails.exits(9).stderr, "b: exit status 9\n");
            user.topo(&["exec", "--all", "--", "no-such-command"]).exits(127).says("a: exit status 127");
            user.topo(&["exec", "--all", "par", "--", "true"]).exits(125).says("did you mean `pair`?");
            // Each waits for the other, so that one after the other they would never end.
            let meet = "touch at-$TOPO_NAMESPACE; until test -e at-a && test -e at-b; do sleep 0.05; done";
            user.topo(&["exec", "--all", "--", "sh", "-c", meet]).ok();
            // Killed itself, it leaves no command behind.
            let mut child = user.start(&["exec", "--all", "--", "sleep", "1001"]);
            let running = || {
                let output = command("pgrep").args(["-fc", "^sleep 1001$"]).output().expect("pgrep can be run");
                String::from_utf8(output.stdout).unwrap().trim().to_owned()
            };
            eventually("both commands run", || running() == "2");
            child.kill().unwrap();
            child.wait().unwrap();
            eventually("both commands end", || running() == "0");
            let mut child = user.start(&["exec", "--all", "--", "sh", "-c", "trap 'exit 5' TERM; echo ready; sleep 1000 & wait"]);
            let mut text = String::new();
            let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
            for _ in 0..2 {
                std::io::BufRead::read_line(&mut lines, &mut text).unwrap();
            }
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(5), "{text}");
            // What the commands have started goes with the sandbox.
            user.topo(&["sandbox", "stop", "default"]).ok();
            user.topo(&["apply"]).ok();
        });
    });
}

#[test]
fn signals_to_all_are_as_one_would_expect_of_a_single_command() {
    with_users(|| {
        with_pair(|user| {
            let number = |child: &std::process::Child| Pid::from_raw(i32::try_from(child.id()).unwrap());
            let begun = |child: &mut std::process::Child| {
                let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
                let mut text = String::new();
                for _ in 0..2 {
                    std::io::BufRead::read_line(&mut lines, &mut text).unwrap();
                }
                lines
            };
            // A child of the commands that holds their outputs open does not keep TERM from ending the wait.
            let start = |script: &str| {
                let mut command = user.command(user.program());
                // The kernel ignores TSTP where nobody could continue the process group.
                command.process_group(0);
                command.args(["exec", "--all", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap()
            };
            let mut child = start("sleep 1000 & echo begun");
            let lines = begun(&mut child);
            let pid = number(&child);
            let ended = eventually_ended(&mut child, || kill(pid, Signal::SIGTERM).unwrap());
            assert_eq!(ended.code(), Some(128 + 15));
            drop(lines);
            // What was started to ignore a signal, as by nohup(1), goes on, and its commands too.
            let topo = user.program().to_str().unwrap();
            let wait = "until test -e sent; do sleep 0.05; done";
            let script = format!("trap '' HUP; exec {topo} exec --all -- sh -c 'echo begun; kill -HUP $$; {wait}; exit 7'");
            let mut child = user.command("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
            let lines = begun(&mut child);
            kill(number(&child), Signal::SIGHUP).unwrap();
            user.file("sent", "");
            assert_eq!(child.wait().unwrap().code(), Some(7));
            drop(lines);
            // TSTP stops all, CONT lets all go on. A shell that waits for vfork(2) could not be seen to stop: `&` forks.
            let mut child = start("sleep 1000 & echo begun; wait; exit 3");
            let lines = begun(&mut child);
            let state = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let stopped = |pid: i32| state(pid).rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
            kill(number(&child), Signal::SIGTSTP).unwrap();
            eventually("all are stopped", || {
                let children = tools::text("pgrep", &["-P", &child.id().to_string()]);
                stopped(number(&child).as_raw()) && children.lines().all(|pid| stopped(pid.parse().unwrap()))
            });
            kill(number(&child), Signal::SIGCONT).unwrap();
            eventually("all go on", || {
                let children = tools::text("pgrep", &["-P", &child.id().to_string()]);
                !stopped(number(&child).as_raw()) && children.lines().all(|pid| !stopped(pid.parse().unwrap()))
            });
            kill(number(&child), Signal::SIGTERM).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
            drop(lines);
            // Those that could be started are not left behind when one could not.
            // A time that no other run of this test waits for.
            let sleep = format!("sleep 4321.{}", std::process::id());
            let script = format!("ulimit -n 24; exec {topo} exec --all many -- {sleep}");
            let many: String = (0..12).map(|n| format!("  n{n}: {{}}\n")).collect();
            let file = user.file("many.yaml", &format!("name: many\nnamespaces:\n{many}"));
            user.topo(&["apply", &file]).ok();
            let outcome = user.command("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(outcome.status.code(), Some(125), "{}", String::from_utf8_lossy(&outcome.stderr));
            eventually("none is left", || !tools::text("ps", &["-eo", "args"]).lines().any(|line| line == sleep));
            // What the first commands have started goes with the sandbox.
            user.topo(&["sandbox", "stop", "default"]).ok();
            user.topo(&["apply", &user.file("lab.yaml", PAIR)]).ok();
        });
    });
}

/// Repeats what should end the child until it has.
fn eventually_ended(child: &mut std::process::Child, end: impl Fn()) -> std::process::ExitStatus {
    for _ in 0..200 {
        end();
        std::thread::sleep(std::time::Duration::from_millis(50));
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
    }
    child.kill().unwrap();
    panic!("it goes on after ten seconds");
}

#[test]
fn on_the_machine_it_is_the_same_as_ip_netns_exec() {
    in_namespaces(|| {
        let file = lab(PAIR);
        topo(&["apply", &file]).ok();
        let compared = "readlink /proc/self/ns/net; ls /sys/class/net; grep Cap /proc/self/status; ulimit -n; id -u";
        let theirs = tools::text("ip", &["netns", "exec", "a", "sh", "-c", compared]);
        let ours = topo(&["exec", "a", "--", "sh", "-c", compared]).ok().stdout;
        assert_eq!(ours, theirs);
        topo(&["exec", "host", "--", "readlink", "/proc/self/ns/net"]).ok();
        topo(&["exec", "a", "--", "sh", "-c", "test -d /sys/fs/cgroup && ! ip link show lan"]).ok();
        topo(&["exec", "c", "--", "true"]).exits(125).says("there is no namespace `c`");
        topo(&["list"]).ok().says("pair");
        topo(&["destroy", "pair"]).ok();
    });
}

#[test]
fn files_of_a_namespace_stand_in_for_those_of_etc() {
    in_namespaces(|| {
        let file = lab(PAIR);
        topo(&["apply", &file]).ok();
        // A copy of /etc that this test may write to.
        sh("mkdir /run/etc && cp /etc/hosts /etc/resolv.conf /etc/passwd /run/etc/ && mount --bind /run/etc /etc");
        sh("mkdir -p /etc/netns/a && echo '192.0.2.1 only-here' > /etc/netns/a/hosts && echo x > /etc/netns/a/not-there");
        topo(&["exec", "a", "--", "cat", "/etc/hosts"]).ok().says("only-here").says("cannot mount over `/etc/not-there`");
        let other = topo(&["exec", "b", "--", "cat", "/etc/hosts"]).ok();
        assert!(!other.stdout.contains("only-here"));
        assert!(!std::fs::read_to_string("/etc/hosts").unwrap().contains("only-here"));
        topo(&["destroy", "pair"]).ok();
    });
}
