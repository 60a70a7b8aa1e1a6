//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

#[test]
fn crates_depend_only_on_whom_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("workflows", &[][..]),
        ("activities", &["workflows"]),
        ("surrealkv", &[]),
        ("worker", &["workflows"]),
        ("api", &["workflows"]),
        ("jumun", &["activities", "api", "worker", "workflows"]),
        ("bench", &["jumun"]),
        ("tests", &["activities", "api", "jumun", "worker", "workflows"]),
    ]);
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let may = allowed.get(name).unwrap_or_else(|| panic!("who may {name} depend on?"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = dependency["name"].as_str().expect("a name");
            if !dependency["path"].is_null() {
                assert!(may.contains(&other), "{name} must not depend on {other}");
            }
            if name == "workflows" {
                let banned = ["surrealdb", "sqlx", "poem", "hyper", "axum", "rand"];
                assert!(!banned.contains(&other), "a workflow knows no {other}");
            }
            if other.starts_with("surrealdb") {
                assert_eq!(name, "activities", "only activities know the store");
            }
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), allowed.len(), "{seen:?}");
}
