//! `swarm-bin ipam …`

use std::net::IpAddr;

use serde_json::Value;

use super::{Shown, VerbError};
use crate::api::{Client, encode, items, number, text};

/// Proves that no address is used twice, and tells who has one
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum IpamCommand {
    /// Proves that every address, VXLAN id and published port has exactly one holder
    #[command(after_help = "\
Any manager answers, from what it has applied; nothing is changed. It compares the books of the allocator with all nodes,
networks, services, tasks and containers, in both directions:

  an address that somebody uses and the allocator has given to nobody or to somebody else    finding
  an address that the allocator has given away and nobody uses                               finding
  two networks with one VXLAN id, two services with one published port                       finding
  a route of a node's host over a subnet of a network                                        warning

A finding is an error of this program: please report it, with the output of --json. A warning is for you: tasks of that
network do not reach what is behind that route. Give the network another subnet, or the host another address.

Exits with 1 if there are findings.

Examples:
  swarm-bin ipam audit
  swarm-bin -H unix:///tmp/a.sock ipam audit --json")]
    Audit {
        #[command(flatten)]
        shown: Shown,
    },
    /// Tells who has an address, or why nobody gets it
    #[command(after_help = "\
An address that was given back is handed out again when all nodes have said that they forgot who had it, or after a while.

Examples:
  swarm-bin ipam explain 10.0.1.5
  swarm-bin ipam explain 172.18.0.9     # not the swarm's: the answer says which node uses it")]
    Explain {
        #[command(flatten)]
        shown: Shown,
        /// IPv4 or IPv6
        address: IpAddr,
    },
}

impl IpamCommand {
    pub(crate) async fn run(self, client: Client) -> Result<(), VerbError> {
        match self {
            Self::Audit { shown } => {
                let audit = client.get("/ipam/audit").await?;
                shown.show(&audit, report);
                match items(&audit, "/Findings").len() {
                    0 => Ok(()),
                    count => Err(VerbError::Unsound { count }),
                }
            }
            Self::Explain { shown, address } => {
                let path = format!("/ipam/explain?address={}", encode(&address.to_string()));
                shown.show(&client.get(&path).await?, |told| text(told, "/Text").to_owned());
                Ok(())
            }
        }
    }
}

fn report(audit: &Value) -> String {
    let count = |what: &str, one: &str| match number(audit, &format!("/{what}")) {
        1 => format!("1 {one}"),
        many => format!("{many} {one}{}", if one.ends_with("ss") { "es" } else { "s" }),
    };
    let findings = items(audit, "/Findings");
    let verdict = if findings.is_empty() { "each has one holder" } else { "NOT SOUND" };
    let mut lines = vec![format!(
        "{}, {}, {}, {}, {}: {verdict}",
        count("Networks", "network"),
        count("Subnets", "subnet"),
        count("Addresses", "address"),
        count("Vnis", "VXLAN id"),
        count("Ports", "published port"),
    )];
    let told = |list: &[Value], word: &str| -> Vec<String> {
        list.iter().map(|line| format!("{word}: {}", line.as_str().unwrap_or_default())).collect()
    };
    lines.extend(told(findings, "finding"));
    lines.extend(told(items(audit, "/Warnings"), "warning"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_was_proved_and_what_is_wrong() {
        let mut audit = serde_json::json!({"Networks": 2, "Subnets": 3, "Addresses": 1, "Vnis": 3, "Ports": 1,
            "Findings": [], "Warnings": ["node node02 reaches 10.0.1.0/24"]});
        assert_eq!(
            report(&audit),
            "2 networks, 3 subnets, 1 address, 3 VXLAN ids, 1 published port: each has one holder\n\
             warning: node node02 reaches 10.0.1.0/24"
        );
        audit["Addresses"] = 7.into();
        audit["Findings"] = serde_json::json!(["10.0.1.5 has two holders"]);
        let told = report(&audit);
        assert!(told.contains("7 addresses") && told.contains("NOT SOUND"), "{told}");
        assert!(told.contains("\nfinding: 10.0.1.5 has two holders\n"), "{told}");
    }
}
