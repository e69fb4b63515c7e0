//! What this host reaches by itself: the subnets of the swarm's networks must keep away from it.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use overlay_linux::link::{Family, Netlink, Route};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{Worker, upstreams};
use crate::{
    clock,
    config::NodeConfig,
    dataplane::{owns_link, scene::GatewayBridge},
};

/// The most prefixes that a node reports; the managers take no more.
pub(crate) const MOST: usize = 1024;
/// Pause between two looks. A host with very many routes is looked at less often, so that it costs 1 % at most.
const PAUSE: Duration = Duration::from_secs(5);

/// Looks again and again, for as long as the worker lives.
pub(super) async fn watch(worker: Arc<Worker>) {
    loop {
        let began = Instant::from_std(clock::instant());
        look(&worker).await;
        sleep(PAUSE.max(began.elapsed() * 100)).await;
    }
}

/// Looks once. What cannot be seen stays as it was.
pub(super) async fn look(worker: &Worker) {
    let config = worker.post.config.clone();
    if let Ok(Ok(seen)) = spawn_blocking(move || seen(&config)).await {
        worker.routes.send_if_modified(|known| {
            let differs = known.as_ref() != Some(&seen);
            *known = Some(seen);
            differs
        });
    }
}

/// The networks on this host's links, its name servers, and the bridge to the outside of all tasks.
///
/// # Errors
/// The kernel could not be asked.
pub(crate) fn seen(config: &NodeConfig) -> Result<Vec<IpNet>, String> {
    let netlink = Netlink::open().map_err(|error| format!("netlink: {error}"))?;
    let routes = netlink.routes().map_err(|error| error.to_string())?;
    Ok(foreign(&routes, &upstreams(config)))
}

/// Routes on links that are not the swarm's own. What lies behind a next hop is left out: that is often all of 10.0.0.0/8,
/// and nothing would be left for the swarm.
fn foreign(routes: &[Route], resolvers: &[IpAddr]) -> Vec<IpNet> {
    let theirs = |route: &&Route| route.dev.as_ref().is_none_or(|dev| !owns_link(dev.as_str()));
    let on_link = routes.iter().filter(|route| route.via.is_none()).filter(theirs).map(|route| route.dest);
    let mut seen: BTreeSet<IpNet> = on_link.filter(concerns_others).collect();
    let far = |server: &IpNet| concerns_others(server) && !seen.iter().any(|net| net.contains(server));
    let servers: Vec<IpNet> = resolvers.iter().map(|server| IpNet::from(*server)).filter(far).collect();
    seen.extend(servers);
    // A subnet in there would hide the way out from its tasks.
    let bridge = GatewayBridge { ipv6: true, ..GatewayBridge::default() };
    seen.extend([Family::V4, Family::V6].into_iter().filter_map(|family| Some(bridge.own(family)?.trunc())));
    let seen: Vec<IpNet> = seen.into_iter().collect();
    if seen.len() > MOST { summary(&seen) } else { seen }
}

/// Neighbours as one, and of those the widest, which are in the way most.
fn summary(nets: &Vec<IpNet>) -> Vec<IpNet> {
    let mut fewer = IpNet::aggregate(nets);
    fewer.sort_by_key(|net| (net.prefix_len(), *net));
    fewer.truncate(MOST);
    fewer.sort();
    fewer
}

/// Not default routes, loops, groups or addresses that are good on one link only.
fn concerns_others(net: &IpNet) -> bool {
    let good = match net.addr() {
        IpAddr::V4(addr) => !(addr.is_link_local() || addr.is_broadcast()),
        IpAddr::V6(addr) => !addr.is_unicast_link_local(),
    };
    let addr = net.addr();
    net.prefix_len() > 0 && good && !(addr.is_loopback() || addr.is_multicast() || addr.is_unspecified())
}

#[cfg(test)]
mod tests {
    use overlay_linux::link::LinkName;

    use super::*;

    #[test]
    fn what_a_host_reports_is_what_others_must_not_use() {
        let on = |net: &str, dev: &str| Route::on_link(net.parse().unwrap(), LinkName::new(dev).unwrap());
        let routes = [
            Route::default_via("192.0.2.1".parse().unwrap()),
            Route::on_link("0.0.0.0/0".parse().unwrap(), LinkName::new("ppp0").unwrap()),
            Route::via("10.0.0.0/8".parse().unwrap(), "192.0.2.9".parse().unwrap()),
            on("192.0.2.0/24", "eth0"),
            on("10.0.1.0/24", "tun0"),
            on("172.17.0.0/16", "docker0"),
            on("10.0.0.0/24", "ofabric"),
            on("172.18.0.0/16", "docker_gwbridge"),
            on("fe80::/64", "eth0"),
            on("fd00:1::/64", "eth0"),
            on("ff00::/8", "eth0"),
            on("169.254.0.0/16", "eth0"),
        ];
        let resolvers = ["127.0.0.53", "192.0.2.53", "10.9.9.9", "::1"].map(|server| server.parse().unwrap());
        let reported: Vec<String> = foreign(&routes, &resolvers).iter().map(ToString::to_string).collect();
        assert_eq!(
            reported,
            [
                "10.0.1.0/24",
                "10.9.9.9/32",
                "172.17.0.0/16",
                "172.18.0.0/16",
                "192.0.2.0/24",
                "fd00:1::/64",
                "fd73:aeaa:b819::/64"
            ]
        );
    }

    #[test]
    fn a_host_with_very_many_routes_reports_the_widest() {
        let to = |i: u32| {
            let addr = IpAddr::from((i << 9 | 0x1400_0000).to_be_bytes()); // no two are neighbours
            Route::on_link(
                IpNet::new(addr, if i == 1999 { 23 } else { 24 }).unwrap(),
                LinkName::new("eth0").unwrap(),
            )
        };
        let routes: Vec<Route> = (0..2000).map(to).collect();
        let reported = foreign(&routes, &[]);
        assert_eq!(reported.len(), MOST);
        assert!(reported.contains(&routes[1999].dest));
    }
}
