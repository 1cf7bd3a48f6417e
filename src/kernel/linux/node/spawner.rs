//! The spawner: a process that starts inits. It is a new copy of this program, so that it is small and has a single thread, and each
//! init is a copy of it.
//!
//! Its standard input is a socket for orders and outcomes. A command starts it before it drops its privileges: what runs in a node needs
//! those of root. Inits keep the lab's lock until they are found by their sockets. So a command that comes after this one was killed waits
//! for those that are still coming.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::{ForkResult, fork, pipe, read};
use serde::{Deserialize, Serialize};

use super::datagram::{self, receive, send};
use super::directory::Nodes;
use super::init::NewInit;
use super::protocol::Refusal;
use super::{KINDS, cgroup, logs, mounts, title};
use crate::kernel::Errno as KernelErrno;
use crate::kernel::linux::process::Process;
use crate::kernel::linux::system::{isolate, netns, process};
use crate::name::{LabName, NamespaceName};
use crate::resource::node::Node;
use crate::resource::node::isolation::{Isolation, NamespaceKind};

/// The arguments with which the program runs as a spawner.
pub const ARGUMENTS: [&str; 2] = ["node", "spawn"];
/// How long a step may take, in milliseconds.
const TIMEOUT: u16 = 20_000;

/// What the spawner is asked for.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Use what comes with the order: the directories of the inits' sockets and logs, and the lab's lock, if there is one.
    Use,
    /// Let the inits end with the process whose descriptor comes with the order.
    EndWith,
    /// Start an init in the network namespace whose descriptor comes with the order.
    Init { lab: LabName, name: NamespaceName, node: Node },
    /// Make a network namespace that a user namespace of its own owns.
    Network { name: NamespaceName },
}

/// What became of an order. The descriptor of a new network namespace comes with it.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    name: NamespaceName,
    refusal: Option<Refusal>,
}

/// The spawner, as seen by the process that started it.
pub struct Spawner {
    socket: OwnedFd,
    child: Child,
    is_ready: bool,
}

impl Spawner {
    /// Starts a spawner. Its inits end with the holder of the sandbox, if there is one.
    ///
    /// # Errors
    /// Fails if there are no more processes or descriptors.
    pub fn start(holder: Option<&Process>) -> io::Result<Self> {
        let (socket, theirs) = datagram::pair()?;
        // This works even if the program's file was replaced.
        let mut command = Command::new("/proc/self/exe");
        // Inits write their titles over the arguments.
        command.arg0("topo").args(ARGUMENTS).arg(" ".repeat(title::LENGTH)).env_clear();
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        let spawner = Self { socket, child: command.spawn()?, is_ready: false };
        if let Some(holder) = holder {
            send(spawner.socket.as_fd(), &Order::EndWith, &[holder.as_fd()])?;
        }
        Ok(spawner)
    }

    /// Gives it the directories of the inits' sockets and logs, and the lab's lock, if it does not have them yet.
    ///
    /// # Errors
    /// Fails if the directory cannot be used, or the spawner has ended.
    pub fn provide(&mut self, lab: &LabName, lock: Option<&OwnedFd>) -> io::Result<()> {
        if !self.is_ready {
            let directory = Nodes::open_or_create(lab)?.descriptor()?;
            let logs = logs::open_or_create(lab)?;
            let descriptors = [Some(directory.as_fd()), Some(logs.as_fd()), lock.map(AsFd::as_fd)];
            let descriptors: Vec<_> = descriptors.into_iter().flatten().collect();
            send(self.socket.as_fd(), &Order::Use, &descriptors)?;
            self.is_ready = true;
        }
        Ok(())
    }

    /// Begins to start an init in a network namespace.
    ///
    /// # Errors
    /// Fails if the spawner has ended.
    pub fn begin(&self, lab: &LabName, name: &NamespaceName, node: &Node, network: BorrowedFd<'_>) -> io::Result<()> {
        let order = Order::Init { lab: lab.clone(), name: name.clone(), node: node.clone() };
        send(self.socket.as_fd(), &order, &[network])
    }

    /// Waits until a begun init is ready or has failed. Returns its name.
    ///
    /// # Errors
    /// Fails if the spawner has ended, or nothing happens for a long time.
    pub fn finish(&self) -> io::Result<(NamespaceName, Result<(), KernelErrno>)> {
        let (outcome, _) = self.outcome()?;
        Ok((outcome.name, outcome.refusal.map_or(Ok(()), |refusal| Err(refusal.into()))))
    }

    /// Makes a network namespace that a user namespace of its own owns.
    ///
    /// # Errors
    /// Fails if the system refuses it.
    pub fn network(&self, name: &NamespaceName) -> Result<File, KernelErrno> {
        let failed = |error: io::Error| KernelErrno::from(&error);
        send(self.socket.as_fd(), &Order::Network { name: name.clone() }, &[]).map_err(failed)?;
        let (outcome, descriptors) = self.outcome().map_err(failed)?;
        match (outcome.refusal, descriptors.into_iter().next()) {
            (None, Some(descriptor)) => Ok(File::from(descriptor)),
            (Some(refusal), _) => Err(refusal.into()),
            (None, None) => Err(KernelErrno::new(libc::EBADMSG)),
        }
    }

    fn outcome(&self) -> io::Result<(Outcome, Vec<OwnedFd>)> {
        loop {
            match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], PollTimeout::from(TIMEOUT)) {
                Ok(0) => return Err(Errno::ETIMEDOUT.into()),
                Err(Errno::EINTR) => {}
                other => {
                    other?;
                    return receive(self.socket.as_fd())?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// Runs as the spawner until the process that started it ends or has no more orders. Returns in the spawner, and in an init when that ends.
pub fn run() {
    let role = Server::open().map(|mut server| server.serve());
    if let Ok(Role::Spawner) = role {
        // The process that started it may not: the root of the hierarchy is read-only for whoever has dropped CAP_DAC_OVERRIDE.
        cgroup::clean_up();
    }
}

/// The spawner, from inside.
struct Server {
    orders: Option<OwnedFd>,
    directory: Option<OwnedFd>,
    logs: Option<OwnedFd>,
    lock: Option<OwnedFd>,
    /// The holder of the sandbox.
    holder: Option<OwnedFd>,
    /// The mount namespace of the machine, once the spawner has left it.
    machine: Option<File>,
    /// The PID namespace of the spawner, if its children can be started in another one and in this one again.
    processes: Option<File>,
}

impl Server {
    /// Takes over the descriptors, and gives up the rest of what was inherited.
    fn open() -> io::Result<Self> {
        process::close_from(3)?;
        let orders = io::stdin().as_fd().try_clone_to_owned()?;
        process::detach()?;
        process::leave_no_zombies()?;
        // In a sandbox that shares the processes of the machine, the kernel refuses to return: others own their namespace.
        let processes = File::open("/proc/self/ns/pid").ok().filter(|own| setns(own, CloneFlags::CLONE_NEWPID).is_ok());
        Ok(Self { orders: Some(orders), directory: None, logs: None, lock: None, holder: None, machine: None, processes })
    }

    fn serve(&mut self) -> Role {
        while let Some(Ok(Some((order, descriptors)))) = self.orders.as_ref().map(|orders| receive(orders.as_fd())) {
            let mut descriptors = descriptors.into_iter();
            let (name, done) = match order {
                Order::Use => {
                    (self.directory, self.logs, self.lock) = (descriptors.next(), descriptors.next(), descriptors.next());
                    continue;
                }
                Order::EndWith => {
                    self.holder = descriptors.next();
                    continue;
                }
                Order::Init { lab, name, node } => (name.clone(), self.start_init(lab, name, node, descriptors.next())),
                Order::Network { name } => (name.clone(), self.make_network(&name)),
            };
            match done {
                Ok(Role::Spawner) => {}
                Ok(Role::Copy) => return Role::Copy,
                Err(refusal) => self.report(&name, Err(refusal)),
            }
        }
        Role::Spawner
    }

    /// Tells what became of an order, with the descriptor that was asked for.
    fn report(&self, name: &NamespaceName, outcome: Result<Option<&File>, Refusal>) {
        let Some(orders) = &self.orders else { return };
        let (descriptor, refusal) = match outcome {
            Ok(descriptor) => (descriptor.map(AsFd::as_fd), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let _ = send(orders.as_fd(), &Outcome { name: name.clone(), refusal }, descriptor.as_slice());
    }

    fn start_init(&mut self, lab: LabName, name: NamespaceName, node: Node, network: Option<OwnedFd>) -> Result<Role, Refusal> {
        let missing = || Refusal::new("find the node's directory and network", &Errno::EBADF.into());
        let [directory, logs] = [&self.directory, &self.logs].map(|kept| {
            let kept = kept.as_ref().ok_or_else(missing)?;
            kept.try_clone().map_err(|_| missing())
        });
        let (directory, logs) = (directory?, logs?);
        let network = network.ok_or_else(missing)?;
        if node.isolation.has(NamespaceKind::Mount) && self.machine.is_none() {
            let machine = File::open("/proc/self/ns/mnt").and_then(|machine| mounts::copy().map(|()| machine));
            self.machine = Some(machine.map_err(|error| Refusal::new("copy the mounts", &error))?);
        }
        let isolation = &node.isolation;
        // Only children are in a new PID namespace, and have new clocks. The spawner can make the former for a child, if no new user namespace
        // is to own it: one process less for each init.
        let needs_second = isolation.has(NamespaceKind::User) || isolation.has(NamespaceKind::Time) || self.processes.is_none();
        let made = if needs_second { CloneFlags::empty() } else { flags(isolation) & CloneFlags::CLONE_NEWPID };
        if !self.fork_into(made)? {
            return Ok(Role::Spawner);
        }
        let entered =
            limit(&lab, &name, &node, &network).and_then(|()| self.enter(&node, &network, flags(&node.isolation) - made));
        drop(network);
        match entered.and_then(|()| if needs_second { fork_copy() } else { Ok(true) }) {
            Ok(false) => {}
            Ok(true) => self.serve_node(NewInit { lab, name, node, directory, logs }),
            Err(refusal) => self.report(&name, Err(refusal)),
        }
        Ok(Role::Copy)
    }

    /// Forks into new namespaces. Returns true in the copy.
    fn fork_into(&mut self, new: CloneFlags) -> Result<bool, Refusal> {
        let Some(own) = self.processes.as_ref().filter(|_| !new.is_empty()) else { return fork_copy() };
        unshare(new).map_err(|error| Refusal::new("create namespaces", &error.into()))?;
        let forked = fork_copy();
        if !matches!(forked, Ok(true)) && setns(own, CloneFlags::CLONE_NEWPID).is_err() {
            // Other inits must not get into that namespace.
            self.orders = None;
        }
        forked
    }

    /// Becomes an init, and returns when the node ends.
    fn serve_node(&mut self, new: NewInit) {
        let name = new.name.clone();
        let ready = new.start();
        self.report(&name, ready.as_ref().map(|_| None).map_err(Refusal::clone));
        if let Ok(mut init) = ready {
            self.orders = None;
            init.end_with(self.holder.take());
            (self.lock, self.directory, self.logs, self.machine, self.processes) = (None, None, None, None, None);
            init.run();
        }
    }

    /// Enters the network namespace, and these new namespaces.
    fn enter(&self, node: &Node, network: &OwnedFd, new: CloneFlags) -> Result<(), Refusal> {
        let refused = |step: &'static str| move |error: io::Error| Refusal::new(step, &error);
        let isolation = &node.isolation;
        // SAFETY: a disposition that is no function of this program. An init waits for its children.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.map_err(io::Error::from).map_err(refused("wait for processes"))?;
        if let (Some(machine), false) = (&self.machine, isolation.has(NamespaceKind::Mount)) {
            setns(machine, CloneFlags::CLONE_NEWNS).map_err(io::Error::from).map_err(refused("enter the mount namespace"))?;
        }
        if isolation.has(NamespaceKind::User) {
            let owner = netns::owner_of(network).and_then(|owner| owner.ok_or_else(|| Errno::EPERM.into()));
            let owner = owner.map_err(refused("find the user namespace"))?;
            setns(owner, CloneFlags::CLONE_NEWUSER).map_err(io::Error::from).map_err(refused("enter the user namespace"))?;
        }
        let entered = setns(network, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
        entered.map_err(refused("enter the network namespace"))?;
        unshare(new).map_err(io::Error::from).map_err(refused("create namespaces"))?;
        if isolation.has(NamespaceKind::Time) {
            std::fs::write("/proc/self/timens_offsets", node.time.lines()).map_err(refused("set the clocks"))?;
        }
        Ok(())
    }

    /// Makes a network namespace in a user namespace. The copy that makes it cannot map its own IDs.
    fn make_network(&mut self, name: &NamespaceName) -> Result<Role, Refusal> {
        let refused = |step: &'static str| move |error: io::Error| Refusal::new(step, &error);
        let system = |error: Errno| refused("create a user namespace")(error.into());
        let (left, leaving) = pipe().map_err(system)?;
        let (mapped, mapping) = pipe().map_err(system)?;
        // SAFETY: the spawner has a single thread, so the child finds all locks released.
        match unsafe { fork() }.map_err(system)? {
            ForkResult::Parent { child } => {
                drop((leaving, mapped));
                // The end of file if the copy has failed, which it has reported then.
                if read(&left, &mut [0]).is_ok_and(|length| length > 0) {
                    isolate::map(child.as_raw()).map_err(refused("map the users"))?;
                    let _ = nix::unistd::write(&mapping, b"m");
                }
                Ok(Role::Spawner)
            }
            ForkResult::Child => {
                drop((left, mapping));
                let made = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
                let made = made.map_err(refused("create a user namespace")).and_then(|()| {
                    let _ = nix::unistd::write(&leaving, b"l");
                    match read(&mapped, &mut [0]) {
                        Ok(1) => File::open("/proc/self/ns/net").map_err(refused("open the network namespace")),
                        _ => Err(refused("map the users")(Errno::EPERM.into())),
                    }
                });
                match made {
                    Ok(network) => self.report(name, Ok(Some(&network))),
                    Err(refusal) => self.report(name, Err(refusal)),
                }
                Ok(Role::Copy)
            }
        }
    }
}

/// Moves the calling process into the control group of a node with limits. A cgroup namespace that it makes later begins there.
fn limit(lab: &LabName, name: &NamespaceName, node: &Node, network: &OwnedFd) -> Result<(), Refusal> {
    if node.limits.is_empty() {
        return Ok(());
    }
    let status = nix::sys::stat::fstat(network).map_err(|error| Refusal::new("find the network namespace", &error.into()))?;
    cgroup::create(lab, name, status.st_ino, node.limits)
}

/// What a process is after it has forked.
enum Role {
    /// Still the spawner.
    Spawner,
    /// A copy, which must end.
    Copy,
}

/// Forks. Returns true in the copy.
fn fork_copy() -> Result<bool, Refusal> {
    // SAFETY: the spawner has a single thread, so the child finds all locks released.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { .. }) => Ok(false),
        Ok(ForkResult::Child) => Ok(true),
        Err(error) => Err(Refusal::new("start a process", &error.into())),
    }
}

/// Returns the flags of the new namespaces, apart from that of users.
fn flags(isolation: &Isolation) -> CloneFlags {
    let new = KINDS.into_iter().filter(|(kind, ..)| *kind != NamespaceKind::User && isolation.has(*kind));
    new.fold(CloneFlags::empty(), |flags, (.., flag)| flags | flag)
}

/// Returns whether another user namespace than that of this process owns a network namespace.
///
/// # Errors
/// Fails if the owner cannot be found. That of an outer user namespace counts as another one.
pub fn has_own_user(network: &File) -> io::Result<bool> {
    match netns::owner_of(network)? {
        Some(owner) => Ok(process::identity("/proc/self/ns/user")? != process::identity_of(&owner)?),
        None => Ok(true),
    }
}
