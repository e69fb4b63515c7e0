//! The layouts: what is measured, and what against.

mod docker;
mod kernel;
mod peers;
mod raw;
mod user;

use super::error::BenchError;
use super::host::Tuning;
use super::lab::{Built, Site};
use super::program::{BRIDGE, ETHTOOL, FASTD, IP, NEBULA, NEBULA_CERT, Program, TINCD, WG, WIREGUARD_GO};

/// A way from one container to the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// What rows are called after.
    pub(super) name: &'static str,
    /// In a few words.
    pub(super) what: &'static str,
    /// Whose figures its own are divided by, and what that is called in a row.
    pub(super) against: &'static [Against],
    /// Measured only if asked for.
    pub(super) extra: bool,
    /// Whether the underlay cuts what is inside of a tunnel.
    tunnel_offload: bool,
    /// Programs of others that it needs.
    needs: &'static [Program],
    build: fn(&Site) -> Result<Built, BenchError>,
}

/// Another layout to compare with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Against {
    pub(super) layout: &'static str,
    pub(super) label: &'static str,
}

impl Layout {
    /// All of them, in the order in which they are measured.
    pub(super) const ALL: &[Self] = &[
        Self::new("raw", "the containers on one cable, no overlay", raw::build, &[]),
        Self {
            needs: &[IP, BRIDGE],
            ..Self::new("docker", "Docker's: VXLAN, bridge, veth", docker::build, &[])
        },
        Self::new("kernel_plane", "ours in the kernel: VXLAN, macvlan", kernel::macvlan, DOCKER),
        Self::new("kernel_plane_bridge", "the same in Docker's shape", kernel::bridge, DOCKER),
        extra(Self::new("kernel_plane_fdb_10000", "10 000 entries more", kernel::stations, KERNEL)),
        extra(Self::new("kernel_plane_networks_256", "255 networks more", kernel::networks, KERNEL)),
        Self::new("user_plane", "ours in user space, on a veth pair", user::packet, USER),
        extra(Self::new("user_plane_fdb_10000", "10 000 entries more", user::stations, GROWN)),
        extra(Self::new("user_plane_networks_256", "255 networks more", user::networks, GROWN)),
        Self::new("user_plane_tap", "the same on a TAP device", user::tap, DOCKER),
        Self::new("user_plane_sealed", "the same, AES-128-GCM", user::sealed, SEALED),
        extra(Self::new("user_plane_sealed_256", "the same, AES-256-GCM", user::sealed_256, SEALED)),
        extra(Self::new("user_plane_sealed_chacha", "ChaCha20-Poly1305", user::sealed_chacha, SEALED)),
        Self {
            needs: &[IP, BRIDGE, ETHTOOL],
            ..no_tnl(Self::new("docker_no_tnl", "Docker's, no tunnel offload", docker::build, &[]))
        },
        no_tnl(Self::new("kernel_plane_no_tnl", "ours, no tunnel offload", kernel::macvlan, NO_TNL)),
        no_tnl(Self::new("user_plane_no_tnl", "ours, no tunnel offload", user::packet, NO_TNL)),
        no_tnl(Self::new("user_plane_sealed_no_tnl", "the same, AES-128-GCM", user::sealed, SEALED_NO_TNL)),
        Self {
            needs: &[NEBULA, NEBULA_CERT],
            ..Self::new("nebula", "nebula (encrypts, TUN)", peers::nebula, DOCKER)
        },
        Self { needs: &[FASTD], ..Self::new("fastd", "fastd, null cipher, TAP", peers::fastd, DOCKER) },
        Self {
            needs: &[WIREGUARD_GO, WG],
            ..Self::new("wireguard_go", "wireguard-go (encrypts, TUN)", peers::wireguard_go, DOCKER)
        },
        Self { needs: &[TINCD], ..Self::new("tinc", "tinc 1.0 (encrypts, TAP)", peers::tinc, DOCKER) },
    ];

    const fn new(
        name: &'static str,
        what: &'static str,
        build: fn(&Site) -> Result<Built, BenchError>,
        against: &'static [Against],
    ) -> Self {
        Self { name, what, against, extra: false, tunnel_offload: true, needs: &[], build }
    }

    /// What must be installed before; `None`: nothing.
    pub(super) fn missing(&self) -> Option<String> {
        peers::missing(self.needs)
    }

    /// Builds it; below `dir` it may keep files.
    ///
    /// # Errors
    ///
    /// Something is absent, or was refused.
    pub(super) fn build(&self, dir: &std::path::Path, tuning: Tuning) -> Result<Built, BenchError> {
        if let Some(remedy) = self.missing() {
            return Err(BenchError::Absent { what: self.name.to_owned(), remedy });
        }
        let site = Site { dir: dir.join(self.name), tunnel_offload: self.tunnel_offload, tuning };
        std::fs::create_dir_all(&site.dir).map_err(BenchError::system("make a directory"))?;
        (self.build)(&site)
    }
}

const fn no_tnl(layout: Layout) -> Layout {
    Layout { tunnel_offload: false, needs: &[ETHTOOL], ..layout }
}

const fn extra(layout: Layout) -> Layout {
    Layout { extra: true, ..layout }
}

const fn against(layout: &'static str, label: &'static str) -> Against {
    Against { layout, label }
}

const DOCKER: &[Against] = &[against("docker", "vs_docker")];
const NO_TNL: &[Against] = &[against("docker_no_tnl", "vs_docker")];
const KERNEL: &[Against] = &[against("docker", "vs_docker"), against("kernel_plane", "vs_kernel_plane")];
const GROWN: &[Against] = &[against("docker", "vs_docker"), against("user_plane", "vs_user_plane")];
const USER: &[Against] = &[
    against("docker", "vs_docker"),
    against("nebula", "vs_nebula"),
    against("fastd", "vs_fastd"),
    against("wireguard_go", "vs_wireguard_go"),
    against("tinc", "vs_tinc"),
];
const SEALED: &[Against] = &[
    against("docker", "vs_docker"),
    against("user_plane", "vs_user_plane"),
    against("nebula", "vs_nebula"),
    against("wireguard_go", "vs_wireguard_go"),
];
const SEALED_NO_TNL: &[Against] =
    &[against("docker_no_tnl", "vs_docker"), against("user_plane_no_tnl", "vs_user_plane")];
