//! `topo run`: a sandbox, the lab and the command, which end together.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::harness::tools::{Outcome, eventually_or};
use super::super::harness::{User, eventually, in_namespaces, lab, rounds, sh, topo, with_users};

/// Two namespaces and a link, usable at once.
const READY: &str = "name: ready\n\
    namespaces:\n\
    \x20 a: { sysctls: { net.ipv6.conf.default.accept_dad: 0 }, interfaces: { eth0: { addresses: [10.0.0.1/24, 2001:db8::1/64] } } }\n\
    \x20 b: { sysctls: { net.ipv6.conf.default.accept_dad: 0 }, interfaces: { eth0: { addresses: [10.0.0.2/24, 2001:db8::2/64] } } }\n\
    links:\n  - endpoints: [a:eth0, b:eth0]\n";

/// The processes of a user that have not exited. For a user without a number of its own, those that work in its home.
fn processes(user: &User) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let is_process = entry.file_name().to_string_lossy().parse::<i32>().is_ok();
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let is_own = match user.number() {
            Some(number) => field("Uid:").split_whitespace().next() == Some(&number.to_string()),
            None => fs::read_link(entry.path().join("cwd")).is_ok_and(|path| path == user.home),
        };
        if is_process && is_own && !field("State:").starts_with('Z') {
            found.push(format!("{} {}", entry.file_name().display(), field("Name:")));
        }
    }
    found
}

/// The number of children of a process.
fn children(parent: u32) -> usize {
    let of = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse::<u32>().ok()
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(of).filter(|found| *found == parent).count()
}

/// Insists that no process, no file and no mount of a run is left. `mounts` were there before.
#[track_caller]
fn assert_gone(user: &User, mounts: &str) {
    eventually("the end of all processes", || processes(user).is_empty());
    user.assert_nothing_left();
    assert_eq!(mounts, self::mounts());
    let outside = user.number().map(|number| format!("/tmp/topo-{number}"));
    assert!(outside.is_none_or(|path| !fs::exists(path).unwrap()));
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// A user with the lab as the default one.
fn user() -> (User, String) {
    let user = User::new();
    user.file("lab.yaml", READY);
    (user, mounts())
}

fn number(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

#[test]
fn the_exit_status_is_the_commands() {
    with_users(|| {
        let (user, mounts) = user();
        let broken = user.file("broken.yaml", "name: x\nnamespace: {}\n");
        let cases: [(&[&str], i32); 15] = [
            (&["--", "true"], 0),
            (&["--", "false"], 1),
            (&["--", "sh", "-c", "exit 2"], 2),
            (&["--", "sh", "-c", "exit 255"], 255),
            (&["--", "sh", "-c", "kill -TERM $$"], 143),
            (&["--", "sh", "-c", "kill -KILL $$"], 137),
            (&["--in", "a", "--", "ping", "-c1", "10.0.0.2"], 0),
            (&["--in", "a", "--", "ping", "-c1", "2001:db8::2"], 0),
            (&["--", "/nowhere"], 127),
            (&["--", "no-such-command"], 127),
            (&["--", "/"], 126),
            (&["--in", "c", "--", "true"], 125),
            (&[&broken, "--", "true"], 125),
            (&["nowhere.yaml", "--", "true"], 125),
            (&["lab.yaml"], 125),
        ];
        for (arguments, status) in cases {
            let outcome = user.topo(&[&["run"], arguments].concat());
            assert_eq!(outcome.status, status, "{arguments:?}: {}", outcome.stderr);
            assert_gone(&user, &mounts);
        }
        user.topo(&["run", "--sandbox=x", "--", "true"]).exits(125).says("`topo run` creates a sandbox of its own");
        user.topo(&["run", &broken, "--", "true"]).exits(125).says("unknown key `namespace`");
    });
}

#[test]
fn the_command_has_the_users_surroundings_and_the_lab() {
    with_users(|| {
        let (user, mounts) = user();
        let topo = user.program().to_str().unwrap();
        let mut command = user.command("sh");
        let script =
            format!("umask 027; MINE='a b' {topo} run -- sh -c 'umask; pwd; echo $HOME $MINE; cat; echo > made' <lab.yaml");
        let output = Outcome::from(&command.args(["-c", &script]).output().unwrap()).ok();
        let home = user.home.to_str().unwrap();
        assert_eq!(output.stdout, format!("0027\n{home}\n{home} a b\n{READY}"), "{}", output.stderr);
        assert_eq!(output.stderr, "");
        let made = fs::metadata(user.home.join("made")).unwrap();
        assert_eq!((made.uid(), made.mode() & 0o777), (fs::metadata(&user.home).unwrap().uid(), 0o640));
        // The sandbox is found from inside, without privileges and from a namespace of the lab.
        let script = format!(
            "{topo} exec b ping -c1 10.0.0.1 && {topo} plan --detailed-exitcode && {topo} list && \
             {topo} exec b {topo} exec a ping -c1 2001:db8::2 && {topo} destroy && {topo} apply -q && echo $TOPO_SANDBOX >&2"
        );
        let outcome = user.topo(&["run", "--in", "a", "--", "sh", "-ec", &script]).ok().says("No changes.").says("ready");
        assert!(outcome.stderr.lines().last().unwrap().starts_with("run-"), "{}", outcome.stderr);
        // No descriptor of topo's is open, and no process but the holder, topo's own and the command are seen.
        let open = user.topo(&["run", "--", "ls", "/proc/self/fd"]).ok().stdout;
        assert_eq!(open, String::from_utf8_lossy(&user.command("ls").arg("/proc/self/fd").output().unwrap().stdout));
        let seen = user.topo(&["run", "--", "ps", "-eo", "comm="]).ok().stdout;
        assert_eq!(seen.lines().collect::<Vec<_>>(), ["topo-sandbox", "ps"]);
        let mut child = user.topo_command(&["run", "-", "--", "sh", "-c", &format!("{topo} list; cat")]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(READY.as_bytes()).unwrap();
        assert!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().contains("ready"));
        assert_gone(&user, &mounts);
    });
}

#[test]
fn signals_reach_the_command_once() {
    with_users(|| {
        let (user, mounts) = user();
        let script = "for signal in INT TERM HUP QUIT USR1; do trap \"echo $signal\" $signal; done; trap 'exit 9' USR2; \
                      echo begun; while :; do :; done";
        let mut child = user.start(&["run", "--", "sh", "-c", script]);
        let text = Arc::new(Mutex::new(String::new()));
        let reader = read(child.stdout.take().unwrap(), &text);
        let says = |word: &str| text.lock().unwrap().contains(word);
        eventually("the command", || says("begun"));
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1] {
            kill(number(&child), signal).unwrap();
            eventually(signal.as_str(), || says(&format!("{}\n", &signal.as_str()[3..])));
        }
        kill(number(&child), Signal::SIGUSR2).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(9));
        reader.join().unwrap();
        assert_eq!(*text.lock().unwrap(), "begun\nINT\nTERM\nHUP\nQUIT\nUSR1\n");
        // While the lab is applied, a signal ends that.
        let slow = user
            .file("slow.yaml", &READY.replace("net.ipv6.conf.default.accept_dad: 0", "net.ipv6.conf.default.dad_transmits: 9"));
        let mut child = user.start(&["run", &slow, "--", "true"]);
        // The holder of the sandbox, and the process that applies the lab.
        eventually("the process that applies the lab", || children(child.id()) == 2);
        sleep(Duration::from_millis(300));
        kill(number(&child), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143));
        assert_gone(&user, &mounts);
    });
}

fn read(mut from: impl std::io::Read + Send + 'static, text: &Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    let text = text.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            text.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    })
}

/// An interactive shell on a terminal that starts topo.
#[test]
fn jobs_are_controlled_on_a_terminal() {
    with_users(|| {
        let (user, mounts) = user();
        let topo = user.program().display();
        let mut command = user.command("script");
        command.args(["-qec", "bash --norc --noprofile -i", "/dev/null"]).env("PS1", "prompt> ");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let reader = read(child.stdout.take().unwrap(), &shown);
        let mut stdin = child.stdin.take().unwrap();
        let mut seen = 0;
        let mut send = |keys: &str, expected: &str| {
            stdin.write_all(keys.as_bytes()).unwrap();
            let missing = || format!("no `{expected}` after {keys:?}:\n{}", shown.lock().unwrap());
            eventually_or(missing, || shown.lock().unwrap()[seen..].contains(expected));
            seen = shown.lock().unwrap().len();
        };
        send("", "prompt> ");
        // Typed with empty quotes, so that the echo of the line is not taken for what the command prints. No shell starts a program where a
        // signal is to reach it: between vfork(2) and execve(2), dash loses interrupts and cannot be stopped.
        send(&format!("{topo} run -- sh -c 'trap \"exit 5\" INT; echo be\"\"gun; while :; do :; done'\n"), "begun");
        send("\x03", "prompt> ");
        send("echo status \"\"$?\n", "status 5");
        send(&format!("{topo} run -- sh -c 'echo be\"\"gun; read line; echo got $line'\n"), "begun");
        send("\x1a", "Stopped");
        send("fg\n", "run --");
        send("answer\n", "got answer");
        send(&format!("{topo} run -- dash -i\n"), "prompt> ");
        send("exit 4\n", "prompt> ");
        send("echo status \"\"$?\n", "status 4");
        send(&format!("{topo} run -- sh -c 'seq 3; tty' | cat\n"), "/dev/pts");
        send(&format!("while {topo} run -- sh -c 'echo be\"\"gun; exec sleep 100'; do :; done; echo en\"\"ded\n"), "begun");
        send("\x03", "prompt> ");
        send("exit 6\n", "exit");
        let status = child.wait().unwrap();
        reader.join().unwrap();
        assert_eq!(status.code(), Some(6), "{}", shown.lock().unwrap());
        assert_gone(&user, &mounts);
    });
}

/// Daemons that the command leaves: one that ends by TERM, which it reports, and one that ignores that.
const DAEMONS: &str = "setsid sh -c 'trap \"echo ended > ended; exit\" TERM; sleep 1000 & echo > one; wait' & \
                       setsid sh -c 'trap \"\" TERM HUP; echo > two; while :; do sleep 1; done' & \
                       unshare -n sleep 1000 & until test -e one && test -e two; do sleep 0.01; done";

#[test]
fn what_the_command_leaves_running_ends_with_it() {
    with_users(|| {
        let (user, mounts) = user();
        user.topo(&["run", "--", "sh", "-c", DAEMONS]).ok();
        assert!(processes(&user).is_empty(), "{:?}", processes(&user));
        assert_eq!(fs::read_to_string(user.home.join("ended")).unwrap(), "ended\n");
        assert_gone(&user, &mounts);
    });
}

#[test]
fn whatever_is_killed_nothing_is_left() {
    with_users(|| {
        let (user, mounts) = user();
        let script = format!("{DAEMONS}; sleep 1000");
        for victim in ["topo", "topo-sandbox", "sh", "topo and topo-sandbox"] {
            let mut child = user.start(&["run", "--", "sh", "-c", &script]);
            for file in ["one", "two"] {
                eventually("the daemons", || fs::exists(user.home.join(file)).unwrap());
                fs::remove_file(user.home.join(file)).unwrap();
            }
            let of = |name: &str| -> Vec<i32> {
                let wanted = processes(&user).into_iter().filter(|process| process.ends_with(&format!(" {name}")));
                wanted.map(|process| process.split(' ').next().unwrap().parse().unwrap()).collect()
            };
            let topo = number(&child).as_raw();
            let command = || fs::read_to_string(format!("/proc/{topo}/task/{topo}/children")).unwrap_or_default();
            let command =
                command().split_whitespace().map(|word| word.parse().unwrap()).filter(|child| of("sh").contains(child)).collect();
            let killed: Vec<i32> = match victim {
                "topo" => vec![topo],
                "topo-sandbox" => of("topo-sandbox"),
                "sh" => command,
                _ => [vec![topo], of("topo-sandbox")].concat(),
            };
            assert!(!killed.is_empty() || user.number().is_none(), "{victim}");
            if killed.is_empty() {
                // Others' holders may be among those that an ordinary user sees.
                let _ = child.kill();
            }
            for process in killed {
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
            let status = child.wait().unwrap().code();
            let expected = match victim {
                "topo-sandbox" => Some(125),
                "sh" => Some(137),
                _ => None,
            };
            assert!(status == expected || user.number().is_none(), "{victim}: {status:?}");
            assert_gone(&user, &mounts);
        }
    });
}

#[test]
fn killed_at_any_moment_nothing_is_left() {
    with_users(|| {
        let (user, mounts) = user();
        let start = Instant::now();
        user.topo(&["run", "--", "true"]).ok();
        let (took, steps) = (start.elapsed(), u32::try_from(rounds(40)).unwrap());
        for step in 0..steps {
            let mut child = user.start(&["run", "--", "sh", "-c", "setsid sleep 1000 & true"]);
            // A sample of the moments of a run, whichever they turn out to be.
            sleep(took * step / steps);
            match step % 2 {
                0 => drop(child.kill()),
                _ => user.sandbox_processes().iter().filter(|_| user.number().is_some()).for_each(|process| {
                    let _ = kill(Pid::from_raw(*process), Signal::SIGKILL);
                }),
            }
            let _ = child.wait().unwrap();
            let mut text = String::new();
            child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
            assert!(!text.contains("panicked"), "{text}");
            assert_gone(&user, &mounts);
        }
    });
}

#[test]
fn several_at_once_do_not_meet() {
    with_users(|| {
        let (user, mounts) = user();
        let topo = user.program().display();
        let script = format!(
            "echo $TOPO_SANDBOX; {topo} exec $0 ip -o link show lo >&2 && {topo} sandbox list | wc -l; {topo} list | wc -l"
        );
        let children: Vec<_> = (0..6)
            .map(|n| {
                let file = user.file(&format!("{n}.yaml"), &super::alone(&format!("lab{n}")));
                user.start(&["run", &file, "--", "sh", "-ec", &script, &format!("lab{n}")])
            })
            .collect();
        let mut names = std::collections::BTreeSet::new();
        for child in children {
            let output = Outcome::from(&child.wait_with_output().unwrap()).ok();
            let lines: Vec<_> = output.stdout.lines().map(str::to_owned).collect();
            assert_eq!(lines[1..], ["2", "2"], "{}", output.stdout);
            names.insert(lines[0].clone());
        }
        assert_eq!(names.len(), 6);
        assert_gone(&user, &mounts);
    });
}

#[test]
fn it_works_in_and_around_other_sandboxes() {
    with_users(|| {
        let (user, mounts) = user();
        let topo = user.program().display();
        user.topo(&["apply"]).ok();
        user.topo(&["exec", "host", "--", "sh", "-c", &format!("{topo} run -- {topo} exec a ping -c1 10.0.0.2")]).ok();
        user.topo(&["destroy"]).ok();
        user.topo(&["run", "--", "sh", "-c", &format!("{topo} run --in b -- {topo} exec a ping -c1 10.0.0.2")]).ok();
        // A named sandbox within ends with the run.
        let script = format!(
            "{topo} apply --sandbox=x && {topo} exec --sandbox=x a {topo} plan --detailed-exitcode && {topo} sandbox list && \
             ! {topo} sandbox stop $TOPO_SANDBOX"
        );
        let outcome = user.topo(&["run", "--", "sh", "-ec", &script]).ok().says("No changes.").says("\nx ");
        outcome.says("it ends with the command of `topo run`");
        let userns = |arguments: &[&str]| {
            user.command("unshare").args(arguments).arg(user.program()).args(["run", "--in", "a", "--", "true"]).status()
        };
        assert!(userns(&["-Ur"]).unwrap().success() && userns(&["-Urnm"]).unwrap().success());
        let without_terminal =
            user.command("setsid").arg("-w").arg(user.program()).args(["run", "--", "sh", "-c", "exit 8"]).status();
        assert_eq!(without_terminal.unwrap().code(), Some(8));
        // Nobody would continue topo.
        let script = "(sleep 0.1; kill -STOP $$; sleep 0.1; kill -CONT $$) & sleep 0.4; exit 7";
        let stopped = user.command("setsid").arg("-w").arg(user.program()).args(["run", "--", "sh", "-c", script]).status();
        assert_eq!(stopped.unwrap().code(), Some(7));
        assert_gone(&user, &mounts);
    });
}

#[test]
fn root_has_a_sandbox_too() {
    in_namespaces(|| {
        let file = lab(READY);
        let outcome = topo(&["run", &file, "--in", "a", "--", "ping", "-c1", "10.0.0.2"]).ok();
        assert!(outcome.stdout.contains("1 received"));
        assert!(!fs::exists("/run/netns/a").unwrap());
    });
}

#[test]
fn a_proc_that_is_covered_in_part_is_named() {
    with_users(|| {
        let (user, _) = user();
        if user.needs_number().is_none() {
            return;
        }
        sh("mount --bind /dev/null /proc/version");
        let outcome = user.topo(&["run", "--", "true"]).exits(125);
        outcome
            .says("cannot mount a /proc for the PID namespace")
            .says("mounted over /proc/version")
            .says("systempaths=unconfined");
        sh("umount /proc/version");
        user.topo(&["run", "--", "true"]).ok();
    });
}
