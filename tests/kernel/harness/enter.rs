//! Puts a test into namespaces of its own: the test binary runs itself again, for that one test, where it is root over a fresh
//! user, network and mount namespace with an empty /run.
//!
//! With `TOPO_KERNEL_TEST_AS_ROOT=1` the user namespace is left out, for a run as real root on a machine to throw away.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{getegid, geteuid};

use super::programs::search_path;

/// Names the test that the process was started for.
const INSIDE: &str = "TOPO_KERNEL_TEST_INSIDE";

/// Runs `test` in fresh namespaces; it must be the whole body of a test function.
pub fn in_namespaces<F: FnOnce()>(test: F) {
    let name = test_name::<F>();
    if is_inside(&name) {
        set_up();
        test();
    } else {
        let as_root = std::env::var("TOPO_KERNEL_TEST_AS_ROOT").is_ok_and(|value| value == "1");
        let namespaces = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
        run_again(&name, if as_root { namespaces } else { namespaces | CloneFlags::CLONE_NEWUSER });
    }
}

/// The same for a test that starts programs as ordinary users: root stays the machine's root, who can become anybody. An
/// ordinary user who runs the tests is one already, and needs no namespaces.
pub fn with_users<F: FnOnce()>(test: F) {
    let name = test_name::<F>();
    match (is_inside(&name), geteuid().is_root()) {
        (true, true) => {
            set_up();
            cover_tmp();
            test();
        }
        (true, false) => test(),
        (false, true) => run_again(&name, CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS),
        (false, false) => run_again(&name, CloneFlags::empty()),
    }
}

/// Whether this process was started for that test.
fn is_inside(name: &str) -> bool {
    std::env::var(INSIDE).is_ok_and(|inside| inside == name)
}

/// Puts an empty /tmp in the place of the machine's, in which only what the tests themselves are part of is still there.
fn cover_tmp() {
    const ASIDE: &str = "/run/aside";
    let tmp = Path::new("/tmp");
    let exe = std::env::current_exe().expect("the test binary has a path");
    let kept = exe.strip_prefix(tmp).ok().and_then(|rest| rest.components().next()).map(|first| tmp.join(first));
    let (none, options) = (None::<&str>, Some("mode=1777"));
    if let Some(kept) = &kept {
        fs::create_dir(ASIDE).expect("the new /run is empty");
        mount(Some(kept), ASIDE, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).expect("root can show a directory twice");
    }
    mount(Some("tmpfs"), tmp, Some("tmpfs"), MsFlags::empty(), options).expect("root can cover /tmp");
    if let Some(kept) = &kept {
        fs::create_dir(kept).expect("the new /tmp is empty");
        mount(Some(ASIDE), kept, none, MsFlags::MS_MOVE, none).expect("root can move a mount");
        fs::remove_dir(ASIDE).expect("nothing is mounted there any more");
    }
}

/// The path of the test as libtest knows it, from that of the closure: `kernel::blog::test::{{closure}}`.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").expect("a path begins with the crate").1.to_owned()
}

/// Runs the test in a process of its own that is in these new namespaces, and finds the programs for root, too.
fn run_again(name: &str, namespaces: CloneFlags) {
    let (uid_map, gid_map) = (format!("0 {} 1\n", geteuid()), format!("0 {} 1\n", getegid()));
    let mut command = Command::new(std::env::current_exe().expect("the test binary has a path"));
    command.args(["--exact", name, "--nocapture", "--include-ignored"]).env(INSIDE, name).env("RUST_BACKTRACE", "0");
    command.env("PATH", search_path());
    command.env_remove("XDG_RUNTIME_DIR").env_remove("TOPO_SANDBOX");
    command.stdin(Stdio::null());
    // SAFETY: between fork and exec only system calls are made; the texts exist already.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // Shells start what runs in the background with some ignored.
            for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
                nix::sys::signal::signal(signal, SigHandler::SigDfl)?;
            }
            unshare(namespaces)?;
            if namespaces.contains(CloneFlags::CLONE_NEWUSER) {
                write_file(c"/proc/self/setgroups", b"deny")?;
                write_file(c"/proc/self/uid_map", uid_map.as_bytes())?;
                write_file(c"/proc/self/gid_map", gid_map.as_bytes())?;
            }
            Ok(())
        });
    }
    // Files rather than pipes: what a test that failed left running would keep a pipe open for ever.
    let [(stdout, stdout_text), (stderr, stderr_text)] = [output_file(), output_file()];
    let status = command.stdout(stdout).stderr(stderr).status();
    let status = status.unwrap_or_else(|error| panic!("cannot enter namespaces: {error}{}", explain()));
    let (stdout, stderr) = (read_back(stdout_text), read_back(stderr_text));
    assert!(
        status.success() && stdout.contains("test result: ok. 1 passed"),
        "{name}, inside: {status}\n{}{}",
        stdout.lines().skip_while(|line| !line.starts_with("test ")).map(|line| format!("{line}\n")).collect::<String>(),
        stderr,
    );
    for line in stderr.lines().filter(|line| line.starts_with("skipped: ")) {
        // Written past the capture of the test runner: what is skipped is always seen.
        writeln!(io::stderr(), "{name}: {line}").expect("standard error can be written to");
    }
}

/// A file of memory for the output of a process, and a handle to read it later.
fn output_file() -> (File, File) {
    let file = File::from(memfd_create(c"output", MFdFlags::MFD_CLOEXEC).expect("the kernel has files of memory"));
    let copy = file.try_clone().expect("there are file descriptors left");
    (file, copy)
}

fn read_back(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a file of memory can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write_file(path: &std::ffi::CStr, text: &[u8]) -> io::Result<()> {
    let file = nix::fcntl::open(path, nix::fcntl::OFlag::O_WRONLY, nix::sys::stat::Mode::empty())?;
    nix::unistd::write(&file, text)?;
    Ok(())
}

/// The namespaces are fresh, but the mounts are copies of the machine's: covers what the test must not see or change.
fn set_up() {
    let check =
        |what: &str, result: nix::Result<()>| result.unwrap_or_else(|error| panic!("cannot {what}: {error}{}", explain()));
    let none = None::<&str>;
    check("make the mounts private", mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none));
    check("cover /run", mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")));
    fs::create_dir("/run/netns").expect("the new /run is empty");
    // Sandboxes are written down here rather than in the user's own directory.
    fs::create_dir("/run/user").expect("the new /run is empty");
    fs::DirBuilder::new().mode(0o700).create("/run/user/0").expect("the new /run/user is empty");
    // A sysfs of the new network namespace; some container runtimes forbid it, and nothing here needs it.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none);
    super::text("ip", &["link", "set", "lo", "up"]);
}

/// Which settings of this machine are known to forbid what entering needs.
fn explain() -> String {
    let settings = [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("user.max_user_namespaces", "0", "10000"),
        ("user.max_net_namespaces", "0", "10000"),
        ("user.max_mnt_namespaces", "0", "10000"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ];
    explain_from(&settings, |name| {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::read_to_string(path).ok().map(|value| value.trim().to_owned())
    })
}

fn explain_from(settings: &[(&str, &str, &str)], read: impl Fn(&str) -> Option<String>) -> String {
    let guilty: Vec<_> = settings.iter().filter(|(name, bad, _)| read(name).as_deref() == Some(*bad)).collect();
    if guilty.is_empty() {
        return "\nhint: kernel tests need user namespaces; `unshare -Urnm true` should work here".to_owned();
    }
    let line = |(name, bad, good): &&(&str, &str, &str)| format!("\n{name} is {bad}\nhint: sudo sysctl {name}={good}");
    guilty.iter().map(line).collect()
}

#[test]
fn the_setting_that_forbids_user_namespaces_is_named() {
    let text = explain_from(&[("user.max_user_namespaces", "0", "10000"), ("kernel.x", "1", "0")], |name| {
        ["user.max_user_namespaces", "kernel.x"].contains(&name).then(|| "0".to_owned())
    });
    assert_eq!(text, "\nuser.max_user_namespaces is 0\nhint: sudo sysctl user.max_user_namespaces=10000");
    assert!(explain_from(&[("kernel.x", "1", "0")], |_| None).contains("unshare -Urnm true"));
}

#[test]
fn a_test_is_root_over_a_network_and_a_run_of_its_own() {
    in_namespaces(|| {
        assert!(geteuid().is_root());
        let links: Vec<_> = super::ip(&["link"]).as_array().unwrap().iter().map(|link| link["ifname"].clone()).collect();
        assert_eq!(links, ["lo"]);
        let mut entries: Vec<_> = fs::read_dir("/run").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        entries.sort();
        assert_eq!(entries, ["netns", "user"]);
        super::sh("ip netns add probe && ip netns exec probe ip link set lo up && ip netns del probe");
    });
}

#[test]
fn a_failure_inside_is_a_failure_outside() {
    let failure = std::panic::catch_unwind(|| in_namespaces(|| panic!("this text comes from inside")));
    let failure = failure.expect_err("the test fails");
    if std::env::var_os(INSIDE).is_some() {
        std::panic::resume_unwind(failure);
    }
    let message = failure.downcast::<String>().expect("a failure has a text");
    assert!(message.contains("inside: exit status: 101") && message.contains("this text comes from inside"), "{message}");
}
