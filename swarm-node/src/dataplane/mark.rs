//! Marks that tell through which node a connection came in.

use std::net::IpAddr;

use ipnet::IpNet;

/// The upper byte of all our marks; the lower three are the host part of the node's address in the ingress network.
const BASE: u32 = 0x5a00_0000;

/// The mark (and routing table) of the node with this address in the fabric `network`; `None` for IPv6 and for networks
/// of more than 2²⁴ addresses.
pub(crate) fn of(address: IpAddr, network: IpNet) -> Option<u32> {
    let (IpAddr::V4(address), IpNet::V4(network)) = (address, network) else { return None };
    let host = address.to_bits() & network.hostmask().to_bits();
    (host <= 0x00ff_ffff).then_some(BASE | host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_fabric_have_different_marks() {
        let net: IpNet = "10.0.0.2/24".parse().unwrap();
        assert_eq!(of("10.0.0.3".parse().unwrap(), net), Some(0x5a00_0003));
        assert_eq!(of("10.1.2.3".parse().unwrap(), "10.0.0.0/8".parse().unwrap()), Some(0x5a01_0203));
        assert_eq!(of("fd00::1".parse().unwrap(), net), None);
    }
}
