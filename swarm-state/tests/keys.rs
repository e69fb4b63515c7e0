//! Keys of encrypted networks and of the gossip: where they come from, who sees them, how they are replaced.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{World, web};
use swarm_state::object::{
    GossipKey, NetworkKeys, NetworkSeal, PlaneChoice, Rotation, RotationStep, SealAlgorithm,
};
use swarm_state::spec::NodeState;
use swarm_state::{Action, Command, NetworkId, State, Timestamp, assignment};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn options_say_who_forwards_and_whether_it_is_sealed() {
    use PlaneChoice::{Auto, Kernel, User};
    use SealAlgorithm::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
    let mut world = World::new(1);
    for (number, (options, plane, algorithm)) in [
        (json!({}), Auto, None),
        (json!({"plane": "kernel"}), Kernel, None),
        (json!({"plane": "user"}), User, None),
        (json!({"plane": "auto", "encrypted": "false"}), Auto, None),
        (json!({"plane": "kernel", "encrypted": "0"}), Kernel, None),
        (json!({"encrypted": ""}), Auto, Some(Aes128Gcm)),
        (json!({"encrypted": "true"}), Auto, Some(Aes128Gcm)),
        (json!({"encrypted": "1", "plane": "user"}), User, Some(Aes128Gcm)),
        (json!({"encrypted": "aes-128-gcm"}), Auto, Some(Aes128Gcm)),
        (json!({"encrypted": "aes-256-gcm"}), Auto, Some(Aes256Gcm)),
        (json!({"encrypted": "chacha20-poly1305"}), Auto, Some(ChaCha20Poly1305)),
    ]
    .into_iter()
    .enumerate()
    {
        let id = world.create_network(&json!({"Name": format!("n{number}"), "Options": options}).to_string());
        let network = world.state.network(id).unwrap();
        let keys = network.keys.as_ref();
        assert_eq!((network.plane, keys.map(|keys| keys.seal.algorithm)), (plane, algorithm), "{options}");
        for (id, key) in keys.iter().flat_map(|keys| &keys.seal.keys) {
            assert_eq!((*id, key.0.len()), (1, algorithm.unwrap().key_len()));
        }
        for (name, value) in options.as_object().unwrap() {
            assert_eq!(network.driver_options().get(name).map(String::as_str), value.as_str());
        }
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_with_the_reason() {
    let mut world = World::new(1);
    for (options, text) in [
        (json!({"layout": "tree"}), "invalid layout \"tree\": use macvlan or bridge"),
        (
            json!({"layout": "bridge", "encrypted": ""}),
            "a layout is for networks that the kernel forwards: leave out --opt layout, or --opt plane=user and --opt encrypted",
        ),
        (json!({"plane": "ebpf"}), "invalid plane \"ebpf\": use auto, kernel or user"),
        (
            json!({"encrypted": "des"}),
            "option encrypted: unknown cipher \"des\": use aes-128-gcm, aes-256-gcm or chacha20-poly1305",
        ),
        (
            json!({"encrypted": "", "plane": "kernel"}),
            "an encrypted network is forwarded by the node's own process, not by the kernel: leave out --opt plane=kernel, or --opt encrypted",
        ),
    ] {
        assert_eq!(refused(&mut world, &json!({"Name": "n", "Options": options})), text);
    }
    let ingress = world.state.ingress().unwrap().id;
    world.ok(Action::RemoveNetwork { id: ingress });
    let encrypted = json!({"Name": "i", "Ingress": true, "Options": {"encrypted": ""}});
    assert_eq!(
        refused(&mut world, &encrypted),
        "the ingress network cannot be encrypted: its packets are forwarded by the kernel. Attach services to an encrypted overlay network for what they say to each other"
    );
    let user = json!({"Name": "i", "Ingress": true, "Options": {"plane": "user"}});
    assert_eq!(
        refused(&mut world, &user),
        "the ingress network is forwarded by the kernel: leave out --opt plane=user"
    );
    assert!(world.state.networks().is_empty(), "nothing is left behind");
}

#[test]
fn the_key_is_the_commands_and_nobody_prints_it() {
    let mut world = World::new(1);
    let id = NetworkId::from_random(world.bits());
    let spec = serde_json::from_value(json!({"Name": "n", "Options": {"encrypted": ""}})).unwrap();
    let create = Action::CreateNetwork { id, spec: Box::new(spec) };
    let bare = world.state.clone().apply(100, &create.clone().at(world.now)).unwrap_err();
    assert_eq!(bare.message, "no random bytes for the network's key came with the command");

    let command = create.at(world.now).with_random(|| [0xab; 32]);
    let text = String::from_utf8(command.to_json()).unwrap();
    assert!(text.contains(&"ab".repeat(32)), "hexadecimal: {text}");
    assert_eq!(Command::from_json(text.as_bytes()).unwrap(), command);
    world.state.apply(100, &command).unwrap();
    assert_eq!(keys(&world.state, id).seal.keys[&1].0, [0xab; 16]);
    let shown = format!("{command:?} {:?}", world.state).to_lowercase();
    assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    for wrong in ["\"a\"", "\"xy\"", "\"ä\"", "[1]"] {
        assert!(serde_json::from_str::<swarm_state::object::SealSecret>(wrong).is_err());
    }
}

#[test]
fn a_node_gets_the_keys_of_the_networks_of_its_tasks_only() {
    let mut world = World::new(2);
    let id = world.create_network(r#"{"Name":"secret","Options":{"encrypted":"aes-256-gcm"}}"#);
    world.create_service(&web("web", 1, 0, &["secret"]));
    world.settle();
    let seals = |node| {
        let assigned = assignment(&world.state, node).unwrap().networks;
        assigned.into_iter().filter_map(|network| network.seal.map(|seal| (network.id, seal))).collect()
    };
    let all: Vec<BTreeMap<NetworkId, NetworkSeal>> = world.nodes.iter().map(|node| seals(*node)).collect();
    let with: Vec<_> = all.iter().filter(|seals| !seals.is_empty()).collect();
    assert_eq!(with, [&BTreeMap::from([(id, keys(&world.state, id).seal.clone())])]);
}

#[test]
fn every_twelve_hours_a_key_is_installed_used_and_the_old_one_retired() {
    let mut world = World::new(1);
    let id = world.create_network(r#"{"Name":"n","Options":{"encrypted":""}}"#);
    let mut seen = BTreeSet::new();
    for round in 1..=3_u16 {
        seen.insert(keys(&world.state, id).seal.keys[&round].0.clone());
        world.run_for(Rotation::EVERY - MINUTE);
        assert_eq!(ring(&world.state, id), (round, vec![round]), "not before its time");
        world.run_for(MINUTE);
        assert_eq!(ring(&world.state, id), (round, vec![round, round + 1]), "installed");
        world.run_for(MINUTE);
        assert_eq!(ring(&world.state, id), (round + 1, vec![round, round + 1]), "used");
        world.run_for(MINUTE);
        assert_eq!(ring(&world.state, id), (round + 1, vec![round + 1]), "retired");
    }
    assert_eq!(seen.len(), 3, "each key is another one");
}

#[test]
fn a_rotation_can_be_asked_for_at_any_time() {
    let mut world = World::new(1);
    let plain = world.create_network(r#"{"Name":"plain"}"#);
    let id = world.create_network(r#"{"Name":"n","Options":{"encrypted":""}}"#);
    let rotate =
        |id, seconds: Option<u64>| Action::RotateNetworkKeys { id, grace: seconds.map(Duration::from_secs) };
    assert_eq!(
        world.refused(rotate(plain, None)),
        "network plain is not encrypted: it was created without --opt encrypted"
    );
    assert_eq!(world.refused(rotate(id, Some(90_000))), "a grace of 90000 s is too long: 24 h are the most");
    let missing = NetworkId::from_random(world.bits());
    assert_eq!(world.refused(rotate(missing, None)), format!("network {missing} not found"));

    world.ok(rotate(id, Some(10)));
    assert_eq!(ring(&world.state, id), (1, vec![1, 2]));
    world.ok(rotate(id, Some(5)));
    assert_eq!(ring(&world.state, id), (1, vec![1, 2]), "it is on its way");
    world.run_for(Duration::from_secs(5));
    assert_eq!(ring(&world.state, id), (2, vec![1, 2]), "with the grace of the second");
    world.ok(rotate(id, Some(5)));
    assert_eq!(
        ring(&world.state, id),
        (2, vec![1, 2, 3]),
        "the next one begins before the last one has ended"
    );
    world.run_for(Duration::from_secs(5));
    assert_eq!(ring(&world.state, id), (3, vec![2, 3]));
    world.run_for(Duration::from_secs(5));
    assert_eq!(ring(&world.state, id), (3, vec![3]));
    assert_eq!(
        keys(&world.state, id).rotation,
        Rotation {
            step: RotationStep::Resting,
            since: world.now,
            due: world.now.plus(Rotation::EVERY),
            grace: Rotation::GRACE,
            again: false,
        }
    );
}

#[test]
fn ids_begin_again_after_the_last() {
    let mut world = World::new(1);
    let id = world.create_network(r#"{"Name":"n","Options":{"encrypted":""}}"#);
    world.edit(|state| {
        let seal = &mut state["networks"][id.as_str()]["keys"]["seal"];
        *seal = json!({"algorithm": "aes-128-gcm", "active": 65535, "keys": {"65535": seal["keys"]["1"]}});
    });
    world.ok(Action::RotateNetworkKeys { id, grace: None });
    assert_eq!(ring(&world.state, id), (65535, vec![0, 65535]));
    world.run_for(MINUTE);
    assert_eq!(ring(&world.state, id), (0, vec![0, 65535]));
    world.run_for(MINUTE);
    assert_eq!(ring(&world.state, id), (0, vec![0]));
}

#[test]
fn the_gossips_key_is_replaced_too() {
    let mut world = World::new(1);
    world.run_for(Rotation::EVERY * 2);
    assert!(gossip(&world.state).is_empty(), "plain stays plain");
    world.ok(Action::SetGossipKeys { keys: vec![GossipKey([1; 16])] });
    let version = world.state.cluster().unwrap().meta.version;
    world.run_for(Rotation::EVERY);
    let [old, new] = gossip(&world.state)[..] else { panic!("installed") };
    assert_eq!(old, GossipKey([1; 16]));
    world.run_for(MINUTE);
    assert_eq!(gossip(&world.state), [new, old], "used");
    world.run_for(MINUTE);
    assert_eq!(gossip(&world.state), [new], "retired");
    assert_eq!(assignment(&world.state, world.nodes[0]).unwrap().gossip_keys, [new]);
    assert_eq!(world.state.cluster().unwrap().meta.version, version, "nobody's update is out of sequence");
}

#[test]
fn who_was_removed_does_not_know_the_keys_for_long() {
    let mut world = World::new(2);
    world.ok(Action::SetGossipKeys { keys: vec![GossipKey([1; 16])] });
    let id = world.create_network(r#"{"Name":"n","Options":{"encrypted":""}}"#);
    let gone = world.nodes[1];
    world.set_node(gone, NodeState::Down);
    world.ok(Action::RemoveNode { id: gone, force: false });
    world.run_for(MINUTE * 2);
    assert_eq!(ring(&world.state, id), (2, vec![2]));
    assert!(!gossip(&world.state).contains(&GossipKey([1; 16])));
}

#[test]
fn who_was_removed_during_a_rotation_does_not_know_the_keys_for_long_either() {
    for since_installed in [Duration::ZERO, MINUTE] {
        let mut world = World::new(2);
        world.ok(Action::SetGossipKeys { keys: vec![GossipKey([1; 16])] });
        let id = world.create_network(r#"{"Name":"n","Options":{"encrypted":""}}"#);
        world.run_for(Rotation::EVERY + since_installed);
        let known = (keys(&world.state, id).seal.keys.clone(), gossip(&world.state).to_vec());
        assert_eq!((known.0.len(), known.1.len()), (2, 2), "a rotation is on its way");
        let gone = world.nodes[1];
        world.set_node(gone, NodeState::Down);
        world.ok(Action::RemoveNode { id: gone, force: false });
        world.run_for(MINUTE * 4);
        assert!(keys(&world.state, id).seal.keys.values().all(|key| !known.0.values().any(|old| old == key)));
        assert!(gossip(&world.state).iter().all(|key| !known.1.contains(key)));
        let rotation = keys(&world.state, id).rotation;
        assert_eq!((rotation.step, rotation.again), (RotationStep::Resting, false), "and then all is quiet");
    }
}

#[test]
fn snapshots_and_logs_from_before_are_read() {
    let mut world = World::new(1);
    let id = world.create_network(r#"{"Name":"n"}"#);
    let before = world.state.clone();
    world.edit(|state| {
        assert!(state.as_object_mut().unwrap().remove("gossip_rotation").is_some());
        assert!(state["networks"][id.as_str()].as_object_mut().unwrap().remove("plane").is_some());
    });
    assert_eq!(world.state.networks(), before.networks());
    let logged =
        r#"{"at":"2026-09-21T14:13:20Z","action":{"RemoveNetwork":{"id":"0123456789abcdefghijklmno"}}}"#;
    let command = Command::from_json(logged.as_bytes()).unwrap();
    assert!(command.random.is_empty());
    assert_eq!(command.to_json(), logged.as_bytes());
}

proptest! {
    /// Nobody who is behind by less than the shortest grace seals with a key that somebody else does not have.
    #[test]
    fn a_node_may_be_behind_by_a_grace(
        asked in prop::collection::vec((0..400_u64, 20..90_u64), 0..12),
    ) {
        let mut world = World::new(1);
        let id = world.create_network(r#"{"Name":"n","Options":{"encrypted":""}}"#);
        let shortest = asked.iter().map(|(_, grace)| *grace).min().unwrap_or(60).min(60);
        let mut history: Vec<(Timestamp, NetworkSeal)> = vec![(world.now, keys(&world.state, id).seal.clone())];
        for (wait, grace) in asked.into_iter().chain([(100_000, 60)]) {
            let end = world.now.plus(Duration::from_secs(wait));
            while world.now < end {
                let due = keys(&world.state, id).rotation.due;
                world.now = due.clamp(world.now, end);
                world.settle();
                history.push((world.now, keys(&world.state, id).seal.clone()));
            }
            world.ok(Action::RotateNetworkKeys { id, grace: Some(Duration::from_secs(grace)) });
            history.push((world.now, keys(&world.state, id).seal.clone()));
        }
        let mut used = BTreeMap::new();
        for (index, (at, seal)) in history.iter().enumerate() {
            prop_assert!(seal.keys.contains_key(&seal.active) && seal.keys.len() <= 3);
            for (id, key) in &seal.keys {
                prop_assert_eq!(used.entry(*id).or_insert_with(|| key.clone()), key);
            }
            // What held until less than a grace ago: each entry holds until the next one is made.
            for pair in history[..=index].windows(2).rev() {
                let [(_, old), (until, _)] = pair else { unreachable!() };
                if at.since(*until) >= Duration::from_secs(shortest) {
                    break;
                }
                prop_assert!(old.keys.contains_key(&seal.active), "the one behind cannot open");
                prop_assert!(seal.keys.contains_key(&old.active), "the one behind cannot be heard");
            }
        }
    }
}

fn refused(world: &mut World, spec: &Value) -> String {
    let id = NetworkId::from_random(world.bits());
    world.refused(Action::CreateNetwork { id, spec: Box::new(serde_json::from_value(spec.clone()).unwrap()) })
}

fn keys(state: &State, id: NetworkId) -> &NetworkKeys {
    state.network(id).unwrap().keys.as_ref().unwrap()
}

/// The key that is used, and all that are accepted.
fn ring(state: &State, id: NetworkId) -> (u16, Vec<u16>) {
    let seal = &keys(state, id).seal;
    (seal.active, seal.keys.keys().copied().collect())
}

fn gossip(state: &State) -> &[GossipKey] {
    &state.cluster().unwrap().gossip_keys
}
