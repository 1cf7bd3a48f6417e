//! Looks up users and groups in /etc/passwd and /etc/group of the node.
//!
//! The functions of the C library would load modules (NSS) into the init and ask services of the machine, and the node's own files would
//! not decide.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use crate::resource::node::process::User;

/// What a process gets from its user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// `HOME`, `LOGNAME`, `SHELL` and `USER`, as far as /etc/passwd has them.
    pub variables: Vec<(&'static str, String)>,
}

/// A user or a group does not exist.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookUpError {
    #[error("needs the user `{0}`, who is not in /etc/passwd of the node")]
    NoUser(String),
    #[error("needs the group `{0}`, which is not in /etc/group of the node")]
    NoGroup(String),
    #[error("cannot read {0} of the node")]
    Read(&'static str, #[source] io::Error),
}

/// A line of /etc/passwd, passwd(5).
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
    shell: String,
}

/// Looks up a user. A number that /etc/passwd does not have gets the group of the same number, unless a group is given.
pub(super) fn look_up(user: &User) -> Result<Identity, LookUpError> {
    let number = user.user.parse::<u32>().ok();
    let account = account(&user.user, number)?;
    let uid = account.as_ref().map(|account| account.uid).or(number);
    let uid = uid.ok_or_else(|| LookUpError::NoUser(user.user.clone()))?;
    let (gid, groups) = match &user.group {
        Some(group) => (group_number(group)?, Vec::new()),
        None => match &account {
            Some(account) => (account.gid, memberships(&account.name)?),
            None => (uid, Vec::new()),
        },
    };
    let variables = account.map_or_else(Vec::new, |Account { name, home, shell, .. }| {
        vec![("HOME", home), ("LOGNAME", name.clone()), ("SHELL", shell), ("USER", name)]
    });
    Ok(Identity { uid, gid, groups, variables: variables.into_iter().filter(|(_, value)| !value.is_empty()).collect() })
}

fn account(name: &str, number: Option<u32>) -> Result<Option<Account>, LookUpError> {
    find("/etc/passwd", |line| {
        let mut fields = line.split(':');
        let (found, uid) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        let gid = fields.next()?.parse().ok()?;
        let (home, shell) = (fields.nth(1)?.to_owned(), fields.next()?.to_owned());
        let wanted = number.map_or(found == name, |number| number == uid);
        wanted.then(|| Account { name: found.to_owned(), uid, gid, home, shell })
    })
}

fn group_number(group: &str) -> Result<u32, LookUpError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let number = find("/etc/group", |line| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
    })?;
    number.ok_or_else(|| LookUpError::NoGroup(group.to_owned()))
}

/// Returns the groups that list the user, group(5).
fn memberships(user: &str) -> Result<Vec<u32>, LookUpError> {
    let mut groups = Vec::new();
    find("/etc/group", |line| {
        let mut fields = line.split(':').skip(2);
        let number = fields.next()?.parse().ok()?;
        if fields.next()?.split(',').any(|member| member == user) {
            groups.push(number);
        }
        None::<()>
    })?;
    Ok(groups)
}

/// Returns the first line that `read` accepts. A file that does not exist has no lines.
fn find<T>(path: &'static str, mut read: impl FnMut(&str) -> Option<T>) -> Result<Option<T>, LookUpError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| LookUpError::Read(path, error))?,
    };
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|error| LookUpError::Read(path, error))?;
        if let Some(found) = read(&String::from_utf8_lossy(&line)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(user: &str, group: Option<&str>) -> User {
        User { user: user.to_owned(), group: group.map(str::to_owned) }
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = look_up(&user("root", None)).unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.variables.contains(&("USER", "root".to_owned())), "{root:?}");
        assert_eq!(look_up(&user("0", None)).unwrap(), root);
        let with_group = look_up(&user("0", Some("7"))).unwrap();
        assert_eq!((with_group.uid, with_group.gid, with_group.groups), (0, 7, vec![]));
    }

    #[test]
    fn an_unknown_number_has_its_own_group_and_an_unknown_name_is_an_error() {
        let unknown = look_up(&user("4000000", None)).unwrap();
        assert_eq!((unknown.uid, unknown.gid, unknown.variables), (4_000_000, 4_000_000, vec![]));
        assert!(matches!(look_up(&user("no-such-user", None)), Err(LookUpError::NoUser(_))));
        assert!(matches!(look_up(&user("root", Some("no-such-group"))), Err(LookUpError::NoGroup(_))));
    }
}
