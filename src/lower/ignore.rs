//! What others may add or change: the lists `ignore` of namespaces and interfaces.

use super::interface::{Interface, Table};
use crate::resource::ignore::{Ignore, Ignored};
use crate::resource::object::Object;
use crate::resource::rule::Rule;
use crate::yaml::Path;
use crate::yaml::problem::Problems;

/// Returns what is ignored in all namespaces.
pub(super) fn lower(table: &Table<'_>, problems: &mut Problems) -> Ignore {
    let mut ignore = Ignore::default();
    for namespace in table.values() {
        for (index, word) in namespace.spec.iter().flat_map(|spec| &spec.ignore).enumerate() {
            if !namespace.is_owned() {
                check_in_host(&namespace.path().then("ignore").then(index), *word, problems);
            }
            ignore.add(&namespace.name, None, *word);
        }
        for interface in namespace.interfaces.values() {
            for (path, word) in interface.ignored() {
                check(interface, &path, word, problems);
                if !namespace.is_owned() {
                    check_in_host(&path, word, problems);
                }
                ignore.add(&namespace.name, Some(interface.id.name), word);
            }
        }
    }
    ignore
}

/// Reports what others may add in `host` anyway.
fn check_in_host(path: &Path, word: Ignored, problems: &mut Problems) {
    if !word.is_link_setting() {
        let message = format!("`{}` of `host` cannot be ignored", word.word());
        problems.error(path.clone(), message).hint("remove it; in `host` topo manages only what the lab declares");
    }
}

/// Reports what cannot be ignored at an interface.
fn check(interface: &Interface<'_>, path: &Path, word: Ignored, problems: &mut Problems) {
    let (id, word) = (&interface.id, word.word());
    if word == Rule::LIST {
        let problem = problems.error(path.clone(), format!("`{word}` belong to the namespace, not to `{id}`"));
        problem.hint(format!("move it to `ignore` of the namespace `{}`", id.namespace));
    } else if interface.declares(word) {
        let problem = problems.error(path.clone(), format!("`{word}` of `{id}` is both set and ignored"));
        problem.also(interface.setting_path(word), "set here").hint("remove one of the two");
    }
}
