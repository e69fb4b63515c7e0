//! `swarm-bin service create`

use serde_json::{Value, json};

use super::spec::{labels, publish};
use super::{VerbError, wait};
use crate::api::{Client, encode, items, text};
use crate::out;

/// Runs a service
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  swarm-bin service create --name web --replicas 2 -p 8080:8080 huyinghuan/helloworld:latest
  swarm-bin service create --name job --network backend host:///usr/bin/sleep 3600

An image is a program of this machine, host:///path/to/program, or the built-in HTTP server `hello`.")]
pub(crate) struct CreateArgs {
    /// Its name [default: the daemon picks one]
    #[arg(long, default_value = "")]
    name: String,
    /// `replicated`: so many tasks as --replicas says; `global`: one on each node
    #[arg(long, value_enum, default_value_t = Mode::Replicated)]
    mode: Mode,
    /// How many tasks run
    #[arg(long, default_value_t = 1)]
    replicas: u64,
    /// Opens a port of every node to the service
    #[arg(short, long = "publish", value_name = "PUBLISHED:TARGET[/PROTOCOL]")]
    publish: Vec<String>,
    /// Attaches it to an overlay network
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// `vip`: one address for the service; `dnsrr`: its name leads to the tasks' addresses
    #[arg(long, value_enum, default_value_t = EndpointMode::Vip)]
    endpoint_mode: EndpointMode,
    /// Sets a variable of the environment
    #[arg(short, long = "env", value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// The host name inside
    #[arg(long)]
    hostname: Option<String>,
    /// Where tasks may run, such as node.role==worker
    #[arg(long = "constraint", value_name = "EXPRESSION")]
    constraints: Vec<String>,
    /// A label of the service
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Does not wait until the tasks run
    #[arg(short, long)]
    detach: bool,
    /// What the tasks run
    image: String,
    /// Arguments of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Mode {
    Replicated,
    Global,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum EndpointMode {
    Vip,
    Dnsrr,
}

impl CreateArgs {
    pub(super) async fn run(self, client: &Client) -> Result<(), VerbError> {
        let mut targets = Vec::new();
        for network in &self.networks {
            let found = client.get(&format!("/networks/{}?scope=swarm", encode(network))).await?;
            targets.push(text(&found, "/Id").to_owned());
        }
        let made = client.post("/services/create", &self.spec(&targets)?).await?;
        for warning in items(&made, "/Warnings") {
            out::note(format_args!("WARNING: {}", warning.as_str().unwrap_or_default()));
        }
        let id = text(&made, "/ID");
        out::line(id);
        if self.detach { Ok(()) } else { wait::until_converged(client, id).await }
    }

    /// The service as the API takes it; `networks` are ids.
    fn spec(&self, networks: &[String]) -> Result<Value, VerbError> {
        let ports = self.publish.iter().map(|text| publish(text)).collect::<Result<Vec<_>, _>>()?;
        let mode = match self.mode {
            Mode::Replicated => json!({"Replicated": {"Replicas": self.replicas}}),
            Mode::Global => json!({"Global": {}}),
        };
        let endpoint_mode = match self.endpoint_mode {
            EndpointMode::Vip => "vip",
            EndpointMode::Dnsrr => "dnsrr",
        };
        let mut container = json!({"Image": self.image, "Init": false, "DNSConfig": {}});
        if let Some(fields) = container.as_object_mut() {
            if !self.args.is_empty() {
                fields.insert("Args".to_owned(), json!(self.args));
            }
            if !self.env.is_empty() {
                fields.insert("Env".to_owned(), json!(self.env));
            }
            if let Some(hostname) = &self.hostname {
                fields.insert("Hostname".to_owned(), json!(hostname));
            }
        }
        let targets = networks.iter().map(|id| json!({"Target": id})).collect::<Vec<_>>();
        Ok(json!({
            "Name": self.name,
            "Labels": labels(&self.labels),
            "TaskTemplate": {
                "ContainerSpec": container,
                "Resources": {"Limits": {}, "Reservations": {}},
                "Placement": {"Constraints": self.constraints},
                "Networks": targets,
                "ForceUpdate": 0,
            },
            "Mode": mode,
            "EndpointSpec": {"Mode": endpoint_mode, "Ports": ports},
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        create: CreateArgs,
    }

    #[test]
    fn the_posts_line_becomes_the_posts_service() {
        let line = "create --mode replicated --replicas 2 --name helloworld -p 8080:8080 --endpoint-mode vip hello -x y";
        let spec = Line::parse_from(line.split(' ')).create.spec(&["n1".to_owned()]).unwrap();
        assert_eq!(spec["Name"], "helloworld");
        assert_eq!(spec["Mode"]["Replicated"]["Replicas"], 2);
        assert_eq!(spec["EndpointSpec"]["Ports"][0]["PublishedPort"], 8080);
        assert_eq!(spec["TaskTemplate"]["ContainerSpec"]["Args"], json!(["-x", "y"]));
        assert_eq!(spec["TaskTemplate"]["Networks"][0]["Target"], "n1");
    }
}
