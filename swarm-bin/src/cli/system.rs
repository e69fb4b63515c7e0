//! `swarm-bin info` and `swarm-bin version`

use serde_json::{Value, json};

use super::{Shown, VerbError};
use crate::api::{Client, items, number, text};
use crate::out;

/// Shows what the daemon is and its part in the swarm
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    shown: Shown,
}

/// Shows the versions of this program and of the daemon
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    shown: Shown,
}

impl InfoArgs {
    pub(crate) async fn run(self, client: Client) -> Result<(), VerbError> {
        self.shown.show(&client.get("/info").await?, info);
        Ok(())
    }
}

impl VersionArgs {
    pub(crate) async fn run(self, client: Client) -> Result<(), VerbError> {
        let own = env!("CARGO_PKG_VERSION");
        let asked = client.get("/version").await;
        let server = asked.as_ref().unwrap_or(&Value::Null);
        self.shown.show(&json!({"Client": {"Version": own}, "Server": server}), |both| {
            let mut lines = vec![format!("Client:\n Version:      {own}")];
            if both.get("Server").is_some_and(|server| !server.is_null()) {
                lines.push(format!(
                    "\nServer:\n Version:      {}\n API version:  {} (minimum version {})\n OS/Arch:      {}/{}",
                    text(server, "/Version"),
                    text(server, "/ApiVersion"),
                    text(server, "/MinAPIVersion"),
                    text(server, "/Os"),
                    text(server, "/Arch"),
                ));
            }
            lines.join("\n")
        });
        asked.map(drop).map_err(VerbError::from)
    }
}

fn info(info: &Value) -> String {
    let swarm = info.get("Swarm").cloned().unwrap_or_default();
    let mut lines = vec![
        format!("Name: {}", text(info, "/Name")),
        format!("Server Version: {}", text(info, "/ServerVersion")),
        format!("Operating System: {}", text(info, "/OperatingSystem")),
        format!("Kernel Version: {}", text(info, "/KernelVersion")),
        format!("CPUs: {}", number(info, "/NCPU")),
        format!("Data Directory: {}", text(info, "/DockerRootDir")),
        format!("Swarm: {}", text(&swarm, "/LocalNodeState")),
    ];
    if !text(&swarm, "/Error").is_empty() {
        lines.push(format!(" Error: {}", text(&swarm, "/Error")));
    }
    if !text(&swarm, "/NodeID").is_empty() {
        let manages = swarm.get("ControlAvailable").and_then(Value::as_bool).unwrap_or_default();
        lines.push(format!(" NodeID: {}\n Is Manager: {manages}", text(&swarm, "/NodeID")));
        if manages {
            lines.push(format!(" ClusterID: {}", text(&swarm, "/Cluster/ID")));
            lines.push(format!(
                " Managers: {}\n Nodes: {}",
                number(&swarm, "/Managers"),
                number(&swarm, "/Nodes")
            ));
        }
        lines.push(format!(" Node Address: {}\n Manager Addresses:", text(&swarm, "/NodeAddr")));
        lines
            .extend(items(&swarm, "/RemoteManagers").iter().map(|peer| format!("  {}", text(peer, "/Addr"))));
    }
    for warning in items(info, "/Warnings") {
        out::note(format_args!("WARNING: {}", warning.as_str().unwrap_or_default()));
    }
    lines.join("\n")
}
