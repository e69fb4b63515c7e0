//! The story: what a person would type, with a look after each step whether it holds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::error::DemoError;
use super::plan::{Machine, SERVICE_PORT};
use super::processes::Processes;
use super::summary::{Cut, Figures, seconds};
use super::tally::Tally;
use super::watch::{Look, until};
use super::world::{Running, World};
use crate::api::{ApiError, Client, filters, items, number, text};
use crate::cli::empty_spec;
use crate::{clock, out};

/// The story as far as it went.
#[derive(Debug)]
pub(super) struct Story {
    begin: Instant,
    requests: usize,
    figures: Figures,
}

impl Story {
    /// A story that begins now, with so many requests through each node.
    pub(super) fn new(requests: usize) -> Self {
        Self { begin: clock::now(), requests, figures: Figures::default() }
    }

    /// From nothing to a service that every node serves.
    ///
    /// # Errors
    ///
    /// The first step that did not hold.
    pub(super) async fn until_served(&mut self, world: &mut World) -> Result<(), DemoError> {
        self.until_daemons(world).await?;
        self.init(world).await?;
        self.join(world).await?;
        self.networks(world).await?;
        self.service(world).await?;
        self.calm_requests(world).await?;
        self.overlays(world).await
    }

    /// Waits for the daemons only; the rest is for whoever sits in front of them.
    ///
    /// # Errors
    ///
    /// A daemon does not answer.
    pub(super) async fn until_daemons(&mut self, world: &mut World) -> Result<(), DemoError> {
        self.figures.nodes = world.nodes.len();
        self.daemons(world).await
    }

    /// Cuts the power of a worker that runs a task, and watches what the others make of it.
    ///
    /// # Errors
    ///
    /// The node is not noticed as down, its tasks do not run elsewhere, or requests fail after that.
    pub(super) async fn power_cut(&mut self, world: &mut World) -> Result<(), DemoError> {
        let master = master(world);
        let step = "a power cut";
        let (victim, victim_id) =
            victim(&master).await.map_err(api(step))?.ok_or_else(|| DemoError::Wrong {
                step,
                seen: "no worker runs a task, so that there is nothing to show".to_owned(),
            })?;
        let survivors = targets(world.nodes.iter().filter(|node| node.machine.name != victim));
        let mut args = survivors.clone();
        args.extend([
            "--every".to_owned(),
            EVERY_MS.to_string(),
            "--timeout".to_owned(),
            TIMEOUT_MS.to_string(),
        ]);
        let flow = world.ask(&args)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.say(format_args!("kill -9 {victim}: the whole node is gone, as in a power cut; requests go on"));
        let cut = clock::now();
        world.cut(&victim)?;
        until("the manager shows the node as down", Duration::from_secs(30), async || {
            let node = master.get(&format!("/nodes/{victim_id}")).await.map_err(|error| error.to_string())?;
            let state = text(&node, "/Status/State");
            if state == "down" { Ok(()) } else { Err(format!("its state is {state}")) }
        })
        .await?;
        let (detected, detected_at) = (cut.elapsed(), clock::unix_millis());
        self.say(format_args!("{victim} is Down after {:.2} s", detected.as_secs_f64()));
        until("its tasks run elsewhere", Duration::from_secs(30), async || {
            running(&master, REPLICAS, |node| node != victim_id).await
        })
        .await?;
        let replaced = cut.elapsed();
        self.say(format_args!("its task runs elsewhere after {:.2} s", replaced.as_secs_f64()));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let outcomes = flow.outcomes().await?;
        let late = outcomes.iter().filter(|one| one.error.is_some() && one.at > detected_at).count();
        let requests = Tally::of(&outcomes, &world.client.machine.addr.to_string());
        self.say(format_args!(
            "meanwhile {} of {} requests were answered, the slowest after {:.0} ms{}",
            requests.answered,
            requests.sent,
            requests.slowest_ms,
            if requests.failed > 0 { format!(" ({})", requests.reasons()) } else { String::new() },
        ));
        self.figures.kill = Cut {
            node: victim,
            detected_s: seconds(detected),
            replaced_s: seconds(replaced),
            failed_after_detection: late,
            requests,
        };
        let mut args = survivors;
        args.extend(["--requests".to_owned(), AFTERWARDS.to_string()]);
        perfect("requests after the power cut", world, &args).await.map(drop)
    }

    /// Looks at the memory of the nodes that run.
    pub(super) fn measure_memory(&mut self, world: &mut World) {
        let processes = Processes::now();
        for node in &mut world.nodes {
            if !node.is_up() {
                continue;
            }
            let name = node.machine.name.clone();
            self.figures.node_kib.insert(name.clone(), processes.memory_kib(node.pid()));
            if let Some(daemon) = node.daemon(&processes) {
                self.figures.daemon_kib.insert(name, daemon.resident_kib);
            }
        }
    }

    /// The figures, judged.
    pub(super) fn finish(self) -> Figures {
        Figures { total_s: seconds(self.begin.elapsed()), ..self.figures }.judged()
    }

    async fn daemons(&mut self, world: &mut World) -> Result<(), DemoError> {
        for node in &world.nodes {
            let client = Client::new(node.machine.host());
            until("the daemons answer", Duration::from_secs(15), async || {
                client.get("/_ping").await.map(drop).map_err(|error| error.to_string())
            })
            .await?;
        }
        let took = self.begin.elapsed();
        self.figures.ready_s = seconds(took);
        let who = world.nodes.iter().map(|node| format!("{} {}", node.machine.name, node.machine.addr));
        let who = who.collect::<Vec<_>>().join(", ");
        self.say(format_args!("{} daemons ready, each in a network of its own: {who}", world.nodes.len()));
        Ok(())
    }

    async fn init(&mut self, world: &World) -> Result<(), DemoError> {
        let step = "swarm init --advertise-addr eth1";
        let master = master(world);
        let before = network_names(&master).await.map_err(api(step))?;
        if before.contains("ingress") {
            return Err(DemoError::Wrong { step, seen: "there is a network ingress already".to_owned() });
        }
        let begin = clock::now();
        let body = json!({
            "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "eth1", "DataPathAddr": "", "DataPathPort": 0,
            "ForceNewCluster": false, "AutoLockManagers": false, "Availability": "", "DefaultAddrPool": [],
            "SubnetSize": 24, "Spec": empty_spec(),
        });
        let id = master.post("/swarm/init", &body).await.map_err(api(step))?;
        let id = id.as_str().unwrap_or_default();
        let node = master.get(&format!("/nodes/{id}")).await.map_err(api(step))?;
        master.get("/swarm").await.map_err(api(step))?;
        let took = begin.elapsed();
        self.figures.init_s = seconds(took);
        self.say(format_args!(
            "{step}: {id} manages the swarm at {} ({:.2} s)",
            text(&node, "/ManagerStatus/Addr"),
            took.as_secs_f64(),
        ));
        Ok(())
    }

    async fn join(&mut self, world: &World) -> Result<(), DemoError> {
        let step = "swarm join";
        let master = master(world);
        let swarm = master.get("/swarm").await.map_err(api("swarm join-token worker"))?;
        let token = text(&swarm, "/JoinTokens/Worker");
        let Some(first) = world.nodes.first() else { return Ok(()) };
        let remote = format!("{}:2377", first.machine.addr);
        for node in world.nodes.iter().skip(1) {
            let client = Client::new(node.machine.host());
            let begin = clock::now();
            let body = json!({
                "ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "", "DataPathAddr": "", "RemoteAddrs": [remote],
                "JoinToken": token, "Availability": "",
            });
            client.post("/swarm/join", &body).await.map_err(api(step))?;
            client.get("/info").await.map_err(api(step))?;
            let took = begin.elapsed();
            self.figures.join_s = self.figures.join_s.max(seconds(took));
            let name = &node.machine.name;
            self.say(format_args!(
                "{name}: swarm join --token {token} {remote} ({:.2} s)",
                took.as_secs_f64()
            ));
        }
        let count = world.nodes.len();
        let (_, took) = until("all nodes are Ready", Duration::from_secs(15), async || {
            let nodes = master.get("/nodes").await.map_err(|error| error.to_string())?;
            let ready =
                items(&nodes, "").iter().filter(|node| text(node, "/Status/State") == "ready").count();
            if ready == count { Ok(()) } else { Err(format!("{ready} of {count} are")) }
        })
        .await?;
        self.figures.nodes_ready_s = seconds(took);
        self.say(format_args!("node ls: {count} nodes Ready"));
        Ok(())
    }

    async fn networks(&mut self, world: &World) -> Result<(), DemoError> {
        for node in &world.nodes {
            let client = Client::new(node.machine.host());
            until("ingress and docker_gwbridge appear on every node", Duration::from_secs(10), async || {
                let names = network_names(&client).await.map_err(|error| error.to_string())?;
                let both = names.contains("ingress") && names.contains("docker_gwbridge");
                if both { Ok(()) } else { Err(format!("{} has {names:?}", node.machine.name)) }
            })
            .await?;
        }
        self.say("network ls: ingress and docker_gwbridge are there, on every node");
        let (master, count) = (master(world), world.nodes.len());
        let (peers, _) = until("every node is a peer of ingress", Duration::from_secs(10), async || {
            let ingress = master.get("/networks/ingress").await.map_err(|error| error.to_string())?;
            let one = |peer: &Value| format!("{{{} {}}}", text(peer, "/Name"), text(peer, "/IP"));
            let peers = items(&ingress, "/Peers").iter().map(one).collect::<Vec<_>>();
            if peers.len() == count { Ok(peers) } else { Err(format!("its peers are {peers:?}")) }
        })
        .await?;
        self.say(format_args!("network inspect ingress -f {{{{.Peers}}}}: [{}]", peers.join(" ")));
        Ok(())
    }

    async fn service(&mut self, world: &World) -> Result<(), DemoError> {
        let step = "service create helloworld";
        let master = master(world);
        let body = json!({
            "Name": SERVICE, "Labels": {},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "huyinghuan/helloworld:latest", "Init": false, "DNSConfig": {}},
                "Resources": {"Limits": {}, "Reservations": {}}, "Placement": {}, "ForceUpdate": 0,
            },
            "Mode": {"Replicated": {"Replicas": REPLICAS}},
            "EndpointSpec": {"Mode": "vip", "Ports": [{
                "Protocol": "tcp", "TargetPort": 8080, "PublishedPort": SERVICE_PORT, "PublishMode": "ingress",
            }]},
        });
        let begin = clock::now();
        master.post("/services/create", &body).await.map_err(api(step))?;
        let (where_to, _) = until("both tasks run", Duration::from_secs(20), async || {
            running(&master, REPLICAS, |_| true).await
        })
        .await?;
        let took = begin.elapsed();
        self.figures.create_to_running_s = seconds(took);
        let names = node_names(&master, &where_to).await.map_err(api(step))?;
        self.say(format_args!(
            "{step}: {REPLICAS} replicas on port {SERVICE_PORT}, they run on {names} ({:.2} s)",
            took.as_secs_f64(),
        ));
        Ok(())
    }

    async fn calm_requests(&mut self, world: &World) -> Result<(), DemoError> {
        let targets = targets(world.nodes.iter());
        let begin = clock::now();
        // A node that does not serve yet refuses, so one answer from each is what is waited for.
        until("every node serves the service", Duration::from_secs(10), async || {
            let mut args = targets.clone();
            args.extend(["--timeout".to_owned(), "250".to_owned()]);
            let asked = async { world.ask(&args)?.outcomes().await };
            let outcomes = asked.await.map_err(|error| error.to_string())?;
            let mut errors =
                outcomes.into_iter().filter_map(|one| Some(format!("{}: {}", one.target, one.error?)));
            errors.next().map_or(Ok(()), Err)
        })
        .await?;
        self.figures.running_to_served_s = seconds(begin.elapsed());
        let mut args = targets;
        args.extend(["--requests".to_owned(), self.requests.to_string()]);
        let step = "requests from the client through every node";
        let tally = perfect(step, world, &args).await?;
        let (least, most) = tally.shares().unwrap_or_default();
        self.say(format_args!(
            "{} of {} requests from the client through every node were answered, {least} to {most} % by each task; \
             each task saw the client's own address {}",
            tally.answered, tally.sent, world.client.machine.addr,
        ));
        if tally.by_task.len() != usize::from(REPLICAS) {
            let seen = format!("not both tasks answered: {:?}", tally.by_task);
            return Err(DemoError::Wrong { step, seen });
        }
        // With few requests a share outside of 40 to 60 % is chance; with 300 it happens once in a thousand runs.
        if tally.answered >= 300 && (least < 40 || most > 60) {
            return Err(DemoError::Wrong { step, seen: format!("{least} to {most} % by each task") });
        }
        self.figures.requests = tally;
        Ok(())
    }

    async fn overlays(&mut self, world: &World) -> Result<(), DemoError> {
        let step = "network create -d overlay";
        let master = master(world);
        let plans = [
            ("helloNet", json!([])),
            ("helloNew", json!([{"Subnet": "172.19.0.1/24", "Gateway": "172.19.0.1"}])),
        ];
        for (name, config) in plans {
            let body = json!({
                "Name": name, "Driver": "overlay", "Scope": "", "Internal": false, "Attachable": false,
                "Ingress": false, "ConfigOnly": false, "ConfigFrom": null, "Options": {}, "Labels": {},
                "IPAM": {"Driver": "default", "Options": {}, "Config": config},
            });
            let made = master.post("/networks/create", &body).await.map_err(api(step))?;
            let path = format!("/networks/{}", text(&made, "/Id"));
            let network = master.get(&path).await.map_err(api(step))?;
            let subnet = text(&network, "/IPAM/Config/0/Subnet").to_owned();
            if subnet.is_empty() {
                return Err(DemoError::Wrong { step, seen: format!("{name} has no subnet") });
            }
            self.say(format_args!(
                "{step} {name}: {subnet}, gateway {}",
                text(&network, "/IPAM/Config/0/Gateway")
            ));
        }
        Ok(())
    }

    fn say(&self, what: impl std::fmt::Display) {
        out::note(format_args!("[{:5.2} s] {what}", self.begin.elapsed().as_secs_f64()));
    }
}

fn master(world: &World) -> Client {
    let host = world.nodes.first().map_or_else(|| world.client.machine.host(), |node| node.machine.host());
    Client::new(host)
}

fn api(step: &'static str) -> impl Fn(ApiError) -> DemoError {
    move |source| DemoError::Api { step, source }
}

/// The arguments that name these nodes as targets.
fn targets<'a>(nodes: impl Iterator<Item = &'a Running>) -> Vec<String> {
    let one = |machine: &Machine| ["--target".to_owned(), format!("{}:{SERVICE_PORT}", machine.addr)];
    nodes.flat_map(|node| one(&node.machine)).collect()
}

/// Sends requests of which none may fail, nor show another client's address.
async fn perfect(step: &'static str, world: &World, args: &[String]) -> Result<Tally, DemoError> {
    let outcomes = world.ask(args)?.outcomes().await?;
    let tally = Tally::of(&outcomes, &world.client.machine.addr.to_string());
    let vague = outcomes.iter().find(|one| one.error.is_none() && one.is_vague());
    if let Some(vague) = vague {
        return Err(DemoError::Wrong {
            step,
            seen: format!("an answer does not tell who answered: {vague:?}"),
        });
    }
    if tally.is_perfect() {
        return Ok(tally);
    }
    let seen = format!(
        "{} of {} were answered, {} with the client's own address; {}",
        tally.answered,
        tally.sent,
        tally.client_address_seen,
        tally.reasons(),
    );
    Err(DemoError::Wrong { step, seen })
}

/// The names of the networks that a node knows.
async fn network_names(client: &Client) -> Result<BTreeSet<String>, ApiError> {
    let networks = client.get("/networks").await?;
    Ok(items(&networks, "").iter().map(|network| text(network, "/Name").to_owned()).collect())
}

/// The nodes on which tasks of the service run, if as many run as wanted on nodes that count.
async fn running(master: &Client, wanted: u8, counts: impl Fn(&str) -> bool) -> Look<Vec<String>> {
    let tasks = master.get(&format!("/tasks?{}", filters(&[("service", SERVICE)]))).await;
    let tasks = tasks.map_err(|error| error.to_string())?;
    let tasks = items(&tasks, "");
    let runs =
        |task: &&Value| text(task, "/Status/State") == "running" && text(task, "/DesiredState") == "running";
    let nodes = tasks.iter().filter(runs).map(|task| text(task, "/NodeID").to_owned());
    let nodes = nodes.filter(|node| counts(node)).collect::<Vec<_>>();
    if nodes.len() == usize::from(wanted) {
        return Ok(nodes);
    }
    let states = tasks.iter().map(|task| {
        let error = text(task, "/Status/Err");
        format!("slot {} is {} {error}", number(task, "/Slot"), text(task, "/Status/State"))
    });
    Err(states.collect::<Vec<_>>().join(", "))
}

/// The names of nodes, for people.
async fn node_names(master: &Client, ids: &[String]) -> Result<String, ApiError> {
    let mut names = Vec::new();
    for id in ids {
        let node = master.get(&format!("/nodes/{id}")).await?;
        names.push(text(&node, "/Description/Hostname").to_owned());
    }
    names.sort();
    Ok(names.join(" and "))
}

/// A worker that runs a task: its name and its id.
async fn victim(master: &Client) -> Result<Option<(String, String)>, ApiError> {
    let tasks = running(master, REPLICAS, |_| true).await.unwrap_or_default();
    for id in tasks {
        let node = master.get(&format!("/nodes/{id}")).await?;
        if text(&node, "/Spec/Role") == "worker" {
            return Ok(Some((text(&node, "/Description/Hostname").to_owned(), id)));
        }
    }
    Ok(None)
}

const SERVICE: &str = "helloworld";
const REPLICAS: u8 = 2;
/// The pace of the requests during the power cut.
const EVERY_MS: u64 = 20;
/// When one of them counts as failed.
const TIMEOUT_MS: u64 = 5000;
/// Requests through each node that is left, after the power cut.
const AFTERWARDS: usize = 20;
