//! Scene → nf_tables: datagrams of the networks that this process forwards find the way to it.
//!
//! The kernel's VXLAN devices own the port, so the hook at the underlay's devices writes another port into the datagrams
//! of those networks, by VNI, before anyone else sees them. The near ends of such tasks' pairs belong to the plane alone:
//! what arrives there is not for the host.

use overlay_linux::nft::{BaseChain, Chain, Hook, Rule, Ruleset, TableKey, Verdict};

use super::{links::task_link, scene::Scene, user::is_user};

/// Adds the table of these networks, if there are any.
pub(super) fn rules(ruleset: &mut Ruleset, scene: &Scene) {
    if !scene.overlays.values().any(is_user) {
        return;
    }
    let table = ruleset.table(TableKey::netdev("swarm-user"));
    for (id, task) in &scene.tasks {
        for (index, interface) in task.interfaces.iter().enumerate() {
            if !scene.overlays.get(&interface.network).is_some_and(is_user) {
                continue;
            }
            let device = task_link("ve", index, id).to_string();
            let hook = Hook::Ingress { device: device.clone() };
            let silent = Chain::base(BaseChain::filter(hook, 0)).rule(Rule::new().verdict(Verdict::Drop));
            table.chain(format!("silent-{device}"), silent);
        }
    }
}
