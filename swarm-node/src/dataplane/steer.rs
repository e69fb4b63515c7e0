//! Scene → nf_tables: datagrams of the networks that this process forwards find the way to it.
//!
//! The kernel's VXLAN devices own the port, so the hook at the underlay's devices writes another port into the datagrams
//! of those networks, by VNI, before anyone else sees them. The near ends of such tasks' pairs belong to the plane alone:
//! what arrives there is not for the host.

use overlay_linux::nft::{
    BaseChain, Chain, Expr, Field, Hook, Rule, Ruleset, Set, TableKey, Target, Type, Value, Verdict,
};

use super::{
    links::task_link,
    scene::Scene,
    user::{is_user, local_port},
};

/// Adds the table of these networks, if there are any.
pub(super) fn rules(ruleset: &mut Ruleset, scene: &Scene) {
    let Some(underlay) = &scene.underlay else { return };
    let mut vnis =
        scene.overlays.values().filter(|network| is_user(network)).map(|network| network.vni).peekable();
    if vnis.peek().is_none() {
        return;
    }
    let table = ruleset.table(TableKey::netdev("swarm-user"));
    let port = local_port(underlay);
    if port != underlay.port {
        table.set("vnis", vnis.fold(Set::keys([Type::Vni]), Set::member));
        for device in &underlay.devices {
            let steer = Rule::new()
                .when(Field::UdpDestination, underlay.port)
                .when_in_set(Field::VxlanVni, "vnis")
                .set(Target::UdpDestination, Expr::Value(Value::from(port)));
            // Before the published ports are looked at.
            let hook = Hook::Ingress { device: device.clone() };
            table.chain(format!("in-{device}"), Chain::base(BaseChain::filter(hook, -10)).rule(steer));
        }
    }
    for (id, task) in &scene.tasks {
        for (index, ..) in scene.interfaces(task).filter(|(_, network, _)| is_user(network)) {
            let device = task_link("ve", index, id).to_string();
            let hook = Hook::Ingress { device: device.clone() };
            let silent = Chain::base(BaseChain::filter(hook, 0)).rule(Rule::new().verdict(Verdict::Drop));
            table.chain(format!("silent-{device}"), silent);
        }
    }
}
