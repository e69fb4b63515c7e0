//! The addresses of a small cluster, and three refusals that say what would help.
#![expect(clippy::print_stdout, reason = "an example prints")]

use overlay_ipam::{Command, Config, Denied, Granted, Ipam, Owner, SubnetRequest, Want};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ipam = Ipam::new(Config::default());
    for network in ["ingress", "web"] {
        report(ipam.apply(0, &Command::CreateNetwork { network: network.into(), subnets: vec![] }));
    }
    // the host bits are cleared, and the answer says so
    let request = SubnetRequest { subnet: Some("172.19.0.1/29".parse()?), ..SubnetRequest::default() };
    report(
        ipam.apply(0, &Command::CreateNetwork { network: "small".into(), subnets: vec![request.clone()] }),
    );
    report(ipam.apply(0, &Command::CreateNetwork { network: "other".into(), subnets: vec![request] }));

    // a service and its first task: all addresses or none
    let want = |owner| Want { network: "web".into(), owner, prefer: None };
    let task = Owner::Task("web.1".into());
    let wants = vec![want(Owner::Vip("web".into())), want(task.clone())];
    report(ipam.apply(1_000, &Command::Acquire { wants: wants.clone() }));
    report(ipam.apply(1_000, &Command::Acquire { wants })); // once more: the same

    // the address of a dead task rests for 30 seconds
    report(ipam.apply(2_000, &Command::ReleaseOwner { owner: task }));
    let again = Want { prefer: "10.0.1.3".parse().ok(), ..want(Owner::Task("web.2".into())) };
    report(ipam.apply(3_000, &Command::Acquire { wants: vec![again.clone()] }));
    report(ipam.apply(32_000, &Command::Acquire { wants: vec![again] }));

    for index in 0..6 {
        let owner = Owner::Task(format!("small.{index}").into());
        report(ipam.apply(
            40_000,
            &Command::Acquire { wants: vec![Want { network: "small".into(), owner, prefer: None }] },
        ));
    }
    // the neighbour is free: the network grows where it is, and no address changes
    let larger = SubnetRequest { subnet: Some("172.19.0.0/28".parse()?), ..SubnetRequest::default() };
    report(ipam.apply(40_000, &Command::GrowNetwork { network: "small".into(), subnet: larger }));
    println!("{}", ipam.explain("172.19.0.6".parse()?));
    println!("{:?}", ipam.usage(&"small".into()));
    Ok(ipam.audit()?)
}

fn report(answer: Result<Granted, Denied>) {
    match answer {
        Ok(Granted::Network(subnets)) => {
            for subnet in subnets {
                let from = subnet.normalised_from.map(|from| format!(" (from {from})")).unwrap_or_default();
                println!("subnet  {}{from}, gateway {}", subnet.net, subnet.gateway);
            }
        }
        Ok(Granted::Leases(leases)) => {
            leases.iter().for_each(|lease| {
                println!("lease   {}/{} for {}", lease.addr, lease.prefix_len, lease.owner)
            });
        }
        Ok(Granted::Done) => println!("done"),
        Err(denied) => println!("denied  {denied}"),
    }
}
