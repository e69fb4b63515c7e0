//! `swarm-bin node …`

use serde_json::Value;

use super::{Shown, VerbError};
use crate::api::{Client, encode, items, text};
use crate::out;
use crate::table::Table;

/// Shows the nodes of the swarm
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum NodeCommand {
    /// Lists the nodes
    Ls {
        #[command(flatten)]
        shown: Shown,
    },
    /// Shows all about nodes
    Inspect {
        /// Ids or names; `self` is the node that is asked
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
}

impl NodeCommand {
    pub(crate) async fn run(self, client: Client) -> Result<(), VerbError> {
        match self {
            Self::Ls { shown } => {
                let nodes = client.get("/nodes").await?;
                let info = client.get("/info").await?;
                shown.show(&nodes, |nodes| table(nodes, text(&info, "/Swarm/NodeID")));
            }
            Self::Inspect { nodes } => {
                let mut all = Vec::new();
                for mut node in nodes {
                    if node == "self" {
                        let info = client.get("/info").await?;
                        text(&info, "/Swarm/NodeID").clone_into(&mut node);
                    }
                    all.push(client.get(&format!("/nodes/{}", encode(&node))).await?);
                }
                out::pretty(&Value::Array(all));
            }
        }
        Ok(())
    }
}

fn table(nodes: &Value, own: &str) -> String {
    let head = ["ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER STATUS", "ENGINE VERSION"];
    let mut table = Table::new(head);
    let mut nodes = items(nodes, "").to_vec();
    nodes.sort_by_key(|node| text(node, "/Description/Hostname").to_owned());
    for node in &nodes {
        let id = text(node, "/ID");
        let leads = node.pointer("/ManagerStatus/Leader").and_then(Value::as_bool) == Some(true);
        let manager =
            if leads { "Leader".to_owned() } else { capital(text(node, "/ManagerStatus/Reachability")) };
        table.row([
            format!("{id} {}", if id == own { '*' } else { ' ' }),
            text(node, "/Description/Hostname").to_owned(),
            capital(text(node, "/Status/State")),
            capital(text(node, "/Spec/Availability")),
            manager,
            text(node, "/Description/Engine/EngineVersion").to_owned(),
        ]);
    }
    table.render()
}

/// The word with a capital.
pub(super) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_are_listed_as_docker_does() {
        let nodes = json!([
            {"ID": "bb8dc0bmfix4dmyghfkw0r6vs", "Spec": {"Availability": "active"}, "Status": {"State": "ready"},
             "Description": {"Hostname": "node01", "Engine": {"EngineVersion": "1.0"}}},
            {"ID": "pixo7yfm8hodf6b83ufu6zkor", "Spec": {"Availability": "active"}, "Status": {"State": "ready"},
             "Description": {"Hostname": "master", "Engine": {"EngineVersion": "1.0"}},
             "ManagerStatus": {"Leader": true, "Reachability": "reachable"}},
        ]);
        let expected = "\
ID                            HOSTNAME   STATUS   AVAILABILITY   MANAGER STATUS   ENGINE VERSION
pixo7yfm8hodf6b83ufu6zkor *   master     Ready    Active         Leader           1.0
bb8dc0bmfix4dmyghfkw0r6vs     node01     Ready    Active                          1.0";
        assert_eq!(table(&nodes, "pixo7yfm8hodf6b83ufu6zkor"), expected);
    }
}
