//! stub
use std::collections::BTreeMap;
use crate::name::LabName;
use crate::spec::Diagnostic;
use crate::state::State;
pub fn read(_text: &str, _tables: &BTreeMap<String, u32>) -> (Option<(LabName, State)>, Vec<Diagnostic>) { (None, Vec::new()) }
