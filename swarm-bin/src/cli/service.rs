//! `swarm-bin service …`

use serde_json::{Value, json};

use super::create::CreateArgs;
use super::logs::LogsArgs;
use super::node::capital;
use super::{Shown, VerbError, ago::ago, short, wait};
use crate::api::{Client, encode, filters, items, number, text};
use crate::table::Table;
use crate::{clock, out};

/// Runs, shows and changes services
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum ServiceCommand {
    /// Runs a service
    Create(CreateArgs),
    /// Lists the services
    Ls {
        #[command(flatten)]
        shown: Shown,
    },
    /// Lists the tasks of services
    Ps {
        /// Ids or names
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Shows all about services
    Inspect {
        /// Ids or names
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Changes a service
    Update {
        /// How many tasks run
        #[arg(long)]
        replicas: Option<u64>,
        /// What they run
        #[arg(long)]
        image: Option<String>,
        /// Does not wait until it runs as wanted
        #[arg(short, long)]
        detach: bool,
        /// Its id or name
        service: String,
    },
    /// Changes how many tasks run
    #[command(after_help = "\
Example:
  swarm-bin service scale web=3 api=5")]
    Scale {
        /// Which service and how many
        #[arg(required = true, value_name = "SERVICE=REPLICAS")]
        scales: Vec<String>,
        /// Does not wait until they run as wanted
        #[arg(short, long)]
        detach: bool,
    },
    /// Removes services and their tasks
    Rm {
        /// Ids or names
        #[arg(required = true, value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Shows what the tasks of a service wrote
    Logs(LogsArgs),
}

impl ServiceCommand {
    pub(crate) async fn run(self, client: Client) -> Result<(), VerbError> {
        match self {
            Self::Create(args) => args.run(&client).await?,
            Self::Logs(args) => args.run(&client).await?,
            Self::Ls { shown } => shown.show(&client.get("/services?status=true").await?, list),
            Self::Ps { services, shown } => ps(&client, &services, shown).await?,
            Self::Inspect { services } => {
                let mut all = Vec::new();
                for service in services {
                    all.push(look(&client, &service, "?insertDefaults=true").await?);
                }
                out::pretty(&Value::Array(all));
            }
            Self::Update { replicas: None, image: None, .. } => return Err(VerbError::NothingToChange),
            Self::Update { replicas, image, detach, service } => {
                update(&client, &service, replicas, image.as_deref()).await?;
                out::line(&service);
                settle(&client, &service, detach).await?;
            }
            Self::Scale { scales, detach } => {
                let parse = |text: &String| {
                    let (service, count) = text.split_once('=')?;
                    Some((service.to_owned(), count.parse::<u64>().ok()?))
                };
                let mut wanted = Vec::new();
                for text in &scales {
                    wanted.push(parse(text).ok_or_else(|| VerbError::Scale { text: text.clone() })?);
                }
                for (service, replicas) in &wanted {
                    update(&client, service, Some(*replicas), None).await?;
                    out::line(format_args!("{service} scaled to {replicas}"));
                }
                for (service, _) in &wanted {
                    settle(&client, service, detach).await?;
                }
            }
            Self::Rm { services } => {
                for service in services {
                    client.delete(&format!("/services/{}", encode(&service))).await?;
                    out::line(service);
                }
            }
        }
        Ok(())
    }
}

/// The service of that id or name, as it was asked for.
pub(super) async fn find(client: &Client, service: &str) -> Result<Value, VerbError> {
    look(client, service, "").await
}

async fn look(client: &Client, service: &str, query: &str) -> Result<Value, VerbError> {
    client.get(&format!("/services/{}{query}", encode(service))).await.map_err(|error| {
        if error.is_not_found() {
            VerbError::NoSuchService { service: service.to_owned() }
        } else {
            error.into()
        }
    })
}

async fn settle(client: &Client, service: &str, detach: bool) -> Result<(), VerbError> {
    if detach { Ok(()) } else { wait::until_converged(client, service).await }
}

async fn update(
    client: &Client,
    service: &str,
    replicas: Option<u64>,
    image: Option<&str>,
) -> Result<(), VerbError> {
    let found = find(client, service).await?;
    let mut spec = found.get("Spec").cloned().unwrap_or_default();
    if let Some(replicas) = replicas {
        let Some(replicated) = spec.pointer_mut("/Mode/Replicated") else {
            return Err(VerbError::NotReplicated { service: service.to_owned() });
        };
        *replicated = json!({ "Replicas": replicas });
    }
    if let (Some(image), Some(slot)) = (image, spec.pointer_mut("/TaskTemplate/ContainerSpec/Image")) {
        *slot = Value::from(image);
    }
    let (id, version) = (text(&found, "/ID"), number(&found, "/Version/Index"));
    let path = format!("/services/{id}/update?version={version}&registryAuthFrom=spec");
    let answer = client.post(&path, &spec).await?;
    for warning in items(&answer, "/Warnings") {
        out::note(format_args!("WARNING: {}", warning.as_str().unwrap_or_default()));
    }
    Ok(())
}

async fn ps(client: &Client, services: &[String], shown: Shown) -> Result<(), VerbError> {
    let mut tasks = Vec::new();
    let mut names = std::collections::BTreeMap::new();
    for service in services {
        let found = find(client, service).await?;
        let id = text(&found, "/ID");
        names.insert(id.to_owned(), text(&found, "/Spec/Name").to_owned());
        let answer = client.get(&format!("/tasks?{}", filters(&[("service", id)]))).await?;
        tasks.extend_from_slice(items(&answer, ""));
    }
    for node in items(&client.get("/nodes").await?, "") {
        names.insert(text(node, "/ID").to_owned(), text(node, "/Description/Hostname").to_owned());
    }
    shown.show(&Value::Array(tasks), |tasks| {
        let mut tasks = items(tasks, "").to_vec();
        // By slot, and in one slot the newest first.
        tasks.sort_by_key(|task| std::cmp::Reverse(text(task, "/CreatedAt").to_owned()));
        tasks.sort_by_key(|task| (text(task, "/ServiceID").to_owned(), number(task, "/Slot")));
        table(&tasks, |id| names.get(id).map_or(id, String::as_str).to_owned(), clock::unix_seconds())
    });
    Ok(())
}

fn list(services: &Value) -> String {
    let mut table = Table::new(["ID", "NAME", "MODE", "REPLICAS", "IMAGE", "PORTS"]);
    let mut services = items(services, "").to_vec();
    services.sort_by_key(|service| text(service, "/Spec/Name").to_owned());
    for service in &services {
        let count = |pointer| number(service, pointer);
        let mode = if service.pointer("/Spec/Mode/Global").is_some() { "global" } else { "replicated" };
        let ports = items(service, "/Endpoint/Ports").iter().map(port).collect::<Vec<_>>();
        let wanted = count("/ServiceStatus/DesiredTasks");
        table.row([
            short(text(service, "/ID")).to_owned(),
            text(service, "/Spec/Name").to_owned(),
            mode.to_owned(),
            format!("{}/{wanted}", count("/ServiceStatus/RunningTasks")),
            text(service, "/Spec/TaskTemplate/ContainerSpec/Image").to_owned(),
            ports.join(", "),
        ]);
    }
    table.render()
}

fn port(port: &Value) -> String {
    let (published, target) = (number(port, "/PublishedPort"), number(port, "/TargetPort"));
    format!("*:{published}->{target}/{}", text(port, "/Protocol"))
}

fn table(tasks: &[Value], name: impl Fn(&str) -> String, now: u64) -> String {
    let head = ["ID", "NAME", "IMAGE", "NODE", "DESIRED STATE", "CURRENT STATE", "ERROR"];
    let mut table = Table::new(head);
    let mut previous = String::new();
    for task in tasks {
        let service = name(text(task, "/ServiceID"));
        let of_what = match number(task, "/Slot") {
            0 => format!("{service}.{}", text(task, "/NodeID")),
            slot => format!("{service}.{slot}"),
        };
        let shown = if of_what == previous { format!(" \\_ {of_what}") } else { of_what.clone() };
        previous = of_what;
        let error = text(task, "/Status/Err");
        table.row([
            short(text(task, "/ID")).to_owned(),
            shown,
            text(task, "/Spec/ContainerSpec/Image").to_owned(),
            name(text(task, "/NodeID")),
            capital(text(task, "/DesiredState")),
            format!("{} {}", capital(text(task, "/Status/State")), ago(text(task, "/Status/Timestamp"), now)),
            if error.is_empty() { String::new() } else { format!("\"{error}\"") },
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_tasks_are_listed_as_docker_does() {
        let services = json!([{
            "ID": "trsijjxxivbaus0h3gu8k5l1r",
            "Spec": {"Name": "helloworld", "Mode": {"Replicated": {"Replicas": 2}},
                     "TaskTemplate": {"ContainerSpec": {"Image": "huyinghuan/helloworld:latest"}}},
            "Endpoint": {"Ports": [{"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 8080}]},
            "ServiceStatus": {"RunningTasks": 2, "DesiredTasks": 2},
        }]);
        let expected = "\
ID             NAME         MODE         REPLICAS   IMAGE                          PORTS
trsijjxxivba   helloworld   replicated   2/2        huyinghuan/helloworld:latest   *:8080->8080/tcp";
        assert_eq!(list(&services), expected);

        let task = |id: &str, state: &str, desired: &str| {
            json!({"ID": id, "ServiceID": "s", "NodeID": "n", "Slot": 1, "DesiredState": desired,
                   "Spec": {"ContainerSpec": {"Image": "hello"}},
                   "Status": {"State": state, "Timestamp": "1970-01-01T00:00:00Z"}})
        };
        let tasks =
            [task("dedc9rv1fqukntj2", "running", "running"), task("ul545gci85ujr6l4", "failed", "shutdown")];
        let expected = "\
ID             NAME        IMAGE   NODE   DESIRED STATE   CURRENT STATE            ERROR
dedc9rv1fquk   web.1       hello   node   Running         Running 16 seconds ago
ul545gci85uj    \\_ web.1   hello   node   Shutdown        Failed 16 seconds ago";
        let name = |id: &str| if id == "s" { "web".to_owned() } else { "node".to_owned() };
        assert_eq!(table(&tasks, name, 16), expected);
    }
}
