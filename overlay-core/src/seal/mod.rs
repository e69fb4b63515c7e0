//! Encrypted networks: every datagram authenticated and encrypted, or dropped.
