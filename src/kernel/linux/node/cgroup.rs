//! The control group, cgroups(7), of a node with limits: BASE/topo/LAB:NODE:INODE.
//!
//! BASE is the highest group above this process in which it may make groups: the root of the hierarchy for root, what is delegated to
//! them for others. INODE is that of the node's network namespace, because labs in different sandboxes can have the same names. Nothing
//! about a group is written down: that of a node is the one in which its init is.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access};

use super::protocol::Refusal;
use crate::kernel::linux::process::Process;
use crate::kernel::linux::system::isolate::mounts;
use crate::name::{LabName, NamespaceName};
use crate::resource::node::limits::{Controller, Limits};

/// The group of all nodes.
const TOPO: &str = "topo";
/// Between the parts of the name of a node's group. No name of a lab or node contains it.
const SEPARATOR: char = ':';
/// The file with the processes of a group. Whoever writes `0` to it moves there.
const PROCESSES: &str = "cgroup.procs";
/// The file with the controllers that the groups below have.
const ENABLED: &str = "cgroup.subtree_control";
/// The time that the processes of an ended node have to leave its group.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a group is made again that another topo has removed because it was empty.
const ATTEMPTS: usize = 10;
/// What users can do who have no group of their own.
const REMEDY: &str = "run topo by `systemd-run --user --scope -p Delegate=yes -- topo ...`";

/// The control group of a node.
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// Returns the group of a node by its init; `None` if the init is in no group of topo.
    pub fn of(init: &Process) -> Option<Self> {
        let path = Hierarchy::find()?.directory_of(&format!("/proc/{}/cgroup", init.number()))?;
        let is_of_topo = is_of_node(path.file_name()?) && path.parent()?.file_name()? == TOPO;
        is_of_topo.then_some(Self { path })
    }

    /// Reads the limits.
    ///
    /// # Errors
    /// Fails if the group is gone.
    pub fn limits(&self) -> io::Result<Limits> {
        let mut limits = Limits::default();
        for controller in Controller::ALL {
            match fs::read_to_string(self.path.join(controller.file())) {
                Ok(text) => limits.read(controller, &text),
                // It is not enabled.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(limits)
    }

    /// Sets the limits.
    ///
    /// # Errors
    /// Fails if a controller is missing, or the system refuses it.
    pub fn set(&self, limits: Limits) -> Result<(), Refusal> {
        if let Some(topo) = self.path.parent() {
            topo.parent().map_or(Ok(()), |base| enable(base, limits))?;
            enable(topo, limits)?;
        }
        for controller in Controller::ALL {
            match write(&self.path.join(controller.file()), &limits.text(controller)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !limits.controllers().any(|it| it == controller) => {}
                other => other.map_err(|error| Refusal::new(format!("limit `{}` of the node", controller.word()), &error))?,
            }
        }
        Ok(())
    }

    /// Moves the calling process into the group.
    ///
    /// # Errors
    /// Fails if the system refuses it.
    pub fn enter(&self) -> io::Result<()> {
        write(&self.path.join(PROCESSES), "0")
    }

    /// Moves the calling process into the group and back, to find out whether its children may go there.
    ///
    /// # Errors
    /// Fails if the system refuses it. The error says what can be done.
    pub fn try_enter(&self) -> io::Result<()> {
        let own = Hierarchy::find().and_then(|hierarchy| hierarchy.directory_of("/proc/self/cgroup"));
        match self.enter() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(io::Error::other(format!("this process may not move into its control group; {REMEDY}")))
            }
            other => other,
        }?;
        // A process that cannot go back is in the group of the node, as its children will be.
        own.map_or(Ok(()), |own| write(&own.join(PROCESSES), "0")).or(Ok(()))
    }

    /// Removes the group once its processes have left it, and that of all nodes if there is no other.
    ///
    /// # Errors
    /// Fails if it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            match remove_tree(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && begin.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => {
                    if let Some(topo) = self.path.parent() {
                        let _ = fs::remove_dir(topo);
                    }
                    return other;
                }
            }
        }
    }
}

/// Makes the group of a node with limits, and moves the calling process into it. `network` is the inode of the network namespace.
///
/// # Errors
/// Returns what the system refused. The error says what can be done.
pub fn create(lab: &LabName, node: &NamespaceName, network: u64, limits: Limits) -> Result<(), Refusal> {
    let base = base()?;
    let topo = base.join(TOPO);
    let group = Group { path: topo.join(format!("{lab}{SEPARATOR}{node}{SEPARATOR}{network}")) };
    let make = || -> Result<(), Refusal> {
        fs::create_dir_all(&group.path).map_err(|error| Refusal::new("make a control group", &error))?;
        group.set(limits)?;
        group.enter().map_err(|error| Refusal::new("use a control group", &error))
    };
    for _ in 1..ATTEMPTS {
        match make() {
            // Another topo has just removed it.
            Err(error) if matches!(error.number, nix::libc::ENOENT | nix::libc::ENODEV) => {}
            other => return other,
        }
    }
    make()
}

/// Returns whether a group has the name of one of a node.
fn is_of_node(name: &OsStr) -> bool {
    let parts = |name: &str| {
        let mut parts = name.split(SEPARATOR);
        parts.next()?.parse::<LabName>().ok()?;
        parts.next()?.parse::<NamespaceName>().ok()?;
        parts.next()?.parse::<u64>().ok().filter(|_| parts.next().is_none())
    };
    name.to_str().and_then(parts).is_some()
}

/// Removes a group with those that programs in the node have made below it.
fn remove_tree(group: &Path) -> io::Result<()> {
    for below in fs::read_dir(group)?.flatten().filter(|below| below.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&below.path())?;
    }
    fs::remove_dir(group)
}

/// Removes the groups that nodes which were killed have left, as far as this user can see them.
pub fn clean_up() {
    let Ok(topo) = base().map(|base| base.join(TOPO)) else { return };
    for group in fs::read_dir(&topo).into_iter().flatten().flatten() {
        if is_of_node(&group.file_name()) {
            // Fails for those with processes.
            let _ = remove_tree(&group.path());
        }
    }
    let _ = fs::remove_dir(topo);
}

/// The mounted hierarchy of version 2.
struct Hierarchy {
    mounted: PathBuf,
    /// Which group is mounted there, seen from this process.
    root: PathBuf,
}

impl Hierarchy {
    fn find() -> Option<Self> {
        let mounted = mounts().into_iter().find(|mounted| mounted.kind == "cgroup2")?;
        Some(Self { mounted: mounted.path, root: mounted.root })
    }

    /// Returns the directory of the group that a file /proc/PID/cgroup names.
    fn directory_of(&self, file: &str) -> Option<PathBuf> {
        let text = fs::read_to_string(file).ok()?;
        let path = Path::new(text.lines().find_map(|line| line.strip_prefix("0::"))?);
        let below = path.strip_prefix(&self.root).ok()?;
        let is_inside = below.components().all(|part| matches!(part, Component::Normal(_)));
        is_inside.then(|| self.mounted.join(below))
    }
}

/// Finds the group in which topo makes groups.
fn base() -> Result<PathBuf, Refusal> {
    let hierarchy = Hierarchy::find()
        .ok_or_else(|| impossible("no control groups of version 2 are mounted; `mount -t cgroup2 none /sys/fs/cgroup`"))?;
    let own = hierarchy.directory_of("/proc/self/cgroup");
    let own = own.ok_or_else(|| impossible("the control group of this process is not mounted"))?;
    let above: Vec<&Path> = own.ancestors().take_while(|group| group.starts_with(&hierarchy.mounted)).collect();
    let found = above.into_iter().rev().find(|group| is_delegated(group)).map(Path::to_owned);
    found.ok_or_else(|| impossible(&format!("no control group is delegated to this user; {REMEDY}")))
}

/// Returns whether this process may make groups in a group, and move processes between them.
fn is_delegated(group: &Path) -> bool {
    let writable = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
    writable(group) && writable(&group.join(PROCESSES)) && writable(&group.join(ENABLED))
}

/// Makes the groups below a group have the controllers for these limits.
fn enable(group: &Path, limits: Limits) -> Result<(), Refusal> {
    let list = |file: &str| fs::read_to_string(group.join(file)).map_err(|error| Refusal::new("use a control group", &error));
    let has = |list: &str, controller: Controller| list.split_whitespace().any(|word| word == controller.word());
    let enabled = list(ENABLED)?;
    let missing: Vec<Controller> = limits.controllers().filter(|controller| !has(&enabled, *controller)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let available = list("cgroup.controllers")?;
    if let Some(controller) = missing.iter().find(|controller| !has(&available, **controller)) {
        return Err(unavailable(group, *controller));
    }
    let words: Vec<String> = missing.iter().map(|controller| format!("+{}", controller.word())).collect();
    write(&group.join(ENABLED), &words.join(" ")).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::EBUSY) => {
            impossible(&format!("there are processes in the control group {} itself; move them to one below it", group.display()))
        }
        _ => Refusal::new("enable the controllers of control groups", &error),
    })
}

/// Writes to a file that exists.
fn write(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}

fn unavailable(group: &Path, controller: Controller) -> Refusal {
    let word = controller.word();
    let is_root = !group.join("cgroup.type").exists();
    let remedy = if is_root {
        "version 1 may use it: boot with `systemd.unified_cgroup_hierarchy=1`".to_owned()
    } else {
        format!(
            "`systemctl edit user@.service`, and add `Delegate=cpu memory pids` below `[Service]`, if systemd does not delegate it ({})",
            group.display()
        )
    };
    impossible(&format!("control groups of version 2 have no `{word}` here; {remedy}"))
}

/// What prevents limits without any call that fails.
fn impossible(why: &str) -> Refusal {
    Refusal { step: format!("limit the node: {why}"), number: 0 }
}
