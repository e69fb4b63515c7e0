//! The Docker Engine API of a swarm node
