//! Tasks reach the outside under the node's address, and each other only through their networks.

use overlay_linux::nft::{BaseChain, Chain, Expr, Field, Hook, KeySet, Rule, Set, Stmt, Table, Verdict};

use crate::dataplane::{
    links::GATEWAY,
    scene::{Scene, Underlay},
    version::Version,
};

/// The chains of one version of IP; none if the gateway has no address of it.
pub(super) fn chains(table: &mut Table, scene: &Scene, underlay: &Underlay, version: Version) {
    let Some(network) = scene.gateway.own(version.family) else { return };
    let inside = Rule::new().when_between(version.source, network.network(), network.broadcast());
    let masquerade = Chain::base(BaseChain::nat(Hook::Postrouting, 100))
        .rule(inside.unless(Field::OifName, GATEWAY).then(Stmt::Masquerade));
    // Whoever routes to a task's address from outside reaches nothing: only translated connections and answers come in.
    let untranslated = Expr::from(Field::CtStatus).masked(Field::DNAT);
    let from_outside = || Rule::new().when_in(Field::IifName, underlay.devices.iter().map(String::as_str));
    let apart = Chain::base(BaseChain::filter(Hook::Forward, 0))
        .rule(Rule::new().when(Field::IifName, GATEWAY).when(Field::OifName, GATEWAY).verdict(Verdict::Drop))
        .rule(
            from_outside()
                .when(Field::OifName, GATEWAY)
                .when_any(Field::CtState, Field::NEW)
                .when(untranslated, 0_u32)
                .verdict(Verdict::Drop),
        );
    // Tunnels begin at nodes of this swarm, or nowhere.
    let vteps = scene.fabric.iter().flat_map(|fabric| fabric.peers.values()).map(|peer| peer.vtep);
    let vteps = vteps.filter(|ip| version.has(*ip));
    table.set("vteps", vteps.fold(Set::keys([version.address]), Set::member));
    let strangers =
        Stmt::In { left: version.source.into(), set: KeySet::Named("vteps".into()), negate: true };
    let tunnels = Chain::base(BaseChain::filter(Hook::Input, -10)).rule(
        from_outside()
            .when(Field::UdpDestination, underlay.port)
            .then(strangers)
            .then(Stmt::Counter)
            .verdict(Verdict::Drop),
    );
    table.chain("masquerade", masquerade).chain("apart", apart).chain("tunnels", tunnels);
}
