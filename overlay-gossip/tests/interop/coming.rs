//! Members that come, go, and come back elsewhere.

use std::net::SocketAddr;
use std::time::Instant;

use overlay_gossip::MemberState;
use overlay_gossip::tokio::Agent;

use crate::peer::Serf;
use crate::{addr, eventually, ip, ours, side_by_side, skip, state};

#[test]
fn members_come_and_go_and_come_back() {
    side_by_side(who_left_may_come_back_elsewhere(), who_was_killed_may_come_back());
}

async fn who_left_may_come_back_elsewhere() {
    let Some(real) = Serf::start(&ip(84, 1), "real", &[]) else { return skip() };
    let Some(mut moving) = Serf::start(&ip(84, 2), "moving", &["-tag", "life=1"]) else { return skip() };
    let (a, _a_events) = ours("a", 84, 3, &[]).await;
    let (b, _b_events) = ours("b", 84, 4, &[]).await;
    let (c, _c_events) = ours("c", 84, 5, &[]).await;
    for agent in [&a, &b, &c] {
        agent.join(vec![real.addr]);
    }
    eventually("moving joins", 15, || moving.call(&["join", &addr(84, 3).to_string()]).contains("Success"))
        .await;
    eventually("all see all", 15, || {
        ["a", "b", "c", "moving"].iter().all(|name| real.status(name) == "alive")
            && place(&a, "moving") == Some((MemberState::Alive, addr(84, 2)))
            && state(&a, "b") == Some(MemberState::Alive)
    })
    .await;
    // Dead, and declared gone by an operator: on either side.
    c.shutdown().await;
    // Goodbyes.
    b.leave().await;
    b.shutdown().await;
    moving.call(&["leave"]);
    eventually("goodbyes are seen", 10, || {
        real.status("b") == "left"
            && real.status("moving") == "left"
            && state(&a, "b") == Some(MemberState::Left)
            && state(&a, "moving") == Some(MemberState::Left)
    })
    .await;
    moving.kill();
    // Back at other addresses.
    let (b, _b_events) = ours("b", 84, 6, &[]).await;
    b.join(vec![real.addr]);
    let join = format!("-join={}", addr(84, 3));
    let Some(moving) = Serf::start(&ip(84, 7), "moving", &["-tag", "life=2", &join]) else { return };
    let start = Instant::now();
    eventually("b is back for serf", 10, || {
        real.member("b").contains(&addr(84, 6).to_string()) && real.status("b") == "alive"
    })
    .await;
    println!("b is back elsewhere for serf after {:?}", start.elapsed());
    eventually("moving is back for all", 10, || {
        place(&a, "moving") == Some((MemberState::Alive, addr(84, 7)))
            && place(&b, "moving") == Some((MemberState::Alive, addr(84, 7)))
            && real.member("moving").contains("life=2")
    })
    .await;
    println!("moving is back elsewhere for all after {:?}", start.elapsed());
    // Dead, and declared gone by an operator.
    eventually("c is dead", 20, || real.status("c") == "failed" && state(&a, "c") == Some(MemberState::Dead))
        .await;
    real.call(&["force-leave", "c"]);
    eventually("c is gone", 5, || real.status("c") == "left" && state(&a, "c") == Some(MemberState::Left))
        .await;
    real.call(&["force-leave", "-prune", "c"]);
    eventually("c is forgotten", 5, || real.status("c") == "absent" && state(&a, "c").is_none()).await;
    // Who is alive objects.
    real.call(&["force-leave", "a"]);
    let (c, _c_events) = ours("c", 84, 5, &[]).await;
    c.join(vec![moving.addr]);
    eventually("c is back", 10, || real.status("c") == "alive" && state(&a, "c") == Some(MemberState::Alive))
        .await;
    eventually("a stays", 10, || real.status("a") == "alive" && moving.status("a") == "alive").await;
    for serf in [&real, &moving] {
        assert_eq!(serf.complaints(), Vec::<String>::new());
    }
    assert_eq!((a.stats().malformed, b.stats().malformed), (0, 0));
}

async fn who_was_killed_may_come_back() {
    let Some(mut moving) = Serf::start(&ip(85, 1), "moving", &[]) else { return skip() };
    let (a, _a_events) = ours("a", 85, 2, &[]).await;
    let (b, _b_events) = ours("b", 85, 3, &[]).await;
    a.join(vec![moving.addr]);
    b.join(vec![moving.addr]);
    eventually("all see all", 15, || {
        ["a", "b"].iter().all(|name| moving.status(name) == "alive")
            && state(&a, "b") == Some(MemberState::Alive)
    })
    .await;
    moving.kill();
    let join = format!("-join={}", addr(85, 2));
    let Some(mut moving) = Serf::start(&ip(85, 4), "moving", &[&join]) else { return };
    let start = Instant::now();
    eventually("serf is back for ours", 60, || {
        [&a, &b].iter().all(|agent| place(agent, "moving") == Some((MemberState::Alive, addr(85, 4))))
    })
    .await;
    println!("serf is back elsewhere after {:?}", start.elapsed());
    // (The other way round serf lets nobody take the name for half a minute after the death.)
    b.shutdown().await;
    let (b, _b_events) = ours("b", 85, 3, &[]).await;
    b.join(vec![a.local_addr()]);
    eventually("b is back where it was", 15, || {
        moving.status("b") == "alive" && state(&b, "moving") == Some(MemberState::Alive)
    })
    .await;
    assert!(!moving.has_ended());
    assert_eq!(moving.complaints(), Vec::<String>::new());
}

fn place(agent: &Agent, name: &str) -> Option<(MemberState, SocketAddr)> {
    let members = agent.members();
    members.iter().find(|m| m.name.as_str() == name).map(|m| (m.state, m.addr))
}
