//! What this host says about itself.

use swarm_state::spec::{EngineDescription, NodeDescription, Platform, ResourceLimits};

use crate::config::NodeConfig;

/// Host name, platform, resources and version, as the managers are told.
pub(crate) fn node(config: &NodeConfig) -> NodeDescription {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    NodeDescription {
        hostname: config.hostname.clone(),
        platform: Platform {
            architecture: architecture().to_owned(),
            os: "linux".to_owned(),
            ..Platform::default()
        },
        resources: ResourceLimits {
            nano_cpus: i64::try_from(cores).unwrap_or(1).saturating_mul(1_000_000_000),
            memory_bytes: memory().unwrap_or(0),
            ..ResourceLimits::default()
        },
        engine: EngineDescription { engine_version: config.version.clone(), ..EngineDescription::default() },
        ..NodeDescription::default()
    }
}

/// As `uname -m` says, which is what Docker shows.
fn architecture() -> &'static str {
    std::env::consts::ARCH
}

fn memory() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()?.checked_mul(1024)
}
