//! The spawner of nodes, started while this process still has all of its privileges.

use super::environment::Environment;
use super::error::Failure;
use crate::kernel::linux::node::Nodes;
use crate::kernel::linux::node::spawner::Spawner;
use crate::spec::prescan;

/// Starts a spawner, if the text of a lab file may ask for nodes, or nodes exist, which a rollback may have to start again.
pub fn prepare(text: &str, environment: &Environment) -> Result<Option<Spawner>, Failure> {
    let is_needed = prescan::may_have_nodes(text) || Nodes::exist();
    let holder = match environment {
        Environment::Sandbox { sandbox, .. } => sandbox.holder(),
        Environment::Machine => None,
    };
    let start = || Spawner::start(holder).map_err(|error| Failure::with_cause("cannot start a process for the nodes", error));
    is_needed.then(start).transpose()
}
