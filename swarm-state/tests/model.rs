//! Whatever happens, in whatever order: no address twice, no task backwards, and in the end what was asked for.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use support::{World, web};
use swarm_state::object::TaskState;
use swarm_state::spec::{Availability, Mode, NodeState};
use swarm_state::{Action, NetworkId, NodeId, ServiceId, State, TaskId, TaskOp, assignment, reconcile};

#[derive(Clone, Debug)]
enum Step {
    CreateService {
        replicas: u64,
        publish: bool,
        network: u8,
    },
    CreateGlobal,
    Scale {
        service: u8,
        replicas: u64,
    },
    Update {
        service: u8,
        start_first: bool,
    },
    RemoveService {
        service: u8,
    },
    CreateNetwork {
        encrypted: bool,
        dual: bool,
    },
    Rotate {
        network: u8,
        grace: u64,
    },
    RemoveNetwork {
        network: u8,
    },
    Node {
        node: u8,
        state: NodeState,
    },
    Availability {
        node: u8,
        availability: Availability,
    },
    RemoveNode {
        node: u8,
    },
    AddNode,
    End {
        task: u8,
        state: TaskState,
    },
    /// What a host reaches, some of it where networks are or will be.
    Routes {
        node: u8,
        nets: Vec<u8>,
    },
    /// Some nodes, or all, have forgotten what they were asked to.
    Acknowledge {
        nodes: u8,
    },
    Plan,
    /// A plan that is applied twice, and late.
    StalePlan,
    Work,
    Wait {
        seconds: u64,
    },
    Snapshot,
}

proptest! {

    #[test]
    fn a_swarm_survives_everything(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new(3);
        let mut stale: Vec<TaskOp> = Vec::new();
        let mut watch = Watch::default();
        for step in &steps {
            take(&mut world, step, &mut stale);
            watch.check(&world.state);
        }
        // Everybody comes back: what was asked for is there in the end.
        for node in world.nodes.clone() {
            if world.state.node(node).is_some() {
                world.set_node(node, NodeState::Ready);
                available(&mut world, node, Availability::Active);
            }
        }
        world.run_for(Duration::from_secs(900));
        watch.check(&world.state);
        for service in world.state.services().values() {
            let nodes = world.state.nodes().len() as u64;
            let wanted = service.spec.replicas().unwrap_or(nodes);
            let counts = world.state.service_counts(service);
            prop_assert_eq!(counts.running, wanted, "{} {:?}", service.spec.name, service.update_status);
            prop_assert!(world.running(service.id).iter().all(|task| service.is_paused() || world.state.is_up_to_date(task)));
        }
        // what was freed is forgotten by everybody, or has rested
        world.now = world.now.plus(Duration::from_secs(61));
        world.ok(Action::Tick {});
        let marks = world.state.nodes().keys().map(|node| assignment(&world.state, *node).unwrap().mark);
        prop_assert_eq!(marks.sum::<u64>(), 0);
        replay(&world);
    }
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![Just(NodeState::Ready), Just(NodeState::Down), Just(NodeState::Unknown)];
    let availability =
        prop_oneof![Just(Availability::Active), Just(Availability::Pause), Just(Availability::Drain)];
    let end = prop_oneof![Just(TaskState::Failed), Just(TaskState::Complete), Just(TaskState::Rejected)];
    prop_oneof![
        3 => (0..6_u64, any::<bool>(), 0..4_u8)
            .prop_map(|(replicas, publish, network)| Step::CreateService { replicas, publish, network }),
        1 => Just(Step::CreateGlobal),
        2 => (any::<u8>(), 0..8_u64).prop_map(|(service, replicas)| Step::Scale { service, replicas }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(service, start_first)| Step::Update { service, start_first }),
        1 => any::<u8>().prop_map(|service| Step::RemoveService { service }),
        2 => any::<(bool, bool)>().prop_map(|(encrypted, dual)| Step::CreateNetwork { encrypted, dual }),
        1 => (any::<u8>(), 0..60_u64).prop_map(|(network, grace)| Step::Rotate { network, grace }),
        1 => any::<u8>().prop_map(|network| Step::RemoveNetwork { network }),
        2 => (any::<u8>(), state).prop_map(|(node, state)| Step::Node { node, state }),
        1 => (any::<u8>(), availability).prop_map(|(node, availability)| Step::Availability { node, availability }),
        1 => any::<u8>().prop_map(|node| Step::RemoveNode { node }),
        1 => Just(Step::AddNode),
        3 => (any::<u8>(), end).prop_map(|(task, state)| Step::End { task, state }),
        1 => (any::<u8>(), prop::collection::vec(0..12_u8, 0..4))
            .prop_map(|(node, nets)| Step::Routes { node, nets }),
        2 => any::<u8>().prop_map(|nodes| Step::Acknowledge { nodes }),
        4 => Just(Step::Plan),
        1 => Just(Step::StalePlan),
        6 => Just(Step::Work),
        2 => (0..40_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Snapshot),
    ]
}

fn take(world: &mut World, step: &Step, stale: &mut Vec<TaskOp>) {
    match *step {
        Step::CreateService { replicas, publish, network } => {
            let name = format!("s{}", world.log.len());
            let names: Vec<String> = world.state.networks().values().map(|n| n.spec.name.clone()).collect();
            let user: Vec<&str> =
                names.iter().map(String::as_str).filter(|name| *name != "ingress").collect();
            let picked = user.get(usize::from(network)).map_or(vec![], |name| vec![*name]);
            let mut body = web(&name, replicas, 1, &picked).replace(r#""PublishedPort":1,"#, "");
            if !publish {
                body = web(&name, replicas, 0, &picked);
            }
            let id = ServiceId::from_random(world.bits());
            attempt(
                world,
                Action::CreateService { id, spec: Box::new(serde_json::from_str(&body).unwrap()) },
            );
        }
        Step::CreateGlobal => {
            let body = format!(
                r#"{{"Name":"g{}","Mode":{{"Global":{{}}}},"TaskTemplate":{{"ContainerSpec":{{"Image":"i"}}}}}}"#,
                world.log.len()
            );
            world.create_service(&body);
        }
        Step::Scale { service, replicas } => {
            change_service(world, service, |spec| {
                if let Mode::Replicated(mode) = &mut spec.mode {
                    mode.replicas = Some(replicas);
                }
            });
        }
        Step::Update { service, start_first } => change_service(world, service, |spec| {
            spec.task_template.force_update += 1;
            let order = if start_first { "start-first" } else { "stop-first" };
            let config = format!(r#"{{"Parallelism":2,"FailureAction":"continue","Order":"{order}"}}"#);
            spec.update_config = serde_json::from_str(&config).unwrap();
        }),
        Step::RemoveService { service } => {
            if let Some(id) = pick(world.state.services().keys(), service) {
                world.ok(Action::RemoveService { id });
            }
        }
        Step::CreateNetwork { encrypted, dual } => {
            let options = if encrypted { r#"{"encrypted":""}"# } else { "{}" };
            let body =
                format!(r#"{{"Name":"n{}","EnableIPv6":{dual},"Options":{options}}}"#, world.log.len());
            world.create_network(&body);
        }
        Step::Rotate { network, grace } => {
            if let Some(id) = pick(world.state.networks().keys(), network) {
                attempt(world, Action::RotateNetworkKeys { id, grace: Some(Duration::from_secs(grace)) });
            }
        }
        Step::RemoveNetwork { network } => {
            if let Some(id) =
                pick(world.state.networks().keys(), network).filter(|id| !is_ingress(world, *id))
            {
                attempt(world, Action::RemoveNetwork { id });
            }
        }
        Step::Node { node, state } => {
            if let Some(id) = pick(world.state.nodes().keys(), node) {
                world.set_node(id, state);
            }
        }
        Step::Availability { node, availability } => {
            if let Some(id) = pick(world.state.nodes().keys(), node) {
                available(world, id, availability);
            }
        }
        Step::RemoveNode { node } => {
            if let Some(id) = pick(world.state.nodes().keys(), node) {
                attempt(world, Action::RemoveNode { id, force: node % 2 == 0 });
            }
        }
        Step::AddNode => {
            let number = u8::try_from(world.nodes.len()).unwrap();
            if number < 8 {
                world.add_node(number);
            }
        }
        Step::End { task, state } => {
            let live: Vec<TaskId> = live(&world.state);
            if let Some(task) = pick(live.iter(), task) {
                world.report(task, state);
            }
        }
        Step::Routes { node, ref nets } => {
            if let Some(node) = pick(world.state.nodes().keys(), node) {
                let net = |n: u8| format!("10.{}.{n}.0/{}", n / 8, 22 + n % 4).parse().unwrap();
                world.ok(Action::ReportRoutes { node, nets: nets.iter().copied().map(net).collect() });
            }
        }
        Step::Acknowledge { nodes } => {
            let some: Vec<NodeId> = world
                .nodes
                .iter()
                .enumerate()
                .filter(|(n, _)| nodes >> n & 1 == 1)
                .map(|(_, id)| *id)
                .collect();
            world.acknowledge_by(&some);
        }
        Step::Plan => {
            world.plan();
        }
        Step::StalePlan => {
            let mut drawn = world.bits();
            drawn[8] = 0xff;
            let mut ids = || {
                drawn[9] = drawn[9].wrapping_add(1);
                TaskId::from_random(drawn)
            };
            let ops = reconcile::plan(&world.state, world.now, &mut ids);
            world.ok(Action::Plan { ops: stale.clone() });
            world.ok(Action::Plan { ops: ops.clone() });
            world.ok(Action::Plan { ops: ops.clone() });
            *stale = ops;
        }
        Step::Work => {
            world.work();
        }
        Step::Wait { seconds } => world.now = world.now.plus(Duration::from_secs(seconds)),
        Step::Snapshot => assert_eq!(State::from_json(&world.state.to_json()).unwrap(), world.state),
    }
}

/// What is refused leaves all objects as they were.
fn attempt(world: &mut World, action: Action) {
    let before = world.state.clone();
    if world.apply(action).is_err() {
        assert_eq!(world.state.nodes(), before.nodes());
        assert_eq!(world.state.networks(), before.networks());
        assert_eq!(world.state.services(), before.services());
        assert_eq!(world.state.tasks(), before.tasks());
    }
}

/// What must always hold, seen from step to step.
#[derive(Default)]
struct Watch {
    states: BTreeMap<TaskId, (TaskState, TaskState)>,
    gone: BTreeSet<TaskId>,
}

impl Watch {
    fn check(&mut self, state: &State) {
        let mut holders: BTreeMap<(NetworkId, IpAddr), String> = BTreeMap::new();
        let mut hold = |network: NetworkId, addr: IpAddr, who: String| {
            let other = holders.insert((network, addr), who.clone());
            assert_eq!(other, None, "{addr} belongs to {who} too");
        };
        for task in state.tasks().values().filter(|task| !task.has_ended()) {
            for attachment in &task.networks {
                attachment
                    .addresses
                    .iter()
                    .for_each(|a| hold(attachment.network_id, a.addr(), task.container_name()));
            }
        }
        for service in state.services().values() {
            service
                .endpoint
                .virtual_ips
                .iter()
                .for_each(|v| hold(v.network, v.addr.addr(), service.spec.name.clone()));
        }
        for node in state.nodes().values() {
            let mut all =
                node.attachments.iter().flat_map(|(n, nets)| nets.iter().map(move |net| (*n, net.addr())));
            all.by_ref().for_each(|(network, addr)| hold(network, addr, node.id.to_string()));
        }
        for seal in state.networks().values().filter_map(|network| Some(&network.keys.as_ref()?.seal)) {
            assert!(seal.keys.contains_key(&seal.active) && seal.keys.len() <= 3, "{seal:?}");
        }
        let mut ports = BTreeSet::new();
        for port in state.services().values().flat_map(|service| &service.endpoint.ports) {
            assert!(ports.insert((port.protocol(), port.published_port)), "{port:?} twice");
        }
        for task in state.tasks().values() {
            assert!(!self.gone.contains(&task.id), "{} came back", task.id);
            let now = (task.status.state, task.desired_state);
            let before = self.states.insert(task.id, now).unwrap_or(now);
            assert!(before.0 <= now.0 && before.1 <= now.1, "{} went from {before:?} to {now:?}", task.id);
        }
        self.gone.extend(self.states.keys().filter(|id| state.task(**id).is_none()));
    }
}

/// The same log gives the same state, with a snapshot in the middle or without.
fn replay(world: &World) {
    let mut plain = State::new();
    let mut with_snapshot = State::new();
    for (index, command) in &world.log {
        let reply = plain.apply(*index, command);
        assert_eq!(with_snapshot.apply(*index, command), reply);
        if *index == u64::try_from(world.log.len()).unwrap() / 2 {
            with_snapshot = State::from_json(&with_snapshot.to_json()).unwrap();
        }
    }
    assert_eq!(plain, world.state);
    assert_eq!(with_snapshot.to_json(), world.state.to_json());
}

fn live(state: &State) -> Vec<TaskId> {
    let tasks =
        state.tasks().values().filter(|task| !task.has_ended() && task.status.state >= TaskState::Assigned);
    tasks.map(|task| task.id).collect()
}

fn pick<'a, T: Copy + 'a>(mut all: impl ExactSizeIterator<Item = &'a T>, which: u8) -> Option<T> {
    let count = all.len();
    if count == 0 { None } else { all.nth(usize::from(which) % count).copied() }
}

fn is_ingress(world: &World, id: NetworkId) -> bool {
    world.state.network(id).unwrap().is_ingress()
}

fn change_service(world: &mut World, which: u8, change: impl FnOnce(&mut swarm_state::spec::ServiceSpec)) {
    if let Some(id) = pick(world.state.services().keys(), which) {
        world.update_service(id, change);
    }
}

fn available(world: &mut World, id: NodeId, availability: Availability) {
    let node = world.state.node(id).unwrap();
    let (version, mut spec) = (node.meta.version, node.spec.clone());
    spec.availability = availability;
    world.ok(Action::UpdateNode { id, version, spec });
}
