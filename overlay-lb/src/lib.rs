//! Services behind virtual IPs and published ports: decides where flows go, never touches bytes
