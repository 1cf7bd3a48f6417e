//! Enters the namespaces of a node, to run a command in them.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use super::KINDS;
use super::cgroup::Group;
use super::client::Client;
use super::directory::Nodes;
use crate::kernel::linux::system::process::Process;
use crate::name::NamespaceName;

/// A node whose namespaces can be entered.
pub struct NodeEntry {
    init: Process,
    /// The kinds of namespaces to enter, apart from that of processes.
    kinds: CloneFlags,
    /// Whether the node has a PID namespace. Only children can be in it.
    has_pid: bool,
}

impl NodeEntry {
    /// Finds the init of a node by the name and the network namespace; `None` if there is none.
    ///
    /// # Errors
    /// Fails if the system refuses to look.
    pub fn find(name: &NamespaceName, network: &File) -> io::Result<Option<Self>> {
        for nodes in Nodes::labs_with(name)? {
            let Some(client) = Client::connect(&nodes, name)? else { continue };
            if client.is_in(network).unwrap_or(false) {
                return Self::of(client.into_process()).map(Some);
            }
        }
        Ok(None)
    }

    fn of(init: Process) -> io::Result<Self> {
        let mut kinds = CloneFlags::CLONE_NEWNET;
        for (_, name, kind) in KINDS {
            if !init.shares(name)? {
                kinds |= kind;
            }
        }
        let has_pid = kinds.contains(CloneFlags::CLONE_NEWPID);
        Ok(Self { init, kinds: kinds - CloneFlags::CLONE_NEWPID, has_pid })
    }

    /// Returns whether only a child of this process can be in the node.
    pub fn needs_child(&self) -> bool {
        self.has_pid
    }

    /// Returns whether the node has mounts of its own.
    pub fn has_mounts(&self) -> bool {
        self.kinds.contains(CloneFlags::CLONE_NEWNS)
    }

    /// Returns the root directory of the node, as this process sees it.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init.number()))
    }

    /// Moves the calling process, which must have a single thread, into the node and its control group. The working directory stays, if the node has it.
    ///
    /// # Errors
    /// Fails if the node has ended, or belongs to another user.
    pub fn enter(&self) -> io::Result<()> {
        let here = std::env::current_dir().ok();
        if let Some(group) = Group::of(&self.init) {
            group.enter()?;
        }
        self.init.move_into(self.kinds)?;
        if let Some(here) = here.filter(|_| self.has_mounts()) {
            // Otherwise it is the root directory.
            let _ = std::env::set_current_dir(here);
        }
        Ok(())
    }

    /// Makes a command start in the node, as a child of this process, which must have a single thread. It is killed if this process ends.
    ///
    /// # Errors
    /// Fails if the node has ended, or its control group is closed to this process.
    pub fn start_inside(self, command: &mut Command) -> io::Result<()> {
        // The reason cannot come from the child.
        Group::of(&self.init).map_or(Ok(()), |group| group.try_enter())?;
        setns(&self.init, CloneFlags::CLONE_NEWPID)?;
        crate::kernel::linux::process::die_with_starter(command);
        // SAFETY: this process has a single thread, so the child finds all locks, such as those of the allocator, released.
        unsafe { command.pre_exec(move || self.enter()) };
        Ok(())
    }
}
