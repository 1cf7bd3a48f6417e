//! What the tests stand on: namespaces of their own, the kernel's features, and programs to act and to look with.

pub mod enter;
pub mod feature;
pub mod fingerprint;
pub mod programs;
pub mod tools;
pub mod user;
pub mod view;

pub use enter::{in_namespaces, with_users};
pub use feature::{Feature, kernel_at_least, lacks, needs, needs_programs, skip};
pub use fingerprint::settled_fingerprint;
pub use programs::command;
pub use tools::{
    apply, assert_no_changes, bridge, command_in, destroy, eventually, example, indices, ip, lab, ping_fails, ping_ok, rounds,
    sh, start_inside, strace, text, topo, traced, until_it_listens,
};
pub use user::User;
pub use view::{assert_view, settled_view, view};
