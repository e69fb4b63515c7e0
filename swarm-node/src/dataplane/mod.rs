//! Brings the kernel to what the scene says, and keeps it there.
//!
//! ```text
//!   assignment ──┐
//!   tables ──────┼─▶ Scene ──▶ links::desired, mesh::ruleset, vips::ruleset ──▶ diff ──▶ netlink
//!   local tasks ─┘     ▲                                                         │
//!                      └───────────────────── every audit ◀──────────────────────┘
//! ```
//!
//! Nothing is edited: each pass compares all of the kernel's state with all of the scene, so a lost update, a foreign
//! `flush` and a restart of the daemon heal in the same way.

mod links;
mod mark;
mod mesh;
pub(crate) mod nodes;
pub(crate) mod scene;
mod stale;
mod steer;
mod user;
mod version;
mod vips;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use overlay_core::Vni;
use overlay_linux::{
    link::{Desired, Interface, Link, LinkError, LinkName, Netlink, Vxlan},
    netns::NetNs,
    nft::{Nft, NftError, Ruleset},
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

use links::FABRIC;
use scene::{HostIpv6, Scene};
use user::UserNetworks;
pub(crate) use user::{Running, counters};

/// What one pass did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Steps that changed something.
    pub(crate) steps: usize,
    /// What failed; empty if the kernel is as desired.
    pub(crate) failures: Vec<String>,
    /// Whether published ports are served, and guarded, over IPv6 too.
    pub(crate) ipv6: bool,
}

impl Outcome {
    /// A pass that could not begin: what was is still there.
    fn missed(before: &Self, reason: String) -> Self {
        Self { steps: 0, failures: vec![reason], ipv6: before.ipv6 }
    }

    /// The first failure of a task's own links or tables, for its status. Other failures are no reason not to start it.
    pub(crate) fn failure_of(&self, task: &str) -> Option<&str> {
        let short: String = task.chars().take(links::TASK_CHARS).collect();
        self.failures.iter().find(|failure| failure.contains(&short)).map(String::as_str)
    }
}

/// The running data plane.
#[derive(Debug)]
pub(crate) struct Plane {
    requests: mpsc::UnboundedSender<oneshot::Sender<Arc<Outcome>>>,
    last: watch::Receiver<Arc<Outcome>>,
    task: JoinHandle<()>,
}

/// Requests and changes that come together are served by one pass.
const GATHER: Duration = Duration::from_millis(3);

impl Plane {
    /// Starts the passes: when `changed` says so, when asked, and every `audit`; none before the sources are `settled`, so
    /// that a restarted daemon does not take away what it has not heard of yet.
    pub(crate) fn start(
        scene: impl Fn() -> Result<Scene, String> + Send + Sync + 'static,
        (changed, settled): (Arc<Notify>, watch::Receiver<bool>),
        user_plane: Running,
        audit: Duration,
    ) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (tell, last) = watch::channel(Arc::default());
        let kernel = Kernel { user: UserNetworks::new(user_plane), ..Kernel::default() };
        let passes = run((Arc::new(scene), kernel), (inbox, changed), tell, audit);
        let task = tokio::spawn(async move {
            let mut settled = settled;
            if settled.wait_for(|settled| *settled).await.is_ok() {
                passes.await;
            }
        });
        Self { requests, last, task }
    }

    /// A pass that begins after this call.
    pub(crate) async fn sync(&self) -> Arc<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let _ = self.requests.send(sender);
        receiver.await.unwrap_or_default()
    }

    /// What the last pass found.
    pub(crate) fn last(&self) -> Arc<Outcome> {
        self.last.borrow().clone()
    }

    /// What each pass finds.
    pub(crate) fn passes(&self) -> watch::Receiver<Arc<Outcome>> {
        self.last.clone()
    }

    /// Ends the passes; the kernel's state stays.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

async fn run(
    (scene, kernel): (Arc<impl Fn() -> Result<Scene, String> + Send + Sync + 'static>, Kernel),
    (mut inbox, changed): (mpsc::UnboundedReceiver<oneshot::Sender<Arc<Outcome>>>, Arc<Notify>),
    tell: watch::Sender<Arc<Outcome>>,
    audit: Duration,
) {
    let mut kernel = Some(kernel);
    loop {
        let mut waiting = Vec::new();
        let asked = timeout(audit, async {
            tokio::select! {
                asked = inbox.recv() => asked,
                () = changed.notified() => None,
            }
        });
        if let Ok(Some(asked)) = asked.await {
            waiting.push(asked);
        }
        sleep(GATHER).await;
        while let Ok(asked) = inbox.try_recv() {
            waiting.push(asked);
        }
        let (look, mut own) = (Arc::clone(&scene), kernel.take().unwrap_or_default());
        let before = Arc::clone(&tell.borrow());
        let pass = spawn_blocking(move || {
            let outcome = match look() {
                Ok(scene) => own.converge(&scene),
                // Better what was right a moment ago than nothing.
                Err(reason) => Outcome::missed(&before, reason),
            };
            (own, outcome)
        });
        let outcome = match pass.await {
            Ok((own, outcome)) => {
                kernel = Some(own);
                outcome
            }
            Err(error) => Outcome::missed(&tell.borrow(), format!("the pass ended early: {error}")),
        };
        let outcome = Arc::new(outcome);
        tell.send_replace(Arc::clone(&outcome));
        for asked in waiting {
            let _ = asked.send(Arc::clone(&outcome)); // who asked may be gone
        }
    }
}

/// Removes everything that is ours from this namespace: the node leaves the swarm.
pub(crate) fn remove_everything() -> Vec<String> {
    let mut kernel = Kernel::default();
    let mut outcome = kernel.converge(&Scene::default());
    if let Ok(mut nft) = Nft::open()
        && let Err(error) = nft.clear()
    {
        outcome.failures.push(error.to_string());
    }
    outcome.failures
}

/// Open sockets into the namespaces, and what the tasks' namespaces hold already.
#[derive(Debug, Default)]
struct Kernel {
    netlink: Option<Netlink>,
    nft: Option<Nft>,
    tasks: BTreeMap<String, Nft>,
    user: UserNetworks,
    forget_again: bool,
}

impl Kernel {
    fn converge(&mut self, scene: &Scene) -> Outcome {
        let mut outcome = Outcome::default();
        let fabric = match self.links(scene, &mut outcome) {
            Ok(index) => index,
            Err(error) => {
                outcome.failures.push(error.to_string());
                return outcome; // the tables stay as they are
            }
        };
        // The mesh needs the fabric's index; until the device is there, only the gateway's table is written.
        let mut tables = match fabric {
            Some(index) => mesh::ruleset(scene, index),
            None => mesh::ruleset(&Scene { fabric: None, ..scene.clone() }, 0),
        };
        steer::rules(&mut tables, scene);
        match self.tables(&tables, &mut outcome) {
            Ok(()) => outcome.ipv6 = fabric.is_some() && scene.gateway.ipv6,
            Err(error) => outcome.failures.push(error.to_string()),
        }
        self.vips(scene, &mut outcome);
        if outcome.steps > 0 || std::mem::take(&mut self.forget_again) {
            // Once more in the next pass: a datagram under way may have followed the old rules.
            self.forget_again = outcome.steps > 0;
            outcome.failures.extend(stale::forget(scene));
        }
        outcome
    }

    fn links(&mut self, scene: &Scene, outcome: &mut Outcome) -> Result<Option<u32>, LinkError> {
        let netlink = match self.netlink.take() {
            Some(netlink) => netlink,
            None => Netlink::open().map_err(|source| LinkError::Io { what: "netlink".into(), source })?,
        };
        let report = netlink.converge(&links::scope(), &links::desired(scene))?;
        outcome.steps += report.done.len();
        outcome.failures.extend(report.failed.iter().map(|(op, error)| format!("{op}: {error}")));
        outcome.failures.extend(report.skipped.iter().map(|op| format!("{op}: skipped")));
        let fabric = netlink.interface(FABRIC)?.map(|interface| interface.index);
        let (steps, failures) = self.user.converge(scene, &netlink);
        outcome.steps += steps;
        outcome.failures.extend(failures);
        self.netlink = Some(netlink);
        Ok(fabric)
    }

    fn tables(&mut self, desired: &Ruleset, outcome: &mut Outcome) -> Result<(), NftError> {
        let mut nft = match self.nft.take() {
            Some(nft) => nft,
            None => Nft::open()?,
        };
        outcome.steps += nft.sync(desired)?.ops.len();
        self.nft = Some(nft);
        Ok(())
    }

    fn vips(&mut self, scene: &Scene, outcome: &mut Outcome) {
        let present: BTreeSet<&String> = scene.tasks.keys().collect();
        self.tasks.retain(|id, _| present.contains(id));
        for (id, task) in &scene.tasks {
            let synced = match self.tasks.remove(id) {
                Some(nft) => Ok(nft),
                None => Nft::open_in(&task.netns),
            }
            .and_then(|mut nft| {
                let report = nft.sync(&vips::ruleset(&task.vips))?;
                Ok((nft, report))
            });
            match synced {
                Ok((nft, report)) => {
                    outcome.steps += report.ops.len();
                    self.tasks.insert(id.clone(), nft);
                }
                Err(error) => outcome.failures.push(format!("virtual addresses of {id}: {error}")),
            }
        }
    }
}

/// Whether this kernel can make VXLAN devices: it is asked to make one, in a namespace of its own.
pub(crate) fn kernel_has_vxlan() -> bool {
    let tried = || {
        let netns = NetNs::create().ok()?;
        let vni = Vni::new(1).ok()?;
        let mut desired = Desired::default();
        desired
            .links
            .insert(LinkName::new(FABRIC).ok()?, Link::vxlan(Vxlan::new(vni, [127, 0, 0, 1].into())));
        Some(Netlink::open_in(&netns).ok()?.converge(&links::scope(), &desired).ok()?.is_clean())
    };
    tried().unwrap_or(false)
}

/// Whether an interface of that name in the node's namespace is one of ours.
pub(crate) fn owns_link(name: &str) -> bool {
    links::scope().owns_link(name)
}

/// The interfaces of this host through which clients may come: everything that is not ours and not a loop.
pub(crate) fn outside_devices(interfaces: &[Interface]) -> BTreeSet<String> {
    let scope = links::scope();
    let outside = |name: &LinkName| name.as_str() != "lo" && !scope.owns_link(name.as_str());
    let named =
        interfaces.iter().filter(|i| i.up && i.mac.is_some() && i.master.is_none() && outside(&i.name));
    named.map(|interface| interface.name.to_string()).collect()
}

/// What this namespace makes of IPv6; `devices` are those to the outside.
pub(crate) fn host_ipv6(devices: &BTreeSet<String>) -> HostIpv6 {
    let value = |device: &str, key: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{device}/{key}")).ok()?;
        text.trim().parse::<u8>().ok()
    };
    match (value("all", "disable_ipv6"), value("default", "disable_ipv6")) {
        (Some(0), Some(0)) => {
            // Who forwards already believes no router, unless told to.
            let is_advised = |device: &&String| match value(device, "accept_ra") {
                Some(1) => value(device, "forwarding") == Some(0),
                mode => mode == Some(2),
            };
            HostIpv6::On { advised: devices.iter().filter(is_advised).cloned().collect() }
        }
        (None, _) | (_, None) => HostIpv6::Missing,
        (Some(_), Some(_)) => HostIpv6::Off,
    }
}
