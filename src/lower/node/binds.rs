//! Binds of nodes.
//!
//! What is below the target of a bind is on the machine. A file or another bind there would have to be made on the machine first, so that
//! is an error.

use std::sync::Arc;

use super::{Lowering, Namespace, place_of_file};
use crate::name::escape;
use crate::resource::node::bind::{Bind, BindSpec};
use crate::resource::node::file::NodePath;
use crate::resource::node::{Part, PartKey};
use crate::yaml::Path;

/// Returns the place of a bind in the lab file.
pub fn place_of_bind(namespace: &Namespace<'_>, target: &NodePath) -> Option<Path> {
    let position = namespace.spec?.binds.iter().position(|bind| bind.target == *target)?;
    Some(namespace.path().then("binds").then(position))
}

impl Lowering<'_, '_> {
    pub(super) fn binds(&mut self) {
        let spec = self.spec;
        for (position, bind) in spec.binds.iter().enumerate() {
            let place = self.path("binds").then(position);
            if let Some((message, hint)) = unsuitable(&bind.target) {
                self.problems.error(place.then("target"), message).hint(hint);
            } else if !self.meets_another(bind, position)
                && !self.meets_a_file(bind, position)
                && let Some(source) = self.source(bind, place)
            {
                let part = Part::Bind(Bind { source, readonly: bind.readonly, is_outdated: false });
                self.add(PartKey::Bind(bind.target.clone()), part);
            }
        }
    }

    /// Returns whether an earlier bind has the same target, or one above or below it.
    fn meets_another(&mut self, bind: &BindSpec, position: usize) -> bool {
        let target = &bind.target;
        let mut earlier = self.spec.binds.iter().take(position).enumerate();
        let found = earlier.find_map(|(position, other)| Some((position, &other.target, Nesting::of(target, &other.target)?)));
        let Some((earlier, other, nesting)) = found else { return false };
        let (message, hint) = match nesting {
            Nesting::Same => (format!("duplicate target `{target}`"), "remove one of the two binds"),
            Nesting::Below => (format!("the target `{target}` is below another one"), SEPARATE_TARGETS),
            Nesting::Above => (format!("the target `{target}` is above another one"), SEPARATE_TARGETS),
        };
        let place = |position: usize| self.path("binds").then(position).then("target");
        let (here, there) = (place(position), place(earlier));
        self.problems.error(here, message).also(there, format!("`{other}` is bound here")).hint(hint);
        true
    }

    /// Returns whether a file is in the place of a bind, above it or below it.
    fn meets_a_file(&mut self, bind: &BindSpec, position: usize) -> bool {
        let (target, namespace) = (&bind.target, self.namespace);
        let mut paths = self.parts.keys().filter_map(|(name, key)| match key {
            PartKey::File(path) if *name == namespace.name => Some(path),
            PartKey::File(_) | PartKey::Node | PartKey::Bind(_) | PartKey::Process(_) => None,
        });
        let found = paths.find_map(|path| Some((path.clone(), Nesting::of(target, path)?)));
        let Some((file, nesting)) = found else { return false };
        let (message, hint) = match nesting {
            Nesting::Same => (format!("`{target}` is both a file and the target of a bind"), "remove one of the two"),
            Nesting::Below => (format!("the target `{target}` is below a file"), "a file contains nothing; use another target"),
            Nesting::Above => (
                format!("the file `{file}` is below the target `{target}`"),
                "it would be written to the machine; put it into the source of the bind, or use another path",
            ),
        };
        let here = self.path("binds").then(position).then("target");
        self.problems.error(here, message).also(place_of_file(namespace, &file), "the file").hint(hint);
        true
    }

    fn source(&mut self, bind: &BindSpec, place: Path) -> Option<Arc<str>> {
        match &bind.resolved {
            _ if bind.source.is_empty() => {
                self.problems
                    .error(place.then("source"), "the source is empty")
                    .hint("write `.` for the directory of the lab file");
                None
            }
            None => Some(bind.source.as_str().into()),
            Some(Ok(path)) => Some(path.clone()),
            Some(Err(message)) => {
                let message = format!("cannot bind `{}`: {message}", escape(&bind.source));
                let problem = self.problems.error(place.then("source"), message);
                if !bind.source.starts_with('/') {
                    problem.hint("a relative path begins at the directory of the lab file");
                }
                None
            }
        }
    }
}

const SEPARATE_TARGETS: &str =
    "what is below a bind is on the machine; arrange the sources in the same way and bind them as one, or use separate targets";

/// How two paths that meet are related.
enum Nesting {
    Same,
    /// The first one is below the second one.
    Below,
    /// The first one is above the second one.
    Above,
}

impl Nesting {
    fn of(path: &NodePath, other: &NodePath) -> Option<Self> {
        let is_below = |path: &NodePath, other: &NodePath| {
            path.as_str().strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        match () {
            () if path == other => Some(Self::Same),
            () if is_below(path, other) => Some(Self::Below),
            () if is_below(other, path) => Some(Self::Above),
            () => None,
        }
    }
}

/// Returns why there can be no bind at a path, and what to do.
fn unsuitable(target: &NodePath) -> Option<(String, &'static str)> {
    let top = target.as_str().split('/').nth(1).unwrap_or_default();
    match (top, target.as_str()) {
        ("proc" | "sys" | "dev", _) => Some((
            format!("`{target}` is in a file system of the kernel; it cannot be a target"),
            "use a target in another directory, such as `/srv` or `/mnt`",
        )),
        (_, "/run") => Some((
            "`/run` is the node's own; it cannot be a target".to_owned(),
            "bind the files and directories that the node needs below `/run`",
        )),
        _ => None,
    }
}
