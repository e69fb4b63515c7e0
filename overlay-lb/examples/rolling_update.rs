//! A service is replaced task by task; clients of its virtual IP, its name and its port follow in one step.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::net::IpAddr;

use overlay_lb::{
    Endpoint, Phase, Protocol, PublishedPort, View,
    dns::{Kind, answer},
};

fn main() {
    let old = [task(1, "node-1"), task(2, "node-2")];
    show("before", &View::new(old.clone()));

    let [first, second] = old;
    let leaving = Endpoint { phase: Phase::Draining, ..first };
    let coming = Endpoint { phase: Phase::Starting, ..task(3, "node-3") };
    show("task 1 drains, task 3 starts", &View::new([leaving.clone(), second.clone(), coming.clone()]));

    let ready = Endpoint { phase: Phase::Ready, ..coming };
    show("task 3 is ready", &View::new([leaving, second, ready]));
}

fn show(step: &str, view: &View) {
    println!("{step}");
    for (vip, tasks) in view.vip_plan().vips {
        println!("  virtual IP {vip} -> {tasks:?}");
    }
    for ((protocol, port), plan) in view.mesh_plan("node-2").ports {
        let share = |node: &str| plan.slots.iter().filter(|slot| *slot == node).count();
        let nodes = ["node-1", "node-2", "node-3"].map(share);
        println!("  port {port}/{protocol}: slots of node 1, 2, 3 = {nodes:?}, here {:?}", plan.local);
    }
    println!("  tasks.web is {:?}", answer(&[view], "tasks.web", Kind::A, 0));
}

fn task(index: u8, node: &str) -> Endpoint {
    Endpoint {
        id: format!("task-{index}"),
        service_id: "service-1".into(),
        service_name: "web".into(),
        task_name: format!("web.{index}"),
        node: node.into(),
        addresses: vec![IpAddr::from([10, 0, 1, 2 + index])],
        vips: vec![IpAddr::from([10, 0, 1, 2])],
        aliases: vec![],
        ports: vec![PublishedPort { protocol: Protocol::Tcp, published: 8080, target: 80 }],
        phase: Phase::Ready,
    }
}
