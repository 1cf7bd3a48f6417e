//! Several commands at once.

use super::super::harness::{User, rounds, with_users};
use super::{PAIR, alone};

#[test]
fn two_first_commands_make_one_sandbox() {
    with_users(|| {
        let user = User::new();
        let files: Vec<_> = (0..4).map(|n| user.file(&format!("{n}.yaml"), &alone(&format!("lab{n}")))).collect();
        for _ in 0..rounds(15) {
            let children: Vec<_> = files.iter().map(|file| user.start(&["apply", file])).collect();
            let mut made = 0;
            for child in children {
                let output = child.wait_with_output().unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{stderr}");
                made += stderr.matches("Created sandbox").count();
            }
            assert_eq!((made, user.keepers().len()), (1, 1));
            if user.number().is_some() {
                assert_eq!(user.sandbox_processes(), user.keepers());
            }
            let children: Vec<_> = (0..4).map(|n| user.start(&["destroy", &format!("lab{n}")])).collect();
            let mut ended = 0;
            for child in children {
                let output = child.wait_with_output().unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{stderr}");
                ended += stderr.matches("it has no labs left").count();
            }
            assert_eq!(ended, 1);
            user.assert_nothing_left();
        }
    });
}

#[test]
fn the_last_destroy_and_a_new_apply_leave_the_new_lab() {
    with_users(|| {
        let user = User::new();
        let (pair, other) = (user.file("pair.yaml", PAIR), user.file("other.yaml", &alone("other")));
        for _ in 0..rounds(25) {
            user.topo(&["apply", &pair]).ok();
            let children = [user.start(&["destroy", "pair"]), user.start(&["apply", &other])];
            for child in children {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            user.topo(&["plan", "--detailed-exitcode", &other]).ok();
            assert_eq!(user.keepers().len(), 1);
            user.topo(&["destroy", "other"]).ok();
            user.assert_nothing_left();
        }
    });
}
