//! Rewrites of addresses and ports inside of a frame, checksums included.
