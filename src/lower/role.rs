//! What an interface is: the end of a link, `lo`, external, or of the one kind that its section names.

use super::interface::Interface;
use crate::resource::link::Kind;
use crate::resource::link::kind::with_article;
use crate::resource::link::loopback::Loopback;
use crate::spec::file::InterfaceSpec;
use crate::yaml::Path;
use crate::yaml::document::Subtree;
use crate::yaml::problem::{Problems, keys, link_ends, whole};
use crate::yaml::suggest::list;

/// What makes an interface what it is.
#[derive(Clone, Copy)]
enum Role {
    /// It is the end of a link.
    End,
    /// It is `lo`.
    Loopback,
    /// Others make it.
    External,
    /// Its section says it.
    Kind,
}

/// Gives an interface its kind, and refuses what does not go with what it is.
pub(super) fn choose_kind(interface: &mut Interface<'_>, owned: bool, problems: &mut Problems) {
    check_name(interface, problems);
    let external = interface.section.is_some_and(|section| section.external == Some(true));
    let role = match (&interface.end, interface.id.name.is_loopback()) {
        (Some(_), _) => Role::End,
        (None, true) => Role::Loopback,
        (None, false) if external => Role::External,
        (None, false) => Role::Kind,
    };
    if external {
        check_external(interface, role, owned, problems);
    }
    let mut kinds = interface.section.map(InterfaceSpec::kinds).unwrap_or_default();
    match role {
        Role::Kind => choose_of(interface, &mut kinds, owned, problems),
        Role::End => {}
        Role::Loopback => {
            interface.link.kind = Loopback.into();
            interface.link.external = !owned;
        }
        Role::External => interface.link.external = !owned,
    }
    if let (Some(what), Some((key, _))) = (role.excludes_kinds(), kinds.first()) {
        let message = format!("`{}` is {what} and cannot also be {}", interface.id, with_article(key));
        let problem = problems.error(interface.section_path().then(*key), message);
        problem.hint(format!("remove `{key}`"));
        if let Some(end) = &interface.end {
            problem.also(end.path(), "the link");
        }
    }
}

impl Role {
    fn excludes_kinds(self) -> Option<&'static str> {
        match self {
            Self::End => Some("an endpoint of a link"),
            Self::Loopback => Some("the loopback interface"),
            Self::External => Some("external (created outside the lab)"),
            Self::Kind => None,
        }
    }
}

fn check_external(interface: &Interface<'_>, role: Role, owned: bool, problems: &mut Problems) {
    let path = interface.section_path().then("external");
    if owned {
        let problem = problems.error(path, "only interfaces of `host` can be external");
        problem.hint("remove `external`; the namespaces of a lab contain only what the lab declares");
    } else if let Role::End = role {
        problems
            .error(path, format!("`{}` is an endpoint of a link and cannot be external", interface.id))
            .hint("remove `external`");
    }
}

/// Takes the one kind that the section names.
fn choose_of(interface: &mut Interface<'_>, kinds: &mut Vec<(&'static str, Kind)>, owned: bool, problems: &mut Problems) {
    let path = interface.section_path();
    if let [(first, _), (second, _), ..] = kinds.as_slice() {
        let message = format!("`{}` cannot be both {} and {}", interface.id, with_article(first), with_article(second));
        problems.error(path.clone().then(*second), message).also(path.clone().then(*first), "the other kind");
    }
    if kinds.is_empty() {
        no_kind(interface, path, owned, problems);
    } else {
        interface.link.kind = kinds.swap_remove(0).1;
    }
}

fn no_kind(interface: &Interface<'_>, path: Path, owned: bool, problems: &mut Problems) {
    let message = format!("interface `{}` is undefined", interface.id);
    let problem = problems.error(path.clone(), message).needs(link_ends());
    problem.needs(Subtree { only: InterfaceSpec::KINDS, ..keys(path.clone()) }).needs(whole(path.then("external")));
    let kinds = list(InterfaceSpec::KINDS.iter().copied());
    let external = if owned { "" } else { ", or `external: true` if it exists already" };
    problem.hint(format!("set one of {kinds}{external}, or make it an endpoint under `links`"));
}

fn check_name(interface: &Interface<'_>, problems: &mut Problems) {
    let name = interface.id.name.as_str();
    if name == "all" || name == "default" {
        let message = format!("`{name}` is not a valid interface name");
        let problem = problems.error(interface.path(), message);
        problem.hint("the kernel reserves `all` and `default` for sysctls; choose another name");
    }
}
