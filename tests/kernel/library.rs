//! The interface for programs.

use topo::Lab;

use super::harness::fingerprint::assert_restored;
use super::harness::{in_namespaces, settled_fingerprint, sh};

const LAB: &str = "{ name: used, namespaces: { a: {}, b: {} }, links: [{ endpoints: [\
    { interface: a:eth0, addresses: [10.0.0.1/24, 2001:db8::1/64] }, { interface: b:eth0, addresses: [10.0.0.2/24, 2001:db8::2/64] }] }] }";

#[test]
fn a_program_plans_applies_observes_and_destroys_a_lab() {
    in_namespaces(|| {
        let before = settled_fingerprint();
        let lab = Lab::parse(LAB).unwrap();
        assert_eq!(lab.name(), "used");
        assert!(lab.plan().unwrap().to_string().contains("Plan: 8 to add, 0 to change, 0 to destroy."));
        assert!(!lab.apply().unwrap().is_empty());
        sh("ip netns exec a ping -c 1 -W 5 10.0.0.2");
        assert!(lab.plan().unwrap().is_empty());
        let observed = serde_json::to_value(lab.observe().unwrap()).unwrap();
        assert_eq!(observed["links"][0]["endpoints"], serde_json::json!(["a:eth0", "b:eth0"]));
        assert_eq!(observed["namespaces"]["b"]["interfaces"]["eth0"]["addresses"][0]["address"], "10.0.0.2/24");
        assert_eq!(lab.destroy().unwrap().to_json()["summary"]["destroy"], 8);
        assert_restored(&before);
    });
}

#[test]
fn a_foreign_object_in_the_way_is_an_error_that_names_it() {
    in_namespaces(|| {
        sh("ip netns add a");
        let error = Lab::parse(LAB).unwrap().apply().unwrap_err().to_string();
        assert!(error.contains("`a`"), "{error}");
    });
}

#[test]
fn an_invalid_lab_is_an_error_with_positions() {
    let error = Lab::parse("{ name: used, namespace: {} }").unwrap_err().to_string();
    assert!(error.contains("--> lab:1:15"), "{error}");
}
