//! Sealed clusters of both kinds.

use std::time::Duration;

use overlay_gossip::{Event, Key, MemberState};

use crate::peer::Serf;
use crate::{eventually, ip, ours, side_by_side, skip, state};

#[test]
fn sealed_clusters_of_both_kinds_change_their_keys() {
    side_by_side(keys_are_installed_used_and_removed(), a_key_of_24_bytes_is_understood());
}

async fn keys_are_installed_used_and_removed() {
    let (old, new) = (Key::new((0..32).collect::<Vec<u8>>()).unwrap(), Key::new([7; 32]).unwrap());
    let (first, second) = (old.to_base64(), new.to_base64());
    let Some(serf) = Serf::start(&ip(78, 1), "real", &["-encrypt", &first]) else { return skip() };
    let (a, mut events) = ours("a", 78, 2, std::slice::from_ref(&old)).await;
    let (b, _b_events) = ours("b", 78, 3, &[old]).await;
    a.join(vec![serf.addr]);
    b.join(vec![serf.addr]);
    eventually("all see all", 15, || {
        state(&a, "b") == Some(MemberState::Alive)
            && state(&b, "a") == Some(MemberState::Alive)
            && ["a", "b"].iter().all(|name| serf.status(name) == "alive")
    })
    .await;
    let keys = |args: &[&str]| {
        let said = serf.call(&[&["keys"], args].concat());
        assert!(!said.contains("rror") && !said.contains("fail"), "{args:?}: {said}");
        said
    };
    keys(&["-install", &second]);
    let listed = keys(&["-list"]);
    assert_eq!(listed.matches("[3/3]").count(), 2, "{listed}");
    keys(&["-use", &second]);
    a.send_event("sealed", "with the new key".into(), false).unwrap();
    eventually("event at serf", 5, || serf.log().contains("user-event: sealed")).await;
    keys(&["-remove", &first]);
    let listed = keys(&["-list"]);
    assert!(listed.contains(&second) && !listed.contains(&first), "{listed}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for agent in [&a, &b] {
        let stats = agent.stats();
        assert_eq!((stats.malformed, stats.undecryptable, stats.members_up), (0, 0, 3));
    }
    let mut changes = Vec::new();
    while let Ok(event) = events.try_recv() {
        match event {
            Event::KeysChanged { keys } => changes.push(keys),
            Event::MemberDown { name, .. } => panic!("{name} is alive"),
            _ => {}
        }
    }
    assert_eq!(changes.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(changes[2], [new]);
    assert_eq!(serf.complaints(), Vec::<String>::new());
    serf.call(&["leave"]);
    eventually("serf left", 15, || state(&a, "real") == Some(MemberState::Left)).await;
}

async fn a_key_of_24_bytes_is_understood() {
    let (old, new) = (Key::new((0..24).collect::<Vec<u8>>()).unwrap(), Key::new([24; 24]).unwrap());
    let (first, second) = (old.to_base64(), new.to_base64());
    let Some(serf) = Serf::start(&ip(82, 1), "real", &["-encrypt", &first]) else { return skip() };
    let (a, _a_events) = ours("a", 82, 2, std::slice::from_ref(&old)).await;
    let (b, mut events) = ours("b", 82, 3, &[old]).await;
    a.join(vec![serf.addr]);
    eventually("a knows serf", 15, || state(&a, "real") == Some(MemberState::Alive)).await;
    eventually("serf joins b", 15, || serf.call(&["join", &b.local_addr().to_string()]).contains("Success"))
        .await;
    eventually("all see all", 15, || {
        state(&a, "b") == Some(MemberState::Alive)
            && state(&b, "a") == Some(MemberState::Alive)
            && ["a", "b"].iter().all(|name| serf.status(name) == "alive")
    })
    .await;
    for step in ["-install", "-use"] {
        let said = serf.call(&["keys", step, &second]);
        assert!(!said.contains("rror") && !said.contains("fail"), "{step}: {said}");
    }
    let said = serf.call(&["keys", "-remove", &first]);
    assert!(!said.contains("rror") && !said.contains("fail"), "{said}");
    a.send_event("sealed", "with 24 bytes".into(), false).unwrap();
    eventually("event at serf", 5, || serf.log().contains("user-event: sealed")).await;
    let mut heard = false;
    eventually("event at b", 5, || {
        while let Ok(event) = events.try_recv() {
            heard |= matches!(event, Event::UserEvent(event) if event.name == "sealed");
        }
        heard
    })
    .await;
    for agent in [&a, &b] {
        let stats = agent.stats();
        assert_eq!((stats.malformed, stats.undecryptable, stats.members_up), (0, 0, 3));
    }
    assert_eq!(serf.complaints(), Vec::<String>::new());
}
