//! VXLAN tunnel endpoints: framing, forwarding tables and the sizes that follow from them
