//! Nodes: inits that keep namespaces, and what is in them.

use std::collections::BTreeSet;

use nix::libc;

use super::network::Network;
use crate::kernel::Errno;
use crate::name::NamespaceName;
use crate::operation::PutPart;
use crate::resource::node::file::File;
use crate::resource::node::{Condition, Node, Part, PartKey, Supervised};

/// Returns a part as if it had read all of its files.
fn fresh(part: &Part) -> Part {
    match part {
        Part::Process(process) => Part::Process(Box::new(Supervised { unread: BTreeSet::new(), ..(**process).clone() })),
        part => part.clone(),
    }
}

impl Network {
    pub(super) fn put_part(&mut self, put: &PutPart) -> Result<(), Errno> {
        let id = (put.namespace.clone(), put.key.clone());
        let is_running = self.node(&put.namespace).is_some_and(|node| node.condition == Condition::Running);
        match (&put.key, &put.over) {
            // An init that has ended is no obstacle.
            (PartKey::Node, None) if is_running => return Err(Errno::new(libc::EEXIST)),
            (PartKey::Node, None) => self.remove_parts(&put.namespace),
            _ if !is_running => return Err(Errno::new(libc::ENOENT)),
            (_, Some(over)) if self.parts.get(&id).map(fresh) != Some(fresh(over)) => return Err(Errno::new(libc::ESTALE)),
            _ => {}
        }
        self.file_changed(&put.namespace, &put.key);
        let mut part = put.part.clone();
        if let (Part::Process(part), Some(Part::Process(before))) = (&mut part, self.parts.get(&id)) {
            // A process that was removed before is started.
            let depends = |file: &&String| !put.reload && part.definition.reload_on.contains(*file);
            part.unread = before.unread.iter().filter(depends).cloned().collect();
        }
        self.parts.insert(id, part);
        Ok(())
    }

    pub(super) fn remove_part(&mut self, namespace: &NamespaceName, key: &PartKey) {
        self.file_changed(namespace, key);
        match key {
            PartKey::Node => self.remove_parts(namespace),
            PartKey::File(_) | PartKey::Bind(_) | PartKey::Process(_) => {
                self.parts.remove(&(namespace.clone(), key.clone()));
            }
        }
    }

    /// Takes notice of a changed file or bind: processes that depend on it must read it again.
    fn file_changed(&mut self, namespace: &NamespaceName, key: &PartKey) {
        let (PartKey::File(path) | PartKey::Bind(path)) = key else { return };
        for ((other, _), part) in &mut self.parts {
            if let Part::Process(process) = part
                && other == namespace
                && process.defect.is_none()
                && process.definition.reload_on.contains(path.as_str())
            {
                process.unread.insert(path.to_string());
            }
        }
    }

    fn node(&self, namespace: &NamespaceName) -> Option<&Node> {
        match self.parts.get(&(namespace.clone(), PartKey::Node)) {
            Some(Part::Node(node)) => Some(node),
            Some(_) | None => None,
        }
    }

    fn remove_parts(&mut self, namespace: &NamespaceName) {
        self.parts.retain(|(other, _), _| other != namespace);
    }

    fn set_condition(&mut self, namespace: &NamespaceName, condition: Condition) {
        if let Some(Part::Node(node)) = self.parts.get_mut(&(namespace.clone(), PartKey::Node)) {
            node.condition = condition;
        }
    }

    /// The network namespace of a node loses its name. An init keeps it.
    pub(super) fn detach_node(&mut self, namespace: &NamespaceName) {
        self.set_condition(namespace, Condition::Detached);
    }

    /// Kills the init of a node, if there is one. Everything in the node is gone.
    pub fn kill_init(&mut self, namespace: &NamespaceName) {
        self.set_condition(namespace, Condition::Ended);
        self.parts.retain(|(other, key), _| other != namespace || *key == PartKey::Node);
    }

    /// Unmounts a bind inside of a node, if the node has it.
    pub fn unmount(&mut self, namespace: &NamespaceName, target: &str) {
        let Ok(target) = target.parse() else { return };
        self.parts.remove(&(namespace.clone(), PartKey::Bind(target)));
    }

    /// Puts other files and directories in the place of the sources of all binds.
    pub fn replace_sources(&mut self) {
        for part in self.parts.values_mut() {
            if let Part::Bind(bind) = part {
                bind.is_outdated = true;
            }
        }
    }

    /// Writes a file inside of a node, if the node has it.
    pub fn write_file(&mut self, namespace: &NamespaceName, path: &str, text: &str) {
        let Ok(path) = path.parse() else { return };
        if let Some(Part::File(file)) = self.parts.get_mut(&(namespace.clone(), PartKey::File(path))) {
            *file = File { mode: file.mode, owner: file.owner, ..File::new(text.as_bytes()) };
        }
    }

    /// Stops a process of a node, if the node has it.
    pub fn stop_process(&mut self, namespace: &NamespaceName, name: &str) {
        let Ok(name) = name.parse() else { return };
        if let Some(Part::Process(process)) = self.parts.get_mut(&(namespace.clone(), PartKey::Process(name))) {
            process.defect = Some("it was stopped".to_owned());
        }
    }
}
