//! The files that `topo init` writes are labs that work.

use std::process::Command;

use super::harness::tools::{Outcome, TOPO};
use super::harness::{assert_no_changes, assert_view, destroy, in_namespaces, ping_ok, settled_view, topo};

#[test]
fn first_labs_apply_as_they_are() {
    in_namespaces(|| {
        let before = settled_view();
        let directory = std::env::temp_dir().join(format!("topo-init-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("lab.yaml");
        let file = file.to_str().unwrap();
        for (options, address) in [(["init"].as_slice(), "10.0.2.10"), (&["init", "--minimal", "--force"], "10.0.0.2")] {
            Outcome::from(&Command::new(TOPO).args(options).current_dir(&directory).output().unwrap()).ok();
            topo(&["apply", "--wait", file]).ok().says("0 destroyed");
            ping_ok("alice", address);
            assert_no_changes(file);
            destroy(file).ok();
            assert_view(&before, "the lab is gone");
        }
        std::fs::remove_dir_all(&directory).unwrap();
    });
}
