//! What a task asks for and this node cannot give. Such a task is refused with the reason; running it without would be a lie.

use serde_json::Value;
use swarm_state::spec::TaskSpec;

/// Wishes that only an image-based runtime can fulfil, by their name in the API.
const UNKNOWN: [&str; 10] = [
    "Mounts",
    "HealthCheck",
    "Healthcheck",
    "Privileges",
    "ReadOnly",
    "CapabilityAdd",
    "CapabilityDrop",
    "Ulimits",
    "Sysctls",
    "Groups",
];

/// The first wish that cannot be met, for the task's `Err`.
pub(super) fn unmet(spec: &TaskSpec) -> Option<String> {
    let Some(container) = &spec.container_spec else {
        return Some("the task has no container specification".to_owned());
    };
    let limits = spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let has_limits = limits.is_some_and(|limits| {
        limits.nano_cpus != 0 || limits.memory_bytes != 0 || limits.extra.values().any(is_wish)
    });
    let unknown = UNKNOWN.iter().find(|name| container.extra.get(**name).is_some_and(is_wish));
    let what = match () {
        () if !container.secrets.is_empty() => "Secrets",
        () if !container.configs.is_empty() => "Configs",
        () if container.tty => "TTY",
        () if container.init == Some(true) => "Init",
        () if has_limits => "Resources.Limits",
        () => unknown?,
    };
    Some(format!("this node's process runtime does not support {what}; remove it from the service"))
}

/// Null, false, zero and empty values ask for nothing; neither does an object of such values.
fn is_wish(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(wish) => *wish,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => fields.values().any(is_wish),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(container: &Value) -> TaskSpec {
        serde_json::from_value(serde_json::json!({"ContainerSpec": container})).unwrap()
    }

    #[test]
    fn what_the_docker_cli_sends_by_default_is_met_and_a_mount_is_not() {
        let plain = serde_json::json!({"Image": "hello", "Init": false, "DNSConfig": {}, "Mounts": null,
            "Privileges": {"CredentialSpec": null, "SELinuxContext": null}});
        assert_eq!(unmet(&spec(&plain)), None);
        let mount = serde_json::json!({"Image": "hello", "Mounts": [{"Type": "volume", "Target": "/data"}]});
        assert!(unmet(&spec(&mount)).unwrap().contains("Mounts"));
    }
}
