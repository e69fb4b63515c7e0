//! A swarm of one node in a namespace of its own: found it, run a service, ask it. Needs nothing installed, and no root.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::{
    io::{Read, Write},
    time::Duration,
};

use overlay_linux::{
    link::{Desired, Link, LinkName, Netlink, Peer, Scope},
    netns::NetNs,
    userns::{self, Namespaces},
};
use swarm_node::{InitRequest, Node, NodeConfig, runtime};
use swarm_state::{Action, ServiceId, object::TaskState};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    runtime::reenter(); // this program is also its tasks' shim and init
    if !nix::unistd::geteuid().is_root() {
        userns::enter_as_root()?;
    }
    userns::unshare(Namespaces::NETWORK | Namespaces::MOUNT)?;
    let segment = std::sync::Arc::new(NetNs::create()?);
    let eth1 = Link::veth(Peer::new(segment, LinkName::new("other")?));
    let mut machine = Desired::default();
    machine.links.insert(LinkName::new("lo")?, Link::existing());
    machine
        .links
        .insert(LinkName::new("eth1")?, eth1.with_address("192.168.99.100/24".parse::<ipnet::IpNet>()?));
    assert!(Netlink::open()?.converge(&Scope::links(["eth1"]), &machine)?.is_clean());
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(play())
}

async fn play() -> Outcome {
    let dir = tempfile::tempdir()?;
    let node = Node::start(NodeConfig::new(dir.path())).await?;
    let id = node.init(InitRequest { advertise_addr: "eth1".into(), ..InitRequest::default() }).await?;
    println!("node {id} leads a swarm of one");
    let spec = serde_json::json!({
        "Name": "helloworld",
        "TaskTemplate": {"ContainerSpec": {"Image": "huyinghuan/helloworld:latest"}},
        "Mode": {"Replicated": {"Replicas": 2}},
        "EndpointSpec": {"Ports": [{"TargetPort": 8080, "PublishedPort": 8080}]},
    });
    let service = ServiceId::from_random([7; 16]);
    node.propose(Action::CreateService { id: service, spec: Box::new(serde_json::from_value(spec)?) })
        .await?;
    let running = || {
        let is_running = |task: &&swarm_state::object::Task| task.status.state == TaskState::Running;
        node.read(|state| state.tasks_of(service).filter(is_running).count())
    };
    for _ in 0..500 {
        if running()? == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{} tasks run", running()?);
    for _ in 0..4 {
        println!("{}", tokio::task::spawn_blocking(ask).await??);
    }
    node.leave(true).await?;
    Ok(())
}

#[expect(clippy::disallowed_types, reason = "a client is no machine")]
fn ask() -> std::io::Result<String> {
    let mut tries = (0..50).map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        std::net::TcpStream::connect("127.0.0.1:8080")
    });
    let mut socket = tries.find_map(Result::ok).ok_or(std::io::ErrorKind::TimedOut)?;
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned())
}
