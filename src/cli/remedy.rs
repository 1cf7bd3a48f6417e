//! What the user can do about an operation that the kernel refused, where the error alone does not say.

use std::io;

use nix::errno::Errno;

use super::wait;
use crate::apply::ApplyError;
use crate::diff::Change;
use crate::kernel::ExecuteError;
use crate::kernel::linux::inet6;
use crate::kernel::linux::procfs::{self, Problem};
use crate::operation::Operation;
use crate::plan::Plan;
use crate::resource::node::PartKey;

/// The kernel's text for a kind of link that it does not have, and has no module for.
const UNKNOWN_KIND: &str = "Unknown device type";
/// The same for a queueing discipline.
const UNKNOWN_QDISC: &str = "Specified qdisc kind is unknown";

/// A hint, and the cause if the error hides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// The cause, as a clause.
    pub cause: Option<String>,
    /// What to do.
    pub hint: String,
}

impl From<Problem> for Remedy {
    fn from(Problem { cause, remedy }: Problem) -> Self {
        Self { cause: Some(cause), hint: remedy }
    }
}

/// Finds the remedy for a failed plan.
pub fn find(error: &ApplyError, plan: &Plan) -> Option<Remedy> {
    if let ApplyError::Unverified { remains, .. } = error
        && remains.changes.iter().flat_map(Change::fields).any(|field| field.name == "dad")
    {
        return Some(only(wait::DUPLICATE_HINT));
    }
    let ApplyError::Execute { source: ExecuteError::Operation(error), .. } = error else { return None };
    let operation = &plan.steps.get(error.position)?.operation;
    let errno = Errno::from_raw(error.source.number);
    match operation {
        Operation::WriteSysctl { key, .. } => of_sysctl(key.path(), errno),
        Operation::CreateLink(new) if errno == Errno::EOPNOTSUPP && error.source.message.as_deref() == Some(UNKNOWN_KIND) => {
            let module = new.link.kind.module().unwrap_or_else(|| new.link.kind.name());
            Some(only(&format!(
                "load the kernel module `{module}` as root (`modprobe {module}`), or install a kernel that has it"
            )))
        }
        Operation::CreateLink(_) if errno == Errno::EACCES => {
            Some(only("a port below 1024 needs CAP_NET_BIND_SERVICE, which this process does not have"))
        }
        Operation::Put(_) if errno == Errno::ENOENT && error.source.message.as_deref() == Some(UNKNOWN_QDISC) => Some(only(
            "load the kernel module `sch_netem` as root (`modprobe sch_netem`), or use a kernel with CONFIG_NET_SCH_NETEM",
        )),
        // Nothing else of an object needs a permission that the namespace's administrator lacks (`ipv6_add_addr`, `fib6_nh_init`).
        Operation::Put(_) if errno == Errno::EACCES => Some(only(
            "IPv6 is disabled there: set the sysctl `ipv6.disable_ipv6: 0` of the interface in the lab file, or with sysctl(8)",
        )),
        Operation::CreateLink(_) | Operation::Put(_) if matches!(errno, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {
            inet6::problem().map(Remedy::from)
        }
        Operation::CreateLink(_)
        | Operation::Put(_)
        | Operation::CreateNamespace(_)
        | Operation::CreateUserNamespace(_)
        | Operation::DeleteNamespace(_)
        | Operation::ChangeLink(_)
        | Operation::DeleteLink(_)
        | Operation::DeleteLinkGroup(_)
        | Operation::Restore(_)
        | Operation::RestoreEntry(..)
        | Operation::RemovePart(..)
        | Operation::Remove(_) => None,
        Operation::PutPart(put) => match put.key {
            PartKey::Bind(_) => of_bind(errno).or_else(|| of_node(errno)),
            PartKey::Node | PartKey::File(_) | PartKey::Process(_) => of_node(errno),
        },
    }
}

/// The remedies for what the system refuses to a node. Its own words tell the step.
fn of_node(errno: Errno) -> Option<Remedy> {
    match errno {
        Errno::EPERM => Some(only(
            "the kernel refuses that step here: in a container or a sandbox /proc may be masked, or a capability be missing; leave the kind of namespace out of `isolation`, or run as root of the machine",
        )),
        Errno::EROFS => Some(only("the machine has no such directory; files and binds need one directly below `/`")),
        Errno::ENODEV => {
            Some(only("load the kernel module `overlay` as root (`modprobe overlay`), or install a kernel that has it"))
        }
        Errno::ENOSPC => Some(only("raise the limits below /proc/sys/user, such as `max_pid_namespaces`")),
        _ => None,
    }
}

/// The remedies for what the system refuses to a bind.
fn of_bind(errno: Errno) -> Option<Remedy> {
    match errno {
        Errno::ENOSYS => Some(only("binds need Linux 5.12 or later")),
        Errno::ENOTDIR => Some(only("the source is a directory, and the target is none; use another target")),
        Errno::EISDIR => {
            Some(only("the target is a directory, and the source is none; append the name of the file to the target"))
        }
        Errno::EPERM | Errno::EINVAL => Some(only(
            "in a user namespace, the kernel refuses to cover a directory with mounts below it; use a target that exists on the machine, or one in another directory, such as `/srv` or `/tmp`",
        )),
        Errno::EACCES => Some(only(
            "every directory above the source must be open to the user who runs topo, without the powers of root over files",
        )),
        _ => None,
    }
}

fn only(hint: &str) -> Remedy {
    Remedy { cause: None, hint: hint.to_owned() }
}

fn of_sysctl(path: &str, errno: Errno) -> Option<Remedy> {
    if let Some(problem) = procfs::problem(io::Error::from(errno).kind()) {
        return Some(problem.into());
    }
    match errno {
        Errno::ENOENT => {
            let problem = if path.starts_with("net/ipv6/") { inet6::problem() } else { None };
            let unknown = || only("this kernel has no such setting, or not in network namespaces; check its name");
            Some(problem.map_or_else(unknown, Remedy::from))
        }
        Errno::EACCES | Errno::EPERM => Some(only("this setting is read-only, or only root of the whole machine may write it")),
        _ => None,
    }
}
