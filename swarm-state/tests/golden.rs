//! What the docker CLI and dockerd really say is read without losing a field.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use swarm_state::spec::*;

#[test]
fn recorded_bodies_lose_no_field() {
    let bodies: Vec<Value> = serde_json::from_str(include_str!("golden/bodies.json")).unwrap();
    assert!(bodies.len() > 60);
    for entry in &bodies {
        let (kind, from, body) = (entry["kind"].as_str().unwrap(), &entry["from"], &entry["body"]);
        let again = match kind {
            "ServiceSpec" => round_trip::<ServiceSpec>(body),
            "TaskSpec" => round_trip::<TaskSpec>(body),
            "EndpointSpec" => round_trip::<EndpointSpec>(body),
            "NetworkSpec" => round_trip::<NetworkSpec>(body),
            "NodeSpec" => round_trip::<NodeSpec>(body),
            "NodeDescription" => round_trip::<NodeDescription>(body),
            "SwarmSpec" => round_trip::<SwarmSpec>(body),
            "SecretSpec" => round_trip::<SecretSpec>(body),
            "ConfigSpec" => round_trip::<ConfigSpec>(body),
            other => panic!("{other}"),
        };
        let mut lost = Vec::new();
        compare("", body, &again, &mut lost);
        assert_eq!(lost, Vec::<String>::new(), "{kind} of {from}");
    }
}

#[test]
fn null_absent_and_empty_are_the_same() {
    let absent: ServiceSpec = serde_json::from_str("{}").unwrap();
    let null =
        r#"{"Name":null,"Labels":null,"TaskTemplate":null,"Mode":null,"EndpointSpec":null,"Networks":null}"#;
    let empty = r#"{"Name":"","Labels":{},"TaskTemplate":{},"Mode":{},"Networks":[]}"#;
    assert_eq!(serde_json::from_str::<ServiceSpec>(null).unwrap(), absent);
    assert_eq!(serde_json::from_str::<ServiceSpec>(empty).unwrap(), absent);
    let network = r#"{"Name":"app_default","Driver":"overlay","IPAM":null,"Options":null,"Labels":null}"#;
    assert!(serde_json::from_str::<NetworkSpec>(network).unwrap().subnets().is_empty());
    let node: NodeSpec = serde_json::from_str(r#"{"Role":"","Availability":""}"#).unwrap();
    assert_eq!((node.role, node.availability), (NodeRole::Worker, Availability::Active));
}

#[test]
fn a_service_has_one_mode() {
    let two = r#"{"Mode":{"Replicated":{},"Global":{}}}"#;
    let error = serde_json::from_str::<ServiceSpec>(two).unwrap_err();
    assert!(error.to_string().contains("must specify only one service mode"), "{error}");
    assert!(serde_json::from_str::<ServiceSpec>(r#"{"EndpointSpec":{"Mode":"magic"}}"#).is_err());
    assert!(serde_json::from_str::<PortConfig>(r#"{"TargetPort":70000}"#).is_err());
}

#[test]
fn zero_means_dockers_default() {
    let spec = SwarmSpec::default().with_defaults();
    let again = serde_json::to_value(&spec).unwrap();
    let docker = serde_json::json!({
        "Name": "default", "Labels": {}, "Orchestration": {"TaskHistoryRetentionLimit": 5},
        "Raft": {"SnapshotInterval": 10000, "KeepOldSnapshots": 0, "LogEntriesForSlowFollowers": 500,
                 "ElectionTick": 10, "HeartbeatTick": 1},
        "Dispatcher": {"HeartbeatPeriod": 5_000_000_000_u64}, "CAConfig": {"NodeCertExpiry": 7_776_000_000_000_000_u64},
        "TaskDefaults": {}, "EncryptionConfig": {"AutoLockManagers": false},
    });
    assert_eq!(again, docker);
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(body: &Value) -> Value {
    let read: T = serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{error}: {body}"));
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(serde_json::from_value::<T>(written.clone()).unwrap(), read);
    written
}

/// Every field of `before` that says something is in `after`, unchanged.
fn compare(path: &str, before: &Value, after: &Value, lost: &mut Vec<String>) {
    match before {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(_, value)| !is_empty(value)) {
                compare(&format!("{path}.{key}"), value, after.get(key).unwrap_or(&Value::Null), lost);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                compare(&format!("{path}[{index}]"), item, after.get(index).unwrap_or(&Value::Null), lost);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) if before == after => {}
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            lost.push(format!("{path}: {before} became {after}"))
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
